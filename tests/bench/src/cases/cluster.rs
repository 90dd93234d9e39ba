//! A cluster on this machine beside `emet server`: all processes, Redis, the S3 server and the load
//! share its cores, so this shows what the way through a cluster costs, not how a cluster grows.

use super::{ADD, ONE, Scene, adds};
use crate::report::{Figure, Target};
use crate::samples::Samples;
use crate::server::{Server, invocation};
use crate::{cpu, guest, load, redis};
use anyhow::{Context, Result, anyhow};
use emet_model::{ComponentId, WorkerId};
use emet_test_cluster::{Cluster, Options, Process};
use std::time::Duration;

const ROUNDS: usize = 5;
const CONNECTIONS: usize = 64;
/// So long that a machine under full load keeps nobody from it.
const LEASE: Duration = Duration::from_secs(30);

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
    // The single server logs no more either.
    let arguments = ["--log", "warn"].map(str::to_owned).to_vec();
    let options = Options { executors, services: 1, lease: LEASE, arguments, ..Options::default() };
    let cluster = Cluster::start(options).await.map_err(failed)?;
    let id = cluster.upload("counter").await.map_err(failed)?;
    let service = cluster.services.first().ok_or_else(|| anyhow!("no worker service"))?;
    let port = service.port();
    let time = scene.time(2.0);
    let (mut rate, mut tail, mut base) =
        (Samples::default(), Samples::default(), Samples::default());
    let (mut one, mut base_one, mut appends) =
        (Samples::default(), Samples::default(), Samples::default());
    let mut costs = Costs::of(&cluster);
    for round in 0..=ROUNDS {
        let before = costs.used()?;
        let own = load::throughput(port, &adds(id, "many", 0..CONNECTIONS), ONE, time).await?;
        let used = costs.used()?;
        let other =
            load::throughput(single.0, &adds(single.1, "many", 0..CONNECTIONS), ONE, time).await?;
        let times = load::sequential(port, &path(id, "one"), ONE, scene.count(500)).await?;
        let others =
            load::sequential(single.0, &path(single.1, "one"), ONE, scene.count(500)).await?;
        let ceiling = redis::appends(cluster.redis.port(), CONNECTIONS, time).await?;
        // The first round warms up.
        if round > 0 {
            costs.add(before, used, own.per_second * time.as_secs_f64());
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
    let mut figures = vec![
        Figure::new(&name("throughput"), "per s", &rate, single_rate, Target::None),
        Figure::new(&name("of_redis"), "per s", &rate, redis, Target::None),
        Figure::new(&name("p99_64"), "ms", &tail, None, Target::None),
        Figure::new(&name("p50"), "ms", &one, single_p50, Target::None),
    ];
    figures.extend(costs.roles.iter().map(|role| {
        let what = format!("cpu_{}", role.name);
        Figure::new(&name(&what), "us per call", &role.cost, None, Target::None)
    }));
    Ok(figures)
}

/// What a call costs in each role, in processor time: whoever spends most of a machine's cores
/// limits it, unless the disk below Redis does.
struct Costs {
    roles: [Role; 3],
}

struct Role {
    name: &'static str,
    processes: Vec<u32>,
    cost: Samples,
}

impl Costs {
    fn of(cluster: &Cluster) -> Self {
        let ids = |processes: &[Process]| processes.iter().filter_map(Process::pid).collect();
        let role = |name, processes| Role { name, processes, cost: Samples::default() };
        Self {
            roles: [
                role("executors", ids(&cluster.executors)),
                role("service", ids(&cluster.services)),
                role("redis", cluster.redis.pid().into_iter().collect()),
            ],
        }
    }

    /// Processor time that each role has used so far.
    fn used(&self) -> Result<[Duration; 3]> {
        let mut used = [Duration::ZERO; 3];
        for (role, used) in self.roles.iter().zip(&mut used) {
            *used = cpu::used(&role.processes).context("a process of the cluster has ended")?;
        }
        Ok(used)
    }

    fn add(&mut self, before: [Duration; 3], after: [Duration; 3], calls: f64) {
        let times = before.into_iter().zip(after);
        for (role, (before, after)) in self.roles.iter_mut().zip(times) {
            role.cost.add(after.saturating_sub(before).as_secs_f64() * 1e6 / calls);
        }
    }
}

fn path(id: ComponentId, name: &str) -> String {
    invocation(&WorkerId::new(id, name), ADD)
}
