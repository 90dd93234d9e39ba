//! Load on a server: closed loops over keep-alive connections.

use crate::http::Connection;
use crate::samples::Samples;
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// What a load has shown.
pub(crate) struct Load {
    /// Answered requests per second.
    pub(crate) per_second: f64,
    /// Times of the requests, in ms.
    pub(crate) times: Samples,
}

/// Waits until somebody listens on a port.
pub(crate) async fn wait_for_port(port: u16) -> Result<()> {
    let started = Instant::now();
    while Connection::open(port).await.is_err() {
        if started.elapsed() > Duration::from_secs(30) {
            bail!("nobody listens on port {port}");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// Times of requests that follow each other on one connection, in ms.
pub(crate) async fn sequential(
    port: u16,
    path: &str,
    body: &str,
    requests: usize,
) -> Result<Samples> {
    let mut connection = Connection::open(port).await?;
    let mut times = Samples::default();
    for _ in 0..requests {
        let started = Instant::now();
        connection.post(path, body).await?;
        times.add_ms(started.elapsed());
    }
    Ok(times)
}

/// A connection for each path, each repeating its request for a while.
pub(crate) async fn throughput(
    port: u16,
    paths: &[String],
    body: &str,
    time: Duration,
) -> Result<Load> {
    let until = Instant::now() + time;
    let started = Instant::now();
    let loops = paths.iter().map(|path| {
        let (path, body) = (path.clone(), body.to_owned());
        tokio::spawn(async move {
            let mut connection = Connection::open(port).await?;
            let (mut count, mut times) = (0u64, Samples::default());
            while Instant::now() < until {
                let sent = Instant::now();
                connection.post(&path, &body).await?;
                times.add_ms(sent.elapsed());
                count += 1;
            }
            anyhow::Ok((count, times))
        })
    });
    let mut load = Load { per_second: 0.0, times: Samples::default() };
    let mut total = 0;
    for outcome in futures::future::join_all(loops).await {
        let (count, times) = outcome??;
        total += count;
        load.times.extend(times);
    }
    load.per_second = total as f64 / started.elapsed().as_secs_f64();
    Ok(load)
}

/// Every path once, over so many connections.
pub(crate) async fn each_once(
    port: u16,
    paths: Vec<String>,
    body: &str,
    connections: usize,
) -> Result<Load> {
    let queue = std::sync::Arc::new(std::sync::Mutex::new(paths));
    let total = queue.lock().map(|q| q.len()).unwrap_or(0);
    let started = Instant::now();
    let loops = (0..connections).map(|_| {
        let (queue, body) = (queue.clone(), body.to_owned());
        tokio::spawn(async move {
            let mut connection = Connection::open(port).await?;
            let mut times = Samples::default();
            loop {
                let next = queue.lock().ok().and_then(|mut q| q.pop());
                let Some(path) = next else { return anyhow::Ok(times) };
                let sent = Instant::now();
                connection.post(&path, &body).await?;
                times.add_ms(sent.elapsed());
            }
        })
    });
    let mut times = Samples::default();
    for outcome in futures::future::join_all(loops).await {
        times.extend(outcome??);
    }
    Ok(Load { per_second: total as f64 / started.elapsed().as_secs_f64(), times })
}
