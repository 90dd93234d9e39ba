//! The options of a server, for the processes of a cluster.

use emet_test_cluster::Options;
use std::time::Duration;

/// Options that are those of a worker service.
const OF_SERVICES: [&str; 3] = ["--auth", "--bootstrap-token-file", "--metrics-listen"];
/// Options of every process.
const OF_ALL: [&str; 3] = ["--log-format", "--otlp-endpoint", "--log"];

/// Limits of one process, which tests reach with workers of one executor.
const LIMITS: [&str; 2] = ["--max-loaded", "--memory-mib"];
/// Tests are not about leases: a busy machine should keep nobody from one.
const LEASE: Duration = Duration::from_secs(3);

/// A cluster with these options of a server, which all have a value. Those of neither kind are for
/// the executors.
pub(crate) fn options(arguments: &[String]) -> Options {
    let mut options = Options { lease: LEASE, ..Options::default() };
    if arguments.iter().any(|argument| LIMITS.contains(&argument.as_str())) {
        options.executors = 1;
    }
    for pair in arguments.chunks(2) {
        let of = |names: &[&str]| pair.first().is_some_and(|name| names.contains(&name.as_str()));
        let arguments = match pair {
            _ if of(&OF_SERVICES) => &mut options.service_arguments,
            _ if of(&OF_ALL) => &mut options.arguments,
            _ => &mut options.executor_arguments,
        };
        arguments.extend(pair.iter().cloned());
    }
    options
}
