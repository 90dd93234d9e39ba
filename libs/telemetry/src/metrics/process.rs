//! What the kernel knows of this process. Where it does not say, the sample is missing.

use super::{About, line};
use std::sync::OnceLock;

/// The version that is shown; that of the sources if none was set.
static VERSION: OnceLock<String> = OnceLock::new();

pub(crate) fn set_version(version: &str) {
    drop(VERSION.set(version.to_owned()));
}

pub(super) const ABOUT: [About; 4] = [
    about("emet_build_info", "gauge", &["version"], "1; the version is a label"),
    about("emet_process_cpu_seconds_total", "counter", &[], "Processor time of the process"),
    about("emet_process_resident_bytes", "gauge", &[], "Memory of the process that is in RAM"),
    about("emet_process_open_files", "gauge", &[], "Open file descriptors of the process"),
];

const fn about(
    name: &'static str,
    kind: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> About {
    About { name, kind, labels, help }
}

pub(super) fn render(out: &mut String) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let files = std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
    let version = VERSION.get().map_or(env!("CARGO_PKG_VERSION"), String::as_str);
    let values = [
        Some(format!("{{version=\"{version}\"}} 1")),
        cpu_seconds(&stat).map(|seconds| format!(" {seconds}")),
        resident().map(|bytes| format!(" {bytes}")),
        files.map(|count| format!(" {count}")),
    ];
    for (About { name, kind, help, .. }, value) in ABOUT.into_iter().zip(values) {
        line(out, format_args!("# HELP {name} {help}"));
        line(out, format_args!("# TYPE {name} {kind}"));
        if let Some(value) = value {
            line(out, format_args!("{name}{value}"));
        }
    }
}

/// A field of proc_pid_stat(5), by its number there. The second one, the name, may hold spaces.
fn field(stat: &str, number: usize) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(number.checked_sub(3)?)?.trim().parse().ok()
}

/// Linux counts in hundredths of a second on every architecture that we run on.
#[allow(clippy::cast_precision_loss, reason = "exact for centuries of processor time")]
fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) as f64 / 100.0)
}

fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
