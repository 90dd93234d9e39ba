//! Components that misbehave: their worker gets its error or is stopped; the server's memory stays
//! bounded, and other workers are served.

use emet_e2e::{Failure, Server};
use emet_model::{WorkerId, WorkerStatus};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What a call of a healthy worker may take while others misbehave. A bound, not a measurement.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the server's process may grow by, in MiB.
const MAX_GROWTH: u64 = 2500;

fn function(name: &str) -> String {
    format!("test:hostile/api.{{{name}}}")
}

async fn start() -> Result<(Server, WorkerId), Failure> {
    let server = Server::start_with(&["--memory-mib", "1500", "--max-loaded", "50"]).await?;
    let healthy = WorkerId::new(server.upload("hostile").await?, "healthy");
    server.call(&healthy, &function("healthcheck"), json!([])).await?;
    Ok((server, healthy))
}

async fn is_served(server: &Server, healthy: &WorkerId) -> Result<(), Failure> {
    let started = Instant::now();
    let called =
        tokio::time::timeout(PATIENCE, server.call(healthy, &function("healthcheck"), json!([])))
            .await;
    let answer =
        called.map_err(|_| format!("no answer within {PATIENCE:?}\n{}", server.log()))??;
    assert_eq!(answer, json!("ok"), "after {:?}", started.elapsed());
    Ok(())
}

async fn fails(
    server: &Server,
    healthy: &WorkerId,
    name: &str,
    params: Value,
    reason: &str,
) -> Result<(), Failure> {
    let worker = WorkerId::new(healthy.component_id, name);
    let called = server.call(&worker, &function(name), params).await;
    let error = called.err().ok_or_else(|| format!("{name} did not fail"))?.to_string();
    assert!(error.contains(reason), "{name}: {error}");
    is_served(server, healthy).await
}

#[tokio::test(flavor = "multi_thread")]
async fn traps_have_their_reason() -> Result<(), Failure> {
    let (server, healthy) = start().await?;
    fails(&server, &healthy, "divide-by-zero", json!([1]), "divide by zero").await?;
    fails(&server, &healthy, "unreachable", json!([]), "unreachable").await?;
    fails(&server, &healthy, "bad-pointer", json!([]), "out of bounds").await?;
    fails(&server, &healthy, "deep-recursion", json!([]), "Stack overflow").await?;
    let recursed = WorkerId::new(healthy.component_id, "deep-recursion");
    assert_eq!(
        server.search(&recursed, "error").await?.iter().filter(|e| e["type"] == "Error").count(),
        1,
        "it is not tried again"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_is_refused() -> Result<(), Failure> {
    let (server, healthy) = start().await?;
    let before = server.memory_mib()?;
    fails(&server, &healthy, "many-handles", json!([1_000_000]), "").await?;
    fails(&server, &healthy, "many-timers", json!([20_000]), "more than").await?;
    fails(&server, &healthy, "random-flood", json!([1u64 << 30]), "random bytes").await?;
    fails(&server, &healthy, "huge-list", json!([512 << 20]), "").await?;
    fails(&server, &healthy, "huge-strings", json!([2000, 500_000]), "").await?;
    let grown = server.memory_mib()?.saturating_sub(before);
    assert!(grown < MAX_GROWTH, "the server grew by {grown} MiB");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_ones_are_interrupted_while_others_are_served() -> Result<(), Failure> {
    let (server, healthy) = start().await?;
    let endless: Vec<WorkerId> = ["endless-loop", "endless-calls"]
        .iter()
        .flat_map(|name| (0..3).map(move |n| (name, n)))
        .map(|(name, n)| WorkerId::new(healthy.component_id, format!("{name}-{n}")))
        .collect();
    for worker in &endless {
        let name = worker.worker_name.rsplit_once('-').map_or("", |(name, _)| name);
        server.send(worker, &function(name), json!([])).await?;
        server.settle(worker, WorkerStatus::Running).await?;
    }
    for _ in 0..5 {
        is_served(&server, &healthy).await?;
    }
    for worker in &endless {
        server.client.interrupt_worker(worker, false).await?;
        server.settle(worker, WorkerStatus::Interrupted).await?;
        server.client.delete_worker(worker).await?;
    }
    is_served(&server, &healthy).await
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_without_end_stops_the_worker_alone() -> Result<(), Failure> {
    let (server, healthy) = start().await?;
    let before = server.memory_mib()?;
    let worker = WorkerId::new(healthy.component_id, "grow-memory");
    server.send(&worker, &function("grow-memory"), json!([])).await?;
    while server.client.worker(&worker).await?.last_error.is_none() {
        is_served(&server, &healthy).await?;
    }
    let grown = server.memory_mib()?.saturating_sub(before);
    assert!(grown < MAX_GROWTH, "the server grew by {grown} MiB");
    server.client.interrupt_worker(&worker, false).await?;
    server.client.delete_worker(&worker).await?;
    is_served(&server, &healthy).await
}

#[tokio::test(flavor = "multi_thread")]
async fn large_allocations_of_many_workers_wait_for_each_other() -> Result<(), Failure> {
    let (server, healthy) = start().await?;
    let calls = (0..12).map(|n| {
        let (server, worker) = (&server, WorkerId::new(healthy.component_id, format!("large-{n}")));
        async move { server.call(&worker, &function("allocate"), json!([256])).await }
    });
    let sizes = futures::future::try_join_all(calls).await?;
    assert!(sizes.iter().all(|s| *s == json!(256u64 << 20)), "{sizes:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_output_is_kept_in_bounds() -> Result<(), Failure> {
    let (mut server, healthy) = start().await?;
    let before = server.memory_mib()?;
    let worker = WorkerId::new(healthy.component_id, "flood");
    server.call(&worker, &function("log-flood"), json!([20_000])).await?;
    server.call(&worker, &function("log-long"), json!([5_000_000])).await?;
    let grown = server.memory_mib()?.saturating_sub(before);
    assert!(grown < 800, "the server grew by {grown} MiB");
    is_served(&server, &healthy).await?;
    server.crash().await?;
    assert_eq!(server.call(&worker, &function("healthcheck"), json!([])).await?, json!("ok"));
    Ok(())
}
