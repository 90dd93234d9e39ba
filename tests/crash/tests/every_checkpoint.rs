//! A node that dies at any write of a checkpoint (results, the checkpoint itself, the removal of
//! older ones), before or after it is written, loses nothing: started again, it gives the same
//! answers, to new requests and to repeated ones.

use emet_crash::{Backend, Death, Disk, Failure, Limits, Moment, Node, at_every_write};
use emet_model::WorkerId;
use emet_runtime::checkpoint::CheckpointMode;
use serde_json::json;

/// Calls, each with a checkpoint after it.
const CALLS: u64 = 6;

/// Runs the calls on stores that die at a write; whether they did.
async fn run(shared: &Disk, at: (u64, Moment)) -> Result<bool, Failure> {
    let disk = shared.fresh(Backend::Memory)?;
    let node = Node::start_with(&disk, Limits::default(), None, CheckpointMode::Always)?;
    let id = node.upload("counter").await?;
    // Compiling the component writes, too.
    node.add(&WorkerId::new(id, "other"), 1).await?;
    node.end().await;
    let worker = WorkerId::new(id, "w");
    let (death, dying) = Death::over(&disk, at);
    let mut node = Node::start_with(&dying, Limits::default(), None, CheckpointMode::Always)?;
    let mut restarted = false;
    for n in 1..=CALLS {
        let mut answer = node.add(&worker, n).await;
        // Whoever gets no answer asks again; so does one who asks a node that died meanwhile.
        if death.has_come() && !std::mem::replace(&mut restarted, true) {
            node = Node::start_with(&disk, Limits::default(), None, CheckpointMode::Always)?;
            answer = node.add(&worker, n).await;
        }
        assert_eq!(answer?, n * (n + 1) / 2, "call {n}, death at {at:?}");
    }
    node = Node::start_with(&disk, Limits::default(), None, CheckpointMode::On)?;
    for n in 1..=CALLS {
        assert_eq!(node.add(&worker, n).await?, n * (n + 1) / 2, "again {n}, death at {at:?}");
    }
    let total = node.call(&worker, "test:counter/api.{get}", &[], "total").await;
    assert_eq!(total.ok_or("the node died")??, json!(CALLS * (CALLS + 1) / 2), "{at:?}");
    node.end().await;
    Ok(death.has_come())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_at_any_write_of_a_checkpoint_loses_nothing() -> Result<(), Failure> {
    let shared = Disk::new(Backend::Memory)?;
    // Results and a checkpoint for each call, and the removal of an older one for most.
    at_every_write(2 * CALLS, async |at| run(&shared, at).await).await
}
