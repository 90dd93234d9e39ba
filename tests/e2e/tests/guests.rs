//! The interfaces that guests use, each on a real component and across a kill of the server.

use emet_api::rest::WorkerCreationRequest;
use emet_e2e::{Failure, Server};
use emet_model::{UpdateMode, UpdateRecord, WorkerId, WorkerStatus};
use serde_json::{Value, json};
use std::time::Duration;

async fn settle(server: &Server, worker: &WorkerId, status: WorkerStatus) -> Result<(), Failure> {
    for _ in 0..400 {
        if server.client.worker(worker).await?.status == status {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    Err(format!("{worker} is {}, not {status}", server.client.worker(worker).await?.status).into())
}

#[tokio::test(flavor = "multi_thread")]
async fn environment_clock_random_and_output() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let id = server.upload("env").await?;
    let worker = WorkerId::new(id, "env-1");
    let env = [("GREETING".to_owned(), "hello".to_owned())].into();
    let request = WorkerCreationRequest { name: "env-1".into(), args: vec!["--x".into()], env };
    server.client.create_worker(id, &request).await?;
    let environment = server.call(&worker, "test:env/api.{get-environment}", json!([])).await?;
    let text = environment.to_string();
    assert!(
        text.contains("GREETING") && text.contains("GOLEM_WORKER_NAME") && text.contains("env-1"),
        "{text}"
    );
    assert!(
        server
            .call(&worker, "test:env/api.{get-arguments}", json!([]))
            .await?
            .to_string()
            .contains("--x")
    );
    let random =
        server.call_keyed(&worker, "test:env/api.{random-u64}", json!([]), Some("r")).await?;
    server.call(&worker, "test:env/api.{print}", json!(["seen once"])).await?;
    server.crash().await?;
    assert_eq!(
        server.call_keyed(&worker, "test:env/api.{random-u64}", json!([]), Some("r")).await?,
        random
    );
    server.call(&worker, "test:env/api.{now}", json!([])).await?;
    let page = server.client.search_oplog(&worker, "\"seen once\" AND log", None, 100).await?;
    assert_eq!(page.entries.len(), 1, "output is not recorded again by a replay");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_rebuilt_by_replay() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let id = server.upload("files").await?;
    let worker = WorkerId::new(id, "f");
    server.call(&worker, "test:files/api.{create-dir}", json!(["/d"])).await?;
    server.call(&worker, "test:files/api.{write-file}", json!(["/d/a.txt", "hello"])).await?;
    server.call(&worker, "test:files/api.{hard-link}", json!(["/d/a.txt", "/d/b.txt"])).await?;
    let before = server.call(&worker, "test:files/api.{info}", json!(["/d/b.txt"])).await?;
    let listed = server.call(&worker, "test:files/api.{list-dir}", json!(["/d"])).await?;
    server.crash().await?;
    assert_eq!(server.call(&worker, "test:files/api.{list-dir}", json!(["/d"])).await?, listed);
    assert_eq!(server.call(&worker, "test:files/api.{info}", json!(["/d/b.txt"])).await?, before);
    assert_eq!(server.client.read_file(&worker, "/d/a.txt").await?.as_ref(), b"hello");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promise_suspends_the_worker_until_it_is_completed() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let id = server.upload("promise").await?;
    let worker = WorkerId::new(id, "p");
    let promise = server.call(&worker, "test:promise/api.{create}", json!([])).await?;
    let index = promise.pointer("/oplog-idx").and_then(Value::as_u64).ok_or("no index")?;
    server.send(&worker, "test:promise/api.{await}", json!([promise])).await?;
    settle(&server, &worker, WorkerStatus::Suspended).await?;
    server.crash().await?;
    assert_eq!(server.client.worker(&worker).await?.status, WorkerStatus::Suspended);
    assert!(server.client.complete_promise(&worker, index, b"done".to_vec()).await?);
    settle(&server, &worker, WorkerStatus::Idle).await?;
    assert!(!server.client.complete_promise(&worker, index, b"again".to_vec()).await?);
    let page = server.client.search_oplog(&worker, "exportedfunctioncompleted", None, 100).await?;
    assert_eq!(page.entries.len(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_sleep_suspends_and_wakes_up_after_a_kill() -> Result<(), Failure> {
    let mut server = Server::start_with(&["--suspend-after", "0.5"]).await?;
    let id = server.upload("clocks").await?;
    let worker = WorkerId::new(id, "sleeper");
    server.send(&worker, "test:clocks/api.{sleep-ms}", json!([2000])).await?;
    settle(&server, &worker, WorkerStatus::Suspended).await?;
    server.crash().await?;
    settle(&server, &worker, WorkerStatus::Idle).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_automatic_diverging_and_by_snapshot() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let id = server.upload("update-v1").await?;
    let v2 = server.update(id, "update-v2").await?;
    let v3 = server.update(id, "update-v3").await?;
    let component = server.client.component_versions(id).await?;
    assert_eq!(component.len(), 3);
    let worker = WorkerId::new(id, "u");
    // A worker starts at the latest version; older ones are reached by an update as well.
    server.call(&worker, "test:update/api.{version}", json!([])).await?;
    server.client.update_worker(&worker, UpdateMode::Automatic, 0).await?;
    for _ in 0..200 {
        if !server
            .client
            .worker(&worker)
            .await?
            .updates
            .iter()
            .any(|u| matches!(u, UpdateRecord::PendingUpdate { .. }))
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let updates = server.client.worker(&worker).await?.updates;
    assert_eq!(updates.len(), 1, "{updates:?} of {v2} {v3}");
    server.crash().await?;
    server.call(&worker, "test:update/api.{f2}", json!([])).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_worker_refuses_further_calls() -> Result<(), Failure> {
    let server = Server::start().await?;
    let id = server.upload("counter").await?;
    let worker = WorkerId::new(id, "bad");
    let error =
        server.call(&worker, "fail-if", json!([true])).await.err().ok_or("it did not fail")?;
    assert_eq!(error.status(), Some(500));
    let next = server
        .call(&worker, "test:counter/api.{get}", json!([]))
        .await
        .err()
        .ok_or("it did not refuse")?;
    assert!(next.to_string().contains("Previous invocation failed"), "{next}");
    assert_eq!(server.client.worker(&worker).await?.status, WorkerStatus::Failed);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_leave_no_trace() -> Result<(), Failure> {
    let server = Server::start().await?;
    let id = server.upload("counter").await?;
    let worker = WorkerId::new(id, "w");
    for (function, parameters) in [
        ("test:counter/api.{nothing}", json!([])),
        ("test:nothing/api.{add}", json!([1])),
        ("test:counter/api.{add}", json!([])),
        ("test:counter/api.{add}", json!([1, 2])),
        ("test:counter/api.{add}", json!(["one"])),
        ("((", json!([])),
    ] {
        let error =
            server.call(&worker, function, parameters).await.err().ok_or("it did not fail")?;
        assert_eq!(error.status(), Some(500), "{function}: {error}");
    }
    assert_eq!(server.call(&worker, "test:counter/api.{add}", json!([2])).await?, json!(2));
    Ok(())
}
