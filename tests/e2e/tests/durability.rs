//! What a durable worker promises, shown on a real server that is killed for real.

use emet_e2e::{Failure, Server};
use emet_model::{WorkerId, WorkerStatus};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Clients of the crash test, each with a worker of its own.
const CLIENTS: usize = 32;
/// Invocations of each client.
const CALLS: u64 = 60;
/// Kills while they run.
const ROUNDS: u32 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn state_survives_a_kill() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let id = server.upload("counter").await?;
    let worker = WorkerId::new(id, "w");
    for n in 1..=20u64 {
        server.call(&worker, "test:counter/api.{add}", json!([n])).await?;
    }
    server.crash().await?;
    assert_eq!(server.call(&worker, "test:counter/api.{get}", json!([])).await?, json!(210));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_invocation_finishes_by_itself() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let id = server.upload("counter").await?;
    let worker = WorkerId::new(id, "slow");
    server.send(&worker, "test:counter/api.{slow-add}", json!([5, 1500])).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.crash().await?;
    for _ in 0..200 {
        if server.client.worker(&worker).await?.status == WorkerStatus::Idle {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.call(&worker, "test:counter/api.{get}", json!([])).await?, json!(5));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_takes_effect_once_also_across_a_kill() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let id = server.upload("counter").await?;
    let worker = WorkerId::new(id, "once");
    let first = server.call_keyed(&worker, "test:counter/api.{add}", json!([3]), Some("k")).await?;
    server.crash().await?;
    let again = server.call_keyed(&worker, "test:counter/api.{add}", json!([3]), Some("k")).await?;
    assert_eq!((first, again), (json!(3), json!(3)));
    assert_eq!(server.call(&worker, "test:counter/api.{get}", json!([])).await?, json!(3));
    Ok(())
}

/// Clients add to counters with keys and repeat what was not answered; the server is killed again
/// and again. Every effect counts exactly once.
#[tokio::test(flavor = "multi_thread")]
async fn kills_under_load_lose_and_double_nothing() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let id = server.upload("counter").await?;
    let client = server.client.clone();
    let done = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let (client, done) = (client.clone(), done.clone());
            tokio::spawn(async move {
                let result = add_all(&client, &WorkerId::new(id, format!("w{n}"))).await;
                done.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
                result
            })
        })
        .collect();
    for _ in 0..ROUNDS {
        tokio::time::sleep(Duration::from_millis(250)).await;
        server.crash().await?;
    }
    for client in clients {
        assert_eq!(client.await??, json!(CALLS * (CALLS + 1) / 2));
    }
    Ok(())
}

async fn add_all(
    client: &emet_client::Client,
    worker: &WorkerId,
) -> Result<serde_json::Value, Failure> {
    use emet_api::{InvokeParameters, Target};
    let target =
        Target { component_id: worker.component_id, worker_name: Some(worker.worker_name.clone()) };
    let call = |function: &str, params: Vec<serde_json::Value>, key: String| emet_client::Call {
        function: function.into(),
        parameters: InvokeParameters::Json(params),
        idempotency_key: Some(emet_model::IdempotencyKey(key)),
    };
    for n in 1..=CALLS {
        let add = call("test:counter/api.{add}", vec![json!(n)], format!("key-{n}"));
        until_answered(client, &target, &add).await?;
    }
    let get = call("test:counter/api.{get}", vec![], "sum".into());
    let sum = until_answered(client, &target, &get).await?;
    Ok(sum.pointer("/value/0").cloned().unwrap_or_default())
}

/// Calls with the same key until there is an answer: the server may be killed at any time.
async fn until_answered(
    client: &emet_client::Client,
    target: &emet_api::Target,
    call: &emet_client::Call,
) -> Result<serde_json::Value, Failure> {
    for _ in 0..600 {
        if let Ok(answer) = client.invoke_and_await(target, call).await {
            return Ok(serde_json::to_value(&answer)?);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(serde_json::to_value(client.invoke_and_await(target, call).await?)?)
}
