//! Outgoing and incoming HTTP, with a real web server on the other side that counts.

use emet_e2e::{Failure, Server, Web, pieces, text};
use emet_model::{WorkerId, WorkerStatus};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc::UnboundedSender;

fn function(name: &str) -> String {
    format!("test:http/api.{{{name}}}")
}

async fn worker(server: &Server, name: &str) -> Result<WorkerId, Failure> {
    Ok(WorkerId::new(server.upload("http").await?, name))
}

/// The `ok` side of a result.
fn ok(result: &Value) -> Result<&Value, Failure> {
    result.get("ok").ok_or_else(|| format!("not ok: {result}").into())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_with_headers_bodies_and_trace_context() -> Result<(), Failure> {
    let server = Server::start().await?;
    let web = Web::start(|seen| text(&seen.body)).await?;
    let worker = worker(&server, "w").await?;
    let posted = server
        .call(&worker, &function("post"), json!([web.url("/post"), ["one ", "two ", "three"]]))
        .await?;
    assert_eq!(ok(&posted)?.pointer("/body"), Some(&json!("one two three")));
    server
        .call(&worker, &function("get-with-headers"), json!([web.url("/get"), [["x-test", "1"]]]))
        .await?;
    let seen = web.seen();
    assert_eq!((seen[0].method.as_str(), seen[1].method.as_str()), ("POST", "GET"));
    assert_eq!(seen[1].header("x-test"), Some("1"));
    let traces: Vec<_> = seen.iter().filter_map(|s| s.header("traceparent")).collect();
    assert!(
        traces.len() == 2 && traces[0] != traces[1],
        "each invocation is a trace of its own: {traces:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_read_in_pieces_skipped_and_polled() -> Result<(), Failure> {
    let server = Server::start().await?;
    let web = Web::start(|_| text("0123456789")).await?;
    let worker = worker(&server, "w").await?;
    let sizes = server.call(&worker, &function("get-chunks"), json!([web.url("/a"), 4])).await?;
    let sizes: Vec<u64> = serde_json::from_value(ok(&sizes)?.clone())?;
    assert!(sizes.iter().sum::<u64>() == 10 && sizes.iter().all(|s| *s <= 4), "{sizes:?}");
    let rest = server.call(&worker, &function("get-skipping"), json!([web.url("/b"), 7])).await?;
    assert_eq!(ok(&rest)?, &json!("789"));
    let polled = server.call(&worker, &function("get-polling"), json!([web.url("/c")])).await?;
    assert_eq!(ok(&polled)?, &json!("0123456789"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_requests_are_replayed_and_not_sent_again() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let web = Web::start(|seen| text(&format!("{}#{}", seen.path, seen.number))).await?;
    let worker = worker(&server, "w").await?;
    let params = json!([web.url("/first"), web.url("/second")]);
    let both =
        server.call_keyed(&worker, &function("two-overlapping"), params.clone(), Some("k")).await?;
    assert_eq!(ok(&both)?, &json!(["/first#1", "/second#1"]));
    server.crash().await?;
    // The history is replayed in full by the next call.
    let again = server.call(&worker, &function("two-overlapping"), params).await?;
    assert_eq!(ok(&again)?, &json!(["/first#2", "/second#2"]));
    assert_eq!((web.count("/first"), web.count("/second")), (2, 2));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_kept_between_invocations_and_across_a_kill() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let web = Web::start(|_| text("abcdefghij")).await?;
    let worker = worker(&server, "w").await?;
    assert_eq!(
        ok(&server.call(&worker, &function("start-request"), json!([web.url("/kept")])).await?)?,
        &json!(200)
    );
    let first = server.call(&worker, &function("read-some"), json!([4])).await?;
    let first = ok(&first)?.as_str().unwrap_or_default().to_owned();
    assert!(!first.is_empty() && "abcdefghij".starts_with(&first));
    server.crash().await?;
    // What was read before is in the log; the rest is fetched again from where it stopped.
    let rest = server.call(&worker, &function("read-rest"), json!([])).await?;
    assert_eq!(format!("{first}{}", ok(&rest)?.as_str().unwrap_or_default()), "abcdefghij");
    assert_eq!(web.count("/kept"), 2);
    server.crash().await?;
    assert!(server.call(&worker, &function("read-some"), json!([1])).await?.get("err").is_some());
    assert_eq!(web.count("/kept"), 2, "an exchange that has ended is not repeated");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_a_kill_interrupts_is_resumed() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let senders: Arc<Mutex<Vec<UnboundedSender<String>>>> = Arc::default();
    let kept = senders.clone();
    let web = Web::start(move |_| {
        let (sender, response) = pieces();
        drop(sender.send("first ".to_owned()));
        kept.lock().push(sender);
        response
    })
    .await?;
    let worker = worker(&server, "w").await?;
    server.send(&worker, &function("get"), json!([web.url("/stream")])).await?;
    web.wait("/stream", 1).await;
    while server.search(&worker, "blocking_read").await?.is_empty() {
        tokio::task::yield_now().await;
    }
    server.crash().await?;
    // Seen before it is answered.
    while senders.lock().len() < 2 {
        tokio::task::yield_now().await;
    }
    for sender in senders.lock().drain(..).skip(1) {
        sender.send("second".to_owned())?;
    }
    server.settle(&worker, WorkerStatus::Idle).await?;
    let completed = server.search(&worker, "exportedfunctioncompleted").await?;
    assert!(completed[0]["response"].to_string().contains("first second"), "{}", completed[0]);
    Ok(())
}

/// A request that is sent again after a crash carries the key that it had before.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_idempotency_header_is_filled() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let first = Arc::new(AtomicBool::new(true));
    let web = Web::start(move |_| match first.swap(false, Ordering::SeqCst) {
        true => emet_e2e::never(),
        false => text("done"),
    })
    .await?;
    let worker = worker(&server, "w").await?;
    let asking = |key: &str| json!([web.url("/key"), [["idempotency-key", key]]]);
    server.send(&worker, &function("get-with-headers"), asking("")).await?;
    web.wait("/key", 1).await;
    server.crash().await?;
    server.settle(&worker, WorkerStatus::Idle).await?;
    server.call(&worker, &function("get-with-headers"), asking("")).await?;
    server.call(&worker, &function("get-with-headers"), asking("mine")).await?;
    let keys: Vec<_> = web
        .seen()
        .iter()
        .map(|seen| seen.header("idempotency-key").unwrap_or("none").to_owned())
        .collect();
    assert_eq!(keys.len(), 4, "{keys:?}");
    assert_eq!(keys[0].len(), 36, "{keys:?}");
    assert_eq!(keys[0], keys[1], "it is the same request");
    assert_ne!(keys[1], keys[2], "it is another one");
    assert_eq!(keys[3], "mine");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_have_their_codes_and_are_replayed() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let web = Web::start(|_| emet_e2e::never()).await?;
    let worker = worker(&server, "w").await?;
    let unused = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let refused = server
        .call(&worker, &function("get"), json!([format!("http://127.0.0.1:{unused}/")]))
        .await?;
    assert!(refused["err"].as_str().is_some_and(|e| e.contains("ConnectionRefused")), "{refused}");
    let late =
        server.call(&worker, &function("get-with-timeout"), json!([web.url("/late"), 200])).await?;
    assert!(late["err"].as_str().is_some_and(|e| e.contains("Timeout")), "{late}");
    server.crash().await?;
    let late =
        server.call(&worker, &function("get-with-timeout"), json!([web.url("/late"), 100])).await?;
    assert!(late.get("err").is_some());
    assert_eq!(web.count("/late"), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_policy_refuses_addresses_and_says_by_which_rule() -> Result<(), Failure> {
    let server = Server::start_with(&["--network-deny", "127.0.0.0/8"]).await?;
    let web = Web::counting().await?;
    let worker = worker(&server, "w").await?;
    // As an address and as a name: the rule is applied to what a name resolves to.
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("http://{host}:{}/secret", web.port());
        let refused = server.call(&worker, &function("get"), json!([url])).await?;
        assert!(
            refused["err"].as_str().is_some_and(|e| e.contains("Prohibited")),
            "{host}: {refused}"
        );
    }
    assert_eq!(web.seen().len(), 0);
    let told = server.search(&worker, "\"rule 127.0.0.0/8\"").await?;
    assert!(told.iter().any(|e| e["level"] == "Warn" && e["context"] == "network"), "{told:?}");
    assert!(server.log().contains("127.0.0.0/8"), "the operator is told, too");
    Ok(())
}

fn request(method: Value, path: &str, headers: Value, body: &str) -> Value {
    json!([{
        "method": method, "scheme": { "HTTP": null }, "authority": "example.test", "path-and-query": path, "headers": headers,
        "body-and-trailers": { "body": body.as_bytes(), "trailers": null },
    }])
}

#[tokio::test(flavor = "multi_thread")]
async fn incoming_requests_are_invocations() -> Result<(), Failure> {
    const HANDLE: &str = "golem:http/incoming-handler.{handle}";
    let mut server = Server::start().await?;
    let worker = WorkerId::new(server.upload("incoming-http").await?, "w");
    let large = "x".repeat(300_000);
    let posted = request(json!({ "POST": null }), "/status/201", json!([["x-a", b"1"]]), &large);
    let answer = server.call_keyed(&worker, HANDLE, posted.clone(), Some("k")).await?;
    assert_eq!(answer["status"], json!(201));
    let body: Vec<u8> = serde_json::from_value(answer["body"]["body"].clone())?;
    assert!(body.ends_with(large.as_bytes()), "the body came back");
    let names: Vec<&str> =
        answer["headers"].as_array().into_iter().flatten().filter_map(|h| h[0].as_str()).collect();
    assert!(names.contains(&"x-a") && names.contains(&"content-type"), "{names:?}");
    let from = answer["headers"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|h| h[0] == "x-from")
        .ok_or("no x-from")?;
    let from: Vec<u8> = serde_json::from_value(from[1].clone())?;
    assert_eq!(String::from_utf8(from)?, "Some(Scheme::Http) example.test");
    server.crash().await?;
    assert_eq!(server.call_keyed(&worker, HANDLE, posted, Some("k")).await?, answer);
    let custom = request(json!({ "custom": "PURGE" }), "/x?y=1", json!([]), "");
    assert_eq!(server.call(&worker, HANDLE, custom).await?["status"], json!(200));
    for (path, reason) in [("/silent", "without setting a response"), ("/error", "as asked")] {
        let worker = WorkerId::new(worker.component_id, path.trim_start_matches('/'));
        let error = server
            .call(&worker, HANDLE, request(json!({ "GET": null }), path, json!([]), ""))
            .await
            .err()
            .ok_or("it did not fail")?;
        assert!(error.to_string().contains(reason), "{path}: {error}");
    }
    let other = WorkerId::new(server.upload("counter").await?, "w");
    let error = server
        .call(&other, HANDLE, request(json!({ "GET": null }), "/", json!([]), ""))
        .await
        .err()
        .ok_or("it did not fail")?;
    assert!(error.to_string().contains("could not load exports"), "{error}");
    Ok(())
}
