//! Interrupt, resume, suspension and crashes: every status transition, also across SIGKILL.

use emet_e2e::raw::{Raw, worker};
use emet_e2e::{Failure, Server};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const ADD: &str = "test:counter/api.{add}";
const SLOW_ADD: &str = "test:counter/api.{slow-add}";
const GET: &str = "test:counter/api.{get}";
const SLEEP: &str = "test:clocks/api.{sleep-ms}";

/// Waits for a call in a task of its own.
fn spawn(
    raw: &Raw,
    w: &str,
    function: &str,
    parameters: Vec<Value>,
    key: &str,
) -> tokio::task::JoinHandle<Result<(u16, Value), Failure>> {
    let (raw, w, function, key) = (raw.clone(), w.to_owned(), function.to_owned(), key.to_owned());
    tokio::spawn(async move {
        raw.call(&w, "invoke-and-await", &function, &parameters, Some(&key)).await
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_stops_and_a_resume_goes_on() -> Result<(), Failure> {
    let mut server = Server::start_with(&["--suspend-after", "1000"]).await?;
    let raw = Raw::of(&server);
    let w = worker(raw.guest("counter").await?, "w");
    let waiting = spawn(&raw, &w, SLOW_ADD, vec![json!(5), json!(60_000)], "slow");
    raw.until_status(&w, "Running").await?;
    assert_eq!(
        raw.command(&format!("{w}/resume")).await?.0,
        500,
        "a running worker is not resumed"
    );

    let asked = Instant::now();
    assert_eq!(raw.command(&format!("{w}/interrupt")).await?, (200, json!({})));
    // It was in a host call for a minute, and stopped at once; the answer comes after the fact.
    assert!(asked.elapsed() < Duration::from_secs(10));
    assert_eq!(raw.get(&w).await?.1["status"], "Interrupted");
    let (status, body) = waiting.await??;
    assert_eq!(
        (status, &body["golemError"]),
        (500, &json!({"type": "Interrupted", "recoverImmediately": false}))
    );
    assert!(body.to_string().contains("Interrupted via the Golem API"));
    // Nothing goes on meanwhile, so the same call is not left waiting.
    let again = raw
        .call(&w, "invoke-and-await", SLOW_ADD, &[json!(5), json!(60_000)], Some("slow"))
        .await?;
    assert_eq!((again.0, &again.1["golemError"]["type"]), (500, &json!("Interrupted")));

    server.crash().await?;
    assert_eq!(raw.get(&w).await?.1["status"], "Interrupted", "a restart does not resume it");
    assert_eq!(raw.command(&format!("{w}/resume")).await?, (200, json!({})));
    raw.until_status(&w, "Running").await?;
    assert_eq!(raw.command(&format!("{w}/interrupt")).await?.0, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_invocation_lets_an_interrupted_worker_finish_first() -> Result<(), Failure> {
    let server = Server::start().await?;
    let raw = Raw::of(&server);
    let w = worker(raw.guest("counter").await?, "w");
    let waiting = spawn(&raw, &w, SLOW_ADD, vec![json!(5), json!(1_000)], "slow");
    raw.until_status(&w, "Running").await?;
    raw.command(&format!("{w}/interrupt")).await?;
    assert_eq!(waiting.await??.0, 500);
    assert_eq!(raw.result(&w, ADD, &[json!(1)]).await?, json!(6), "the interrupted one came first");
    let (status, body) =
        raw.call(&w, "invoke-and-await", SLOW_ADD, &[json!(5), json!(1_000)], Some("slow")).await?;
    assert_eq!((status, &body["result"]["value"]), (200, &json!([5])), "it took effect once");
    assert_eq!(raw.result(&w, GET, &[]).await?, json!(6));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulated_crash_is_not_seen_by_the_caller() -> Result<(), Failure> {
    let server = Server::start().await?;
    let raw = Raw::of(&server);
    let w = worker(raw.guest("counter").await?, "w");
    let waiting = spawn(&raw, &w, SLOW_ADD, vec![json!(5), json!(1_500)], "slow");
    for _ in 0..3 {
        raw.until_status(&w, "Running").await?;
        assert_eq!(
            raw.command(&format!("{w}/interrupt?recovery-immediately=true")).await?,
            (200, json!({}))
        );
    }
    let (status, body) = waiting.await??;
    assert_eq!((status, &body["result"]["value"]), (200, &json!([5])));
    let kinds: Vec<Value> =
        raw.oplog(&w, "").await?.into_iter().map(|e| e["entry"]["type"].clone()).collect();
    assert!(!kinds.contains(&json!("Interrupted")), "{kinds:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_printed_before_a_simulated_crash_is_seen_once() -> Result<(), Failure> {
    const PRINT: &str = "test:interfaces/api.{print-around-wait}";
    let server = Server::start_with(&["--suspend-after", "1000"]).await?;
    let raw = Raw::of(&server);
    let id = raw.guest("interfaces").await?;
    let w = worker(id, "w");
    let waiting = spawn(&raw, &w, PRINT, vec![json!(1_500)], "print");
    for _ in 0..2 {
        raw.until_status(&w, "Running").await?;
        raw.command(&format!("{w}/interrupt?recovery-immediately=true")).await?;
    }
    let (status, body) = waiting.await??;
    assert_eq!((status, &body["result"]["value"]), (200, &json!(["done"])));
    let lines = server.lines(&emet_model::WorkerId::new(id, "w")).await?;
    assert_eq!(lines, ["before the wait", "after the wait"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupting_what_does_nothing_has_no_effect() -> Result<(), Failure> {
    let server = Server::start().await?;
    let raw = Raw::of(&server);
    let w = worker(raw.guest("counter").await?, "w");
    raw.result(&w, ADD, &[json!(1)]).await?;
    for query in ["", "?recovery-immediately=true", "?recovery-immediately=false"] {
        assert_eq!(raw.command(&format!("{w}/interrupt{query}")).await?, (200, json!({})));
        assert_eq!(raw.get(&w).await?.1["status"], "Idle");
    }
    assert_eq!(raw.command(&format!("{w}/resume")).await?, (200, json!({})));
    assert_eq!(raw.result(&w, ADD, &[json!(1)]).await?, json!(2));
    Ok(())
}

/// W6: the wake-up that was scheduled when the worker went to sleep does not undo an interrupt.
#[tokio::test(flavor = "multi_thread")]
async fn a_timer_does_not_undo_an_interrupt() -> Result<(), Failure> {
    let mut server = Server::start_with(&["--suspend-after", "0.1"]).await?;
    let raw = Raw::of(&server);
    let id = raw.guest("clocks").await?;
    let w = worker(id, "w");
    let waiting = spawn(&raw, &w, SLEEP, vec![json!(2_000)], "sleep");
    raw.until_status(&w, "Suspended").await?;
    assert_eq!(raw.command(&format!("{w}/interrupt?recovery-immediately=true")).await?.0, 200);
    assert_eq!(
        raw.get(&w).await?.1["status"],
        "Interrupted",
        "also with the flag of a simulated crash"
    );
    assert_eq!(waiting.await??.0, 500);
    server.crash().await?;
    // A sleeper whose time comes later shows that the first one's time has come.
    raw.result(&worker(id, "later"), SLEEP, &[json!(2_500)]).await?;
    assert_eq!(raw.get(&w).await?.1["status"], "Interrupted");
    assert_eq!(raw.command(&format!("{w}/resume")).await?.0, 200);
    raw.until_status(&w, "Idle").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sleepers_survive_a_kill_and_wake_in_time() -> Result<(), Failure> {
    let mut server = Server::start_with(&["--suspend-after", "0.1"]).await?;
    let raw = Raw::of(&server);
    let id = raw.guest("clocks").await?;
    let started = Instant::now();
    for n in 0..5 {
        let w = worker(id, &format!("w{n}"));
        assert_eq!(
            raw.call(&w, "invoke", SLEEP, &[json!(3_000)], Some("sleep")).await?,
            (200, json!({}))
        );
        raw.until_status(&w, "Suspended").await?;
    }
    server.crash().await?;
    for n in 0..5 {
        let w = worker(id, &format!("w{n}"));
        raw.until_status(&w, "Idle").await?;
        let (_, body) =
            raw.call(&w, "invoke-and-await", SLEEP, &[json!(3_000)], Some("sleep")).await?;
        assert!(body["result"]["value"][0].as_u64().is_some_and(|ms| ms >= 2_990), "{body}");
    }
    assert!(started.elapsed() < Duration::from_secs(25));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_promise_resumes_also_an_interrupted_worker() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let raw = Raw::of(&server);
    let w = worker(raw.guest("promise").await?, "w");
    let promise = raw.result(&w, "test:promise/api.{create}", &[]).await?;
    let index = promise["oplog-idx"].clone();
    raw.call(
        &w,
        "invoke",
        "test:promise/api.{await}",
        std::slice::from_ref(&promise),
        Some("await"),
    )
    .await?;
    raw.until_status(&w, "Suspended").await?;
    raw.command(&format!("{w}/interrupt")).await?;
    server.crash().await?;
    let complete = json!({"oplogIdx": index, "data": [1, 2, 3]});
    assert_eq!(raw.post(&format!("{w}/complete"), &complete).await?, (200, json!(true)));
    assert_eq!(raw.post(&format!("{w}/complete"), &complete).await?, (200, json!(false)));
    raw.until_status(&w, "Idle").await?;
    let (_, body) = raw
        .call(&w, "invoke-and-await", "test:promise/api.{await}", &[promise], Some("await"))
        .await?;
    assert_eq!(body["result"]["value"], json!([[1, 2, 3]]));
    Ok(())
}

/// W17: a worker that waits for its next attempt takes invocations, and goes on after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_retrying_worker_queues_and_recovers() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let raw = Raw::of(&server);
    let w = worker(raw.guest("durability").await?, "w");
    // Two retries, a long time apart.
    raw.call(
        &w,
        "invoke",
        "test:durability/api.{fail-with-policy}",
        &[json!(2), json!(2_000)],
        None,
    )
    .await?;
    raw.until_status(&w, "Retrying").await?;
    let accepted = raw
        .call(&w, "invoke", "test:durability/api.{get-oplog-index}", &[], Some("queued"))
        .await?;
    assert_eq!(accepted, (200, json!({})), "it queues");
    assert_eq!(raw.get(&w).await?.1["pendingInvocationCount"], 1);
    server.crash().await?;
    // It goes on by itself, and its attempts count on.
    let metadata = raw.until_status(&w, "Failed").await?;
    assert_eq!(metadata["retryCount"], 3);
    let refused = raw
        .call(&w, "invoke-and-await", "test:durability/api.{get-oplog-index}", &[], Some("queued"))
        .await?;
    assert_eq!(
        (refused.0, &refused.1["golemError"]["type"]),
        (500, &json!("PreviousInvocationFailed"))
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_leaves_nothing_and_the_name_is_free() -> Result<(), Failure> {
    let mut server = Server::start_with(&["--suspend-after", "0.1"]).await?;
    let raw = Raw::of(&server);
    let id = raw.guest("counter").await?;
    let w = worker(id, "w");
    raw.result(&w, ADD, &[json!(1)]).await?;
    let waiting = spawn(&raw, &w, SLOW_ADD, vec![json!(5), json!(60_000)], "slow");
    raw.until(&w, |m| m["status"] == "Running" || m["status"] == "Suspended").await?;
    assert_eq!(raw.delete(&w).await?, (200, json!({})));
    assert_eq!(waiting.await??.0, 404, "whoever waits is told");
    assert_eq!(raw.get(&w).await?.0, 404);
    assert_eq!(raw.get(&format!("/v1/components/{id}/workers")).await?.1["workers"], json!([]));
    server.crash().await?;
    assert_eq!(raw.get(&w).await?.0, 404);
    for n in 1..4 {
        assert_eq!(
            raw.result(&w, ADD, &[json!(1)]).await?,
            json!(1),
            "a fresh worker each time: {n}"
        );
        assert_eq!(raw.delete(&w).await?.0, 200);
    }
    // It may be of a later version than the one before it.
    assert_eq!(raw.result(&w, ADD, &[json!(1)]).await?, json!(1));
    raw.next_version(id, emet_e2e::guest("counter")?).await?;
    assert_eq!(raw.get(&w).await?.1["componentVersion"], 0);
    assert_eq!(raw.delete(&w).await?.0, 200);
    assert_eq!(raw.result(&w, ADD, &[json!(1)]).await?, json!(1));
    assert_eq!(raw.get(&w).await?.1["componentVersion"], 1);
    Ok(())
}
