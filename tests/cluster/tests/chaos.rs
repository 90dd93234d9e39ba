//! Processes of a cluster under load are killed, stopped and replaced. The checker reads the record
//! of every call: none lost, none doubled, none that hangs (docs/operations/cluster.md).
#![allow(clippy::print_stdout, reason = "the choices of a run are shown")]

use emet_api::cluster::ClusterStatus;
use emet_api::{InvokeParameters, Target};
use emet_model::{IdempotencyKey, WorkerId, WorkerStatus};
use emet_test_cluster::{Clock, Failure, Options, Process, Trial};
use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use serde_json::json;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Longest time until a worker whose time has come goes on.
const WAKES: Duration = Duration::from_secs(60);

/// SIGKILL of an executor: its workers answer again after about a lease time, the others do not
/// notice.
#[tokio::test(flavor = "multi_thread")]
async fn an_executor_is_killed() -> Result<(), Failure> {
    let mut trial = Trial::start("an_executor_is_killed", Options::default()).await?;
    let victim = trial.victim().await?;
    let failure = trial.failing(&victim);
    executor(&mut trial, victim.executor)?.kill()?;
    trial.finish_after(&failure).await.map(drop)
}

fn executor(trial: &mut Trial, place: usize) -> Result<&mut Process, Failure> {
    trial.cluster.executors.get_mut(place).ok_or_else(|| "no such executor".into())
}

/// SIGSTOP longer than the lease, then SIGCONT: the executor comes back late, stops what it does not
/// own any more, and takes part again.
#[tokio::test(flavor = "multi_thread")]
async fn an_executor_sleeps_through_its_lease() -> Result<(), Failure> {
    let mut trial =
        Trial::start("an_executor_sleeps_through_its_lease", Options::default()).await?;
    let victim = trial.victim().await?;
    let failure = trial.failing(&victim);
    let address = executor(&mut trial, victim.executor)?.address();
    executor(&mut trial, victim.executor)?.signal("STOP")?;
    // The others share everything before it wakes.
    let gone = |status: &ClusterStatus| {
        status.executors.iter().all(|e| !e.address.ends_with(&address)) && status.unowned == 0
    };
    trial.cluster.until("the sleeper has lost its shards", gone).await?;
    trial.calm().await;
    executor(&mut trial, victim.executor)?.signal("CONT")?;
    let cluster = trial.finish_after(&failure).await?;
    let log = cluster.executors.get(victim.executor).ok_or("no such executor")?.log();
    assert!(log.contains("the lease has ended: all workers are stopped"), "{log}");
    Ok(())
}

/// The leader of the shard managers dies while shards move.
#[tokio::test(flavor = "multi_thread")]
async fn the_leader_is_killed_during_a_rebalance() -> Result<(), Failure> {
    let mut trial = rebalancing("the_leader_is_killed_during_a_rebalance").await?;
    let leader = trial.cluster.leader().await?;
    let manager = trial.cluster.managers.get_mut(leader).ok_or("no leader")?;
    manager.kill()?;
    trial.cluster.ready().await?;
    trial.cluster.managers.get_mut(leader).ok_or("no leader")?.start()?;
    let (_, cluster) = trial.finish().await?;
    let status = cluster.status().await?;
    assert_eq!((status.executors.len(), status.unowned, status.moving), (3, 0, 0), "{status:?}");
    Ok(())
}

/// The leader is stopped, not dead, while shards move: another takes over, and the old one is told
/// so when it wakes.
#[tokio::test(flavor = "multi_thread")]
async fn the_leader_sleeps_during_a_rebalance() -> Result<(), Failure> {
    let mut trial = rebalancing("the_leader_sleeps_during_a_rebalance").await?;
    let leader = trial.cluster.leader().await?;
    trial.cluster.managers.get(leader).ok_or("no leader")?.signal("STOP")?;
    tokio::time::sleep(trial.cluster.lease() * 4).await;
    trial.cluster.ready().await?;
    assert_ne!(trial.cluster.leader().await?, leader, "another one leads");
    trial.cluster.managers.get(leader).ok_or("no leader")?.signal("CONT")?;
    trial.finish().await.map(drop)
}

/// A trial in which shards move to a third executor.
async fn rebalancing(name: &'static str) -> Result<Trial, Failure> {
    let mut trial = Trial::start(name, Options { executors: 2, ..Options::default() }).await?;
    trial.cluster.add_executor()?;
    // Or have moved already.
    let moves = |status: &ClusterStatus| {
        status.moving > 0 || status.executors.iter().filter(|e| e.shards > 0).count() == 3
    };
    trial.cluster.until("shards move", moves).await?;
    Ok(trial)
}

/// Redis is killed and comes back with what it had.
#[tokio::test(flavor = "multi_thread")]
async fn redis_restarts() -> Result<(), Failure> {
    let mut trial = Trial::start("redis_restarts", Options::default()).await?;
    for _ in 0..2 {
        trial.cluster.redis.kill();
        let gone = Duration::from_millis(trial.random.random_range(100..2000));
        tokio::time::sleep(gone).await;
        tokio::task::block_in_place(|| trial.cluster.redis.restart());
        trial.calm().await;
    }
    trial.finish().await.map(drop)
}

/// Redis has no memory left for a while: what cannot be recorded is refused or waits, and nothing of it
/// takes effect twice when it is tried again.
#[tokio::test(flavor = "multi_thread")]
async fn redis_is_full_for_a_while() -> Result<(), Failure> {
    let mut trial = Trial::start("redis_is_full_for_a_while", Options::default()).await?;
    for _ in 0..2 {
        assert_eq!(trial.cluster.redis.command("CONFIG SET maxmemory 1mb"), "+OK");
        let full = Duration::from_millis(trial.random.random_range(200..2000));
        tokio::time::sleep(full).await;
        assert_eq!(trial.cluster.redis.command("CONFIG SET maxmemory 0"), "+OK");
        trial.calm().await;
    }
    let info = trial.cluster.redis.command("INFO errorstats");
    assert!(info.contains("errorstat_OOM"), "it did refuse something: {info}");
    trial.finish().await.map(drop)
}

/// Without S3 workers that are loaded go on, and so does everything when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn s3_is_gone_for_a_while() -> Result<(), Failure> {
    let mut trial = Trial::start("s3_is_gone_for_a_while", Options::default()).await?;
    trial.cluster.s3.kill();
    let gone_at = trial.load.now();
    trial.calm().await;
    trial.calm().await;
    let back_at = trial.load.now();
    tokio::task::block_in_place(|| trial.cluster.s3.restart());
    let (history, _) = trial.finish().await?;
    let meanwhile =
        history.calls.iter().filter(|c| c.sent > gone_at && c.answered < back_at).count();
    assert!(meanwhile > 0, "loaded workers need no S3");
    Ok(())
}

/// Every process is replaced, one after the other, in a random order.
#[tokio::test(flavor = "multi_thread")]
async fn everything_is_restarted_in_turn() -> Result<(), Failure> {
    let mut trial = Trial::start("everything_is_restarted_in_turn", Options::default()).await?;
    let mut order: Vec<usize> = (0..trial.cluster.processes().count()).collect();
    order.shuffle(&mut trial.random);
    for place in order {
        let process = trial.cluster.processes_mut().nth(place).ok_or("no such process")?;
        process.terminate(Duration::from_secs(60)).await?;
        process.start()?;
        trial.cluster.ready().await?;
    }
    trial.finish().await.map(drop)
}

/// Processes chosen by chance are killed, or stopped for a while, also the stores; two of them at
/// the same time.
#[tokio::test(flavor = "multi_thread")]
async fn any_process_is_killed_or_stopped() -> Result<(), Failure> {
    let mut trial = Trial::start("any_process_is_killed_or_stopped", Options::default()).await?;
    for _ in 0..5 {
        let services = trial.cluster.processes().count();
        // Two places after the processes are the stores.
        let mut places: Vec<usize> = (0..services + 2).collect();
        places.shuffle(&mut trial.random);
        let chosen: Vec<usize> = places.into_iter().take(2).collect();
        let kill = *[true, false].choose(&mut trial.random).ok_or("no choice")?;
        let pause = Duration::from_millis(trial.random.random_range(200..3000));
        for place in &chosen {
            fail(&mut trial, *place, kill)?;
        }
        tokio::time::sleep(pause).await;
        for place in &chosen {
            recover(&mut trial, *place, kill)?;
        }
        trial.cluster.ready().await?;
    }
    trial.finish().await.map(drop)
}

fn fail(trial: &mut Trial, place: usize, kill: bool) -> Result<(), Failure> {
    let cluster = &mut trial.cluster;
    let stores = place.checked_sub(cluster.processes().count());
    let name = match stores {
        None => cluster.processes().nth(place).map_or("nobody", Process::name),
        Some(0) => "Redis",
        Some(_) => "S3",
    };
    println!("{name} is {}", if kill { "killed" } else { "stopped" });
    match (stores, kill) {
        (None, true) => cluster.processes_mut().nth(place).ok_or("no such process")?.kill()?,
        (None, false) => cluster.processes().nth(place).ok_or("no such process")?.signal("STOP")?,
        (Some(0), true) => cluster.redis.kill(),
        (Some(0), false) => cluster.redis.pause(),
        (Some(_), true) => cluster.s3.kill(),
        (Some(_), false) => cluster.s3.pause(),
    }
    Ok(())
}

fn recover(trial: &mut Trial, place: usize, killed: bool) -> Result<(), Failure> {
    let cluster = &mut trial.cluster;
    match (place.checked_sub(cluster.processes().count()), killed) {
        (None, true) => cluster.processes_mut().nth(place).ok_or("no such process")?.start()?,
        (None, false) => cluster.processes().nth(place).ok_or("no such process")?.signal("CONT")?,
        (Some(0), true) => tokio::task::block_in_place(|| cluster.redis.restart()),
        (Some(0), false) => cluster.redis.resume(),
        (Some(_), true) => tokio::task::block_in_place(|| cluster.s3.restart()),
        (Some(_), false) => cluster.s3.resume(),
    }
    Ok(())
}

/// The wall clocks of processes jump, forth and back: leases and timeouts do not depend on them.
/// What does is told: a worker that sleeps until a time wakes when the clocks say so.
#[tokio::test(flavor = "multi_thread")]
async fn clocks_jump() -> Result<(), Failure> {
    let mut trial = Trial::start("clocks_jump", Options::default()).await?;
    let clocks = give_clocks(&mut trial).await?;
    let before = trial.cluster.status().await?;
    for _ in 0..4 {
        for clock in &clocks {
            let seconds = trial.random.random_range(-3000..3000);
            clock.jump(&format!("{seconds:+}s"))?;
        }
        trial.calm().await;
    }
    let sleeper = sleep_for_hours(&trial, 12).await?;
    clocks.iter().try_for_each(|clock| clock.jump("+13h"))?;
    tokio::time::timeout(WAKES, sleeper).await.map_err(|_| "the sleeper does not wake")???;
    let after = trial.cluster.status().await?;
    let ids =
        |status: &ClusterStatus| status.executors.iter().map(|e| e.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&before), ids(&after), "no executor lost its lease");
    trial.finish().await.map(drop)
}

/// Starts every process again, with a clock of its own.
async fn give_clocks(trial: &mut Trial) -> Result<Vec<Clock>, Failure> {
    let mut clocks = Vec::new();
    for process in trial.cluster.processes_mut() {
        clocks.push(Clock::of(process)?);
    }
    for place in 0..clocks.len() {
        let process = trial.cluster.processes_mut().nth(place).ok_or("no such process")?;
        process.terminate(Duration::from_secs(60)).await?;
        process.start()?;
        trial.cluster.ready().await?;
    }
    Ok(clocks)
}

/// Calls a worker that sleeps, and returns when it does.
async fn sleep_for_hours(
    trial: &Trial,
    hours: u64,
) -> Result<JoinHandle<Result<(), Failure>>, Failure> {
    let worker = WorkerId::new(trial.load.counters(), "sleeper");
    let target =
        Target { component_id: worker.component_id, worker_name: Some(worker.worker_name.clone()) };
    let call = emet_client::Call {
        function: "test:counter/api.{slow-add}".into(),
        parameters: InvokeParameters::Json(vec![json!(1), json!(hours * 3_600_000)]),
        idempotency_key: Some(IdempotencyKey("sleep".into())),
    };
    let (client, watcher) = (trial.cluster.client(0)?, trial.cluster.client(1)?);
    let sleeper = tokio::spawn(async move {
        client.invoke_and_await(&target, &call).await?;
        Ok(())
    });
    let started = std::time::Instant::now();
    while watcher.worker(&worker).await.map(|w| w.status).ok() != Some(WorkerStatus::Suspended) {
        if started.elapsed() > WAKES {
            return Err("the sleeper is not suspended".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(sleeper)
}
