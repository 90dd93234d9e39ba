//! How fast a history is replayed, and how long a worker takes to go on after a kill, by the
//! length of its history.

use super::Scene;
use crate::http::Connection;
use crate::report::{Figure, Target};
use crate::samples::Samples;
use crate::server::{Server, invocation};
use crate::{guest, load};
use anyhow::Result;
use emet_model::{ComponentId, WorkerId};
use std::time::Instant;

const ROUNDS: usize = 5;
/// Entries of one invocation: its start and end, and the steps between.
const PER_CALL: usize = 1000;

pub(super) async fn measure(scene: &Scene) -> Result<Vec<Figure>> {
    let mut figures = replay(scene).await?;
    figures.extend(by_length(scene).await?);
    Ok(figures)
}

async fn fill(server: &Server, id: ComponentId, name: &str, entries: usize) -> Result<()> {
    let path = invocation(&WorkerId::new(id, name), "recorded");
    let steps = PER_CALL.min(entries) - 2;
    let body = format!(r#"{{"params":[{{"value":{steps}}}]}}"#);
    load::sequential(server.port, &path, &body, (entries / PER_CALL).max(1)).await.map(drop)
}

/// Time of the first call after a kill, on a connection that exists, in ms.
async fn first_call(server: &mut Server, id: ComponentId, name: &str) -> Result<f64> {
    server.kill()?;
    server.launch().await?;
    let mut connection = Connection::open(server.port).await?;
    // Another worker's call brings the component in, as on a node that has been running.
    connection
        .post(&invocation(&WorkerId::new(id, "first"), "recorded"), r#"{"params":[{"value":0}]}"#)
        .await?;
    let started = Instant::now();
    connection
        .post(&invocation(&WorkerId::new(id, name), "recorded"), r#"{"params":[{"value":0}]}"#)
        .await?;
    Ok(started.elapsed().as_secs_f64() * 1e3)
}

async fn replay(scene: &Scene) -> Result<Vec<Figure>> {
    let mut server = Server::start(&scene.work, &["--checkpoints", "off"]).await?;
    let id = server.upload("steps", guest::steps()?).await?;
    let entries = scene.count(200_000);
    fill(&server, id, "long", entries).await?;
    let mut rate = Samples::default();
    for _ in 0..ROUNDS {
        rate.add(entries as f64 / first_call(&mut server, id, "long").await? * 1e3);
    }
    Ok(vec![Figure::new("replay_entries", "per s", &rate, None, Target::AtLeast(500_000.0))])
}

async fn by_length(scene: &Scene) -> Result<Vec<Figure>> {
    let mut server = Server::start(&scene.work, &[]).await?;
    let id = server.upload("steps", guest::steps()?).await?;
    let lengths =
        [("recovery_1e2", 100), ("recovery_1e4", 10_000), ("recovery_1e6", scene.count(1_000_000))];
    for (name, entries) in lengths {
        fill(&server, id, name, entries).await?;
    }
    let mut figures = Vec::new();
    let mut medians = Vec::new();
    for (name, _) in lengths {
        let mut times = Samples::default();
        for _ in 0..ROUNDS {
            times.add(first_call(&mut server, id, name).await?);
        }
        medians.push(times.median());
        figures.push(Figure::new(name, "ms", &times, None, Target::None));
    }
    if let [short, _, long] = medians.as_slice() {
        let mut growth = Samples::default();
        growth.add(long / short);
        figures.push(Figure::new(
            "recovery_1e6_over_1e2",
            "times",
            &growth,
            None,
            Target::AtMost(2.0),
        ));
    }
    Ok(figures)
}
