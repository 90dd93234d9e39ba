//! How a guest steers its own durability: regions, jumps, keys, policies, levels, modes. What it
//! does to the world is counted by a real web server.

use emet_e2e::{Failure, Server, Web, never, text};
use emet_model::{WorkerId, WorkerStatus};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const API: &str = "test:durability/api";

fn function(name: &str) -> String {
    format!("{API}.{{{name}}}")
}

/// A worker of the guest whose steps are requests to `web`.
async fn stepping(server: &Server, web: &Web, name: &str) -> Result<WorkerId, Failure> {
    let id = match server.client.components(Some("durability")).await?.first() {
        Some(component) => component.versioned_component_id.component_id,
        None => server.upload("durability").await?,
    };
    let worker = WorkerId::new(id, name);
    server.create(&worker, &[("PORT", web.port().to_string())]).await?;
    Ok(worker)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_fails_twice_is_repeated_and_what_is_around_it_is_not() -> Result<(), Failure>
{
    let mut server = Server::start().await?;
    let web = Web::counting().await?;
    let worker = stepping(&server, &web, "region").await?;
    let result =
        server.call_keyed(&worker, &function("atomic-region"), json!([]), Some("k")).await?;
    assert_eq!(result, json!(3));
    let expected =
        ["/step/1", "/step/2", "/step/3", "/step/2", "/step/3", "/step/2", "/step/3", "/step/4"];
    assert_eq!(web.paths(), expected);
    server.crash().await?;
    assert_eq!(
        server.call_keyed(&worker, &function("atomic-region"), json!([]), Some("k")).await?,
        result
    );
    server.call(&worker, &function("get-oplog-index"), json!([])).await?;
    assert_eq!(web.paths(), expected, "a replay does nothing to the world");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_of_a_region_end() -> Result<(), Failure> {
    let server = Server::start().await?;
    let web = Web::start(|_| text("1")).await?;
    let worker = stepping(&server, &web, "hopeless").await?;
    let error = server
        .call(&worker, &function("atomic-region"), json!([]))
        .await
        .err()
        .ok_or("it did not fail")?;
    assert!(error.to_string().contains("attempt 1 fails"), "{error}");
    // The first attempt and three retries.
    assert_eq!(
        (web.count("/step/1"), web.count("/step/2"), web.count("/step/3"), web.count("/step/4")),
        (1, 4, 4, 0)
    );
    assert_eq!(server.client.worker(&worker).await?.status, WorkerStatus::Failed);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_region_a_recorded_answer_is_read_again() -> Result<(), Failure> {
    let server = Server::start().await?;
    let web = Web::counting().await?;
    let worker = stepping(&server, &web, "plain").await?;
    assert!(server.call(&worker, &function("no-region"), json!([])).await.is_err());
    assert_eq!(web.count("/step/1"), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_repeats_what_came_after_its_target() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let web = Web::counting().await?;
    let worker = stepping(&server, &web, "jump").await?;
    assert_eq!(server.call(&worker, &function("jump"), json!([])).await?, json!(2));
    let lines = [
        "started",
        "step 1: 1",
        "after step 1",
        "jumping",
        "step 1: 2",
        "after step 1",
        "finished",
    ];
    assert_eq!(server.lines(&worker).await?, lines);
    server.crash().await?;
    server.call(&worker, &function("get-oplog-index"), json!([])).await?;
    assert_eq!(server.lines(&worker).await?, lines);
    assert_eq!(web.count("/step/1"), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_jumps_forward() -> Result<(), Failure> {
    let server = Server::start().await?;
    let id = server.upload("durability").await?;
    let worker = WorkerId::new(id, "forward");
    let error = server
        .call(&worker, &function("jump-forward"), json!([]))
        .await
        .err()
        .ok_or("it did not fail")?;
    assert!(error.to_string().contains("Attempted to jump forward"), "{error}");
    Ok(())
}

/// The first request is not answered before the server dies.
async fn around_a_crash(idempotent: bool) -> Result<(Server, Web, WorkerId), Failure> {
    let mut server = Server::start().await?;
    let web =
        Web::start(|seen| if seen.number == 1 { never() } else { text(&seen.number.to_string()) })
            .await?;
    let worker = stepping(&server, &web, "w").await?;
    server.send(&worker, &function("idempotence"), json!([idempotent])).await?;
    web.wait("/step/1", 1).await;
    server.crash().await?;
    Ok((server, web, worker))
}

#[tokio::test(flavor = "multi_thread")]
async fn with_idempotence_an_unanswered_request_is_sent_again() -> Result<(), Failure> {
    let (server, web, worker) = around_a_crash(true).await?;
    server.settle(&worker, WorkerStatus::Idle).await?;
    assert_eq!(web.count("/step/1"), 2);
    let completed = server.search(&worker, "exportedfunctioncompleted").await?;
    assert_eq!(completed.last().and_then(|e| e.pointer("/response/value/0")), Some(&json!(2)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_idempotence_it_is_sent_once_and_the_worker_fails() -> Result<(), Failure> {
    let (server, web, worker) = around_a_crash(false).await?;
    server.settle(&worker, WorkerStatus::Failed).await?;
    assert_eq!(web.count("/step/1"), 1);
    let error = server.client.worker(&worker).await?.last_error.unwrap_or_default();
    assert!(
        error.contains("Non-idempotent remote write operation was not completed, cannot retry"),
        "{error}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_persisted_is_done_again_by_a_recovery() -> Result<(), Failure> {
    // From a checkpoint there is nothing to do again.
    let mut server = Server::start_with(&["--checkpoints", "off"]).await?;
    let web = Web::start(|_| text("5")).await?;
    let worker = stepping(&server, &web, "nothing").await?;
    assert_eq!(server.call(&worker, &function("persist-nothing"), json!([])).await?, json!(5));
    let counts = || ["/step/1", "/step/2", "/step/3", "/step/4"].map(|path| web.count(path));
    assert_eq!(counts(), [1, 1, 1, 1]);
    for times in 2..4 {
        server.crash().await?;
        server.call(&worker, &function("get-oplog-index"), json!([])).await?;
        assert_eq!(counts(), [1, times, times, 1]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_levels_differ_and_are_recorded() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let web = Web::start(|_| text("5")).await?;
    let mut recorded = Vec::new();
    for level in ["smart", "persist-remote-side-effects", "persist-nothing"] {
        let worker = stepping(&server, &web, level).await?;
        server.call(&worker, &function("set-persistence-level"), json!([{ level: null }])).await?;
        server.call(&worker, &function("step"), json!([level.len()])).await?;
        let found = server.call(&worker, &function("get-persistence-level"), json!([])).await?;
        assert!(found == json!({ level: null }) || found == json!(level), "{found}");
        let calls = server.search(&worker, "importedfunctioninvoked").await?;
        let named = |part: &str| calls.iter().filter(|c| c.to_string().contains(part)).count();
        recorded.push((named("get_environment") > 0, named("future_incoming_response") > 0));
    }
    assert_eq!(recorded, [(true, true), (false, true), (false, false)]);
    server.crash().await?;
    for level in ["smart", "persist-remote-side-effects", "persist-nothing"] {
        let worker = WorkerId::new(
            server
                .client
                .components(Some("durability"))
                .await?
                .first()
                .ok_or("gone")?
                .versioned_component_id
                .component_id,
            level,
        );
        let found = server.call(&worker, &function("get-persistence-level"), json!([])).await?;
        assert!(found.to_string().contains(level), "{found} after a crash");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_of_two_attempts_gives_up_soon() -> Result<(), Failure> {
    let server = Server::start().await?;
    let id = server.upload("durability").await?;
    let worker = WorkerId::new(id, "policy");
    let started = Instant::now();
    let error = server
        .call(&worker, &function("fail-with-policy"), json!([2, 1000]))
        .await
        .err()
        .ok_or("it did not fail")?;
    assert!(
        error.to_string().contains("failed as asked")
            && error.to_string().contains("about to fail"),
        "{error}"
    );
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "two retries, a second apart, took {:?}",
        started.elapsed()
    );
    let next = server
        .call(&worker, &function("get-oplog-index"), json!([]))
        .await
        .err()
        .ok_or("it did not refuse")?;
    assert!(next.to_string().starts_with("Previous invocation failed"), "{next}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_of_a_guest_survives_a_restart() -> Result<(), Failure> {
    let mut server = Server::start().await?;
    let id = server.upload("durability").await?;
    let worker = WorkerId::new(id, "w");
    let policy = json!({ "max-attempts": 7, "min-delay": 1_000_000, "max-delay": 2_000_000, "multiplier": 1.5 });
    server.call(&worker, &function("set-retry-policy"), json!([policy])).await?;
    server.crash().await?;
    assert_eq!(server.call(&worker, &function("get-retry-policy"), json!([])).await?, policy);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_the_same_after_a_failure_unless_they_are_made_in_a_repeated_region()
-> Result<(), Failure> {
    let mut server = Server::start().await?;
    let web = Web::counting().await?;
    let worker = stepping(&server, &web, "keys").await?;
    let keys = server.call_keyed(&worker, &function("keys"), json!([5]), Some("k")).await?;
    let distinct: std::collections::BTreeSet<String> =
        keys.as_array().into_iter().flatten().map(Value::to_string).collect();
    assert_eq!(distinct.len(), 5);
    server.crash().await?;
    assert_eq!(server.call_keyed(&worker, &function("keys"), json!([5]), Some("k")).await?, keys);
    let retried = stepping(&server, &web, "retried").await?;
    server.call(&retried, &function("key-with-retry"), json!([])).await?;
    let lines = server.lines(&retried).await?;
    assert_eq!(
        lines.iter().filter(|l| l.starts_with("key ")).count(),
        1,
        "the retry makes the same key: {lines:?}"
    );
    let region = stepping(&server, &Web::counting().await?, "region").await?;
    server.call(&region, &function("keys-around-region"), json!([])).await?;
    let lines = server.lines(&region).await?;
    let inside: std::collections::BTreeSet<&String> =
        lines.iter().filter(|l| l.starts_with("inside ")).collect();
    assert_eq!(inside.len(), 2, "{lines:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_makes_what_came_before_it_durable() -> Result<(), Failure> {
    let server = Server::start().await?;
    let id = server.upload("durability").await?;
    let worker = WorkerId::new(id, "w");
    server.call(&worker, &function("commit"), json!([3])).await?;
    assert_eq!(server.lines(&worker).await?, ["before the commit", "after the commit"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_step_is_attempted_until_it_succeeds() -> Result<(), Failure> {
    let server = Server::start().await?;
    let web = Web::counting().await?;
    let worker = stepping(&server, &web, "w").await?;
    assert_eq!(server.call(&worker, &function("fails-n-times"), json!([3])).await?, json!(4));
    let uri = server.call(&worker, &function("get-self-uri"), json!(["f"])).await?;
    assert_eq!(uri, json!(format!("urn:worker:{}/w/f", worker.component_id)));
    Ok(())
}
