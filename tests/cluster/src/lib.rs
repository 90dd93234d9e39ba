//! A cluster of real processes for tests: Redis, an S3 server, shard managers, executors, a
//! component service and worker services, with data that outlives them, so that any of them can be
//! killed, stopped and started again. They share loopback, or have a host each, whose links can be cut.

mod clock;
mod history;
mod load;
mod process;
mod setup;
mod trial;

pub use clock::Clock;
pub use history::{Call, Effect, Failed, Figures, History, Outcome};
pub use load::{Load, LoadOptions};
pub use process::Process;
pub use trial::{Trial, Victim};

use emet_api::cluster::ClusterStatus;
use emet_api::grpc::proto::shards as wire;
use emet_api::grpc::shards::parse_routing;
use emet_api::grpc::{ChannelOptions, channel};
use emet_client::{Client, Upload};
use emet_model::{ComponentId, WorkerId};
use emet_shard_map::{RoutingTable, shard_of};
use emet_test_servers::{Network, RedisServer, S3Server};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Longest time that a cluster may take to be ready.
const READY: Duration = Duration::from_secs(120);

/// What went wrong, with what is known of it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Clusters at the same time in one test program: each is some twelve processes.
static CLUSTERS: Semaphore = Semaphore::const_new(2);

/// How large a cluster is, and how its processes are started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Shard managers: 1, 3 or 5.
    pub managers: usize,
    /// Executors at the start.
    pub executors: usize,
    /// Worker services.
    pub services: usize,
    /// Lease of an executor.
    pub lease: Duration,
    /// Further arguments of every process but the stores.
    pub arguments: Vec<String>,
    /// Further arguments of every executor.
    pub executor_arguments: Vec<String>,
    /// Further arguments of every worker service.
    pub service_arguments: Vec<String>,
    /// Whether every process has a host of its own; only in a test that runs
    /// [`emet_test_servers::isolated`].
    pub network: bool,
}

/// `EMET_TEST_LEASE` in seconds, or one: a longer one for machines that may keep a process waiting
/// for that long.
fn usual_lease() -> Duration {
    let given = std::env::var("EMET_TEST_LEASE").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(given.unwrap_or(1))
}

impl Default for Options {
    fn default() -> Self {
        Self {
            managers: 3,
            executors: 3,
            services: 2,
            lease: usual_lease(),
            arguments: Vec::new(),
            executor_arguments: Vec::new(),
            service_arguments: Vec::new(),
            network: false,
        }
    }
}

/// A running cluster.
pub struct Cluster {
    _turn: SemaphorePermit<'static>,
    directory: TempDir,
    options: Options,
    /// The hosts' network, if they have one.
    pub network: Option<Network>,
    /// The store of logs and keys.
    pub redis: RedisServer,
    /// The store of objects.
    pub s3: S3Server,
    /// The shard managers.
    pub managers: Vec<Process>,
    /// The executors, also those that have ended.
    pub executors: Vec<Process>,
    /// The component service.
    pub components: Process,
    /// The worker services.
    pub services: Vec<Process>,
}

/// The `emet` binary beside the program; tests are one directory below.
pub fn binary() -> Result<PathBuf, Failure> {
    let program = std::env::current_exe()?;
    let beside = program.parent().ok_or("no directory of binaries")?;
    let below = beside.ends_with("deps").then(|| beside.parent()).flatten();
    let profile = below.unwrap_or(beside);
    let binary = profile.join("emet");
    if binary.exists() {
        Ok(binary)
    } else {
        Err(format!("{} is missing: run `make build` first", binary.display()).into())
    }
}

/// A prebuilt test component.
pub fn guest(name: &str) -> Result<Vec<u8>, Failure> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../guests/prebuilt")
        .join(format!("{name}.wasm"));
    std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()).into())
}

impl Cluster {
    /// Starts a cluster and waits until every shard has an owner.
    pub async fn start(options: Options) -> Result<Self, Failure> {
        let turn = CLUSTERS.acquire().await?;
        let mut cluster = setup::lay_out(turn, options).await?;
        let others = cluster.managers.iter_mut().chain([&mut cluster.components]);
        for process in others.chain(&mut cluster.services) {
            process.start()?;
        }
        for _ in 0..cluster.options.executors {
            cluster.add_executor()?;
        }
        cluster.ready().await?;
        Ok(cluster)
    }

    /// Starts one more executor, and gives its place among them.
    pub fn add_executor(&mut self) -> Result<usize, Failure> {
        let mut executor = self.new_executor()?;
        executor.start()?;
        self.executors.push(executor);
        Ok(self.executors.len() - 1)
    }

    /// Starts a shard manager that belongs to no group yet, and gives its place among them. Its
    /// number is one more than that.
    pub fn add_manager(&mut self) -> Result<usize, Failure> {
        let mut manager = self.new_manager()?;
        let peers = setup::peers(self.managers.iter().chain([&manager]).zip(1..).skip(1));
        manager.arguments(["--peers", &peers]);
        manager.start()?;
        self.managers.push(manager);
        Ok(self.managers.len() - 1)
    }

    /// Runs `emet cluster`, with the addresses of all shard managers, to its end.
    pub fn command(&self, arguments: &[&str]) -> Result<Output, Failure> {
        let mut command = Command::new(binary()?);
        command.arg("cluster").args(arguments);
        for manager in &self.managers {
            command.args(["--shard-manager", &manager.address()]);
        }
        Ok(command.output()?)
    }

    /// The lease of an executor.
    pub fn lease(&self) -> Duration {
        self.options.lease
    }

    /// Waits until all running executors share all shards, and every worker service is healthy.
    pub async fn ready(&mut self) -> Result<(), Failure> {
        let started = Instant::now();
        loop {
            let why = match self.unready().await {
                Ok(()) => return Ok(()),
                Err(why) => why,
            };
            if started.elapsed() > READY {
                return Err(format!("the cluster is not ready: {why}\n{}", self.logs()).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn unready(&mut self) -> Result<(), Failure> {
        let running = self
            .executors
            .iter_mut()
            .filter_map(|e| e.is_running().then(|| e.address()))
            .collect::<Vec<_>>();
        let status = self.status().await?;
        let known = status
            .executors
            .iter()
            .filter(|e| running.iter().any(|r| e.address.ends_with(r)))
            .count();
        // A newcomer is known before it gets its share.
        let shares = status.executors.iter().map(|e| e.shards);
        let even = shares.clone().max() <= shares.min().map(|least| least + 1);
        if !even
            || status.unowned > 0
            || status.moving > 0
            || known < running.len()
            || status.executors.len() > running.len()
        {
            return Err(format!("{status:?}").into());
        }
        for service in 0..self.services.len() {
            self.client(service)?.health().await?;
        }
        Ok(())
    }

    /// Waits until the shard managers say something.
    pub async fn until(
        &self,
        what: &str,
        said: impl Fn(&ClusterStatus) -> bool,
    ) -> Result<(), Failure> {
        let started = Instant::now();
        loop {
            let status = self.status().await;
            if status.as_ref().is_ok_and(&said) {
                return Ok(());
            }
            if started.elapsed() > READY {
                return Err(format!("not so: {what}: {status:?}\n{}", self.logs()).into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The client of a worker service.
    pub fn client(&self, service: usize) -> Result<Client, Failure> {
        let service = self.services.get(service).ok_or("no such worker service")?;
        Ok(Client::new(&format!("http://{}", service.address()))?)
    }

    /// What the shard managers know, from the first that answers and has a leader.
    pub async fn status(&self) -> Result<ClusterStatus, Failure> {
        let mut last: Failure = "there is no shard manager".into();
        for manager in &self.managers {
            match status_of(&manager.address()).await {
                Ok(status) if status.managers.iter().any(|m| m.leader) => return Ok(status),
                Ok(_) => last = "there is no leader".into(),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The place of the shard manager that leads.
    pub async fn leader(&self) -> Result<usize, Failure> {
        let status = self.status().await?;
        let leader = status.managers.iter().find(|m| m.leader).ok_or("there is no leader")?;
        let place = self.managers.iter().position(|m| leader.address.ends_with(&m.address()));
        Ok(place.ok_or("the leader is none of the shard managers")?)
    }

    /// The routing table as a shard manager tells it.
    pub async fn table(&self) -> Result<RoutingTable, Failure> {
        let leader = self.leader().await?;
        let manager = self.managers.get(leader).ok_or("no such manager")?;
        let channel = channel(&format!("http://{}", manager.address()), ChannelOptions::default())?;
        let mut client = wire::shards_client::ShardsClient::new(channel);
        let mut tables = client.watch_routing(wire::WatchRoutingRequest {}).await?.into_inner();
        let table = tables.message().await?.ok_or("no routing table")?;
        Ok(parse_routing(table)?)
    }

    /// The place of the executor that owns a worker.
    pub async fn owner(&self, worker: &WorkerId) -> Result<usize, Failure> {
        let table = self.table().await?;
        self.owner_in(&table, worker)
    }

    /// As [`Self::owner`], by a table.
    pub fn owner_in(&self, table: &RoutingTable, worker: &WorkerId) -> Result<usize, Failure> {
        let shards = u32::try_from(table.owners.len())?;
        let shard = shard_of(worker.component_id.0, &worker.worker_name, shards);
        let owner = table.owner(shard).ok_or("the shard has no owner")?;
        let place = self.executors.iter().position(|e| owner.address.ends_with(&e.address()));
        Ok(place.ok_or("the owner is none of the executors")?)
    }

    /// Uploads a prebuilt test component under its name.
    pub async fn upload(&self, name: &str) -> Result<ComponentId, Failure> {
        let upload = Upload { wasm: guest(name)?.into(), ..Default::default() };
        let component = self.client(0)?.create_component(name, upload).await?;
        Ok(component.versioned_component_id.component_id)
    }

    /// Kills all executors with SIGKILL and starts them again.
    pub async fn crash_executors(&mut self) -> Result<(), Failure> {
        for executor in &mut self.executors {
            executor.kill()?;
        }
        for executor in &mut self.executors {
            executor.start()?;
        }
        self.ready().await
    }

    /// Every process but the stores.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        let others = self.managers.iter().chain([&self.components]);
        others.chain(&self.services).chain(&self.executors)
    }

    /// As [`Self::processes`].
    pub fn processes_mut(&mut self) -> impl Iterator<Item = &mut Process> {
        let others = self.managers.iter_mut().chain([&mut self.components]);
        others.chain(&mut self.services).chain(&mut self.executors)
    }

    /// What every process has logged, the end of it.
    pub fn logs(&self) -> String {
        self.processes().map(Process::log_tail).collect()
    }
}

async fn status_of(address: &str) -> Result<ClusterStatus, Failure> {
    let channel = channel(&format!("http://{address}"), ChannelOptions::default())?;
    let mut client = wire::shards_client::ShardsClient::new(channel);
    let mut request = tonic::Request::new(wire::StatusRequest {});
    request.set_timeout(Duration::from_secs(1));
    Ok(serde_json::from_slice(&client.status(request).await?.into_inner().status_json)?)
}
