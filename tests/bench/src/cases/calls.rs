//! Awaited invocations that add to a counter, each durable before it is answered.

use super::{ADD, ONE, Scene, adds};
use crate::report::{Figure, Target};
use crate::samples::Samples;
use crate::server::{Server, invocation};
use crate::yardsticks::{Hello, append_and_sync};
use crate::{guest, load};
use anyhow::Result;
use emet_model::{ComponentId, WorkerId};

/// Rounds of each comparison; yardstick and server take turns.
const ROUNDS: usize = 5;
const CONNECTIONS: usize = 64;

pub(super) async fn measure(scene: &Scene) -> Result<Vec<Figure>> {
    let server = Server::start(&scene.work, &[]).await?;
    let hello = Hello::start().await?;
    let id = server.upload("counter", guest::prebuilt("counter")?).await?;
    let mut figures = sequential(scene, &server, &hello, id).await?;
    let (throughput, rate) = many_workers(scene, &server, &hello, id).await?;
    figures.extend(throughput);
    figures.extend(new_workers(scene, &server, id, rate).await?);
    Ok(figures)
}

async fn sequential(
    scene: &Scene,
    server: &Server,
    hello: &Hello,
    id: ComponentId,
) -> Result<Vec<Figure>> {
    let path = invocation(&WorkerId::new(id, "sequential"), ADD);
    let requests = scene.count(1000);
    let (mut own, mut greeting, mut sync) =
        (Samples::default(), Samples::default(), Samples::default());
    load::sequential(server.port, &path, ONE, requests / 2).await?;
    hello.sequential(requests / 2).await?;
    for _ in 0..ROUNDS {
        own.add(load::sequential(server.port, &path, ONE, requests).await?.median());
        greeting.add(hello.sequential(requests).await?.median());
        sync.add(append_and_sync(&scene.work, requests)?.median());
    }
    let floor = greeting.median() + sync.median();
    Ok(vec![
        Figure::new("hello_p50", "ms", &greeting, None, Target::None),
        Figure::new("fdatasync_p50", "ms", &sync, None, Target::None),
        Figure::new(
            "sequential_p50",
            "ms",
            &own,
            Some(("ms hello + fdatasync", floor)),
            Target::RatioAtMost(3.0),
        ),
    ])
}

async fn many_workers(
    scene: &Scene,
    server: &Server,
    hello: &Hello,
    id: ComponentId,
) -> Result<(Vec<Figure>, f64)> {
    let paths = adds(id, "many", 0..CONNECTIONS);
    let hot = vec![invocation(&WorkerId::new(id, "hot"), ADD); CONNECTIONS];
    let time = scene.time(2.0);
    let (mut own, mut greeting, mut one, mut slow) =
        (Samples::default(), Samples::default(), Samples::default(), Samples::default());
    load::throughput(server.port, &paths, ONE, time).await?;
    hello.throughput(CONNECTIONS, time).await?;
    for _ in 0..ROUNDS {
        let load = load::throughput(server.port, &paths, ONE, time).await?;
        own.add(load.per_second);
        slow.add(load.times.quantile(0.99));
        greeting.add(hello.throughput(CONNECTIONS, time).await?);
        one.add(load::throughput(server.port, &hot, ONE, time).await?.per_second);
    }
    let yardstick = Some(("per s hello", greeting.median()));
    let figures = vec![
        Figure::new("throughput_64", "per s", &own, yardstick, Target::RatioAtLeast(0.12)),
        Figure::new("throughput_64_p99", "ms", &slow, None, Target::None),
        Figure::new("throughput_hot", "per s", &one, yardstick, Target::None),
    ];
    Ok((figures, own.median()))
}

async fn new_workers(
    scene: &Scene,
    server: &Server,
    id: ComponentId,
    rate: f64,
) -> Result<Vec<Figure>> {
    let mut own = Samples::default();
    for round in 0..ROUNDS {
        let paths = adds(id, &format!("new-{round}"), 0..scene.count(1000));
        own.add(load::each_once(server.port, paths, ONE, 16).await?.per_second);
    }
    Ok(vec![Figure::new(
        "new_workers",
        "per s",
        &own,
        Some(("per s throughput_64", rate)),
        Target::RatioAtLeast(0.5),
    )])
}
