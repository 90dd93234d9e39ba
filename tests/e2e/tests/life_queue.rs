//! The queue of a worker: order, cancellation, and taking back what was done.

use emet_e2e::raw::{Raw, worker};
use emet_e2e::{Failure, Server, guest};
use serde_json::{Value, json};

const ADD: &str = "test:counter/api.{add}";
const SLOW_ADD: &str = "test:counter/api.{slow-add}";
const GET: &str = "test:counter/api.{get}";

async fn revert(raw: &Raw, w: &str, target: Value) -> Result<(u16, Value), Failure> {
    raw.post(&format!("{w}/revert"), &target).await
}

#[tokio::test(flavor = "multi_thread")]
async fn queued_invocations_survive_a_kill_in_order() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let raw = Raw::of(&server);
    let w = worker(raw.guest("env").await?, "w");
    let clocks = worker(raw.guest("clocks").await?, "w");
    // The first one takes its time; the others wait behind it.
    raw.call(&clocks, "invoke", "test:clocks/api.{sleep-ms}", &[json!(1_500)], Some("k0")).await?;
    raw.until_status(&clocks, "Running").await?;
    for n in 1..=5 {
        let key = format!("k{n}");
        let accepted = raw
            .call(&clocks, "invoke", "test:clocks/api.{sleep-ms}", &[json!(n)], Some(&key))
            .await?;
        assert_eq!(accepted, (200, json!({})));
    }
    assert_eq!(raw.get(&clocks).await?.1["pendingInvocationCount"], 5);
    server.crash().await?;
    raw.until(&clocks, |m| m["status"] == "Idle" && m["pendingInvocationCount"] == 0).await?;
    let entries = raw.oplog(&clocks, "").await?;
    let keys = |kind: &str, pointer: &str| -> Vec<Value> {
        let of_kind = entries.iter().filter(|e| e["entry"]["type"] == kind);
        of_kind.filter_map(|e| e["entry"].pointer(pointer).cloned()).collect()
    };
    let expected: Vec<Value> = (0..=5).map(|n| json!(format!("k{n}"))).collect();
    assert_eq!(keys("ExportedFunctionInvoked", "/idempotency_key"), expected);
    assert_eq!(keys("PendingWorkerInvocation", "/invocation/idempotency_key"), expected);
    assert_eq!(raw.result(&w, "test:env/api.{is-terminal}", &[]).await?, json!(false));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_waits_can_be_cancelled() -> Result<(), Failure> {
    let server = Server::start().await?;
    let raw = Raw::of(&server);
    let w = worker(raw.guest("counter").await?, "w");
    let cancel = async |key: &str| raw.delete(&format!("{w}/invocations/{key}")).await;
    raw.call(&w, "invoke-and-await", ADD, &[json!(1)], Some("done")).await?;
    raw.call(&w, "invoke", SLOW_ADD, &[json!(10), json!(1_500)], Some("running")).await?;
    raw.until_status(&w, "Running").await?;
    let waiting = {
        let (raw, w) = (raw.clone(), w.clone());
        tokio::spawn(async move {
            raw.call(&w, "invoke-and-await", ADD, &[json!(100)], Some("queued")).await
        })
    };
    raw.until(&w, |m| m["pendingInvocationCount"] == 1).await?;
    assert_eq!(cancel("queued").await?, (200, json!({"canceled": true})));
    assert_eq!(waiting.await??.0, 500, "its caller is told");
    assert_eq!(cancel("done").await?, (200, json!({"canceled": false})));
    for unknown in ["running", "never"] {
        let (status, body) = cancel(unknown).await?;
        let expected = json!({"type": "InvalidRequest", "details": "Invocation not found"});
        assert_eq!((status, &body["golemError"]), (500, &expected), "{unknown}");
    }
    assert_eq!(raw.result(&w, GET, &[]).await?, json!(11));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn invocations_can_be_taken_back() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let raw = Raw::of(&server);
    let w = worker(raw.guest("counter").await?, "w");
    for n in 1..=4 {
        raw.call(&w, "invoke-and-await", ADD, &[json!(n)], Some(&format!("k{n}"))).await?;
    }
    let last =
        |number: u64| json!({"type": "revertLastInvocations", "numberOfInvocations": number});
    assert_eq!(revert(&raw, &w, last(2)).await?, (200, json!({})));
    server.crash().await?;
    assert_eq!(raw.result(&w, GET, &[]).await?, json!(3));
    // What was taken back is forgotten, keys included.
    let (_, body) = raw.call(&w, "invoke-and-await", ADD, &[json!(4)], Some("k4")).await?;
    assert_eq!(body["result"]["value"], json!([7]));
    let (status, body) = revert(&raw, &w, last(50)).await?;
    let expected =
        json!({"type": "InvalidRequest", "details": "Could not find 50 invocations to revert"});
    assert_eq!((status, &body["golemError"]), (500, &expected));
    for index in [0, 100_000] {
        let target = json!({"type": "revertToOplogIndex", "lastOplogIndex": index});
        assert_eq!(revert(&raw, &w, target).await?.0, 500, "{index}");
    }
    assert_eq!(
        revert(&raw, &w, json!({"type": "revertToOplogIndex", "lastOplogIndex": 1})).await?.0,
        200
    );
    assert_eq!(raw.result(&w, GET, &[]).await?, json!(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revert_heals_a_failed_worker_and_takes_an_update_back() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let raw = Raw::of(&server);
    let id = raw.guest("counter").await?;
    let w = worker(id, "w");
    raw.result(&w, ADD, &[json!(5)]).await?;
    assert_eq!(raw.call(&w, "invoke-and-await", "fail-if", &[json!(true)], None).await?.0, 500);
    let last = json!({"type": "revertLastInvocations", "numberOfInvocations": 1});
    assert_eq!(revert(&raw, &w, last).await?.0, 200);
    let metadata = raw.until_status(&w, "Idle").await?;
    assert_eq!((&metadata["lastError"], &metadata["retryCount"]), (&json!(null), &json!(0)));
    assert_eq!(raw.result(&w, ADD, &[json!(1)]).await?, json!(6));
    let index =
        raw.oplog(&w, "").await?.last().map(|e| e["oplogIndex"].clone()).unwrap_or_default();

    raw.next_version(id, guest("counter")?).await?;
    raw.post(&format!("{w}/update"), &json!({"mode": "Automatic", "targetVersion": 1})).await?;
    raw.until(&w, |m| m["componentVersion"] == 1).await?;
    assert_eq!(
        revert(&raw, &w, json!({"type": "revertToOplogIndex", "lastOplogIndex": index})).await?.0,
        200
    );
    server.crash().await?;
    let metadata = raw.get(&w).await?.1;
    assert_eq!((&metadata["componentVersion"], &metadata["updates"]), (&json!(0), &json!([])));
    assert_eq!(raw.result(&w, GET, &[]).await?, json!(6));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_key_gives_the_first_result_whatever_is_asked() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let raw = Raw::of(&server);
    let w = worker(raw.guest("counter").await?, "w");
    let (_, first) = raw.call(&w, "invoke-and-await", ADD, &[json!(3)], Some("k")).await?;
    for restart in [false, true] {
        if restart {
            server.crash().await?;
        }
        // Another function of another result type.
        assert_eq!(
            raw.call(&w, "invoke-and-await", "fail-if", &[json!(true)], Some("k")).await?,
            (200, first.clone())
        );
        assert_eq!(raw.call(&w, "invoke", ADD, &[json!(9)], Some("k")).await?, (200, json!({})));
    }
    assert_eq!(raw.result(&w, GET, &[]).await?, json!(3));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_goes_on_from_the_cut_without_the_queue_of_its_source() -> Result<(), Failure> {
    let mut server = Server::start_with(&["--suspend-after", "1000"]).await?;
    let raw = Raw::of(&server);
    let id = raw.guest("counter").await?;
    let (source, fork) = (worker(id, "source"), worker(id, "fork"));
    for n in 1..=3 {
        raw.result(&source, ADD, &[json!(n)]).await?;
    }
    raw.call(&source, "invoke", SLOW_ADD, &[json!(10), json!(1_000)], Some("slow")).await?;
    raw.until_status(&source, "Running").await?;
    raw.call(&source, "invoke", ADD, &[json!(100)], Some("queued")).await?;
    let last =
        raw.oplog(&source, "").await?.last().map(|e| e["oplogIndex"].clone()).unwrap_or_default();
    let request =
        |name: &str, at: &Value| json!({"targetWorkerName": name, "oplogIndexCutOff": at});
    let path = format!("{source}/fork");
    assert_eq!(raw.post(&path, &request("fork", &last)).await?, (200, json!({})));
    let (status, body) = raw.post(&path, &request("fork", &last)).await?;
    assert_eq!((status, &body["golemError"]["type"]), (500, &json!("WorkerAlreadyExists")));
    for at in [json!(1), json!(100_000)] {
        assert_eq!(raw.post(&path, &request("other", &at)).await?.0, 500, "{at}");
    }
    server.crash().await?;
    for (w, sum) in [(&source, 116), (&fork, 16)] {
        raw.until(w, |m| m["status"] == "Idle" && m["pendingInvocationCount"] == 0).await?;
        assert_eq!(raw.result(w, GET, &[]).await?, json!(sum), "{w}");
    }
    Ok(())
}
