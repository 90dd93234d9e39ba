//! A real server for tests, whose processes can be killed and started again on what they had stored.
//!
//! It is an `emet server`, or with `EMET_TEST_CLUSTER=1` a whole cluster: Redis, an S3 server, three
//! shard managers, three executors, a component service and two worker services. The same tests
//! hold for both; what is killed of a cluster are all its executors.

mod cluster;
mod objects;
pub mod raw;
mod web;

pub use web::{Seen, Web, never, pieces, text};

use emet_api::rest::WorkerCreationRequest;
use emet_api::{InvokeParameters, Target};
use emet_client::{Call, Client, ClientError};
use emet_model::{ComponentId, IdempotencyKey, WorkerId, WorkerStatus};
use emet_test_cluster::{Cluster, Process};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest time that a server may take to become healthy.
const START: Duration = Duration::from_secs(60);

/// Longest time that a worker may take to get into a status.
const SETTLE: Duration = Duration::from_secs(60);

/// Workers of a component, and pages of an oplog, that are read after a crash.
const READ_WORKERS: u64 = 20;
const READ_PAGES: usize = 50;

/// A server and its data.
pub struct Server {
    data: tempfile::TempDir,
    child: Option<Child>,
    port: u16,
    arguments: Vec<String>,
    cluster: Option<Cluster>,
    /// Client of its API.
    pub client: Client,
}

/// What went wrong, with what is known of it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The binary that was built with these tests.
pub fn binary() -> Result<PathBuf, Failure> {
    let test = std::env::current_exe()?;
    let profile = test.ancestors().nth(2).ok_or("no target directory")?;
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

impl Server {
    /// Starts a server on an empty data directory.
    pub async fn start() -> Result<Self, Failure> {
        Self::start_with(&[]).await
    }

    /// As [`Self::start`], with further options.
    pub async fn start_with(arguments: &[&str]) -> Result<Self, Failure> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        if std::env::var("EMET_TEST_CLUSTER").is_ok_and(|mode| mode == "1") {
            return Self::start_cluster(arguments).await;
        }
        let port = emet_test_servers::free_port();
        let client = Client::new(&format!("http://127.0.0.1:{port}"))?;
        let mut server = Self {
            data: tempfile::tempdir()?,
            child: None,
            port,
            arguments,
            cluster: None,
            client,
        };
        server.restart().await?;
        Ok(server)
    }

    /// A cluster, whose processes get the options of a server: each those that are for it.
    async fn start_cluster(arguments: Vec<String>) -> Result<Self, Failure> {
        let cluster = Cluster::start(cluster::options(&arguments)).await?;
        let client = cluster.client(0)?;
        let port = cluster.services.first().ok_or("no worker service")?.port();
        let data = tempfile::tempdir()?;
        Ok(Self { data, child: None, port, arguments, cluster: Some(cluster), client })
    }

    /// Starts the server again on its data, and waits until it is healthy.
    pub async fn restart(&mut self) -> Result<(), Failure> {
        if let Some(cluster) = &mut self.cluster {
            for executor in &mut cluster.executors {
                executor.start()?;
            }
            return cluster.ready().await;
        }
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.data.path().join("server.log"))?;
        let child = Command::new(binary()?)
            .arg("server")
            .arg("--data-dir")
            .arg(self.data.path().join("data"))
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        let started = Instant::now();
        while self.client.health().await.is_err() {
            if started.elapsed() > START {
                return Err(format!("the server did not become healthy:\n{}", self.log()).into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Where it listens, such as `http://127.0.0.1:1234`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its data directory; of a cluster an empty one.
    pub fn data_dir(&self) -> PathBuf {
        self.data.path().join("data")
    }

    /// What the server has logged; of a cluster the ends of all logs.
    pub fn log(&self) -> String {
        match &self.cluster {
            Some(cluster) => cluster.logs(),
            None => self.server_log(),
        }
    }

    /// All that each of its processes has logged.
    pub fn logs(&self) -> Vec<String> {
        match &self.cluster {
            Some(cluster) => cluster.processes().map(Process::log).collect(),
            None => vec![self.server_log()],
        }
    }

    fn server_log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("server.log")).unwrap_or_default()
    }

    /// The sum of a metric over the processes that have workers or answer clients; none if it is
    /// missing in all.
    pub async fn metric(&self, series: &str) -> Result<Option<f64>, Failure> {
        let mut texts = vec![self.client.metrics().await?];
        for executor in self.cluster.iter().flat_map(|cluster| &cluster.executors) {
            let admin = Client::new(&format!("http://{}", executor.admin_address()))?;
            texts.push(admin.metrics().await?);
        }
        let lines = texts.iter().flat_map(|text| text.lines());
        let values =
            lines.filter_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        Ok(values.reduce(|sum: f64, value: f64| sum + value))
    }

    /// Memory in MiB of the process that runs the workers, or of all of them.
    pub fn memory_mib(&self) -> Result<u64, Failure> {
        let executors = self.cluster.iter().flat_map(|cluster| &cluster.executors);
        let ids = executors.filter_map(Process::pid).chain(self.child.as_ref().map(Child::id));
        let mut kilobytes = 0;
        for id in ids {
            let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
            let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
            kilobytes += line.trim().trim_end_matches(" kB").parse::<u64>()?;
        }
        if kilobytes == 0 { Err("the server does not run".into()) } else { Ok(kilobytes / 1024) }
    }

    /// Ends the server with SIGKILL.
    pub fn kill(&mut self) -> Result<(), Failure> {
        for executor in self.cluster.iter_mut().flat_map(|cluster| &mut cluster.executors) {
            executor.kill()?;
        }
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGKILL, then a start on the same data. All that was written before can still be read then.
    pub async fn crash(&mut self) -> Result<(), Failure> {
        self.kill()?;
        self.restart().await?;
        if self.cluster.is_some() { Ok(()) } else { self.read_every_oplog().await }
    }

    /// From the next start on a server that is no cluster has these arguments.
    pub fn set_arguments(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(ToString::to_string).collect();
    }

    /// Reads the oplogs of all workers, of which there are few in a test, from end to end.
    async fn read_every_oplog(&self) -> Result<(), Failure> {
        // Tests of access have no rights of their own.
        let Ok(components) = self.client.components(None).await else { return Ok(()) };
        let ids: std::collections::BTreeSet<ComponentId> =
            components.into_iter().map(|c| c.versioned_component_id.component_id).collect();
        for id in ids {
            let page = emet_client::Page { count: Some(READ_WORKERS), ..Default::default() };
            for found in self.client.workers(id, &[], page).await?.workers {
                self.read_oplog(&found.worker_id).await?;
            }
        }
        Ok(())
    }

    async fn read_oplog(&self, worker: &WorkerId) -> Result<(), Failure> {
        let mut page = self
            .client
            .oplog(worker, 1, 100)
            .await
            .map_err(|e| format!("oplog of {worker}: {e}"))?;
        for _ in 0..READ_PAGES {
            let Some(next) = page.next else { break };
            page = self
                .client
                .oplog_after(worker, next, 100)
                .await
                .map_err(|e| format!("oplog of {worker}: {e}"))?;
        }
        Ok(())
    }

    /// Uploads a prebuilt test component under its name.
    pub async fn upload(&self, name: &str) -> Result<ComponentId, Failure> {
        let upload = emet_client::Upload { wasm: guest(name)?.into(), ..Default::default() };
        Ok(self.client.create_component(name, upload).await?.versioned_component_id.component_id)
    }

    /// Uploads a prebuilt test component as the next version of another one.
    pub async fn update(&self, id: ComponentId, name: &str) -> Result<u64, Failure> {
        let upload = emet_client::Upload { wasm: guest(name)?.into(), ..Default::default() };
        Ok(self.client.update_component(id, upload).await?.versioned_component_id.version)
    }

    /// Invokes and answers the plain JSON of the result (null for none).
    pub async fn call(
        &self,
        worker: &WorkerId,
        function: &str,
        parameters: Value,
    ) -> Result<Value, ClientError> {
        self.call_keyed(worker, function, parameters, None).await
    }

    /// As [`Self::call`], with an idempotency key.
    pub async fn call_keyed(
        &self,
        worker: &WorkerId,
        function: &str,
        parameters: Value,
        key: Option<&str>,
    ) -> Result<Value, ClientError> {
        let typed =
            self.client.invoke_and_await(&target(worker), &call(function, parameters, key)).await?;
        let json = serde_json::to_value(&typed).unwrap_or_default();
        Ok(json.pointer("/value/0").cloned().unwrap_or(Value::Null))
    }

    /// Creates a worker that finds these variables in its environment.
    pub async fn create(
        &self,
        worker: &WorkerId,
        env: &[(&str, String)],
    ) -> Result<(), ClientError> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let request =
            WorkerCreationRequest { name: worker.worker_name.clone(), args: Vec::new(), env };
        self.client.create_worker(worker.component_id, &request).await.map(drop)
    }

    /// Waits until a worker has a status.
    pub async fn settle(&self, worker: &WorkerId, status: WorkerStatus) -> Result<(), Failure> {
        let started = Instant::now();
        loop {
            // A server that is being started again is not asked in vain.
            let found = self.client.worker(worker).await.map(|w| w.status);
            if matches!(&found, Ok(found) if *found == status) {
                return Ok(());
            }
            if started.elapsed() > SETTLE {
                let log = self.log();
                return Err(format!("{worker} is {found:?}, not {status}\n{log}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Entries of a worker's oplog that fit a query.
    pub async fn search(&self, worker: &WorkerId, query: &str) -> Result<Vec<Value>, ClientError> {
        let page = self.client.search_oplog(worker, query, None, 100).await?;
        Ok(page.entries.into_iter().map(|e| e.entry).collect())
    }

    /// The lines that a worker has written to standard output, each time it did.
    pub async fn lines(&self, worker: &WorkerId) -> Result<Vec<String>, ClientError> {
        let (mut text, mut from) = (String::new(), 1);
        loop {
            let page = self.client.oplog(worker, from, 100).await?;
            let Some(last) = page.entries.last() else { break };
            from = last.oplog_index + 1;
            let written = page
                .entries
                .iter()
                .filter(|e| e.entry.get("level").and_then(Value::as_str) == Some("Stdout"));
            text.extend(written.filter_map(|e| e.entry.get("message").and_then(Value::as_str)));
        }
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Invokes without waiting for the result.
    pub async fn send(
        &self,
        worker: &WorkerId,
        function: &str,
        parameters: Value,
    ) -> Result<(), ClientError> {
        self.send_keyed(worker, function, parameters, None).await
    }

    /// As [`Self::send`], with an idempotency key.
    pub async fn send_keyed(
        &self,
        worker: &WorkerId,
        function: &str,
        parameters: Value,
        key: Option<&str>,
    ) -> Result<(), ClientError> {
        self.client.invoke(&target(worker), &call(function, parameters, key)).await
    }
}

fn target(worker: &WorkerId) -> Target {
    Target { component_id: worker.component_id, worker_name: Some(worker.worker_name.clone()) }
}

fn call(function: &str, parameters: Value, key: Option<&str>) -> Call {
    let values = match parameters {
        Value::Array(values) => values,
        other => vec![other],
    };
    Call {
        function: function.to_owned(),
        parameters: InvokeParameters::Json(values),
        idempotency_key: key.map(|k| IdempotencyKey(k.to_owned())),
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A server that has ended already needs no end.
        drop(self.kill());
    }
}
