//! What checkpoints cost while nothing fails, and what they are worth when a node is lost.

use super::{ONE, Scene, adds};
use crate::report::{Figure, Target};
use crate::samples::Samples;
use crate::server::Server;
use crate::{cpu, guest, load};
use anyhow::Result;
use emet_model::ComponentId;
use std::time::{Duration, Instant};

const ROUNDS: usize = 11;
const CONNECTIONS: usize = 64;
/// Calls that each of the workers has answered before the node is lost.
const HISTORY: usize = 20;

pub(super) async fn measure(scene: &Scene) -> Result<Vec<Figure>> {
    let mut figures = cost(scene).await?;
    figures.extend(node_loss(scene, "off", "_replayed").await?);
    figures.extend(node_loss(scene, "on", "").await?);
    Ok(figures)
}

/// The same load with and without, at the same time, so that whatever else the machine does concerns
/// both. What is compared is the processor time of a call, with what is done in the background.
async fn cost(scene: &Scene) -> Result<Vec<Figure>> {
    let off = Server::start(&scene.work, &["--checkpoints", "off"]).await?;
    let on = Server::start(&scene.work, &["--checkpoints", "on"]).await?;
    let id_off = off.upload("counter", guest::prebuilt("counter")?).await?;
    let id_on = on.upload("counter", guest::prebuilt("counter")?).await?;
    // Much shorter rounds differ by more than what is to be seen, also of two servers that do the same.
    let time = scene.time(6.0);
    let (mut without, mut share) = (Samples::default(), Samples::default());
    for round in 0..=ROUNDS {
        let (base, with) = tokio::try_join!(
            processor_time(&off, id_off, time),
            processor_time(&on, id_on, time),
        )?;
        // The first round warms up.
        if round > 0 {
            without.add(base);
            share.add((with / base - 1.0) * 100.0);
        }
    }
    let bytes = Samples::of(on.checkpoint_bytes()? as f64 / CONNECTIONS as f64 / 1024.0);
    Ok(vec![
        Figure::new("call_cost_without", "us", &without, None, Target::None),
        Figure::new("checkpoint_cost", "percent", &share, None, Target::AtMost(2.0)),
        Figure::new("checkpoint_bytes", "KiB/worker", &bytes, None, Target::None),
    ])
}

/// Processor time of the server per call, in microseconds.
async fn processor_time(server: &Server, id: ComponentId, time: Duration) -> Result<f64> {
    let calls = adds(id, "w", 0..CONNECTIONS);
    let before = cpu::used(&[server.pid()?])?;
    let load = load::throughput(server.port, &calls, ONE, time).await?;
    let used = cpu::used(&[server.pid()?])?.saturating_sub(before);
    Ok(used.as_secs_f64() * 1e6 / load.times.count() as f64)
}

/// Many workers answer their first call after a kill: how long all take together, and one at most.
async fn node_loss(scene: &Scene, mode: &str, suffix: &str) -> Result<Vec<Figure>> {
    let mut server = Server::start(&scene.work, &["--checkpoints", mode]).await?;
    let id = server.upload("counter", guest::prebuilt("counter")?).await?;
    let workers = scene.count(10_000);
    for _ in 0..HISTORY {
        load::each_once(server.port, adds(id, "w", 0..workers), ONE, CONNECTIONS).await?;
    }
    server.kill()?;
    let started = Instant::now();
    server.launch().await?;
    let load = load::each_once(server.port, adds(id, "w", 0..workers), ONE, CONNECTIONS).await?;
    let total = Samples::of(started.elapsed().as_secs_f64() * 1e3);
    let slowest = Samples::of(load.times.quantile(0.99));
    let name = |what: &str| format!("node_loss_{what}{suffix}");
    Ok(vec![
        Figure::new(&name("total"), "ms", &total, None, Target::None),
        Figure::new(&name("p99"), "ms", &slowest, None, Target::None),
    ])
}
