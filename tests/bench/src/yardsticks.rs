//! What the machine can do: an HTTP server that says hello, and a file that is appended to.

use crate::load;
use crate::samples::Samples;
use anyhow::{Context, Result};
use axum::Router;
use axum::routing::post;
use emet_test_servers::free_port;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Bytes of a record of the append loop.
const RECORD: usize = 200;

/// The hello server, in a process of its own as every server that is measured.
pub(crate) struct Hello {
    child: Child,
    /// Its port.
    pub(crate) port: u16,
}

/// Answers every POST; runs until it is killed.
pub(crate) async fn serve(port: u16) -> Result<()> {
    let app = Router::new().route("/", post(|| async { "{\"result\":\"hello\"}" }));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, app).await.context("the hello server failed")
}

impl Hello {
    /// Starts it.
    pub(crate) async fn start() -> Result<Self> {
        let port = free_port();
        let child = Command::new(std::env::current_exe()?)
            .args(["hello", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()?;
        let hello = Self { child, port };
        load::wait_for_port(port).await?;
        Ok(hello)
    }

    /// Times of single requests over one connection, in ms.
    pub(crate) async fn sequential(&self, requests: usize) -> Result<Samples> {
        load::sequential(self.port, "/", "{}", requests).await
    }

    /// Requests per second over several connections.
    pub(crate) async fn throughput(&self, connections: usize, time: Duration) -> Result<f64> {
        Ok(load::throughput(self.port, &vec!["/".to_owned(); connections], "{}", time)
            .await?
            .per_second)
    }
}

impl Drop for Hello {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Times of appending a record to a file and making it durable, in ms.
pub(crate) fn append_and_sync(directory: &std::path::Path, times: usize) -> Result<Samples> {
    let path = directory.join("yardstick");
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path)?;
    let mut samples = Samples::default();
    for _ in 0..times {
        let started = Instant::now();
        file.write_all(&[7; RECORD])?;
        file.sync_data()?;
        samples.add_ms(started.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(samples)
}
