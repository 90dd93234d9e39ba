//! A cluster on this machine beside `emet server`: all processes, Redis, the S3 server and the load
//! share its cores, so this shows what the way through a cluster costs, not how a cluster grows.

use super::{ADD, ONE, Scene, adds};
use crate::report::{Figure, Target};
use crate::samples::Samples;
use crate::server::{Server, invocation};
use crate::{guest, load, redis};
use anyhow::{Result, anyhow};
use emet_model::{ComponentId, WorkerId};
use emet_test_cluster::{Cluster, Options};

const ROUNDS: usize = 5;
const CONNECTIONS: usize = 64;

pub(super) async fn measure(scene: &Scene) -> Result<Vec<Figure>> {
    let single = Server::start(&scene.work, &[]).await?;
    let id = single.upload("counter", guest::prebuilt("counter")?).await?;
    let mut figures = Vec::new();
    for executors in 1..=3 {
        figures.extend(with(scene, executors, (single.port, id)).await?);
    }
    Ok(figures)
}

/// Figures of a cluster with so many executors; the single server takes turns with it.
async fn with(scene: &Scene, executors: usize, single: (u16, ComponentId)) -> Result<Vec<Figure>> {
    let failed = |e: emet_test_cluster::Failure| anyhow!("{e}");
    let options = Options { executors, services: 1, ..Options::default() };
    let cluster = Cluster::start(options).await.map_err(failed)?;
    let id = cluster.upload("counter").await.map_err(failed)?;
    let service = cluster.services.first().ok_or_else(|| anyhow!("no worker service"))?;
    let port = service.port();
    let time = scene.time(2.0);
    let (mut rate, mut tail, mut base) =
        (Samples::default(), Samples::default(), Samples::default());
    let (mut one, mut base_one, mut appends) =
        (Samples::default(), Samples::default(), Samples::default());
    for round in 0..=ROUNDS {
        let own = load::throughput(port, &adds(id, "many", 0..CONNECTIONS), ONE, time).await?;
        let other =
            load::throughput(single.0, &adds(single.1, "many", 0..CONNECTIONS), ONE, time).await?;
        let times = load::sequential(port, &path(id, "one"), ONE, scene.count(500)).await?;
        let others =
            load::sequential(single.0, &path(single.1, "one"), ONE, scene.count(500)).await?;
        let ceiling = redis::appends(cluster.redis.port(), CONNECTIONS, time).await?;
        // The first round warms up.
        if round > 0 {
            rate.add(own.per_second);
            tail.add(own.times.quantile(0.99));
            base.add(other.per_second);
            one.add(times.median());
            base_one.add(others.median());
            appends.add(ceiling);
        }
    }
    let name = |what: &str| format!("cluster_{executors}_{what}");
    let single_rate = Some(("per s emet server", base.median()));
    let single_p50 = Some(("ms emet server", base_one.median()));
    let redis = Some(("per s Redis XADD", appends.median()));
    Ok(vec![
        Figure::new(&name("throughput"), "per s", &rate, single_rate, Target::None),
        Figure::new(&name("of_redis"), "per s", &rate, redis, Target::None),
        Figure::new(&name("p99_64"), "ms", &tail, None, Target::None),
        Figure::new(&name("p50"), "ms", &one, single_p50, Target::None),
    ])
}

fn path(id: ComponentId, name: &str) -> String {
    invocation(&WorkerId::new(id, name), ADD)
}
