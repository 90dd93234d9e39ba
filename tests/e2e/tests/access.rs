//! Tokens and configuration of a real server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use emet_api::rest::{NewToken, Scope};
use emet_client::Client;
use emet_e2e::{Failure, Server};
use std::process::Command;

const BOOTSTRAP: &str = "bootstrap-0123456789abcdef0123456789";

fn new(scopes: &[Scope]) -> NewToken {
    NewToken { name: "test".to_owned(), scopes: scopes.to_vec(), expires_in_seconds: None }
}

/// Requests without a token that were refused.
fn refusals(metrics: &str) -> u64 {
    let count = "emet_auth_refusals_total{reason=\"missing\"} ";
    metrics.lines().find_map(|line| line.strip_prefix(count)?.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn tokens_survive_a_crash_and_revoked_ones_do_not_come_back() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("bootstrap");
    std::fs::write(&file, BOOTSTRAP)?;
    let arguments = ["--auth", "tokens", "--bootstrap-token-file", file.to_str().unwrap()];
    let mut server = Server::start_with(&arguments).await?;
    let status = |client: Client| async move {
        client.components(None).await.err().and_then(|e| e.status())
    };
    assert_eq!(status(server.client.clone()).await, Some(401));
    let admin = server.client.clone().with_token(BOOTSTRAP);
    let (kept, revoked) = (
        admin.create_token(&new(&[Scope::Read])).await?,
        admin.create_token(&new(&[Scope::Read])).await?,
    );
    admin.revoke_token(&revoked.info.id).await?;
    let forbidden =
        server.client.clone().with_token(&kept.token).create_token(&new(&[Scope::Admin])).await;
    assert_eq!(forbidden.unwrap_err().status(), Some(403));
    server.crash().await?;
    assert_eq!(status(server.client.clone().with_token(&kept.token)).await, None);
    assert_eq!(status(server.client.clone().with_token(&revoked.token)).await, Some(401));
    // Probes and scrapers need none.
    server.client.health().await?;
    let before = refusals(&server.client.metrics().await?);
    assert_eq!(status(server.client.clone()).await, Some(401));
    assert_eq!(refusals(&server.client.metrics().await?), before + 1);
    // No secret is on the disk.
    let secret = kept.token.rsplit('_').next().unwrap();
    let found = Command::new("grep").args(["-rl", secret]).arg(server.data_dir()).output()?;
    assert!(found.stdout.is_empty(), "{}", String::from_utf8_lossy(&found.stdout));
    Ok(())
}

#[tokio::test]
async fn a_loopback_server_needs_no_token_until_it_is_told_to() -> Result<(), Failure> {
    let server = Server::start().await?;
    server.client.components(None).await?;
    server.client.clone().with_token("nonsense").components(None).await?;
    Ok(())
}

#[tokio::test]
async fn metrics_show_what_workers_do() -> Result<(), Failure> {
    // Replay is to be seen.
    let mut server = Server::start_with(&["--checkpoints", "off"]).await?;
    let worker = emet_model::WorkerId::new(server.upload("counter").await?, "c");
    for _ in 0..3 {
        server.call(&worker, "test:counter/api.{add}", serde_json::json!([1])).await?;
    }
    server.crash().await?;
    server.call(&worker, "test:counter/api.{add}", serde_json::json!([1])).await?;
    let sum = async |series: &str| -> Result<f64, Failure> {
        Ok(server.metric(series).await?.ok_or_else(|| format!("{series} is missing"))?)
    };
    assert_eq!(sum("emet_workers_loaded").await?, 1.0);
    assert_eq!(sum("emet_invocations_total{outcome=\"completed\"}").await?, 1.0);
    assert_eq!(sum("emet_worker_loads_total{outcome=\"completed\"}").await?, 1.0);
    let replayed = sum("emet_replayed_entries_total").await?;
    assert!(replayed >= 6.0, "three invocations were replayed: {replayed}");
    assert!(sum("emet_oplog_commits_total").await? >= 1.0);
    assert!(sum("emet_store_seconds_count{store=\"log\",operation=\"append\"}").await? >= 1.0);
    let route = "/v1/components/{component_id}/workers/{worker_name}/invoke-and-await";
    let requests =
        format!("emet_http_requests_total{{method=\"POST\",route=\"{route}\",status=\"200\"}}");
    assert!(sum(&requests).await? >= 1.0);
    assert!(sum("emet_process_resident_bytes").await? > 1e6);
    Ok(())
}

#[tokio::test]
async fn logs_are_json_where_that_is_asked_for() -> Result<(), Failure> {
    let server = Server::start_with(&["--log-format", "json"]).await?;
    let logs = server.logs().concat();
    let lines: Vec<serde_json::Value> =
        logs.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        lines.iter().any(|line| line["level"] == "INFO"
            && line["message"].as_str().unwrap().contains("is ready")),
        "{logs}"
    );
    Ok(())
}

#[test]
fn options_that_are_wrong_end_the_process_with_a_reason() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("emet.toml");
    let run = |arguments: &[&str]| -> Result<(Option<i32>, String), Failure> {
        let output = Command::new(emet_e2e::binary()?)
            .args(arguments)
            .current_dir(directory.path())
            .output()?;
        Ok((output.status.code(), String::from_utf8(output.stderr)?))
    };
    std::fs::write(&file, "max-laoded = 5\n")?;
    let (code, text) = run(&["server", "--config", file.to_str().unwrap()])?;
    assert_eq!(code, Some(2));
    assert!(
        text.contains("emet.toml:1: unknown key 'max-laoded'; did you mean 'max-loaded'?"),
        "{text}"
    );
    let (code, text) = run(&["server", "--otlp-endpoint", "nonsense"])?;
    assert_eq!(code, Some(1));
    assert!(text.contains("--otlp-endpoint"), "{text}");
    std::fs::write(&file, "short")?;
    let (code, text) = run(&[
        "server",
        "--listen",
        "127.0.0.1:0",
        "--bootstrap-token-file",
        file.to_str().unwrap(),
    ])?;
    assert_eq!(code, Some(1));
    assert!(text.contains("at least 32 characters"), "{text}");
    Ok(())
}

#[test]
fn the_effective_options_are_shown_with_their_sources() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("emet.toml");
    std::fs::write(&file, "max-loaded = 5\nsuspend-after = \"2s\"\n")?;
    let output = Command::new(emet_e2e::binary()?)
        .args([
            "config",
            "show",
            "--as",
            "json",
            "--config",
            file.to_str().unwrap(),
            "--",
            "--max-loaded",
            "6",
        ])
        .env("EMET_LISTEN", "127.0.0.1:1")
        .output()?;
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let source = |name: &str| shown["options"][name]["source"].as_str().unwrap().to_owned();
    assert_eq!(shown["options"]["max-loaded"]["value"], 6);
    assert_eq!(source("max-loaded"), "flag --max-loaded");
    assert!(source("suspend-after").ends_with("emet.toml:2"));
    assert_eq!(source("listen"), "environment EMET_LISTEN");
    assert_eq!(source("data-dir"), "default");
    let schema = Command::new(emet_e2e::binary()?).args(["config", "schema"]).output()?;
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout)?;
    assert_eq!(schema["properties"]["max-loaded"]["type"], "integer");
    Ok(())
}
