//! A real `emet server` for tests: a process of its own on a free port, with a data directory that
//! outlives it, so that it can be killed and started again.

pub mod raw;

use emet_api::{InvokeParameters, Target};
use emet_client::{Call, Client, ClientError};
use emet_model::{ComponentId, IdempotencyKey, WorkerId};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest time that a server may take to become healthy.
const START: Duration = Duration::from_secs(60);

/// A server and its data.
pub struct Server {
    data: tempfile::TempDir,
    child: Option<Child>,
    port: u16,
    arguments: Vec<String>,
    /// Client of its API.
    pub client: Client,
}

/// What went wrong, with what is known of it.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

fn binary() -> Result<PathBuf, Failure> {
    let test = std::env::current_exe()?;
    let profile = test.ancestors().nth(2).ok_or("no target directory")?;
    let binary = profile.join("emet");
    if binary.exists() { Ok(binary) } else { Err(format!("{} is missing: run `make build` first", binary.display()).into()) }
}

/// A prebuilt test component.
pub fn guest(name: &str) -> Result<Vec<u8>, Failure> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests/prebuilt").join(format!("{name}.wasm"));
    std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()).into())
}

impl Server {
    /// Starts a server on an empty data directory.
    pub async fn start() -> Result<Self, Failure> {
        Self::start_with(&[]).await
    }

    /// As [`Self::start`], with further options.
    pub async fn start_with(arguments: &[&str]) -> Result<Self, Failure> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let client = Client::new(&format!("http://127.0.0.1:{port}"))?;
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let mut server = Self { data: tempfile::tempdir()?, child: None, port, arguments, client };
        server.restart().await?;
        Ok(server)
    }

    /// Starts the server again on its data, and waits until it is healthy.
    pub async fn restart(&mut self) -> Result<(), Failure> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.data.path().join("server.log"))?;
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

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.data.path().join("data")
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("server.log")).unwrap_or_default()
    }

    /// Ends the server with SIGKILL.
    pub fn kill(&mut self) -> Result<(), Failure> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGKILL, then a start on the same data.
    pub async fn crash(&mut self) -> Result<(), Failure> {
        self.kill()?;
        self.restart().await
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
    pub async fn call(&self, worker: &WorkerId, function: &str, parameters: Value) -> Result<Value, ClientError> {
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
        let typed = self.client.invoke_and_await(&target(worker), &call(function, parameters, key)).await?;
        let json = serde_json::to_value(&typed).unwrap_or_default();
        Ok(json.pointer("/value/0").cloned().unwrap_or(Value::Null))
    }

    /// Invokes without waiting for the result.
    pub async fn send(&self, worker: &WorkerId, function: &str, parameters: Value) -> Result<(), ClientError> {
        self.client.invoke(&target(worker), &call(function, parameters, None)).await
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
