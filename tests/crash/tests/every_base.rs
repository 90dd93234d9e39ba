//! A node that dies at any write by which a worker's history is dropped (results that are kept apart,
//! the base, the trim of the log, the removal of older bases), before or after it is made, loses
//! nothing: started again, it gives the same answers, to new requests and to repeated ones, and the
//! log begins with a base that its state is rebuilt from.

use emet_api::Workers;
use emet_crash::{Backend, Death, Disk, Failure, Limits, Moment, Node, at_every_write};
use emet_model::{WorkerError, WorkerId};
use emet_runtime::checkpoint::CheckpointMode;
use emet_runtime::log::log_key;
use emet_storage::{Append, Summary};
use serde_json::json;
use std::time::{Duration, Instant};

/// Calls, of two entries each.
const CALLS: u64 = 9;
/// Entries that are dropped at a time, so that every third call is followed by a base.
const EVERY: u64 = 6;
/// Longest time until a base is there.
const PATIENCE: Duration = Duration::from_secs(60);

fn limits() -> Limits {
    Limits { drop_history_after: Some(EVERY), ..Limits::default() }
}

/// Index of the first entry of a log, and of the last.
async fn ends(disk: &Disk, worker: &WorkerId) -> Result<(u64, u64), Failure> {
    let (key, log) = (log_key(worker), disk.log());
    let first = log.read(&key, 1, 1).await?.first().map_or(1, |record| record.index);
    Ok((first, log.head(&key).await?.map_or(0, |head| head.last)))
}

/// Waits until as much has been dropped as there is to drop, or the node has died.
async fn settle(disk: &Disk, worker: &WorkerId, death: &Death) -> Result<(), Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        let (first, last) = ends(disk, worker).await?;
        let base = if first == 1 { 0 } else { first };
        if last - base < EVERY || death.has_come() {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("entries {first} to {last} are still there").into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Runs the calls on stores that die at a write; whether they did.
async fn run(shared: &Disk, mode: CheckpointMode, at: (u64, Moment)) -> Result<bool, Failure> {
    let disk = shared.fresh(Backend::Memory)?;
    let node = Node::start_with(&disk, limits(), None, mode)?;
    let id = node.upload("counter").await?;
    // Compiling the component writes, too.
    node.add(&WorkerId::new(id, "other"), 1).await?;
    node.end().await;
    let worker = WorkerId::new(id, "w");
    let (death, dying) = Death::over(&disk, at);
    let mut node = Node::start_with(&dying, limits(), None, mode)?;
    let mut restarted = false;
    for n in 1..=CALLS {
        let mut answer = node.add(&worker, n).await;
        settle(&disk, &worker, &death).await?;
        // Whoever gets no answer asks again; so does one who asks a node that died meanwhile.
        if death.has_come() && !std::mem::replace(&mut restarted, true) {
            node = Node::start_with(&disk, limits(), None, mode)?;
            answer = node.add(&worker, n).await;
        }
        assert_eq!(answer?, n * (n + 1) / 2, "call {n}, {mode:?}, death at {at:?}");
    }
    node.end().await;
    check(&disk, &worker, at).await?;
    Ok(death.has_come())
}

/// What is there in the end, in the eyes of a node without checkpoints: only the base helps it.
async fn check(disk: &Disk, worker: &WorkerId, at: (u64, Moment)) -> Result<(), Failure> {
    let node = Node::start_with(disk, Limits::default(), None, CheckpointMode::Off)?;
    for n in 1..=CALLS {
        assert_eq!(node.add(worker, n).await?, n * (n + 1) / 2, "again {n}, death at {at:?}");
    }
    let total = node.call(worker, "test:counter/api.{get}", &[], "total").await;
    assert_eq!(total.ok_or("the node died")??, json!(CALLS * (CALLS + 1) / 2), "{at:?}");
    node.end().await;
    let (first, last) = ends(disk, worker).await?;
    assert!(first > 1 && last > first, "entries {first} to {last}, death at {at:?}");
    let node = Node::start_with(disk, limits(), None, CheckpointMode::On)?;
    let found = node.workers().verify(worker.clone()).await?;
    assert!(found.equal, "{found:?}, death at {at:?}");
    node.workers().delete(worker.clone()).await?;
    let (_, objects) = disk.keys_and_objects();
    let left = objects.list(&format!("bases/{}/", worker.component_id), None, 100).await?;
    assert!(left.is_empty(), "{left:?}, death at {at:?}");
    node.end().await;
    Ok(())
}

async fn every_write(mode: CheckpointMode, least: u64) -> Result<(), Failure> {
    let shared = Disk::new(Backend::Memory)?;
    at_every_write(least, async |at| run(&shared, mode, at).await).await
}

/// Of three bases each: results, where they are, the base, the trim; of two the removal of another.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_at_any_write_of_a_base_loses_nothing() -> Result<(), Failure> {
    every_write(CheckpointMode::On, 3 * 4 + 2).await
}

/// The same with the writes of a checkpoint after each call.
#[tokio::test(flavor = "multi_thread")]
async fn nor_does_one_with_checkpoints_between_the_bases() -> Result<(), Failure> {
    every_write(CheckpointMode::Always, 3 * 4 + 2 + 2 * CALLS).await
}

/// With neither a base nor a cached state nothing is known of a worker but some late entries: it is
/// never taken for one that has just begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_base_is_lost_is_refused_and_can_be_deleted() -> Result<(), Failure> {
    let disk = Disk::new(Backend::Memory)?;
    let node = Node::start_with(&disk, limits(), None, CheckpointMode::On)?;
    let id = node.upload("counter").await?;
    let (worker, other) = (WorkerId::new(id, "w"), WorkerId::new(id, "other"));
    let (never, _) = Death::over(&disk, (u64::MAX, Moment::Before));
    for n in 1..=4 {
        node.add(&worker, n).await?;
        settle(&disk, &worker, &never).await?;
    }
    node.add(&other, 1).await?;
    node.end().await;
    let (_, objects) = disk.keys_and_objects();
    objects.delete_prefix(&format!("bases/{id}/")).await?;
    objects.delete_prefix(&format!("checkpoints/{id}/")).await?;
    forget_cached_state(&disk, &worker).await?;
    let node = Node::start_with(&disk, limits(), None, CheckpointMode::On)?;
    let refused = node.call(&worker, "test:counter/api.{get}", &[], "again").await;
    let error = refused.ok_or("the node died")?.err().ok_or("it was not refused")?;
    assert!(matches!(error, WorkerError::FailedToResumeWorker { .. }), "{error}");
    assert!(error.to_string().contains("is missing"), "{error}");
    let shown = node.workers().list(id, None, None, 10, true).await?.workers;
    let shown: Vec<_> = shown.into_iter().map(|found| found.worker_id).collect();
    assert_eq!(shown, std::slice::from_ref(&other), "it hides no others");
    assert_eq!(node.add(&other, 1).await?, 1);
    node.workers().delete(worker.clone()).await?;
    assert_eq!(node.add(&worker, 1).await?, 1, "a new one begins anew");
    node.end().await;
    Ok(())
}

/// Puts something that no release can read in place of the state in the head of a log.
async fn forget_cached_state(disk: &Disk, worker: &WorkerId) -> Result<(), Failure> {
    let key = log_key(worker);
    let head = disk.log().head(&key).await?.ok_or("there is no log")?;
    let summary = Some(Summary { index: head.last, data: bytes::Bytes::from_static(b"?") });
    let (epoch, expected, records) = (head.epoch, head.last + 1, Vec::new());
    let append = Append { key, epoch, expected, records, unfinished: None, summary };
    Ok(disk.log().append(append).await?)
}
