//! How the processes of a cluster are told of each other.

use crate::{Cluster, Failure, Options, Process, binary};
use emet_test_servers::{Host, Network, RedisServer, S3Server};
use tokio::sync::SemaphorePermit;

/// A cluster of which the stores run, and nothing else.
pub(crate) async fn lay_out(
    turn: SemaphorePermit<'static>,
    options: Options,
) -> Result<Cluster, Failure> {
    let directory = tempfile::tempdir()?;
    let mut network = options.network.then(Network::start);
    let (redis_host, s3_host) = (host(&mut network), host(&mut network));
    let stores = move || (RedisServer::start_on(&redis_host, &[]), S3Server::start_on(&s3_host));
    let (redis, s3) = tokio::task::spawn_blocking(stores).await?;
    let binary = binary()?;
    let mut components =
        Process::new(&binary, directory.path(), "component-service", 1, host(&mut network));
    components.arguments(["--redis", &redis.url()]);
    components.arguments(options.arguments.iter().map(String::as_str));
    s3.environment().for_each(|(name, value)| components.environment(name, &value));
    let mut cluster = Cluster {
        _turn: turn,
        directory,
        options,
        network,
        redis,
        s3,
        managers: Vec::new(),
        executors: Vec::new(),
        components,
        services: Vec::new(),
    };
    for _ in 0..cluster.options.managers {
        let manager = cluster.new_manager()?;
        cluster.managers.push(manager);
    }
    let peers = peers(cluster.managers.iter().zip(1..));
    cluster.managers.iter_mut().for_each(|manager| manager.arguments(["--peers", &peers]));
    for _ in 0..cluster.options.services {
        let service = cluster.new_service()?;
        cluster.services.push(service);
    }
    Ok(cluster)
}

fn host(network: &mut Option<Network>) -> Host {
    network.as_mut().map_or_else(Host::loopback, Network::add_host)
}

/// Members of a group, as the shard managers take them.
pub(crate) fn peers<'a>(managers: impl Iterator<Item = (&'a Process, usize)>) -> String {
    let peers = managers.map(|(manager, id)| format!("{id}={}", manager.address()));
    peers.collect::<Vec<_>>().join(",")
}

impl Cluster {
    fn process(&mut self, role: &str, number: usize) -> Result<Process, Failure> {
        let host = host(&mut self.network);
        let mut process = Process::new(&binary()?, self.directory.path(), role, number, host);
        process.arguments(self.options.arguments.iter().map(String::as_str));
        Ok(process)
    }

    /// A shard manager that knows nobody yet.
    pub(crate) fn new_manager(&mut self) -> Result<Process, Failure> {
        let id = self.managers.len() + 1;
        let mut manager = self.process("shard-manager", id)?;
        manager.arguments(["--id", &id.to_string()]);
        manager.arguments(["--lease", &self.options.lease.as_secs_f64().to_string()]);
        let data = manager.data();
        manager.arguments(["--data-dir", &data]);
        Ok(manager)
    }

    fn new_service(&mut self) -> Result<Process, Failure> {
        let mut service = self.process("worker-service", self.services.len() + 1)?;
        self.introduce(&mut service);
        service.arguments(self.options.service_arguments.iter().map(String::as_str));
        if self.network.is_some() {
            // Has to be said where it does not listen on loopback.
            service.arguments(["--auth", "off"]);
        }
        Ok(service)
    }

    pub(crate) fn new_executor(&mut self) -> Result<Process, Failure> {
        let mut executor = self.process("worker-executor", self.executors.len() + 1)?;
        self.introduce(&mut executor);
        let data = executor.data();
        executor.arguments(["--work-dir", &data, "--network-private"]);
        executor.arguments(self.options.executor_arguments.iter().map(String::as_str));
        self.s3.environment().for_each(|(name, value)| executor.environment(name, &value));
        Ok(executor)
    }

    /// Tells a process where the others are.
    fn introduce(&self, process: &mut Process) {
        process.arguments(["--component-service", &self.components.address()]);
        process.arguments(["--redis", &self.redis.url()]);
        for manager in &self.managers {
            process.arguments(["--shard-manager", &manager.address()]);
        }
    }
}
