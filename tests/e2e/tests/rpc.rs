//! Workers call workers: exactly once, whatever crashes, and without waiting for ever.

use emet_client::Upload;
use emet_e2e::{Failure, Server, guest};
use emet_model::{ComponentId, DynamicLinkedInstance, UpdateMode, WorkerId, WorkerStatus};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use std::time::Duration;

fn caller(name: &str) -> String {
    format!("test:rpc-caller/api.{{{name}}}")
}

fn scheduler(name: &str) -> String {
    format!("test:rpc-scheduler/api.{{{name}}}")
}

fn linked(name: &str) -> String {
    format!("test:linked-caller/api.{{{name}}}")
}

const GET: &str = "test:counter/api.{get}";

async fn upload(server: &Server) -> Result<(WorkerId, ComponentId), Failure> {
    let counter = server.upload("counter").await?;
    Ok((WorkerId::new(server.upload("rpc-caller").await?, "caller"), counter))
}

#[tokio::test(flavor = "multi_thread")]
async fn all_kinds_of_calls_have_their_effect_once() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let (worker, counter) = upload(&server).await?;
    let (a, b) = (WorkerId::new(counter, "a"), WorkerId::new(counter, "b-ü"));
    assert_eq!(
        server.call(&worker, &caller("add"), json!([a.urn(), 1])).await?,
        json!({ "ok": 1 })
    );
    assert_eq!(
        server.call(&worker, &caller("add-async"), json!([b.urn(), 10])).await?,
        json!({ "ok": 10 })
    );
    assert_eq!(
        server.call(&worker, &caller("add-later"), json!([a.urn(), 100])).await?,
        json!({ "ok": null })
    );
    assert_eq!(
        server.call(&worker, &caller("add-both"), json!([a.urn(), b.urn(), 1000, 5])).await?,
        json!({ "ok": 2111 })
    );
    assert_eq!(
        server.call(&worker, &caller("counter"), json!([a.urn(), "x"])).await?,
        json!({ "ok": 5 })
    );
    assert_eq!(
        server.call(&worker, &caller("ping-pong"), json!([a.urn(), b.urn(), 3])).await?,
        json!({ "ok": 1013 })
    );
    server.crash().await?;
    // The caller's history is replayed, and calls nobody.
    assert_eq!(
        server.call(&worker, &caller("get"), json!([a.urn()])).await?,
        json!({ "ok": 1104 })
    );
    assert_eq!(server.call(&a, GET, json!([])).await?, json!(1104));
    assert_eq!(server.call(&b, GET, json!([])).await?, json!(1013));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_inherits_what_its_caller_sees() -> Result<(), Failure> {
    let server = Server::start().await?;
    let id = server.upload("rpc-caller").await?;
    let (worker, target) = (WorkerId::new(id, "caller"), WorkerId::new(id, "target"));
    let request = emet_api::rest::WorkerCreationRequest {
        name: "caller".into(),
        args: vec!["a1".into()],
        env: [("COLOUR".to_owned(), "red".to_owned())].into(),
    };
    server.client.create_worker(id, &request).await?;
    server
        .call(&worker, &caller("call"), json!([target.urn(), caller("get-environment"), []]))
        .await?;
    let seen = server.call(&target, &caller("get-environment"), json!([])).await?;
    assert!(
        seen.as_array().is_some_and(|e| e.contains(&json!(["COLOUR", "red"]))
            && e.contains(&json!(["GOLEM_WORKER_NAME", "target"]))),
        "{seen}"
    );
    assert_eq!(server.call(&target, &caller("get-arguments"), json!([])).await?, json!(["a1"]));
    let create = server.client.oplog(&target, 1, 1).await?.entries.remove(0).entry;
    assert_eq!(create["parent"]["workerName"], json!("caller"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_tell_what_went_wrong_and_are_replayed() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let (worker, counter) = upload(&server).await?;
    let target = WorkerId::new(counter, "t");
    let unknown = format!("urn:worker:{}/x", uuid::Uuid::from_u128(7));
    let text = |answer: &Value| answer["err"].as_str().unwrap_or_default().to_owned();
    let mut answers = Vec::new();
    for (params, expected) in [
        (json!([unknown, "f", []]), "Could not find any component with the given id"),
        (
            json!([target.urn(), "test:counter/api.{nothing}", []]),
            "could not load function nothing",
        ),
        (json!([target.urn(), "test:counter/api.{add}", []]), "expected 1, got 0 parameters"),
        (json!([target.urn(), "test:counter/api.{slow-add}", [1]]), "expected 2, got 1 parameters"),
        (json!([target.urn(), "((", []]), "Invalid function name"),
    ] {
        let answer =
            server.call_keyed(&worker, &caller("call"), params.clone(), Some(expected)).await?;
        assert!(text(&answer).contains(expected), "{params}: {answer}");
        answers.push((params, expected, answer));
    }
    assert!(text(&answers[0].2).starts_with("RpcError::NotFound"), "{}", answers[0].2);
    assert!(text(&answers[1].2).starts_with("RpcError::RemoteInternalError"), "{}", answers[1].2);
    let bad = WorkerId::new(worker.component_id, "bad-uri");
    for uri in ["", "urn:worker:x/y", "urn:worker", &format!("{}/f", target.urn()), "http://x"] {
        let bad = WorkerId::new(bad.component_id, format!("bad-{}", uri.len()));
        let error =
            server.call(&bad, &caller("get"), json!([uri])).await.err().ok_or("it did not fail")?;
        assert!(
            error.to_string().contains("Must be urn:worker:component-id/worker-name"),
            "{uri}: {error}"
        );
    }
    // A component alone names a worker that is made for the occasion.
    let fresh =
        server.call(&worker, &caller("add"), json!([format!("urn:worker:{counter}"), 5])).await?;
    assert_eq!(fresh, json!({ "ok": 5 }));
    server.crash().await?;
    for (params, key, answer) in answers {
        assert_eq!(server.call_keyed(&worker, &caller("call"), params, Some(key)).await?, answer);
    }
    assert_eq!(
        server.call(&worker, &caller("get"), json!([target.urn()])).await?,
        json!({ "ok": 0 })
    );
    Ok(())
}

/// What happens in a target is an error of the call, of one kind (guest spec 5.6), and the caller goes on.
#[tokio::test(flavor = "multi_thread")]
async fn what_happens_in_a_callee_is_a_remote_internal_error() -> Result<(), Failure> {
    let server = Server::start().await?;
    let (worker, counter) = upload(&server).await?;
    let failing = WorkerId::new(counter, "failing");
    assert!(server.call(&failing, "fail-if", json!([true])).await.is_err());
    let env = server.upload("env").await?;
    let exited = WorkerId::new(env, "exited");
    assert!(server.call(&exited, "test:env/api.{exit}", json!([true])).await.is_err());
    let durability = server.upload("durability").await?;
    let trapping = WorkerId::new(durability, "trapping");
    for (target, function, params, expected) in [
        (&failing, GET, json!([]), "Previous invocation failed"),
        (&exited, "test:env/api.{get-arguments}", json!([]), "Previous invocation exited"),
        (&trapping, "test:durability/api.{jump-forward}", json!([]), "Runtime error"),
        (&trapping, "test:durability/api.{step}", json!([1]), "Previous invocation failed"),
    ] {
        let answer =
            server.call(&worker, &caller("call"), json!([target.urn(), function, params])).await?;
        let text = answer["err"].as_str().unwrap_or_default();
        assert!(
            text.starts_with("RpcError::RemoteInternalError") && text.contains(expected),
            "{function}: {answer}"
        );
    }
    let waiting = WorkerId::new(counter, "waiting");
    let params = json!([waiting.urn(), "test:counter/api.{slow-add}", [1, 60_000]]);
    server.send(&worker, &caller("call"), params.clone()).await?;
    while server.settle(&waiting, WorkerStatus::Suspended).await.is_err() {}
    server.client.interrupt_worker(&waiting, false).await?;
    server.settle(&worker, WorkerStatus::Idle).await?;
    let completed = server.search(&worker, "exportedfunctioncompleted").await?;
    let last = completed.last().map(Value::to_string).unwrap_or_default();
    assert!(
        last.contains("RemoteInternalError") && last.contains("Interrupted via the Golem API"),
        "{last}"
    );
    Ok(())
}

/// Whether an answer is the refusal of a call that goes round these workers, begun at any of them.
fn is_cycle(answer: &Value, round: &[&WorkerId]) -> bool {
    let text = answer["err"].as_str().unwrap_or_default();
    let turned = (0..round.len()).map(|first| {
        let path = round.iter().cycle().skip(first).take(round.len() + 1);
        path.map(|w| w.urn()).collect::<Vec<_>>().join(" -> ")
    });
    text.contains("can never be answered") && turned.into_iter().any(|path| text.contains(&path))
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_can_never_be_answered_are_refused_with_the_cycle() -> Result<(), Failure> {
    let server = Server::start().await?;
    let id = server.upload("rpc-caller").await?;
    let (a, b) = (WorkerId::new(id, "a"), WorkerId::new(id, "b"));
    let own =
        server.call(&a, &caller("call"), json!([a.urn(), caller("get-environment"), []])).await?;
    assert!(is_cycle(&own, &[&a]), "{own}");
    let round = server.call(&a, &caller("relay"), json!([[b.urn(), a.urn(), b.urn()]])).await?;
    assert!(is_cycle(&round, &[&a, &b]), "{round}");
    server.settle(&a, WorkerStatus::Idle).await?;
    server.settle(&b, WorkerStatus::Idle).await?;
    // Without waiting, a worker can call itself: the call runs next.
    let before = server.search(&a, "exportedfunctioncompleted").await?.len();
    let sent =
        server.call(&a, &caller("send"), json!([a.urn(), caller("get-environment"), []])).await?;
    assert_eq!(sent, json!({ "ok": null }));
    while server.search(&a, "exportedfunctioncompleted").await?.len() < before + 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_in_a_circle_for_calls_in_the_background_is_refused_too() -> Result<(), Failure> {
    // With room for two, the waiting workers are suspended before the circle is closed.
    for arguments in [&[][..], &["--max-loaded", "2", "--suspend-after", "0.2"]] {
        let server = Server::start_with(arguments).await?;
        let id = server.upload("rpc-caller").await?;
        for then_async in [true, false] {
            let [a, b, c] =
                ["a", "b", "c"].map(|name| WorkerId::new(id, format!("{name}-{then_async}")));
            let own = server
                .call(&a, &caller("relay-async"), json!([[a.urn(), b.urn()], then_async]))
                .await?;
            assert!(is_cycle(&own, &[&a]), "{own}");
            let params = json!([[b.urn(), c.urn(), a.urn(), b.urn()], then_async]);
            let round = server.call(&a, &caller("relay-async"), params).await?;
            assert!(is_cycle(&round, &[&a, &b, &c]), "{round}");
            for worker in [&a, &b, &c] {
                server.settle(worker, WorkerStatus::Idle).await?;
            }
        }
    }
    Ok(())
}

/// The caller waits for a call that takes a while, when the server is killed.
async fn killed_while_waiting(
    function: &str,
    params: impl Fn(&WorkerId) -> Value,
    arguments: &[&str],
) -> Result<(), Failure> {
    let mut server = Server::start_with(arguments).await?;
    let (worker, counter) = upload(&server).await?;
    let target = WorkerId::new(counter, "slow");
    server.send(&worker, function, params(&target)).await?;
    while server.client.worker(&target).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.crash().await?;
    server.settle(&worker, WorkerStatus::Idle).await?;
    server.settle(&target, WorkerStatus::Idle).await?;
    let once = server.call(&target, GET, json!([])).await?;
    let completed = server.search(&worker, "exportedfunctioncompleted").await?;
    assert_eq!((once, completed.len()), (json!(7), 1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_a_caller_waits_loses_and_doubles_nothing() -> Result<(), Failure> {
    let slow = |target: &WorkerId| json!([target.urn(), "test:counter/api.{slow-add}", [7, 1200]]);
    killed_while_waiting(&caller("call"), slow, &[]).await?;
    // Both are suspended while they wait.
    killed_while_waiting(&caller("call"), slow, &["--suspend-after", "0.3"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_caller_gives_its_memory_up_and_can_be_interrupted() -> Result<(), Failure> {
    let server = Server::start_with(&["--suspend-after", "0.3"]).await?;
    let (worker, counter) = upload(&server).await?;
    let target = WorkerId::new(counter, "slow");
    let params = json!([target.urn(), "test:counter/api.{slow-add}", [7, 2000]]);
    server.send(&worker, &caller("call"), params).await?;
    server.settle(&worker, WorkerStatus::Suspended).await?;
    server.settle(&worker, WorkerStatus::Idle).await?;
    assert_eq!(server.call(&target, GET, json!([])).await?, json!(7));
    let waiting = WorkerId::new(worker.component_id, "interrupted");
    server
        .send(
            &waiting,
            &caller("call"),
            json!([target.urn(), "test:counter/api.{slow-add}", [1, 60_000]]),
        )
        .await?;
    server.settle(&waiting, WorkerStatus::Suspended).await?;
    server.client.interrupt_worker(&waiting, false).await?;
    server.settle(&waiting, WorkerStatus::Interrupted).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_is_interrupted_updated_and_evicted_meanwhile() -> Result<(), Failure> {
    let server = Server::start_with(&["--max-loaded", "2"]).await?;
    let id = server.upload("update-v1").await?;
    let worker = WorkerId::new(server.upload("rpc-caller").await?, "caller");
    let target = WorkerId::new(id, "t");
    server.call(&target, "test:update/api.{f3}", json!([])).await?;
    let v2 = server.update(id, "update-v2").await?;
    let call = json!([target.urn(), "test:update/api.{f1}", [5, 1000]]);
    server.send(&worker, &caller("call"), call).await?;
    server.settle(&target, WorkerStatus::Running).await?;
    server.client.update_worker(&target, UpdateMode::Automatic, v2).await?;
    server.settle(&worker, WorkerStatus::Idle).await?;
    assert_eq!(server.call(&target, "test:update/api.{version}", json!([])).await?, json!("v2"));
    assert_eq!(server.call(&target, "test:update/api.{f3}", json!([])).await?, json!(5));
    // Others take its place in memory; the next call finds its state again.
    let counter = server.upload("counter").await?;
    for n in 0..4 {
        server.call(&WorkerId::new(counter, format!("c{n}")), GET, json!([])).await?;
    }
    let answer = server
        .call(&worker, &caller("call"), json!([target.urn(), "test:update/api.{f3}", []]))
        .await?;
    assert!(answer["ok"].as_str().is_some_and(|v| v.contains("PrimU64(5)")), "{answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn scheduled_calls_run_once_also_after_an_outage_unless_cancelled() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let counter = server.upload("counter").await?;
    let worker = WorkerId::new(server.upload("rpc-scheduler").await?, "s");
    server.create(&worker, &[("COLOUR", "red".to_owned())]).await?;
    let (soon, never) = (WorkerId::new(counter, "soon"), WorkerId::new(counter, "never"));
    server.call(&worker, &scheduler("add-in"), json!([soon.urn(), 3, 1])).await?;
    let token =
        server.call(&worker, &scheduler("add-in-cancelable"), json!([never.urn(), 3, 1])).await?;
    server.call(&worker, &scheduler("cancel"), json!([token])).await?;
    server.kill()?;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    server.restart().await?;
    while server.search(&soon, "exportedfunctioncompleted").await.map_or(0, |e| e.len()) == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.call(&soon, GET, json!([])).await?, json!(3));
    let create = server.client.oplog(&soon, 1, 1).await?.entries.remove(0).entry;
    assert_eq!(
        (&create["env"]["COLOUR"], &create["parent"]["workerName"]),
        (&json!("red"), &json!("s")),
        "a target inherits"
    );
    assert!(server.client.worker(&never).await.is_err(), "what was cancelled never came to be");
    // Cancelling what has run is no error.
    let ran =
        server.call(&worker, &scheduler("add-in-cancelable"), json!([soon.urn(), 0, 0])).await?;
    while server.search(&soon, "exportedfunctioncompleted").await?.len() < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.call(&worker, &scheduler("cancel"), json!([ran])).await?;
    let pair = server.call(&worker, &scheduler("extract"), json!([5])).await?;
    assert!(pair.to_string().contains("u64") || pair.to_string().contains("U64"), "{pair}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_interface_is_linked_without_a_stub() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let counter = server.upload("counter").await?;
    let targets = [("api", "test:counter/api"), ("counter", "test:counter/api")];
    let linking = DynamicLinkedInstance::WasmRpc {
        target_interface_name: targets.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
    };
    let upload = Upload {
        wasm: guest("linked-caller")?.into(),
        dynamic_linking: [("test:counter-client/stub-guest".to_owned(), linking)].into(),
        ..Default::default()
    };
    let id = server
        .client
        .create_component("linked-caller", upload)
        .await?
        .versioned_component_id
        .component_id;
    let (worker, a, b) =
        (WorkerId::new(id, "w"), WorkerId::new(counter, "a"), WorkerId::new(counter, "b"));
    assert_eq!(server.call(&worker, &linked("add"), json!([a.urn(), 5])).await?, json!(5));
    assert_eq!(
        server.call(&worker, &linked("add-both"), json!([a.urn(), b.urn(), 10])).await?,
        json!(25)
    );
    assert_eq!(
        server.call(&worker, &linked("world-add"), json!([a.urn(), 100])).await?,
        json!(115)
    );
    server.call(&worker, &linked("fail-later"), json!([a.urn(), false])).await?;
    assert_eq!(
        server.call(&worker, &linked("counters"), json!([a.urn()])).await?,
        json!(["a+b", 6])
    );
    assert_eq!(
        server.call(&a, "test:counter/api.{live-counters}", json!([])).await?,
        json!(0),
        "dropped stubs drop their resources"
    );
    server.call(&worker, &linked("add-in"), json!([b.urn(), 1000, 3600, true])).await?;
    server.call(&worker, &linked("cancel"), json!([])).await?;
    server.crash().await?;
    assert_eq!(
        server.call(&worker, &linked("add"), json!([a.urn(), 0])).await?,
        json!(115),
        "the history is replayed, and calls nobody"
    );
    assert_eq!(server.call(&b, GET, json!([])).await?, json!(10));
    // In time, once.
    server.call(&worker, &linked("add-in"), json!([b.urn(), 3, 1, false])).await?;
    while server.call(&b, GET, json!([])).await? == json!(10) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.call(&b, GET, json!([])).await?, json!(13));
    // Nobody waits for the call that fails, so its failure is the callee's alone.
    let c = WorkerId::new(counter, "c");
    server.call(&worker, &linked("fail-later"), json!([c.urn(), true])).await?;
    server.settle(&c, WorkerStatus::Failed).await?;
    assert_eq!(server.client.worker(&worker).await?.status, WorkerStatus::Idle);
    let failing = WorkerId::new(id, "failing");
    let error = server
        .call(&failing, &linked("fail"), json!([b.urn()]))
        .await
        .err()
        .ok_or("it did not fail")?;
    assert!(error.to_string().contains("remote-internal-error"), "{error}");
    Ok(())
}

/// A caller that is composed with the generated stub of the 1.0 and 1.1 line needs nothing of the host but golem:rpc.
#[tokio::test(flavor = "multi_thread")]
async fn a_component_composed_with_a_generated_stub_runs_unchanged() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let counter = server.upload("counter").await?;
    let id = server.upload("composed-caller").await?;
    let composed = |name: &str| format!("test:stub-caller/api.{{{name}}}");
    let (worker, a, b) =
        (WorkerId::new(id, "w"), WorkerId::new(counter, "a"), WorkerId::new(counter, "b-ü"));
    assert_eq!(server.call(&worker, &composed("add"), json!([a.urn(), 5])).await?, json!(5));
    assert_eq!(
        server.call(&worker, &composed("add-both"), json!([a.urn(), b.urn(), 10])).await?,
        json!(25)
    );
    assert_eq!(
        server.call(&worker, &composed("world-add"), json!([a.urn(), 100])).await?,
        json!(215)
    );
    assert_eq!(
        server.call(&worker, &composed("counters"), json!([a.urn()])).await?,
        json!(["a+b", 6])
    );
    assert_eq!(
        server.call(&a, "test:counter/api.{live-counters}", json!([])).await?,
        json!(0),
        "dropped stubs drop their resources"
    );
    server.call(&worker, &composed("fail-later"), json!([a.urn(), false])).await?;
    server.crash().await?;
    assert_eq!(
        server.call(&worker, &composed("add"), json!([a.urn(), 0])).await?,
        json!(215),
        "the history is replayed, and calls nobody"
    );
    assert_eq!(server.call(&b, GET, json!([])).await?, json!(10));
    let failing = WorkerId::new(id, "failing");
    let error = server
        .call(&failing, &composed("fail"), json!([b.urn()]))
        .await
        .err()
        .ok_or("it did not fail")?;
    assert!(
        error
            .to_string()
            .contains("Failed to invoke remote fail-if: RpcError::RemoteInternalError"),
        "{error}"
    );
    Ok(())
}

/// Requests that the client of a test makes at the same time.
const AT_ONCE: usize = 256;

/// How many callers or callees there are; `EMET_RPC_SCALE=10000` is the big run (docs/limits.md).
fn scale() -> u32 {
    std::env::var("EMET_RPC_SCALE").ok().and_then(|n| n.parse().ok()).unwrap_or(60)
}

/// With room for a few workers only, callers that wait make room for the workers that they wait for.
#[tokio::test(flavor = "multi_thread")]
async fn many_callers_of_one_callee_find_room() -> Result<(), Failure> {
    let server = Server::start_with(&["--max-loaded", "3"]).await?;
    let (worker, counter) = upload(&server).await?;
    let target = WorkerId::new(counter, "one");
    let callers = (0..scale()).map(|n| WorkerId::new(worker.component_id, format!("caller-{n}")));
    let callers: Vec<WorkerId> = callers.collect();
    let (server, target) = (&server, &target);
    let (function, params) = (&caller("add"), json!([target.urn(), 1]));
    let add = |worker| server.call_keyed(worker, function, params.clone(), Some("once"));
    let sent = callers
        .iter()
        .map(|worker| server.send_keyed(worker, function, params.clone(), Some("once")));
    futures::stream::iter(sent).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?;
    let answers = futures::stream::iter(callers.iter().map(add)).buffer_unordered(AT_ONCE);
    for answer in answers.try_collect::<Vec<Value>>().await? {
        assert!(answer.get("ok").is_some(), "{answer}");
    }
    assert_eq!(server.call(target, GET, json!([])).await?, json!(scale()));
    // However scarce room was, no caller was rebuilt in vain: the answer was there when it was.
    for worker in callers.iter().take(50) {
        let suspensions = server.search(worker, "suspend").await?;
        assert!(
            suspensions.len() <= 1,
            "{worker} was suspended {} times for one call",
            suspensions.len()
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_caller_of_many_callees_finds_room() -> Result<(), Failure> {
    let server = Server::start_with(&["--max-loaded", "3"]).await?;
    let (worker, counter) = upload(&server).await?;
    let prefix = format!("urn:worker:{counter}/fan-");
    assert_eq!(
        server.call(&worker, &caller("fan-out"), json!([prefix, scale(), 2])).await?,
        json!({ "ok": scale() * 2 })
    );
    // A chain is as long as there are workers, and there is room for three.
    let ids: Vec<String> =
        (0..8).map(|n| WorkerId::new(worker.component_id, format!("link-{n}")).urn()).collect();
    let chain: Vec<String> = ids.into_iter().chain([WorkerId::new(counter, "end").urn()]).collect();
    assert_eq!(server.call(&worker, &caller("relay"), json!([chain])).await?, json!({ "ok": 0 }));
    Ok(())
}
