//! Ephemeral components: every invocation starts from the component's initial state (guest spec 3.10).

use emet_e2e::raw::{Raw, worker};
use emet_e2e::{Failure, Server};
use serde_json::{Value, json};

const ADD: &str = "test:counter/api.{add}";

#[tokio::test(flavor = "multi_thread")]
async fn a_named_worker_keeps_no_state_but_knows_its_keys() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let raw = Raw::of(&server);
    let id = raw.guest_of_type("counter", "Ephemeral").await?;
    let w = worker(id, "w");
    let add = async |n: u64, key: &str| {
        raw.call(&w, "invoke-and-await", ADD, &[json!(n)], Some(key)).await
    };
    for n in 1..4 {
        let (status, body) = add(n, &format!("k{n}")).await?;
        assert_eq!(
            (status, &body["result"]["value"]),
            (200, &json!([n])),
            "it starts from nothing"
        );
    }
    server.crash().await?;
    assert_eq!(add(100, "k2").await?.1["result"]["value"], json!([2]), "done before");
    assert_eq!(add(100, "k9").await?.1["result"]["value"], json!([100]));
    let metadata = raw.get(&w).await?.1;
    assert_eq!((&metadata["status"], &metadata["componentVersion"]), (&json!("Idle"), &json!(0)));
    let entries = raw.oplog(&w, "").await?;
    assert!(entries.iter().any(|e| e["entry"]["type"] == "Restart"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_a_guest_makes_belong_to_its_invocation() -> Result<(), Failure> {
    const KEYS: &str = "test:durability/api.{keys}";
    let mut server = Server::start().await?;
    let raw = Raw::of(&server);
    let w = worker(raw.guest_of_type("durability", "Ephemeral").await?, "w");
    let keys = async |key: &str| -> Result<Value, Failure> {
        let (_, body) = raw.call(&w, "invoke-and-await", KEYS, &[json!(3)], Some(key)).await?;
        Ok(body["result"]["value"][0].clone())
    };
    let (first, second) = (keys("k1").await?, keys("k2").await?);
    let all: std::collections::BTreeSet<String> = [&first, &second]
        .iter()
        .filter_map(|k| k.as_array())
        .flatten()
        .map(Value::to_string)
        .collect();
    assert_eq!(all.len(), 6, "{first} {second}");
    server.crash().await?;
    assert_eq!((keys("k1").await?, keys("k2").await?), (first, second));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn invocations_without_a_name_get_workers_of_their_own() -> Result<(), Failure> {
    let server = Server::start().await?;
    let raw = Raw::of(&server);
    let id = raw.guest_of_type("counter", "Ephemeral").await?;
    let component = format!("/v1/components/{id}");
    for _ in 0..3 {
        assert_eq!(raw.result(&component, ADD, &[json!(7)]).await?, json!(7));
    }
    assert_eq!(raw.call(&component, "invoke", ADD, &[json!(1)], None).await?, (200, json!({})));
    let (_, page) = raw.get(&format!("{component}/workers")).await?;
    assert_eq!(page["workers"].as_array().map(Vec::len), Some(4), "{page}");
    Ok(())
}

/// There is no replay, so an invocation that was cut off is reported instead of done again.
#[tokio::test(flavor = "multi_thread")]
async fn an_invocation_that_was_cut_off_fails_and_the_next_one_works() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let raw = Raw::of(&server);
    let w = worker(raw.guest_of_type("counter", "Ephemeral").await?, "w");
    let slow = [json!(5), json!(60_000)];
    raw.call(&w, "invoke", "test:counter/api.{slow-add}", &slow, Some("slow")).await?;
    raw.until_status(&w, "Running").await?;
    server.crash().await?;
    raw.until_status(&w, "Failed").await?;
    let (status, body) = raw
        .call(&w, "invoke-and-await", "test:counter/api.{slow-add}", &slow, Some("slow"))
        .await?;
    assert_eq!((status, &body["golemError"]["type"]), (500, &json!("RuntimeError")));
    assert!(
        body["golemError"]["details"].as_str().is_some_and(|d| d.contains("cut off")),
        "{body}"
    );
    assert_eq!(raw.result(&w, ADD, &[json!(1)]).await?, json!(1), "nothing is spoilt");
    let (_, body) = raw.call(&w, "invoke-and-await", "fail-if", &[json!(true)], None).await?;
    assert_eq!(body["golemError"]["type"], "RuntimeError");
    assert_eq!(raw.result(&w, ADD, &[json!(2)]).await?, json!(2));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_worked_off_from_the_initial_state() -> Result<(), Failure> {
    let server = Server::start().await?;
    let raw = Raw::of(&server);
    let w = worker(raw.guest_of_type("counter", "Ephemeral").await?, "w");
    raw.call(&w, "invoke", "test:counter/api.{slow-add}", &[json!(5), json!(800)], None).await?;
    let calls = (1..4u64).map(|n| {
        let (raw, w) = (raw.clone(), w.clone());
        async move { raw.result(&w, ADD, &[json!(n)]).await }
    });
    let results: Vec<Value> = futures::future::try_join_all(calls).await?;
    assert_eq!(results, [json!(1), json!(2), json!(3)]);
    Ok(())
}
