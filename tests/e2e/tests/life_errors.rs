//! Every error that a user can meet has the documented status and body.

use emet_e2e::raw::{Answer, Raw, component_id, worker};
use emet_e2e::{Failure, Server};
use serde_json::{Value, json};

const ADD: &str = "test:counter/api.{add}";

/// The type and the details of the error union.
fn union(answer: &Answer) -> (u16, String, String) {
    let text =
        |key: &str| answer.1.pointer(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    (answer.0, text("/golemError/type"), text("/golemError/details"))
}

fn error_text(answer: &Answer) -> (u16, &str) {
    (answer.0, answer.1.get("error").and_then(Value::as_str).unwrap_or_default())
}

fn reasons(answer: &Answer) -> (u16, Vec<&str>) {
    let errors = answer.1.get("errors").and_then(Value::as_array).into_iter().flatten();
    (answer.0, errors.filter_map(Value::as_str).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_make_no_sense() -> Result<(), Failure> {
    let server = Server::start().await?;
    let raw = Raw::of(&server);
    let id = raw.guest("counter").await?;
    let w = worker(id, "w");
    let call = async |function: &str, params: &[Value]| {
        raw.call(&w, "invoke-and-await", function, params, None).await
    };

    let (status, kind, details) = union(&call("test:counter/api.{nope}", &[]).await?);
    assert_eq!((status, kind.as_str()), (500, "InvalidRequest"));
    assert!(
        details.contains("could not load function nope for interface test:counter/api"),
        "{details}"
    );
    let (_, _, details) = union(&call("test:other/api.{add}", &[]).await?);
    assert!(details.contains("could not load exports for interface test:other/api"), "{details}");
    let (status, kind, details) = union(&call("test:counter/api.{", &[]).await?);
    assert_eq!((status, kind.as_str()), (500, "InvalidRequest"));
    assert!(details.starts_with("Invalid function name"), "{details}");
    for params in [&[][..], &[json!(1), json!(2)]] {
        let (status, kind, details) = union(&call(ADD, params).await?);
        let expected = format!("expected 1, got {} parameters", params.len());
        assert_eq!((status, kind.as_str(), details), (500, "ParamTypeMismatch", expected));
    }
    let (status, kind, details) = union(&call(ADD, &[json!("x")]).await?);
    assert_eq!((status, kind.as_str()), (500, "ParamTypeMismatch"));
    assert!(details.contains("expected u64"), "{details}");
    // None of this has harmed the worker.
    assert_eq!(raw.result(&w, ADD, &[json!(3)]).await?, json!(3));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn typed_parameters_are_decoded_before_anything_is_asked() -> Result<(), Failure> {
    let server = Server::start().await?;
    let raw = Raw::of(&server);
    let w = worker(raw.guest("counter").await?, "w");
    let path = format!("{w}/invoke-and-await?function=test%3Acounter%2Fapi.%7Badd%7D");
    let u8s = json!({"type": "List", "inner": {"type": "U8"}});
    let body = json!({"params": [{"typ": u8s, "value": [1, 300, "x"]}, {"typ": {"type": "Bool"}, "value": 1}]});
    let answer = raw.post(&path, &body).await?;
    let (status, errors) = reasons(&answer);
    assert_eq!((status, errors.len()), (400, 3), "{errors:?}");
    let mixed = json!({"params": [{"typ": {"type": "U64"}, "value": 1}, {"value": 2}]});
    let answer = raw.post(&path, &mixed).await?;
    assert_eq!((answer.0, reasons(&answer).1.len()), (400, 1));
    let bare = raw.post(&path, &json!({"params": [1]})).await?;
    assert_eq!(bare.0, 400);
    let typed = json!({"params": [{"typ": {"type": "U64"}, "value": 5}]});
    let expected =
        json!({"result": {"typ": {"type": "Tuple", "items": [{"type": "U64"}]}, "value": [5]}});
    assert_eq!(raw.post(&path, &typed).await?, (200, expected));
    let (status, kind, _) =
        union(&raw.post(&path, &json!({"params": [{"typ": {"type": "U32"}, "value": 5}]})).await?);
    assert_eq!((status, kind.as_str()), (500, "ParamTypeMismatch"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist() -> Result<(), Failure> {
    let server = Server::start().await?;
    let raw = Raw::of(&server);
    let id = raw.guest("counter").await?;
    let w = worker(id, "missing");
    let missing = format!("Worker not found: {id}/missing");
    for path in ["", "/oplog?count=10"] {
        assert_eq!(
            raw.get(&format!("{w}{path}")).await?,
            (404, json!({ "error": missing })),
            "{path}"
        );
    }
    for path in ["/resume", "/update", "/revert"] {
        let body = json!({"mode": "Automatic", "targetVersion": 0, "type": "revertToOplogIndex", "lastOplogIndex": 1});
        assert_eq!(
            error_text(&raw.post(&format!("{w}{path}"), &body).await?),
            (404, missing.as_str()),
            "{path}"
        );
    }
    assert_eq!(raw.delete(&format!("{w}/invocations/k")).await?.0, 404);
    // Deleting and interrupting what does not exist is no error, and makes nothing.
    assert_eq!(raw.delete(&w).await?, (200, json!({})));
    assert_eq!(raw.command(&format!("{w}/interrupt")).await?, (200, json!({})));
    assert_eq!(raw.get(&w).await?.0, 404);
    let promise = raw.post(&format!("{w}/complete"), &json!({"oplogIdx": 7, "data": []})).await?;
    let promise_id =
        json!({"workerId": {"componentId": id, "workerName": "missing"}, "oplogIdx": 7});
    assert_eq!(
        (promise.0, &promise.1["golemError"]),
        (500, &json!({"type": "PromiseNotFound", "promiseId": promise_id}))
    );

    let unknown = "/v1/components/00000000-0000-0000-0000-00000000dead";
    let created = raw
        .post(&format!("{unknown}/workers"), &json!({"name": "w", "args": [], "env": {}}))
        .await?;
    let (status, error) = error_text(&created);
    assert!(status == 404 && error.starts_with("Couldn't retrieve the component"), "{created:?}");
    let (status, kind, _) = union(
        &raw.call(&format!("{unknown}/workers/w"), "invoke-and-await", "f", &[], None).await?,
    );
    assert_eq!((status, kind.as_str()), (500, "GetLatestVersionOfComponentFailed"));
    assert_eq!(
        raw.get(&format!("{unknown}/workers")).await?,
        (200, json!({"workers": [], "cursor": null}))
    );
    assert_eq!(raw.get(unknown).await?, (200, json!([])));
    let download = raw.get(&format!("{unknown}/download")).await?;
    assert!(error_text(&download).1.starts_with("Unknown component id"), "{download:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_created_once() -> Result<(), Failure> {
    let server = Server::start().await?;
    let raw = Raw::of(&server);
    let id = raw.guest("counter").await?;
    let path = format!("/v1/components/{id}/workers");
    let body = json!({"name": "w", "args": ["-v"], "env": {"REGION": "eu"}});
    let worker_id = json!({"componentId": id, "workerName": "w"});
    // Of several at once, one makes it.
    let answers = futures::future::join_all((0..4).map(|_| raw.post(&path, &body))).await;
    let answers = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
    let created: Vec<_> = answers.iter().filter(|a| a.0 == 200).collect();
    assert_eq!(created.len(), 1, "{answers:?}");
    assert_eq!(created[0].1, json!({"workerId": worker_id, "componentVersion": 0}));
    let refused = json!({"type": "WorkerAlreadyExists", "workerId": worker_id});
    assert!(
        answers.iter().filter(|a| a.0 != 200).all(|a| a.0 == 500 && a.1["golemError"] == refused),
        "{answers:?}"
    );
    let (_, metadata) = raw.get(&worker(id, "w")).await?;
    assert_eq!((&metadata["args"], &metadata["env"]), (&json!(["-v"]), &json!({"REGION": "eu"})));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_guest_does_wrong() -> Result<(), Failure> {
    let server = Server::start().await?;
    let raw = Raw::of(&server);
    let counter = raw.guest("counter").await?;
    let w = worker(counter, "fails");
    let (status, kind, details) =
        union(&raw.call(&w, "invoke-and-await", "fail-if", &[json!(true)], None).await?);
    assert_eq!((status, kind.as_str()), (500, "RuntimeError"));
    assert!(details.contains("panicked"), "what was written to stderr is part of it: {details}");
    let refused = raw.call(&w, "invoke-and-await", ADD, &[json!(1)], None).await?;
    let (status, kind, details) = union(&refused);
    assert_eq!((status, kind.as_str()), (500, "PreviousInvocationFailed"));
    assert!(details.contains("panicked"), "{details}");
    assert!(
        refused.1["message"].as_str().is_some_and(|m| m.starts_with("Previous invocation failed")),
        "{refused:?}"
    );
    let (_, metadata) = raw.get(&w).await?;
    assert_eq!((&metadata["status"], &metadata["retryCount"]), (&json!("Failed"), &json!(4)));
    assert!(metadata["lastError"].as_str().is_some_and(|e| e.contains("panicked")));
    let (status, kind, _) = union(&raw.command(&format!("{w}/resume")).await?);
    assert_eq!((status, kind.as_str()), (500, "PreviousInvocationFailed"));

    let hostile = worker(raw.guest("hostile").await?, "deep");
    let (_, kind, details) = union(
        &raw.call(&hostile, "invoke-and-await", "test:hostile/api.{deep-recursion}", &[], None)
            .await?,
    );
    assert!(kind == "RuntimeError" && details.starts_with("Stack overflow"), "{details}");

    let env = worker(raw.guest("env").await?, "exits");
    let (status, kind, details) = union(
        &raw.call(&env, "invoke-and-await", "test:env/api.{exit}", &[json!(true)], None).await?,
    );
    assert_eq!((status, kind.as_str(), details.as_str()), (500, "RuntimeError", "Process exited"));
    let refused = raw.call(&env, "invoke-and-await", "test:env/api.{now}", &[], None).await?;
    assert_eq!(
        (refused.0, &refused.1["golemError"]),
        (500, &json!({"type": "PreviousInvocationExited"}))
    );

    let resource = worker(counter, "resource");
    let uri = format!("urn:worker:{counter}/resource/99");
    let value = "test:counter/api.{[method]counter.get-value}";
    let (status, kind, details) =
        union(&raw.call(&resource, "invoke-and-await", value, &[json!(uri)], None).await?);
    assert_eq!(status, 500);
    assert!(details.contains("resource not found"), "{kind}: {details}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn components_that_cannot_be_run() -> Result<(), Failure> {
    let server = Server::start().await?;
    let raw = Raw::of(&server);
    let imports =
        wat::parse_str(r#"(component (import "nope:nope/nope" (instance (export "f" (func)))))"#)?;
    let traps = wat::parse_str(
        "(component (core module $m (func $s unreachable) (start $s)) (core instance (instantiate $m)))",
    )?;
    for (name, wasm) in [("imports", imports), ("traps", traps)] {
        // Neither is a fault of the upload.
        let id = component_id(&raw.upload(name, wasm, "Durable").await?)?;
        let path = format!("/v1/components/{id}/workers");
        let answer = raw.post(&path, &json!({"name": "w", "args": [], "env": {}})).await?;
        let (status, kind, _) = union(&answer);
        assert_eq!((status, kind.as_str()), (500, "WorkerCreationFailed"), "{name}: {answer:?}");
        assert_eq!(
            answer.1["golemError"]["workerId"],
            json!({"componentId": id, "workerName": "w"})
        );
    }
    for (wasm, reason) in
        [(b"hello".to_vec(), "not WebAssembly"), (wat::parse_str("(module)")?, "core module")]
    {
        let answer = raw.upload("bad", wasm, "Durable").await?;
        let (status, errors) = reasons(&answer);
        assert!(status == 400 && errors.len() == 1 && errors[0].contains(reason), "{answer:?}");
    }
    let first = raw.guest("counter").await?;
    let again = raw.upload("counter", emet_e2e::guest("counter")?, "Durable").await?;
    assert_eq!(error_text(&again), (409, format!("Component already exists: {first}").as_str()));
    Ok(())
}

/// What a worker needs and what is gone from the object store.
#[tokio::test(flavor = "multi_thread")]
async fn objects_that_are_gone() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let raw = Raw::of(&server);
    let id = raw.guest("counter").await?;
    let old = worker(id, "old");
    assert_eq!(raw.result(&old, ADD, &[json!(1)]).await?, json!(1));
    server.kill()?;
    server.lose_objects(&[])?;
    server.restart().await?;
    let fresh = raw.call(&worker(id, "fresh"), "invoke-and-await", ADD, &[json!(1)], None).await?;
    assert_eq!(
        (fresh.0, &fresh.1["golemError"]["type"]),
        (500, &json!("ComponentDownloadFailed")),
        "{fresh:?}"
    );
    assert_eq!(fresh.1["golemError"]["componentId"], json!({"componentId": id, "version": 0}));
    let resumed = raw.call(&old, "invoke-and-await", ADD, &[json!(1)], None).await?;
    assert_eq!(
        (resumed.0, &resumed.1["golemError"]["type"]),
        (500, &json!("FailedToResumeWorker")),
        "{resumed:?}"
    );
    assert_eq!(resumed.1["golemError"]["reason"]["type"], json!("ComponentDownloadFailed"));
    assert_eq!(
        resumed.1["golemError"]["workerId"],
        json!({"componentId": id, "workerName": "old"})
    );
    Ok(())
}
