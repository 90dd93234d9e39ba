//! What a guest can ask of workers, itself included: metadata, enumeration, updates, forks,
//! reverts, oplogs, traces.

use emet_e2e::{Failure, Server};
use emet_model::{ComponentId, WorkerId, WorkerStatus};
use serde_json::{Value, json};

fn metadata(name: &str) -> String {
    format!("test:metadata/api.{{{name}}}")
}

fn v1(name: &str) -> String {
    format!("test:host-v1/api.{{{name}}}")
}

fn component_json(id: ComponentId) -> Value {
    let (high, low) = id.0.as_u64_pair();
    json!({ "uuid": { "high-bits": high, "low-bits": low } })
}

fn worker_json(worker: &WorkerId) -> Value {
    json!({ "component-id": component_json(worker.component_id), "worker-name": worker.worker_name })
}

/// What a worker is told of another one.
async fn metadata_of(
    server: &Server,
    worker: &WorkerId,
    other: &WorkerId,
    key: Option<&str>,
) -> Result<Value, Failure> {
    let parameters = json!([worker_json(other)]);
    Ok(server.call_keyed(worker, &metadata("get-worker-metadata"), parameters, key).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_of_itself_and_of_others() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let id = server.upload("metadata").await?;
    let (worker, other) = (WorkerId::new(id, "w"), WorkerId::new(id, "other"));
    server.create(&other, &[("A", "1".to_owned())]).await?;
    let own =
        server.call_keyed(&worker, &metadata("get-self-metadata"), json!([]), Some("own")).await?;
    assert_eq!(own["worker-id"], worker_json(&worker));
    assert_eq!(
        (&own["status"], &own["component-version"], &own["env"]),
        (&json!("running"), &json!(0), &json!([]))
    );
    let found = metadata_of(&server, &worker, &other, Some("found")).await?;
    assert_eq!(
        (&found["status"], &found["env"]),
        (&json!("idle"), &json!([["A", "1"]])),
        "it is the other's, not the caller's"
    );
    let missing = WorkerId::new(id, "missing");
    assert_eq!(metadata_of(&server, &worker, &missing, None).await?, Value::Null);
    server.client.delete_worker(&other).await?;
    server.crash().await?;
    let again = metadata_of(&server, &worker, &other, Some("found")).await?;
    assert_eq!(again, found);
    assert_eq!(metadata_of(&server, &worker, &other, None).await?, Value::Null);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn enumeration_has_pages_of_fifty_and_filters() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let counters = server.upload("counter").await?;
    for n in 0..120 {
        let env: &[(&str, String)] = if n % 2 == 0 { &[("Side", "even".to_owned())] } else { &[] };
        server.create(&WorkerId::new(counters, format!("w{n:03}")), env).await?;
    }
    assert!(server.call(&WorkerId::new(counters, "w007"), "fail-if", json!([true])).await.is_err());
    let worker = WorkerId::new(server.upload("metadata").await?, "m");
    let sizes = server
        .call(&worker, &metadata("page-sizes"), json!([component_json(counters), true]))
        .await?;
    assert_eq!(sizes, json!([50, 50, 20]));
    let filter = |all: Value| json!({ "filters": [{ "filters": all }] });
    let string =
        |comparator: &str, value: &str| json!({ "comparator": comparator, "value": value });
    for (given, expected) in [
        (Value::Null, 120),
        (json!({ "filters": [] }), 120),
        (filter(json!([])), 120),
        (filter(json!([{ "name": string("equal", "w003") }])), 1),
        (filter(json!([{ "name": string("like", "w00") }])), 10),
        (filter(json!([{ "name": string("not-like", "w0") }])), 20),
        (filter(json!([{ "status": { "comparator": "equal", "value": "failed" } }])), 1),
        (filter(json!([{ "status": { "comparator": "less-equal", "value": "idle" } }])), 119),
        (filter(json!([{ "version": { "comparator": "greater", "value": 0 } }])), 0),
        (
            filter(
                json!([{ "created-at": { "comparator": "greater", "value": 1_600_000_000_000u64 } }]),
            ),
            120,
        ),
        (
            filter(json!([{ "env": { "name": "SIDE", "comparator": "equal", "value": "even" } }])),
            60,
        ),
        (
            filter(
                json!([{ "env": { "name": "Side", "comparator": "not-equal", "value": "odd" } }]),
            ),
            60,
        ),
        (
            filter(
                json!([{ "name": string("like", "w00") }, { "env": { "name": "Side", "comparator": "equal", "value": "even" } }]),
            ),
            5,
        ),
        (
            json!({ "filters": [{ "filters": [{ "name": string("equal", "w001") }] }, { "filters": [{ "name": string("equal", "w002") }] }] }),
            2,
        ),
    ] {
        for precise in [true, false] {
            let found = server
                .call(
                    &worker,
                    &metadata("get-workers"),
                    json!([component_json(counters), given, precise]),
                )
                .await?;
            assert_eq!(
                found.as_array().map(Vec::len),
                Some(expected),
                "{given} precise: {precise}"
            );
        }
    }
    let nobody = server
        .call(
            &worker,
            &metadata("page-sizes"),
            json!([component_json(ComponentId(uuid::Uuid::nil())), true]),
        )
        .await?;
    assert_eq!(nobody, json!([0]));
    server.crash().await?;
    assert_eq!(
        server
            .call(&worker, &metadata("page-sizes"), json!([component_json(counters), true]))
            .await?,
        json!([50, 50, 20])
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_updates_others_and_itself() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let id = server.upload("metadata").await?;
    let worker = WorkerId::new(id, "w");
    server.call(&worker, &metadata("get-self-metadata"), json!([])).await?;
    let version = server.update(id, "metadata").await?;
    let result = server
        .call_keyed(&worker, &metadata("update-self"), json!([version, "automatic"]), Some("k"))
        .await?;
    assert_eq!(result, json!(version), "the call goes on, on the new version");
    assert_eq!(server.client.worker(&worker).await?.component_version, version);
    server.crash().await?;
    assert_eq!(
        server
            .call_keyed(&worker, &metadata("update-self"), json!([version, "automatic"]), Some("k"))
            .await?,
        result
    );
    assert_eq!(server.client.worker(&worker).await?.updates.len(), 1);
    let old = server.upload("update-v1").await?;
    let target = WorkerId::new(old, "t");
    server.call(&target, "test:update/api.{f1}", json!([5, 0])).await?;
    let next = server.update(old, "update-v2").await?;
    server
        .call(&worker, &metadata("update-worker"), json!([worker_json(&target), next, "automatic"]))
        .await?;
    assert_eq!(server.call(&target, "test:update/api.{version}", json!([])).await?, json!("v2"));
    let refused = WorkerId::new(id, "refused");
    let error = server
        .call(
            &refused,
            &metadata("update-worker"),
            json!([worker_json(&target), next, "automatic"]),
        )
        .await
        .err();
    assert!(error.ok_or("it did not fail")?.to_string().contains("already at the target version"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn forks_and_reverts_from_a_guest() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let id = server.upload("host-v1").await?;
    let (worker, target, boss) =
        (WorkerId::new(id, "w"), WorkerId::new(id, "fork"), WorkerId::new(id, "boss"));
    server.call(&worker, &v1("add"), json!([1])).await?;
    let index = server
        .call(&worker, &v1("get-oplog-index"), json!([]))
        .await?
        .as_u64()
        .ok_or("no index")?;
    server.call(&worker, &v1("add"), json!([10])).await?;
    // The entry after the index is the end of the invocation that asked for it.
    server
        .call(
            &boss,
            &v1("fork-worker"),
            json!([worker_json(&worker), worker_json(&target), index + 1]),
        )
        .await?;
    assert_eq!(server.call(&target, &v1("add"), json!([100])).await?, json!(101));
    assert_eq!(server.call(&worker, &v1("add"), json!([0])).await?, json!(11));
    server
        .call(
            &boss,
            &v1("revert-worker"),
            json!([worker_json(&worker), { "revert-last-invocations": 2 }]),
        )
        .await?;
    server.crash().await?;
    assert_eq!(server.call(&worker, &v1("add"), json!([1000])).await?, json!(1001));
    server
        .call(
            &boss,
            &v1("revert-worker"),
            json!([worker_json(&worker), { "revert-to-oplog-index": index + 1 }]),
        )
        .await?;
    assert_eq!(server.call(&worker, &v1("add"), json!([2])).await?, json!(3));
    let refused = server
        .call(
            &WorkerId::new(id, "r"),
            &v1("fork-worker"),
            json!([worker_json(&worker), worker_json(&target), 3]),
        )
        .await;
    assert!(refused.err().ok_or("it did not fail")?.to_string().contains("already exists"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_resolved() -> Result<(), Failure> {
    let server = Server::start().await?;
    let id = server.upload("host-v1").await?;
    let worker = WorkerId::new(id, "w");
    assert_eq!(
        server.call(&worker, &v1("resolve-component-id"), json!(["host-v1"])).await?,
        component_json(id)
    );
    assert_eq!(
        server.call(&worker, &v1("resolve-component-id"), json!(["nothing"])).await?,
        Value::Null
    );
    let missing = WorkerId::new(id, "missing");
    assert_eq!(
        server.call(&worker, &v1("resolve-worker-id"), json!(["host-v1", "missing"])).await?,
        worker_json(&missing)
    );
    assert_eq!(
        server
            .call(&worker, &v1("resolve-worker-id-strict"), json!(["host-v1", "missing"]))
            .await?,
        Value::Null
    );
    assert_eq!(
        server.call(&worker, &v1("resolve-worker-id-strict"), json!(["host-v1", "w"])).await?,
        worker_json(&worker)
    );
    let odd = WorkerId::new(id, "a b/c%");
    assert_eq!(
        server.call(&worker, &v1("worker-uri"), json!([worker_json(&odd)])).await?,
        json!(odd.urn())
    );
    assert_eq!(server.call(&worker, &v1("self-id"), json!([])).await?, worker_json(&worker));
    let policy = json!({ "max-attempts": 7, "min-delay": 1, "max-delay": 2, "multiplier": 1.5, "max-jitter-factor": 0.5 });
    server.call(&worker, &v1("set-retry-policy"), json!([policy])).await?;
    assert_eq!(server.call(&worker, &v1("get-retry-policy"), json!([])).await?, policy);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_entry_can_be_queried_by_a_guest() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let reader = WorkerId::new(server.upload("host-v1").await?, "reader");
    // Workers of all sorts, with as many kinds of entries as they can have.
    let durability = WorkerId::new(server.upload("durability").await?, "d");
    for (name, params) in [
        ("atomic-region", json!([])),
        ("jump", json!([])),
        ("idempotence", json!([false])),
        ("persist-nothing", json!([])),
        (
            "set-retry-policy",
            json!([{ "max-attempts": 3, "min-delay": 1, "max-delay": 1, "multiplier": 1.0 }]),
        ),
    ] {
        server.call(&durability, &format!("test:durability/api.{{{name}}}"), params).await?;
    }
    let counter = WorkerId::new(server.upload("counter").await?, "c");
    server.call(&counter, "test:counter/api.{counter(\"x\").inc-by}", json!([2])).await?;
    server.call(&counter, "test:counter/api.{counter(\"x\").drop}", json!([])).await?;
    let first = server.client.oplog(&counter, 1, 100).await?.last_index;
    server.client.interrupt_worker(&counter, true).await?;
    server.call(&counter, "test:counter/api.{add}", json!([2])).await?;
    server
        .client
        .revert_worker(
            &counter,
            emet_api::RevertTarget::RevertToOplogIndex { last_oplog_index: first },
        )
        .await?;
    assert!(server.call(&counter, "fail-if", json!([true])).await.is_err());
    let update = server.upload("update-v1").await?;
    let updated = WorkerId::new(update, "u");
    server.call(&updated, "test:update/api.{f1}", json!([5, 0])).await?;
    let (v2, v4) =
        (server.update(update, "update-v2").await?, server.update(update, "update-v4").await?);
    for (mode, version) in [
        (emet_model::UpdateMode::Automatic, v4),
        (emet_model::UpdateMode::Automatic, v2),
        (emet_model::UpdateMode::Manual, v4),
    ] {
        server.client.update_worker(&updated, mode, version).await?;
        server.call(&updated, "test:update/api.{f3}", json!([])).await?;
    }
    let kitchen = WorkerId::new(server.upload("kitchen").await?, "k");
    let nested = json!({ "id": 1, "label": "x", "points": [{ "x": 1, "y": -2 }], "shape": { "named": "n" }, "color": "red", "access": ["read"] });
    server.call(&kitchen, "test:kitchen/api.{echo-nested}", json!([nested])).await?;
    server.call(&kitchen, "test:kitchen/api.{odd-floats}", json!([])).await?;
    server.call(&reader, &v1("span"), json!(["s"])).await?;
    server.call(&reader, &v1("durable-random"), json!([])).await?;
    let mut kinds = std::collections::BTreeSet::new();
    for worker in [&durability, &counter, &updated, &kitchen, &reader] {
        let names = server.call(&reader, &v1("oplog"), json!([worker_json(worker), 1])).await?;
        let names: Vec<String> = serde_json::from_value(names)?;
        let shown = server.client.oplog(worker, 1, 1).await?.last_index;
        assert!(
            names.len() as u64 + 20 >= shown && !names.is_empty(),
            "{worker}: {} of {shown}",
            names.len()
        );
        kinds.extend(names.iter().filter_map(|n| n.split(' ').next()).map(str::to_owned));
    }
    for kind in [
        "create",
        "imported-function-invoked",
        "exported-function-invoked",
        "exported-function-completed",
        "error",
        "no-op",
        "jump",
        "change-retry-policy",
        "begin-atomic-region",
        "end-atomic-region",
        "begin-remote-write",
        "end-remote-write",
        "pending-worker-invocation",
        "pending-update",
        "successful-update",
        "failed-update",
        "create-resource",
        "drop-resource",
        "describe-resource",
        "log",
        "revert",
        "start-span",
        "finish-span",
        "set-span-attribute",
    ] {
        assert!(kinds.contains(kind), "{kind} is not among {kinds:?}");
    }
    let jumps = server
        .call_keyed(
            &reader,
            &v1("search"),
            json!([worker_json(&durability), "jump AND NOT log"]),
            Some("search"),
        )
        .await?;
    assert!(jumps.as_array().is_some_and(|j| !j.is_empty()), "{jumps}");
    server.crash().await?;
    assert_eq!(
        server
            .call_keyed(
                &reader,
                &v1("search"),
                json!([worker_json(&durability), "jump AND NOT log"]),
                Some("search")
            )
            .await?,
        jumps
    );
    // The reader's own history, with all those pages in it, is replayed.
    server.call(&reader, &v1("get-oplog-index"), json!([])).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_and_operations_of_libraries_are_replayed() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let worker = WorkerId::new(server.upload("host-v1").await?, "w");
    let span = server.call_keyed(&worker, &v1("span"), json!(["work"]), Some("span")).await?;
    assert_eq!(
        (
            span[0].as_str().map(str::len),
            span[1].as_str().map(str::len),
            span[2].as_str().map(str::len)
        ),
        (Some(16), Some(16), Some(32))
    );
    assert_ne!(span[0], span[1]);
    let headers = server.call(&worker, &v1("trace-headers"), json!([])).await?;
    assert!(
        headers[0][0] == "traceparent"
            && headers[0][1].as_str().is_some_and(|h| h.starts_with("00-")),
        "{headers}"
    );
    let random =
        server.call_keyed(&worker, &v1("durable-random"), json!([]), Some("random")).await?;
    server.crash().await?;
    assert_eq!(
        server.call_keyed(&worker, &v1("durable-random"), json!([]), Some("random")).await?,
        random
    );
    server.call(&worker, &v1("get-oplog-index"), json!([])).await?;
    assert_eq!(server.search(&worker, "startspan").await?.len(), 1);
    assert_eq!(server.client.worker(&worker).await?.status, WorkerStatus::Idle);
    Ok(())
}
