//! An update is a transaction: whatever happens, the worker is on the old or on the new version and
//! works (guest spec 6).

use emet_e2e::raw::{Raw, worker};
use emet_e2e::{Failure, Server, guest};
use emet_model::ComponentId;
use serde_json::{Value, json};

const F1: &str = "test:update/api.{f1}";
const F2: &str = "test:update/api.{f2}";
const F3: &str = "test:update/api.{f3}";
const VERSION: &str = "test:update/api.{version}";

/// A component with these versions.
async fn component(raw: &Raw, versions: &[&str]) -> Result<ComponentId, Failure> {
    let (first, rest) = versions.split_first().ok_or("no versions")?;
    let id = raw.guest(first).await?;
    for name in rest {
        raw.next_version(id, guest(name)?).await?;
    }
    Ok(id)
}

/// A worker of version 0, made before the later ones are uploaded.
async fn old_worker(raw: &Raw, versions: &[&str]) -> Result<String, Failure> {
    let (first, rest) = versions.split_first().ok_or("no versions")?;
    let id = component(raw, &[first]).await?;
    let w = worker(id, "w");
    assert_eq!(raw.result(&w, F1, &[json!(7), json!(0)]).await?, json!(7));
    for name in rest {
        raw.next_version(id, guest(name)?).await?;
    }
    Ok(w)
}

async fn request(raw: &Raw, w: &str, mode: &str, target: u64) -> Result<(u16, Value), Failure> {
    raw.post(&format!("{w}/update"), &json!({"mode": mode, "targetVersion": target})).await
}

fn types(metadata: &Value) -> Vec<&str> {
    let updates = metadata["updates"].as_array().into_iter().flatten();
    updates.filter_map(|u| u["type"].as_str()).collect()
}

async fn until_updated(raw: &Raw, w: &str, finished: usize) -> Result<Value, Failure> {
    raw.until(w, |m| types(m).iter().filter(|t| **t != "pendingUpdate").count() == finished).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_automatic_update_replays_the_history() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let raw = Raw::of(&server);
    let w = old_worker(&raw, &["update-v1", "update-v2"]).await?;
    assert_eq!(request(&raw, &w, "Automatic", 1).await?, (200, json!({})));
    let metadata = until_updated(&raw, &w, 1).await?;
    assert_eq!(
        (types(&metadata), &metadata["componentVersion"]),
        (vec!["successfulUpdate"], &json!(1))
    );
    assert_eq!(metadata["updates"][0]["targetVersion"], 1);
    assert_eq!(raw.result(&w, F3, &[]).await?, json!(7));
    server.crash().await?;
    assert_eq!(raw.result(&w, F2, &[]).await?, json!(8));
    let (status, body) = request(&raw, &w, "Automatic", 1).await?;
    let refused =
        json!({"type": "InvalidRequest", "details": "Worker is already at the target version"});
    assert_eq!((status, &body["golemError"]), (500, &refused));
    // Downgrades are updates, too.
    assert_eq!(request(&raw, &w, "Automatic", 0).await?.0, 200);
    let metadata = until_updated(&raw, &w, 2).await?;
    assert_eq!(metadata["componentVersion"], json!(0), "{metadata}");
    assert_eq!(raw.result(&w, VERSION, &[]).await?, json!("v1"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_of_a_busy_worker_happens_in_the_middle() -> Result<(), Failure> {
    let server = Server::start().await?;
    let raw = Raw::of(&server);
    let w = old_worker(&raw, &["update-v1", "update-v2"]).await?;
    raw.call(&w, "invoke", F1, &[json!(9), json!(2_000)], Some("slow")).await?;
    raw.until_status(&w, "Running").await?;
    assert_eq!(request(&raw, &w, "Automatic", 1).await?.0, 200);
    let metadata = until_updated(&raw, &w, 1).await?;
    assert_eq!(types(&metadata), ["successfulUpdate"], "{metadata}");
    let (_, body) =
        raw.call(&w, "invoke-and-await", F1, &[json!(9), json!(2_000)], Some("slow")).await?;
    assert_eq!(body["result"]["value"], json!([9]));
    assert_eq!(raw.result(&w, VERSION, &[]).await?, json!("v2"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diverging_update_fails_and_the_old_version_goes_on() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let raw = Raw::of(&server);
    // Version 3 calls other host functions than version 1 did.
    let w = old_worker(&raw, &["update-v1", "update-v3"]).await?;
    assert_eq!(request(&raw, &w, "Automatic", 1).await?.0, 200);
    let metadata = until_updated(&raw, &w, 1).await?;
    assert_eq!(
        (types(&metadata), &metadata["componentVersion"]),
        (vec!["failedUpdate"], &json!(0))
    );
    let details = metadata["updates"][0]["details"].as_str().unwrap_or_default();
    assert!(
        details.starts_with("Automatic update failed: ")
            && details.contains("Unexpected oplog entry"),
        "{details}"
    );
    assert_eq!(raw.result(&w, VERSION, &[]).await?, json!("v1"));
    server.crash().await?;
    assert_eq!(raw.result(&w, F3, &[]).await?, json!(7));
    Ok(())
}

/// W16: a version that cannot be instantiated is a failed update, not a broken worker.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_cannot_be_instantiated_fails_the_update() -> Result<(), Failure> {
    let server = Server::start().await?;
    let raw = Raw::of(&server);
    let w = old_worker(&raw, &["update-v1"]).await?;
    let id = w.split('/').nth(3).unwrap_or_default().parse()?;
    let bad =
        wat::parse_str(r#"(component (import "nope:nope/nope" (instance (export "f" (func)))))"#)?;
    raw.next_version(id, bad).await?;
    assert_eq!(request(&raw, &w, "Automatic", 1).await?.0, 200);
    let metadata = until_updated(&raw, &w, 1).await?;
    assert_eq!(
        (types(&metadata), &metadata["componentVersion"]),
        (vec!["failedUpdate"], &json!(0))
    );
    assert_eq!(raw.result(&w, F2, &[]).await?, json!(8));
    Ok(())
}

/// W3: the snapshot is loaded again whenever the worker is rebuilt.
#[tokio::test(flavor = "multi_thread")]
async fn a_manual_update_carries_the_state_over_and_keeps_it() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let raw = Raw::of(&server);
    let id = component(&raw, &["update-v2"]).await?;
    let w = worker(id, "w");
    raw.result(&w, F1, &[json!(7), json!(0)]).await?;
    raw.next_version(id, guest("update-v4")?).await?;
    raw.next_version(id, guest("update-v5")?).await?;
    assert_eq!(request(&raw, &w, "Manual", 1).await?, (200, json!({})));
    let metadata = until_updated(&raw, &w, 1).await?;
    assert_eq!(
        (types(&metadata), &metadata["componentVersion"]),
        (vec!["successfulUpdate"], &json!(1)),
        "{metadata}"
    );
    assert_eq!(raw.result(&w, F3, &[]).await?, json!(7));
    assert_eq!(raw.result(&w, F2, &[]).await?, json!(8));
    server.crash().await?;
    assert_eq!(raw.result(&w, F3, &[]).await?, json!(8));
    // A second one, to a version with the newer snapshot interface.
    assert_eq!(request(&raw, &w, "Manual", 2).await?.0, 200);
    let metadata = until_updated(&raw, &w, 2).await?;
    assert_eq!(
        (types(&metadata), &metadata["componentVersion"]),
        (vec!["successfulUpdate"; 2], &json!(2)),
        "{metadata}"
    );
    assert_eq!(raw.result(&w, F2, &[]).await?, json!(9));
    server.crash().await?;
    assert_eq!(raw.result(&w, F3, &[]).await?, json!(9));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manual_update_without_save_or_with_a_refused_load_fails() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let raw = Raw::of(&server);
    let w = old_worker(&raw, &["update-v1", "update-v2", "update-v4-bad-load"]).await?;
    assert_eq!(request(&raw, &w, "Manual", 1).await?.0, 200);
    let metadata = until_updated(&raw, &w, 1).await?;
    let details = metadata["updates"][0]["details"].as_str().unwrap_or_default();
    assert!(details.starts_with("failed to get a snapshot for manual update"), "{details}");
    // Version 2 can save, but the next one refuses every snapshot.
    assert_eq!(request(&raw, &w, "Automatic", 1).await?.0, 200);
    until_updated(&raw, &w, 2).await?;
    assert_eq!(request(&raw, &w, "Manual", 2).await?.0, 200);
    let metadata = until_updated(&raw, &w, 3).await?;
    assert_eq!(types(&metadata), ["failedUpdate", "successfulUpdate", "failedUpdate"]);
    let details = metadata["updates"][2]["details"].as_str().unwrap_or_default();
    assert!(details.starts_with("Manual update failed to load snapshot"), "{details}");
    server.crash().await?;
    assert_eq!(raw.result(&w, VERSION, &[]).await?, json!("v2"));
    assert_eq!(raw.result(&w, F3, &[]).await?, json!(7));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_that_make_no_sense_are_refused_at_once() -> Result<(), Failure> {
    let server = Server::start().await?;
    let raw = Raw::of(&server);
    let w = old_worker(&raw, &["update-v1", "update-v2"]).await?;
    let details = |answer: (u16, Value)| {
        (answer.0, answer.1["golemError"]["details"].as_str().unwrap_or_default().to_owned())
    };
    let (status, reason) = details(request(&raw, &w, "Automatic", 99).await?);
    assert_eq!((status, reason.as_str()), (500, "there is no version 99 of the component"));
    assert_eq!(raw.get(&w).await?.1["updates"], json!([]));
    // A manual update waits for its turn; a second one of the kind is refused meanwhile.
    raw.call(&w, "invoke", F1, &[json!(9), json!(2_000)], None).await?;
    raw.until_status(&w, "Running").await?;
    assert_eq!(request(&raw, &w, "Manual", 1).await?.0, 200);
    assert_eq!(types(&raw.get(&w).await?.1), ["pendingUpdate"]);
    let (status, reason) = details(request(&raw, &w, "Manual", 1).await?);
    assert_eq!((status, reason.as_str()), (500, "The same update is already in progress"));
    until_updated(&raw, &w, 1).await?;

    let ephemeral = raw.guest_of_type("counter", "Ephemeral").await?;
    let e = worker(ephemeral, "e");
    raw.result(&e, "test:counter/api.{add}", &[json!(1)]).await?;
    raw.next_version(ephemeral, guest("counter")?).await?;
    let (status, reason) = details(request(&raw, &e, "Automatic", 1).await?);
    assert_eq!((status, reason.as_str()), (500, "Ephemeral workers cannot be updated"));
    assert_eq!(
        raw.post(&format!("{w}/update"), &json!({"mode": "Sideways", "targetVersion": 1})).await?.0,
        400
    );
    Ok(())
}

/// An update heals what a defect of the old version has broken, and wakes who was interrupted.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_resumes_an_interrupted_worker() -> Result<(), Failure> {
    let server = Server::start().await?;
    let raw = Raw::of(&server);
    let w = old_worker(&raw, &["update-v1", "update-v2"]).await?;
    raw.call(&w, "invoke", F1, &[json!(9), json!(1_500)], Some("slow")).await?;
    raw.until_status(&w, "Running").await?;
    raw.command(&format!("{w}/interrupt")).await?;
    assert_eq!(request(&raw, &w, "Automatic", 1).await?.0, 200);
    let metadata = until_updated(&raw, &w, 1).await?;
    assert_eq!(types(&metadata), ["successfulUpdate"]);
    raw.until_status(&w, "Idle").await?;
    assert_eq!(raw.result(&w, F3, &[]).await?, json!(9));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_old_or_new_after_a_kill_at_any_moment() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let raw = Raw::of(&server);
    let w = old_worker(&raw, &["update-v1", "update-v2"]).await?;
    for round in 0..6u64 {
        let from = raw.get(&w).await?.1["componentVersion"].as_u64().unwrap_or_default();
        assert_eq!(request(&raw, &w, "Automatic", 1 - from).await?.0, 200);
        tokio::time::sleep(std::time::Duration::from_millis(round * 4)).await;
        server.crash().await?;
        let metadata = raw
            .until(&w, |m| m["status"] == "Idle" && !types(m).contains(&"pendingUpdate"))
            .await?;
        assert_eq!(metadata["componentVersion"], json!(1 - from), "{metadata}");
        assert_eq!(raw.result(&w, F2, &[]).await?, json!(8 + round));
    }
    Ok(())
}
