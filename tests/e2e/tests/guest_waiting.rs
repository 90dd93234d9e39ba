//! Waiting: timers, promises, polls; and what a guest learns of its surroundings.

use emet_api::rest::WorkerCreationRequest;
use emet_e2e::{Failure, Server};
use emet_model::{WorkerId, WorkerStatus};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn clocks(name: &str) -> String {
    format!("test:clocks/api.{{{name}}}")
}

fn promise(name: &str) -> String {
    format!("test:promise/api.{{{name}}}")
}

fn env(name: &str) -> String {
    format!("test:env/api.{{{name}}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn short_waits_zero_and_huge_ones() -> Result<(), Failure> {
    let server = Server::start().await?;
    let id = server.upload("clocks").await?;
    let worker = WorkerId::new(id, "w");
    for name in ["sleep-ms", "std-sleep-ms", "sleep-until-ms"] {
        let took = server.call(&worker, &clocks(name), json!([30])).await?.as_u64().unwrap_or(0);
        assert!(took >= 30, "{name} took {took} ms");
    }
    server.call(&worker, &clocks("sleep-ms"), json!([0])).await?;
    assert_eq!(server.call(&worker, &clocks("ready"), json!([20])).await?, json!([false, true]));
    let order = server.call(&worker, &clocks("sleep-during-poll"), json!([[120, 1, 60]])).await?;
    assert_eq!(order, json!([1, 2, 0]));
    // A wait that never ends suspends the worker, and an interrupt ends it.
    let forever = WorkerId::new(id, "forever");
    server.send(&forever, &clocks("sleep-ms"), json!([u64::MAX / 1_000_000])).await?;
    server.settle(&forever, WorkerStatus::Suspended).await?;
    server.client.interrupt_worker(&forever, false).await?;
    server.settle(&forever, WorkerStatus::Interrupted).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleep_takes_its_time_across_a_kill() -> Result<(), Failure> {
    let mut server = Server::start_with(&["--suspend-after", "0.5"]).await?;
    let worker = WorkerId::new(server.upload("clocks").await?, "w");
    let started = Instant::now();
    server.send(&worker, &clocks("sleep-ms"), json!([3000])).await?;
    server.settle(&worker, WorkerStatus::Suspended).await?;
    server.crash().await?;
    server.settle(&worker, WorkerStatus::Idle).await?;
    assert!(started.elapsed() >= Duration::from_secs(3));
    let slept = server.search(&worker, "exportedfunctioncompleted").await?;
    let slept = slept[0].pointer("/response/value/0").and_then(Value::as_u64).unwrap_or(0);
    assert!(slept >= 3000, "it slept {slept} ms");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sleepers_are_unloaded_and_all_finish() -> Result<(), Failure> {
    const SLEEPERS: usize = 60;
    let server = Server::start_with(&["--suspend-after", "0.2", "--max-loaded", "4"]).await?;
    let id = server.upload("clocks").await?;
    let workers: Vec<WorkerId> =
        (0..SLEEPERS).map(|n| WorkerId::new(id, format!("s{n}"))).collect();
    for worker in &workers {
        server.send(worker, &clocks("sleep-ms"), json!([1500])).await?;
    }
    for worker in &workers {
        server.settle(worker, WorkerStatus::Idle).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promise_is_created_polled_awaited_completed_and_deleted() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let id = server.upload("promise").await?;
    let (owner, other) = (WorkerId::new(id, "owner"), WorkerId::new(id, "other"));
    let payload: Vec<u8> = (0..=255).collect();
    let created = server.call(&owner, &promise("create"), json!([])).await?;
    assert_eq!(server.call(&owner, &promise("poll"), json!([created])).await?, Value::Null);
    server.send(&owner, &promise("await"), json!([created])).await?;
    server.settle(&owner, WorkerStatus::Suspended).await?;
    server.crash().await?;
    // Another worker completes it, which wakes the one that waits.
    assert_eq!(
        server.call(&other, &promise("complete"), json!([created, payload])).await?,
        json!(true)
    );
    server.settle(&owner, WorkerStatus::Idle).await?;
    let awaited = server.search(&owner, "exportedfunctioncompleted").await?;
    assert_eq!(awaited.last().and_then(|e| e.pointer("/response/value/0")), Some(&json!(payload)));
    assert_eq!(
        server.call(&other, &promise("complete"), json!([created, [1]])).await?,
        json!(false)
    );
    assert_eq!(server.call(&other, &promise("poll"), json!([created])).await?, json!(payload));
    // What was awaited is in the log: deleting the promise does not hurt a replay.
    server.call(&owner, &promise("delete"), json!([created])).await?;
    server.crash().await?;
    assert_eq!(server.call(&owner, &promise("complete-own"), json!([[7]])).await?, json!([7]));
    let error = server
        .call(&other, &promise("await"), json!([created]))
        .await
        .err()
        .ok_or("it did not fail")?;
    assert!(error.to_string().contains("Promise not found"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn surroundings_are_recorded_and_the_hosts_variables_come_last() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let id = server.upload("env").await?;
    let worker = WorkerId::new(id, "env-1");
    let variables = [
        ("GREETING".to_owned(), "hello".to_owned()),
        ("GOLEM_WORKER_NAME".to_owned(), "forged".to_owned()),
    ]
    .into();
    let request = WorkerCreationRequest {
        name: "env-1".into(),
        args: vec!["--x".into(), "y".into()],
        env: variables,
    };
    server.client.create_worker(id, &request).await?;
    let found = server.call(&worker, &env("get-environment"), json!([])).await?;
    let expected = json!([
        ["GREETING", "hello"],
        ["GOLEM_WORKER_NAME", "env-1"],
        ["GOLEM_COMPONENT_ID", id.to_string()],
        ["GOLEM_COMPONENT_VERSION", "0"],
    ]);
    assert_eq!(found, expected);
    assert_eq!(server.call(&worker, &env("get-arguments"), json!([])).await?, json!(["--x", "y"]));
    assert_eq!(server.call(&worker, &env("initial-cwd"), json!([])).await?, Value::Null);
    assert_eq!(server.call(&worker, &env("is-terminal"), json!([])).await?, json!(false));
    let names =
        ["now", "monotonic", "resolutions", "random-u64", "insecure-random-u64", "insecure-seed"];
    let mut before = Vec::new();
    for name in names {
        before.push(server.call_keyed(&worker, &env(name), json!([]), Some(name)).await?);
    }
    let bytes =
        server.call_keyed(&worker, &env("random-bytes"), json!([100_000]), Some("bytes")).await?;
    assert_eq!(bytes.as_array().map(Vec::len), Some(100_000));
    server.crash().await?;
    for (name, before) in names.iter().zip(before) {
        assert_eq!(
            server.call_keyed(&worker, &env(name), json!([]), Some(name)).await?,
            before,
            "{name}"
        );
    }
    assert_eq!(
        server.call_keyed(&worker, &env("random-bytes"), json!([100_000]), Some("bytes")).await?,
        bytes
    );
    // The history is replayed, or this call would fail.
    server.call(&worker, &env("now"), json!([])).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_logged_once_per_write() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let worker = WorkerId::new(server.upload("env").await?, "w");
    server.call(&worker, &env("print"), json!(["to stdout"])).await?;
    server.call(&worker, &env("eprint"), json!(["to stderr"])).await?;
    server.call(&worker, &env("print-raw"), json!([[104, 105, 255]])).await?;
    server.call(&worker, &env("log-all"), json!(["some context", "a message"])).await?;
    let logs =
        || async { server.search(&worker, "type:log OR stdout OR stderr OR message OR hi").await };
    let all = |entries: &[Value]| -> Vec<(String, String)> {
        let text = |e: &Value, key: &str| e[key].as_str().unwrap_or_default().to_owned();
        entries
            .iter()
            .filter(|e| e["type"] == "Log")
            .map(|e| (text(e, "level"), text(e, "message")))
            .collect()
    };
    let before = all(&logs().await?);
    let expected = [
        ("Stdout", "to stdout\n"),
        ("Stderr", "to stderr"),
        ("Stderr", "\n"),
        ("Stdout", "hi\u{fffd}"),
        ("Trace", "a message"),
        ("Debug", "a message"),
        ("Info", "a message"),
        ("Warn", "a message"),
        ("Error", "a message"),
        ("Critical", "a message"),
    ];
    assert_eq!(before, expected.map(|(level, message)| (level.to_owned(), message.to_owned())));
    server.crash().await?;
    server.call(&worker, &env("now"), json!([])).await?;
    let after = server.search(&worker, "type:log OR stdout OR stderr OR message OR hi").await?;
    assert_eq!(all(&after), before, "a replay logs nothing again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_input_fails_and_exit_is_for_good() -> Result<(), Failure> {
    let server = Server::start().await?;
    let id = server.upload("env").await?;
    let reader = WorkerId::new(id, "reader");
    let error =
        server.call(&reader, &env("read-stdin"), json!([])).await.err().ok_or("it did not fail")?;
    assert!(error.to_string().contains("standard input is disabled"), "{error}");
    for ok in [true, false] {
        let worker = WorkerId::new(id, format!("exit-{ok}"));
        let error =
            server.call(&worker, &env("exit"), json!([ok])).await.err().ok_or("it did not fail")?;
        assert!(error.to_string().contains("Process exited"), "{error}");
        assert_eq!(server.client.worker(&worker).await?.status, WorkerStatus::Exited);
        let refused =
            server.call(&worker, &env("now"), json!([])).await.err().ok_or("it did not refuse")?;
        assert!(refused.to_string().contains("Previous invocation exited"), "{refused}");
    }
    Ok(())
}
