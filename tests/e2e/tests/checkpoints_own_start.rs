//! Checkpoints of components whose initialisation deals with the host: each worker starts from a
//! fresh instance of its own, with its random numbers, handles and files, and is told against that.

use emet_client::Upload;
use emet_e2e::{Failure, Server};
use emet_model::{ComponentId, UpdateMode, UpdateRecord, WorkerId, WorkerStatus};
use serde_json::{Value, json};

fn beginner() -> Result<Upload, Failure> {
    let wasm = wat::parse_str(include_str!("../../guests/beginner.wat"))?;
    Ok(Upload { wasm: wasm.into(), ..Default::default() })
}

async fn upload(server: &Server) -> Result<ComponentId, Failure> {
    let component = server.client.create_component("beginner", beginner()?).await?;
    assert!(component.checkpoints.is_some_and(|c| c.supported));
    Ok(component.versioned_component_id.component_id)
}

async fn ask(server: &Server, worker: &WorkerId, function: &str) -> Result<Value, Failure> {
    Ok(server.call(worker, function, json!([])).await?)
}

/// Compares a worker with a replay, and with its checkpoint, which there must be.
async fn verify(server: &Server, worker: &WorkerId) -> Result<(), Failure> {
    let found = server.client.verify_worker(worker).await?;
    match found.equal && found.checkpoint.is_some() {
        true => Ok(()),
        false => Err(format!("{worker}: {found:#?}\n{}", server.log()).into()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_worker_is_restored_to_what_it_was_although_none_begins_like_another()
-> Result<(), Failure> {
    let mut server = Server::start_with(&["--checkpoints", "always"]).await?;
    let id = upload(&server).await?;
    let [a, b] = ["a", "b"].map(|name| WorkerId::new(id, name));
    let mut numbers = Vec::new();
    for worker in [&a, &b] {
        numbers.push(ask(&server, worker, "number").await?);
        assert_eq!(ask(&server, worker, "content").await?, json!(1), "of the initialisation");
        verify(&server, worker).await?;
    }
    assert_ne!(numbers[0], numbers[1]);
    server.call(&a, "put", json!([7])).await?;
    server.call(&b, "put", json!([8])).await?;
    // Two indexes take turns, so a handle table that is not what it was shows at once.
    assert_eq!(ask(&server, &a, "turn").await?, json!(3));
    assert_eq!(ask(&server, &a, "turn").await?, json!(2));
    assert_eq!(ask(&server, &b, "turn").await?, json!(3));
    // After the restart another worker is the first of the component.
    server.crash().await?;
    for (worker, number, content, turns) in [(&b, 1, 8, [2, 3]), (&a, 0, 7, [3, 2])] {
        assert_eq!(ask(&server, worker, "number").await?, numbers[number]);
        assert_eq!(ask(&server, worker, "content").await?, json!(content));
        for turn in turns {
            assert_eq!(ask(&server, worker, "turn").await?, json!(turn));
        }
        verify(&server, worker).await?;
    }
    assert_eq!(server.client.read_file(&a, "/begun").await?.as_ref(), [7]);
    Ok(())
}

/// What the initialisation of a version is told while a snapshot is loaded is not recorded, so there
/// is nothing that a checkpoint could be told against.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_snapshot_the_worker_is_not_saved_and_goes_on_all_the_same() -> Result<(), Failure>
{
    let mut server = Server::start_with(&["--checkpoints", "always"]).await?;
    let id = upload(&server).await?;
    let worker = WorkerId::new(id, "w");
    server.call(&worker, "put", json!([7])).await?;
    verify(&server, &worker).await?;
    let next = server.client.update_component(id, beginner()?).await?;
    let version = next.versioned_component_id.version;
    server.client.update_worker(&worker, UpdateMode::Manual, version).await?;
    while server.client.worker(&worker).await?.component_version != version {
        tokio::task::yield_now().await;
    }
    let updates = server.client.worker(&worker).await?.updates;
    assert!(matches!(updates.last(), Some(UpdateRecord::SuccessfulUpdate { .. })), "{updates:?}");
    assert_eq!(ask(&server, &worker, "content").await?, json!(7));
    server.call(&worker, "put", json!([9])).await?;
    server.settle(&worker, WorkerStatus::Idle).await?;
    let found = server.client.verify_worker(&worker).await?;
    assert!(found.not_compared.is_some_and(|reason| reason.contains("not in the log")));
    server.crash().await?;
    assert_eq!(ask(&server, &worker, "content").await?, json!(9));
    Ok(())
}
