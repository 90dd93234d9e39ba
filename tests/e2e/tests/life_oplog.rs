//! The oplog as the API shows it: every kind in the form that strict clients of the 1.1 line read.

#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

use emet_e2e::raw::{Raw, worker};
use emet_e2e::{Failure, Server, guest};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const ADD: &str = "test:counter/api.{add}";

/// The fields that a strict client requires, by type; more are ignored.
fn required(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "Create" => &[
            "worker_id",
            "component_version",
            "args",
            "env",
            "account_id",
            "component_size",
            "initial_total_linear_memory_size",
            "initial_active_plugins",
        ],
        "ImportedFunctionInvoked" => {
            &["function_name", "request", "response", "wrapped_function_type"]
        }
        "ExportedFunctionInvoked" => &["function_name", "request", "idempotency_key"],
        "ExportedFunctionCompleted" => &["response", "consumed_fuel"],
        "Error" => &["error"],
        "Jump" => &["jump"],
        "ChangeRetryPolicy" => &["new_policy"],
        "EndAtomicRegion" | "EndRemoteWrite" => &["begin_index"],
        "PendingWorkerInvocation" => &["invocation"],
        "PendingUpdate" => &["target_version", "description"],
        "SuccessfulUpdate" => &["target_version", "new_component_size", "new_active_plugins"],
        "FailedUpdate" => &["target_version"],
        "GrowMemory" => &["delta"],
        "CreateResource" | "DropResource" => &["id"],
        "DescribeResource" => &["id", "resource_name", "resource_params"],
        "Log" => &["level", "context", "message"],
        "Suspend" | "NoOp" | "Interrupted" | "Exited" | "BeginAtomicRegion"
        | "BeginRemoteWrite" | "Restart" => &[],
        _ => return None,
    })
}

/// A typed value as clients decode it: a type, and a value of it.
fn check_typed(value: &Value) -> Result<(), Failure> {
    let typed: emet_values::TypedValue =
        serde_json::from_value(value.clone()).map_err(|e| format!("{e}: {value}"))?;
    drop(typed);
    Ok(())
}

/// Reads a whole oplog as a strict client does; gives the types that occurred.
async fn read_strictly(raw: &Raw, w: &str) -> Result<BTreeSet<String>, Failure> {
    let mut kinds = BTreeSet::new();
    for (at, element) in raw.oplog(w, "").await?.into_iter().enumerate() {
        assert_eq!(element["oplogIndex"], json!(at + 1), "indexes are dense");
        let entry = &element["entry"];
        let kind = entry["type"].as_str().ok_or("no type")?;
        let fields = required(kind).ok_or_else(|| format!("a 1.1 client does not know {kind}"))?;
        for field in fields.iter().chain(&["timestamp"]) {
            assert!(!entry[*field].is_null(), "{kind} lacks {field}: {entry}");
        }
        for typed in ["request", "response"] {
            match &entry[typed] {
                Value::Array(values) => values.iter().try_for_each(check_typed)?,
                Value::Null => {}
                value => check_typed(value)?,
            }
        }
        kinds.insert(kind.to_owned());
    }
    Ok(kinds)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_can_be_read_by_a_strict_client() -> Result<(), Failure> {
    let mut server = Server::start_with(&["--suspend-after", "0.1"]).await?;
    let raw = Raw::of(&server);
    let mut kinds = BTreeSet::new();

    let counter = raw.guest("counter").await?;
    let w = worker(counter, "w");
    raw.result(&w, "test:counter/api.{counter(\"a\").inc-by}", &[json!(2)]).await?;
    raw.result(&w, "test:counter/api.{counter(\"a\").drop}", &[]).await?;
    raw.call(&w, "invoke", "test:counter/api.{slow-add}", &[json!(1), json!(300)], None).await?;
    raw.call(&w, "invoke", ADD, &[json!(1)], Some("cancelled")).await?;
    raw.delete(&format!("{w}/invocations/cancelled")).await?;
    raw.until_status(&w, "Idle").await?;
    raw.call(&w, "invoke-and-await", "fail-if", &[json!(true)], None).await?;
    raw.post(
        &format!("{w}/revert"),
        &json!({"type": "revertLastInvocations", "numberOfInvocations": 1}),
    )
    .await?;
    kinds.extend(read_strictly(&raw, &w).await?);

    let interrupted = worker(counter, "interrupted");
    raw.call(
        &interrupted,
        "invoke",
        "test:counter/api.{slow-add}",
        &[json!(1), json!(60_000)],
        None,
    )
    .await?;
    raw.until(&interrupted, |m| m["status"] != "Idle").await?;
    raw.command(&format!("{interrupted}/interrupt")).await?;
    raw.command(&format!("{interrupted}/resume")).await?;
    raw.command(&format!("{interrupted}/interrupt")).await?;
    kinds.extend(read_strictly(&raw, &interrupted).await?);

    let durability = worker(raw.guest("durability").await?, "w");
    let policy = json!({"max-attempts": 2, "min-delay": 1_500_000_000u64, "max-delay": 2_000_000_000u64, "multiplier": 1.5});
    raw.result(&durability, "test:durability/api.{set-retry-policy}", &[policy]).await?;
    raw.result(
        &durability,
        "test:durability/api.{set-persistence-level}",
        &[json!({"smart": null})],
    )
    .await?;
    raw.result(&durability, "test:durability/api.{get-oplog-index}", &[]).await?;
    raw.result(&durability, "test:durability/api.{keys}", &[json!(1)]).await?;
    kinds.extend(read_strictly(&raw, &durability).await?);

    let v = raw.guest("update-v2").await?;
    let updated = worker(v, "w");
    raw.result(&updated, "test:update/api.{f1}", &[json!(1), json!(0)]).await?;
    raw.next_version(v, guest("update-v4-bad-load")?).await?;
    raw.next_version(v, guest("update-v4")?).await?;
    for (finished, target) in [(1, 1), (2, 2)] {
        raw.post(&format!("{updated}/update"), &json!({"mode": "Manual", "targetVersion": target}))
            .await?;
        let done = |m: &Value| {
            m["updates"].as_array().is_some_and(|u| {
                u.len() == finished && u.iter().all(|u| u["type"] != "pendingUpdate")
            })
        };
        raw.until(&updated, done).await?;
    }
    kinds.extend(read_strictly(&raw, &updated).await?);

    let exited = worker(raw.guest("env").await?, "w");
    raw.result(&exited, "test:env/api.{print}", &[json!("x")]).await?;
    raw.call(&exited, "invoke-and-await", "test:env/api.{exit}", &[json!(true)], None).await?;
    kinds.extend(read_strictly(&raw, &exited).await?);
    server.crash().await?;
    kinds.extend(read_strictly(&raw, &exited).await?);

    for kind in [
        "Create",
        "ImportedFunctionInvoked",
        "ExportedFunctionInvoked",
        "ExportedFunctionCompleted",
        "Error",
        "NoOp",
        "Interrupted",
        "Exited",
        "ChangeRetryPolicy",
        "PendingWorkerInvocation",
        "PendingUpdate",
        "SuccessfulUpdate",
        "FailedUpdate",
        "CreateResource",
        "DropResource",
        "DescribeResource",
        "Log",
        "Suspend",
    ] {
        assert!(kinds.contains(kind), "{kind} did not occur: {kinds:?}");
    }
    // Who asks for it gets the newer kinds by their names.
    let all: BTreeSet<String> = raw
        .oplog(&w, "&kinds=all")
        .await?
        .iter()
        .filter_map(|e| e["entry"]["type"].as_str().map(str::to_owned))
        .collect();
    assert!(all.contains("Revert") && all.contains("CancelInvocation"), "{all:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_cursors_and_queries() -> Result<(), Failure> {
    let server = Server::start().await?;
    let raw = Raw::of(&server);
    let w = worker(raw.guest("cart").await?, "w");
    let item = |id: &str| json!({"product-id": id, "name": "Mug", "price": 9.5, "quantity": 1});
    raw.result(&w, "test:cart/api.{initialize-cart}", &[json!("user-1")]).await?;
    for n in 0..60 {
        raw.call(
            &w,
            "invoke-and-await",
            "test:cart/api.{add-item}",
            &[item(&format!("G{n:03}"))],
            Some(&format!("Key-{n}")),
        )
        .await?;
    }
    raw.result(&w, "test:cart/api.{get-cart-contents}", &[]).await?;
    let (_, page) = raw.get(&format!("{w}/oplog?count=5000")).await?;
    assert_eq!(page["entries"].as_array().map(Vec::len), Some(100), "the count is capped");
    assert_eq!(
        (&page["firstIndexInChunk"], &page["next"]),
        (&json!(1), &json!({"next_oplog_index": 101, "current_component_version": 0}))
    );
    let (_, second) = raw.get(&format!("{w}/oplog?count=100&cursor=101-0&from=5")).await?;
    assert_eq!(
        (&second["entries"][0]["oplogIndex"], &second["firstIndexInChunk"]),
        (&json!(101), &json!(101)),
        "a cursor wins over from"
    );
    let last = second["lastIndex"].as_u64().ok_or("no last index")?;
    let (_, end) = raw.get(&format!("{w}/oplog?count=100&from={}", last + 1)).await?;
    assert_eq!((&end["entries"], &end["next"]), (&json!([]), &json!(null)));
    assert_eq!(raw.get(&format!("{w}/oplog?count=10&from=1&query=x")).await?.0, 400);
    assert_eq!(raw.get(&format!("{w}/oplog")).await?.0, 400);

    let find = async |query: &str| -> Result<Vec<Value>, Failure> {
        let request = raw
            .request(reqwest::Method::GET, &format!("{w}/oplog"))
            .query(&[("count", "100"), ("query", query)]);
        let (status, page) = raw.send(request).await?;
        assert_eq!(status, 200, "{query}: {page}");
        Ok(page["entries"].as_array().cloned().unwrap_or_default())
    };
    for (query, hits) in [
        ("G042", 3),
        ("g042", 3),
        ("\"G042\"", 3),
        ("\"g042\"", 0),
        ("/G04[23]/", 5),
        ("product-id:G042", 2),
        ("name:G042", 0),
        ("exported-function-invoked AND G042", 1),
        ("exportedfunctioncompleted G042", 1),
        ("key-7 AND NOT key-8", 1),
        ("(G001 OR G002) AND exported-function-invoked", 2),
        ("create", 1),
        ("initialize-cart", 1),
        ("nothing-like-this", 0),
    ] {
        let found = find(query).await?;
        assert_eq!(found.len(), hits, "{query}: {found:?}");
    }
    let request = raw
        .request(reqwest::Method::GET, &format!("{w}/oplog"))
        .query(&[("count", "1"), ("query", "(open")]);
    assert_eq!(raw.send(request).await?.0, 500);
    Ok(())
}
