//! Key-value buckets and objects: shared between workers, recorded, with one semantics.

use emet_e2e::{Failure, Server};
use emet_model::WorkerId;
use serde_json::{Value, json};

fn kv(name: &str) -> String {
    format!("test:keyvalue/api.{{{name}}}")
}

fn blob(name: &str) -> String {
    format!("test:blobstore/api.{{{name}}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_are_shared_between_workers_and_reads_are_replayed() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let id = server.upload("keyvalue").await?;
    let (writer, reader) = (WorkerId::new(id, "writer"), WorkerId::new(id, "reader"));
    server.call(&writer, &kv("set"), json!(["b", "k", [1, 2, 3]])).await?;
    let read = server.call_keyed(&reader, &kv("get"), json!(["b", "k"]), Some("r")).await?;
    assert_eq!(read, json!({ "ok": [1, 2, 3] }));
    assert_eq!(
        server.call(&reader, &kv("get"), json!(["other", "k"])).await?,
        json!({ "ok": null })
    );
    server.call(&writer, &kv("set-many"), json!(["b", [["l", [4]], ["m", []]]])).await?;
    let many = server.call(&reader, &kv("get-many"), json!(["b", ["m", "missing", "l"]])).await?;
    assert_eq!(many, json!({ "ok": [[], null, [4]] }));
    assert_eq!(
        server.call(&reader, &kv("keys"), json!(["b"])).await?,
        json!({ "ok": ["k", "l", "m"] })
    );
    server.call(&writer, &kv("delete-many"), json!(["b", ["l", "m", "missing"]])).await?;
    server.call(&writer, &kv("delete"), json!(["b", "k"])).await?;
    assert_eq!(
        server.call(&reader, &kv("exists"), json!(["b", "k"])).await?,
        json!({ "ok": false })
    );
    server.crash().await?;
    assert_eq!(server.call_keyed(&reader, &kv("get"), json!(["b", "k"]), Some("r")).await?, read);
    assert_eq!(server.call(&reader, &kv("keys"), json!(["b"])).await?, json!({ "ok": [] }));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_values_end_where_the_value_ends() -> Result<(), Failure> {
    let server = Server::start().await?;
    let worker = WorkerId::new(server.upload("keyvalue").await?, "w");
    server.call(&worker, &kv("set-async"), json!(["b", "k", [[1, 2], [3], [4, 5, 6]]])).await?;
    for chunk in [1, 4, 1000] {
        let read = server.call(&worker, &kv("get-async"), json!(["b", "k", chunk])).await?;
        assert_eq!(read, json!({ "ok": [1, 2, 3, 4, 5, 6] }), "in pieces of {chunk}");
    }
    assert_eq!(
        server.call(&worker, &kv("sizes"), json!(["b", "k"])).await?,
        json!({ "ok": [6, 0] })
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_changed_by_one_worker_at_a_time() -> Result<(), Failure> {
    let server = Server::start().await?;
    let id = server.upload("keyvalue").await?;
    let calls = (0..8).map(|n| {
        let (server, worker) = (&server, WorkerId::new(id, format!("w{n}")));
        async move {
            for _ in 0..10 {
                server.call(&worker, &kv("increment"), json!(["b", "n", 1])).await?;
            }
            Ok::<_, Failure>(())
        }
    });
    futures::future::try_join_all(calls).await?;
    let worker = WorkerId::new(id, "last");
    assert_eq!(
        server.call(&worker, &kv("increment"), json!(["b", "n", 20])).await?,
        json!({ "ok": 100 })
    );
    assert_eq!(
        server.call(&worker, &kv("compare-and-swap"), json!(["b", "n", 1, 2])).await?,
        json!({ "ok": false })
    );
    assert_eq!(
        server.call(&worker, &kv("compare-and-swap"), json!(["b", "n", 100, 2])).await?,
        json!({ "ok": true })
    );
    assert_eq!(
        server.call(&worker, &kv("increment"), json!(["b", "n", 0])).await?,
        json!({ "ok": 2 })
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_too_long_is_an_error_for_the_guest() -> Result<(), Failure> {
    let server = Server::start().await?;
    let worker = WorkerId::new(server.upload("keyvalue").await?, "w");
    let long = "k".repeat(3000);
    for (name, params) in [
        ("set", json!(["b", long, [1]])),
        ("get", json!([long, "k"])),
        ("get-many", json!(["b", vec!["k"; 2000]])),
    ] {
        let refused = server.call(&worker, &kv(name), params).await?;
        assert!(refused.get("err").is_some(), "{name}: {refused}");
    }
    assert_eq!(
        server.call(&worker, &kv("exists"), json!(["b", "k"])).await?,
        json!({ "ok": false })
    );
    Ok(())
}

fn is_missing(answer: &Value, text: &str) -> bool {
    answer["err"].as_str().is_some_and(|e| e.contains(text))
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_written_read_in_parts_listed_copied_and_cleared() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let id = server.upload("blobstore").await?;
    let (worker, other) = (WorkerId::new(id, "w"), WorkerId::new(id, "other"));
    let call = async |name: &str, params: Value| server.call(&worker, &blob(name), params).await;
    assert!(is_missing(&call("get-container", json!(["c"])).await?, "Container not found"));
    assert_eq!(call("create-container", json!(["c"])).await?, json!({ "ok": "c" }));
    let info = call("container-info", json!(["c"])).await?;
    call("create-container", json!(["c"])).await?;
    assert_eq!(
        call("container-info", json!(["c"])).await?,
        info,
        "creating it again changes nothing"
    );
    let bytes: Vec<u8> = (0..10).collect();
    assert!(is_missing(&call("get-data", json!(["c", "o", 0, 1])).await?, "Object does not exist"));
    call("write-data", json!(["c", "dir/o", bytes])).await?;
    // The end is not included, and what lies outside is cut off.
    for (start, end, expected) in
        [(2u64, 5u64, vec![2, 3, 4]), (8, u64::MAX, vec![8, 9]), (20, 30, vec![]), (5, 2, vec![])]
    {
        for name in ["get-data", "get-data-async"] {
            assert_eq!(
                call(name, json!(["c", "dir/o", start, end])).await?,
                json!({ "ok": expected }),
                "{name} {start}..{end}"
            );
        }
    }
    assert_eq!(call("object-info", json!(["c", "dir/o"])).await?["ok"]["size"], json!(10));
    call("copy-object", json!([["c", "dir/o"], ["d", "copy"]])).await?;
    call("move-object", json!([["c", "dir/o"], ["c", "moved"]])).await?;
    assert_eq!(call("list-objects", json!(["c", 1])).await?, json!({ "ok": ["moved"] }));
    assert_eq!(call("has-object", json!(["c", "dir/o"])).await?, json!({ "ok": false }));
    // A name is not a prefix.
    call("write-data", json!(["c", "moved-too", [1]])).await?;
    call("delete-object", json!(["c", "moved"])).await?;
    assert_eq!(call("list-objects", json!(["c", 10])).await?, json!({ "ok": ["moved-too"] }));
    assert_eq!(
        server.call(&other, &blob("get-data"), json!(["d", "copy", 0, 3])).await?,
        json!({ "ok": [0, 1, 2] })
    );
    call("clear", json!(["c"])).await?;
    assert_eq!(call("container-exists", json!(["c"])).await?, json!({ "ok": true }));
    assert_eq!(call("list-objects", json!(["c", 10])).await?, json!({ "ok": [] }));
    call("delete-objects", json!(["d", ["copy", "missing"]])).await?;
    call("delete-container", json!(["d"])).await?;
    assert!(
        call("delete-container", json!(["d"])).await?.get("ok").is_some(),
        "deleting what is missing succeeds"
    );
    assert_eq!(call("container-exists", json!(["d"])).await?, json!({ "ok": false }));
    server.crash().await?;
    assert_eq!(
        server.call(&worker, &blob("list-objects"), json!(["c", 10])).await?,
        json!({ "ok": [] })
    );
    Ok(())
}
