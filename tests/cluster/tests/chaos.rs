//! Failures of every part of a cluster under load. The checker reads the record of every call: none
//! lost, none doubled, none that hangs (docs/operations/cluster.md).

use emet_test_cluster::{Cluster, Failure, History, Load, LoadOptions, Options};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::time::Duration;

/// Lease of the executors in these tests.
const LEASE: Duration = Duration::from_secs(1);
/// Load before and after what happens.
const CALM: Duration = Duration::from_millis(1500);

/// The choices of a run: printed, so that a run can be had again with EMET_SEED.
fn random(name: &str) -> StdRng {
    let seed = std::env::var("EMET_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(rand::random::<u64>);
    println!("{name}: EMET_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

fn options() -> Options {
    Options { lease: LEASE, ..Options::default() }
}

fn check(name: &str, history: &History, cluster: &Cluster) {
    let violations = history.violations();
    let figures = history.figures(|_| true).map(|f| f.to_string()).unwrap_or_default();
    println!("{name}: {figures}");
    assert!(violations.is_empty(), "{violations:#?}\n{}", cluster.logs());
}

/// Which clients' workers an executor owns.
async fn clients_of(
    cluster: &Cluster,
    load: &Load,
    executor: usize,
    clients: usize,
) -> Result<Vec<usize>, Failure> {
    let table = cluster.table().await?;
    Ok((0..clients)
        .filter(|c| cluster.owner_in(&table, &load.worker(*c)).ok() == Some(executor))
        .collect())
}

/// SIGKILL of an executor: its workers answer again after about a lease time, the others do not
/// notice.
#[tokio::test(flavor = "multi_thread")]
async fn an_executor_is_killed() -> Result<(), Failure> {
    let mut random = random("an_executor_is_killed");
    let mut cluster = Cluster::start(options()).await?;
    let clients = LoadOptions::default();
    let load = Load::start(&cluster, &clients).await?;
    tokio::time::sleep(CALM).await;
    let victim = random.random_range(0..3);
    let hit = clients_of(&cluster, &load, victim, clients.clients).await?;
    let killed_at = load.now();
    cluster.executors.get_mut(victim).ok_or("no victim")?.kill()?;
    tokio::time::sleep(LEASE * 3 + CALM).await;
    let history = load.finish().await?;
    check("an executor is killed", &history, &cluster);
    let during =
        |c: &emet_test_cluster::Call| c.answered >= killed_at && c.sent <= killed_at + LEASE * 3;
    let survivors = history
        .figures(|c| during(c) && !hit.contains(&c.client))
        .ok_or("no calls of survivors")?;
    let moved = history
        .figures(|c| during(c) && hit.contains(&c.client))
        .ok_or("no calls of the victim's workers")?;
    println!("workers of survivors: {survivors}");
    println!("workers of the victim, lease {LEASE:?}: {moved}");
    assert!(moved.longest < LEASE * 8, "the victim's workers answer again: {moved}");
    Ok(())
}

/// SIGSTOP longer than the lease, then SIGCONT: the executor comes back late, is refused what it
/// does not own any more, and takes part again.
#[tokio::test(flavor = "multi_thread")]
async fn an_executor_sleeps_through_its_lease() -> Result<(), Failure> {
    let mut random = random("an_executor_sleeps_through_its_lease");
    let mut cluster = Cluster::start(options()).await?;
    let load = Load::start(&cluster, &LoadOptions::default()).await?;
    tokio::time::sleep(CALM).await;
    let victim = random.random_range(0..3usize);
    cluster.executors.get(victim).ok_or("no victim")?.signal("STOP")?;
    tokio::time::sleep(LEASE * 4).await;
    let status = cluster.status().await?;
    assert_eq!(status.executors.len(), 2, "the sleeper has lost its shards: {status:?}");
    cluster.executors.get(victim).ok_or("no victim")?.signal("CONT")?;
    cluster.ready().await?;
    tokio::time::sleep(CALM).await;
    let history = load.finish().await?;
    check("an executor sleeps through its lease", &history, &cluster);
    let log = cluster.executors.get(victim).ok_or("no victim")?.log();
    assert!(log.contains("the lease has ended: all workers are stopped"), "{log}");
    Ok(())
}

/// The leader of the shard managers dies while shards move.
#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_killed_during_a_rebalance() -> Result<(), Failure> {
    let mut cluster = Cluster::start(Options { executors: 2, ..options() }).await?;
    let load = Load::start(&cluster, &LoadOptions::default()).await?;
    let leader = cluster.leader().await?;
    let before = cluster.status().await?.version;
    cluster.add_executor()?;
    while cluster.status().await?.version == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cluster.managers.get_mut(leader).ok_or("no leader")?.kill()?;
    cluster.ready().await?;
    tokio::time::sleep(CALM).await;
    cluster.managers.get_mut(leader).ok_or("no leader")?.start()?;
    tokio::time::sleep(CALM).await;
    let history = load.finish().await?;
    check("the leader is killed during a rebalance", &history, &cluster);
    let status = cluster.status().await?;
    assert_eq!((status.executors.len(), status.unowned, status.moving), (3, 0, 0), "{status:?}");
    Ok(())
}

/// The leader is stopped, not dead: another takes over, and the old one is told so when it wakes.
#[tokio::test(flavor = "multi_thread")]
async fn the_leader_sleeps() -> Result<(), Failure> {
    let mut cluster = Cluster::start(options()).await?;
    let load = Load::start(&cluster, &LoadOptions::default()).await?;
    let leader = cluster.leader().await?;
    cluster.managers.get(leader).ok_or("no leader")?.signal("STOP")?;
    tokio::time::sleep(LEASE * 5).await;
    cluster.managers.get(leader).ok_or("no leader")?.signal("CONT")?;
    cluster.ready().await?;
    tokio::time::sleep(CALM).await;
    let history = load.finish().await?;
    check("the leader sleeps", &history, &cluster);
    Ok(())
}

/// Redis is killed and comes back with what it had.
#[tokio::test(flavor = "multi_thread")]
async fn redis_restarts() -> Result<(), Failure> {
    let mut cluster = Cluster::start(options()).await?;
    let load = Load::start(&cluster, &LoadOptions::default()).await?;
    tokio::time::sleep(CALM).await;
    for _ in 0..2 {
        cluster.redis.kill();
        tokio::time::sleep(CALM / 2).await;
        tokio::task::block_in_place(|| cluster.redis.restart());
        tokio::time::sleep(CALM).await;
    }
    let history = load.finish().await?;
    check("Redis restarts", &history, &cluster);
    Ok(())
}

/// Without S3 workers that are loaded go on, and so does everything when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn s3_is_gone_for_a_while() -> Result<(), Failure> {
    let mut cluster = Cluster::start(options()).await?;
    let load = Load::start(&cluster, &LoadOptions::default()).await?;
    cluster.s3.kill();
    let gone_at = load.now();
    tokio::time::sleep(CALM * 2).await;
    let back_at = load.now();
    tokio::task::block_in_place(|| cluster.s3.restart());
    tokio::time::sleep(CALM).await;
    let history = load.finish().await?;
    check("S3 is gone for a while", &history, &cluster);
    let meanwhile =
        history.calls.iter().filter(|c| c.sent > gone_at && c.answered < back_at).count();
    assert!(meanwhile > 0, "loaded workers need no S3");
    Ok(())
}

/// Every process is replaced, one after the other, in a random order.
#[tokio::test(flavor = "multi_thread")]
async fn everything_is_restarted_in_turn() -> Result<(), Failure> {
    let mut random = random("everything_is_restarted_in_turn");
    let mut cluster = Cluster::start(options()).await?;
    let load = Load::start(&cluster, &LoadOptions::default()).await?;
    let mut left: Vec<(&str, usize)> =
        (0..3).flat_map(|n| [("manager", n), ("executor", n)]).collect();
    left.extend([("service", 0), ("service", 1), ("components", 0)]);
    while let Some(chosen) = left.choose(&mut random).copied() {
        left.retain(|other| *other != chosen);
        let process = match chosen {
            ("manager", n) => cluster.managers.get_mut(n),
            ("executor", n) => cluster.executors.get_mut(n),
            ("service", n) => cluster.services.get_mut(n),
            _ => Some(&mut cluster.components),
        };
        let process = process.ok_or("no such process")?;
        process.terminate(Duration::from_secs(60)).await?;
        process.start()?;
        cluster.ready().await?;
    }
    let history = load.finish().await?;
    check("everything is restarted in turn", &history, &cluster);
    Ok(())
}
