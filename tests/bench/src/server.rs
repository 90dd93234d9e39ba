//! The `emet server` that is measured: a process on a free port, with data that outlive it.

use anyhow::{Context, Result, bail};
use emet_client::{Client, Upload};
use emet_model::{ComponentId, WorkerId};
use emet_test_servers::free_port;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server and its data.
pub(crate) struct Server {
    data: tempfile::TempDir,
    child: Option<Child>,
    arguments: Vec<String>,
    /// Its port.
    pub(crate) port: u16,
    /// Client of its API.
    pub(crate) client: Client,
}

/// The binary that was built together with this one.
fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.parent().context("no directory of binaries")?.join("emet");
    if path.exists() { Ok(path) } else { bail!("{} is missing: use `make bench`", path.display()) }
}

impl Server {
    /// Starts a server on an empty data directory below the one given.
    pub(crate) async fn start(work: &Path, arguments: &[&str]) -> Result<Self> {
        let port = free_port();
        let mut server = Self {
            data: tempfile::tempdir_in(work)?,
            child: None,
            arguments: arguments.iter().map(ToString::to_string).collect(),
            port,
            client: Client::new(&format!("http://127.0.0.1:{port}"))?,
        };
        server.launch().await?;
        Ok(server)
    }

    /// Starts the process; gives the time until it is healthy.
    pub(crate) async fn launch(&mut self) -> Result<Duration> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.data.path().join("log"))?;
        let started = Instant::now();
        let child = Command::new(binary()?)
            .arg("server")
            .arg("--data-dir")
            .arg(self.data.path().join("data"))
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .args(&self.arguments)
            .env("RUST_LOG", "warn")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        while self.client.health().await.is_err() {
            if started.elapsed() > Duration::from_secs(120) {
                let log = std::fs::read_to_string(self.data.path().join("log")).unwrap_or_default();
                bail!("the server did not become healthy:\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(started.elapsed())
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGTERM: what is loaded leaves memory in an orderly way.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            let pid = child.id().to_string();
            Command::new("kill").args(["-TERM", &pid]).status()?;
            tokio::task::spawn_blocking(move || child.wait()).await??;
        }
        Ok(())
    }

    /// Size of the stored checkpoints, in bytes.
    pub(crate) fn checkpoint_bytes(&self) -> Result<u64> {
        sizes_below(&self.data.path().join("data/blobs"), "/checkpoints")
    }

    /// Id of the process.
    pub(crate) fn pid(&self) -> Result<u32> {
        Ok(self.child.as_ref().context("the server does not run")?.id())
    }

    /// Memory of the process that is in RAM, in bytes.
    pub(crate) fn resident(&self) -> Result<f64> {
        let pid = self.pid()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024.0)
    }

    /// Uploads a component and waits until it is compiled, which its first worker shows.
    pub(crate) async fn upload(&self, name: &str, wasm: Vec<u8>) -> Result<ComponentId> {
        let upload = Upload { wasm: wasm.into(), ..Default::default() };
        let id =
            self.client.create_component(name, upload).await?.versioned_component_id.component_id;
        let first = emet_api::rest::WorkerCreationRequest {
            name: "first".into(),
            args: vec![],
            env: Default::default(),
        };
        self.client.create_worker(id, &first).await?;
        Ok(id)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.kill();
    }
}

/// Path of an awaited invocation.
pub(crate) fn invocation(worker: &WorkerId, function: &str) -> String {
    let function = emet_model::form_encode(function);
    format!(
        "/v1/components/{}/workers/{}/invoke-and-await?function={function}",
        worker.component_id, worker.worker_name
    )
}

/// Sum of the sizes of the files whose path contains a text.
fn sizes_below(dir: &Path, text: &str) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            sum += sizes_below(&path, text)?;
        } else if path.to_string_lossy().contains(text) {
            sum += path.metadata()?.len();
        }
    }
    Ok(sum)
}
