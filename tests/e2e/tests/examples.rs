//! The examples do what their READMEs say.

#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

use emet_client::Upload;
use emet_e2e::{Failure, Server};
use emet_model::{ComponentId, DynamicLinkedInstance, WorkerId};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn prebuilt(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/prebuilt").join(file)
}

fn example(name: &str) -> Result<Vec<u8>, Failure> {
    Ok(std::fs::read(prebuilt(&format!("{name}.wasm")))?)
}

fn compressed_example(name: &str) -> Result<Vec<u8>, Failure> {
    Ok(zstd::decode_all(std::fs::File::open(prebuilt(&format!("{name}.wasm.zst")))?)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_reserves_and_charges_or_takes_the_reservation_back() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let targets = [("stock", "shop:saga/stock"), ("account", "shop:saga/account")];
    let linking = DynamicLinkedInstance::WasmRpc {
        target_interface_name: targets.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
    };
    let upload = Upload {
        wasm: example("saga")?.into(),
        dynamic_linking: [("shop:saga-client/saga-client".to_owned(), linking)].into(),
        ..Default::default()
    };
    let id = server
        .client
        .create_component("shop:saga", upload)
        .await?
        .versioned_component_id
        .component_id;
    let [tea, ann, orders] =
        ["stock-tea", "account-ann", "orders"].map(|name| WorkerId::new(id, name));
    server.call(&tea, "shop:saga/stock.{deliver}", json!([10])).await?;
    server.call(&ann, "shop:saga/account.{deposit}", json!([100])).await?;
    let place = |count: u32| json!(["tea", count, 20, "ann"]);
    assert_eq!(
        server.call(&orders, "shop:saga/orders.{place}", place(3)).await?,
        json!({ "ok": "order-1" })
    );
    let refused = server.call(&orders, "shop:saga/orders.{place}", place(4)).await?;
    assert_eq!(refused, json!({ "err": "ann cannot pay: 40 is not enough" }));
    // Sent, and killed at once: it is completed after the restart, once.
    server.send(&orders, "shop:saga/orders.{place}", place(1)).await?;
    server.crash().await?;
    let placed = server.call(&orders, "shop:saga/orders.{placed}", json!([])).await?;
    assert_eq!(placed.as_array().map(Vec::len), Some(2), "{placed}");
    assert_eq!(server.call(&tea, "shop:saga/stock.{level}", json!([])).await?, json!(6));
    assert_eq!(server.call(&ann, "shop:saga/account.{balance}", json!([])).await?, json!(20));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_survives_a_kill() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let upload = Upload { wasm: example("cart")?.into(), ..Default::default() };
    let cart = WorkerId::new(
        server
            .client
            .create_component("shop:cart", upload)
            .await?
            .versioned_component_id
            .component_id,
        "ann",
    );
    server.call(&cart, "shop:cart/api.{initialize-cart}", json!(["ann"])).await?;
    let item = json!({ "product-id": "t", "name": "tea", "price": 2.5, "quantity": 2 });
    server.call(&cart, "shop:cart/api.{add-item}", json!([item])).await?;
    server.crash().await?;
    assert_eq!(
        server.call(&cart, "shop:cart/api.{get-cart-contents}", json!([])).await?,
        json!([item])
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_c_counter_survives_a_kill() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let upload = Upload { wasm: compressed_example("c-counter")?.into(), ..Default::default() };
    let component = server.client.create_component("demo:counter", upload).await?;
    let worker = WorkerId::new(component.versioned_component_id.component_id, "c");
    for (n, total) in [(5, 5), (7, 12)] {
        assert_eq!(server.call(&worker, "demo:counter/api.{add}", json!([n])).await?, json!(total));
    }
    server.crash().await?;
    assert_eq!(
        server.call(&worker, "demo:counter/api.{greet}", json!(["Ann"])).await?,
        json!("Hello Ann, the count is 12")
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn measurements_in_zig_survive_a_kill() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let upload = Upload { wasm: compressed_example("zig-median")?.into(), ..Default::default() };
    let component = server.client.create_component("demo:median", upload).await?;
    let worker = WorkerId::new(component.versioned_component_id.component_id, "zig");
    for (n, measurement) in [(1, 9.5), (2, 0.25), (3, 4.5)] {
        let count = server.call(&worker, "demo:median/api.{add}", json!([measurement])).await?;
        assert_eq!(count, json!(n));
    }
    let say = "demo:median/api.{say}";
    assert_eq!(server.call(&worker, say, json!(["seconds"])).await?, json!("4.5 seconds"));
    server.crash().await?;
    server.call(&worker, "demo:median/api.{add}", json!([5.5])).await?;
    assert_eq!(server.call(&worker, say, json!(["s"])).await?, json!("5 s"));
    Ok(())
}

/// A heap that was collected: the replay must collect it at the same moments.
#[tokio::test(flavor = "multi_thread")]
async fn the_heap_of_a_go_component_survives_a_kill() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let upload = Upload { wasm: compressed_example("go-tally")?.into(), ..Default::default() };
    let component = server.client.create_component("demo:tally", upload).await?;
    let worker = WorkerId::new(component.versioned_component_id.component_id, "go");
    let name = |function: &str| format!("demo:tally/api.{{{function}}}");
    server.call(&worker, &name("add"), json!([7])).await?;
    assert_eq!(server.call(&worker, &name("add"), json!([7])).await?, json!(2));
    assert_eq!(server.call(&worker, &name("add-range"), json!([1, 30_000])).await?, json!(30_000));
    let any = server.call_keyed(&worker, &name("any"), json!([]), Some("any")).await?;
    let collections = server.call(&worker, &name("collections"), json!([])).await?;
    assert!(collections.as_u64() > Some(0), "{collections}");
    server.crash().await?;
    for (function, parameters, answer) in [
        ("count", json!([7]), json!(3)),
        ("given", json!([0]), json!(30_000)),
        ("given", json!([30_001]), json!(7)),
        ("given", json!([30_002]), json!(0)),
        ("most-frequent", json!([]), json!(7)),
        ("add", json!([30_001]), json!(1)),
    ] {
        let found = server.call(&worker, &name(function), parameters.clone()).await?;
        assert_eq!(found, answer, "{function}{parameters}");
    }
    assert_eq!(server.call_keyed(&worker, &name("any"), json!([]), Some("any")).await?, any);
    // Whether from a checkpoint or not: the same heap as a replay of everything gives.
    let verified = server.client.verify_worker(&worker).await?;
    let off = verified.not_compared.is_some()
        && std::env::var("EMET_CHECKPOINTS").is_ok_and(|m| m == "off");
    assert!(verified.equal || off, "{verified:?}");
    Ok(())
}

fn id_json(id: ComponentId) -> Value {
    let (high, low) = id.0.as_u64_pair();
    json!({ "uuid": { "high-bits": high, "low-bits": low } })
}

fn worker_json(worker: &WorkerId) -> Value {
    json!({ "component-id": id_json(worker.component_id), "worker-name": worker.worker_name })
}

/// Calls every function of a component with the snippets, before and after a kill.
async fn run_snippets(wasm: Vec<u8>) -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let upload = Upload { wasm: wasm.into(), ..Default::default() };
    let id = server
        .client
        .create_component("snippets", upload.clone())
        .await?
        .versioned_component_id
        .component_id;
    let (worker, other) = (WorkerId::new(id, "w"), WorkerId::new(id, "other"));
    let name = |function: &str| format!("demo:snippets/api.{{{function}}}");
    let call =
        async |function: &str, params: Value| server.call(&worker, &name(function), params).await;

    let key = server.call_keyed(&worker, &name("idempotency-key"), json!([]), Some("key")).await?;
    assert_ne!(call("idempotency-key", json!([])).await?, key, "each is another one");
    let own = call("self-metadata", json!([])).await?;
    assert_eq!(
        (&own["worker-id"], &own["status"], &own["component-version"]),
        (&worker_json(&worker), &json!("running"), &json!(0))
    );

    assert_eq!(
        call("worker-metadata-of", json!([worker_json(&other)])).await?,
        Value::Null,
        "there is none yet"
    );
    server.call(&other, &name("set-value"), json!(["shared", "k", "from another worker"])).await?;
    assert_eq!(call("get-value", json!(["shared", "k"])).await?, json!("from another worker"));
    assert_eq!(call("get-value", json!(["shared", "missing"])).await?, Value::Null);
    let found = call("worker-metadata-of", json!([worker_json(&other)])).await?;
    assert_eq!(found["status"], json!("idle"), "{found}");
    for precise in [true, false] {
        let idle = call("idle-workers", json!([id_json(id), precise])).await?;
        let names: Vec<&Value> =
            idle.as_array().into_iter().flatten().map(|w| &w["worker-id"]["worker-name"]).collect();
        // Of this one it is not in the log yet that it runs, and only a precise answer asks its owner.
        assert!(
            names == [&json!("other")] || !precise && names.contains(&&json!("other")),
            "{names:?}"
        );
    }

    let bytes: Vec<u8> = (0..10_000u32).map(|n| (n % 251) as u8).collect();
    call("write-blob", json!(["container", "object", bytes])).await?;
    assert_eq!(
        server.call(&other, &name("read-blob"), json!(["container", "object"])).await?,
        json!(bytes)
    );
    call("log-message", json!(["a message of the snippets"])).await?;
    assert_eq!(
        server
            .search(&worker, "\"a message of the snippets\"")
            .await?
            .iter()
            .filter(|e| e["type"] == "Log")
            .count(),
        1
    );

    let version = server.client.update_component(id, upload).await?.versioned_component_id.version;
    call("update", json!([worker_json(&other), version])).await?;
    while server.client.worker(&other).await?.component_version != version {
        tokio::task::yield_now().await;
    }

    server.crash().await?;
    assert_eq!(
        server.call_keyed(&worker, &name("idempotency-key"), json!([]), Some("key")).await?,
        key
    );
    // The whole history is replayed first.
    let again = server.call(&worker, &name("read-blob"), json!(["container", "object"])).await?;
    assert_eq!(again, json!(bytes));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_snippet_of_the_rust_example_runs() -> Result<(), Failure> {
    run_snippets(example("snippets")?).await
}

/// A component with a JavaScript engine in it; compiling it takes a while.
#[tokio::test(flavor = "multi_thread")]
async fn every_snippet_of_the_typescript_example_runs() -> Result<(), Failure> {
    run_snippets(compressed_example("ts-snippets")?).await
}
