//! The live stream: what happened and what happens, told once, and never a hang (services spec 1.9).

use emet_e2e::raw::{Raw, worker};
use emet_e2e::{Failure, Server};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::time::Duration;
use tokio_tungstenite::tungstenite::{self, Message};

const PRINT: &str = "test:env/api.{print}";
const ADD: &str = "test:counter/api.{add}";

type Socket =
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn connect(server: &Server, w: &str) -> Result<Socket, tungstenite::Error> {
    let url = format!("{}{w}/connect", server.url().replace("http://", "ws://"));
    tokio_tungstenite::connect_async(url).await.map(|(socket, _)| socket)
}

/// The next frame; none at the end of the stream.
async fn frame(socket: &mut Socket) -> Result<Option<Value>, Failure> {
    loop {
        let message = tokio::time::timeout(Duration::from_secs(20), socket.next())
            .await
            .map_err(|_| "no frame in time")?;
        match message {
            Some(Ok(Message::Text(text))) => return Ok(Some(serde_json::from_str(&text)?)),
            Some(Ok(Message::Close(_))) | None => return Ok(None),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.into()),
        }
    }
}

/// Frames up to the end of an invocation; output is joined, since frames need not be lines.
async fn until_finished(socket: &mut Socket) -> Result<(Vec<String>, String), Failure> {
    let (mut kinds, mut output) = (Vec::new(), Vec::new());
    while let Some(frame) = frame(socket).await? {
        let (kind, fields) =
            frame.as_object().and_then(|f| f.iter().next()).ok_or("not an event")?;
        kinds.push(kind.clone());
        assert!(fields["timestamp"].as_str().is_some_and(|t| t.ends_with('Z')), "{frame}");
        let bytes = fields["bytes"].as_array().into_iter().flatten();
        output.extend(bytes.filter_map(|b| b.as_u64().and_then(|b| u8::try_from(b).ok())));
        if kind == "InvocationFinished" {
            assert!(
                fields["function"].is_string() && fields["idempotency_key"].is_string(),
                "{frame}"
            );
            break;
        }
    }
    Ok((kinds, String::from_utf8(output)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn past_events_come_first_and_live_ones_follow() -> Result<(), Failure> {
    let server = Server::start().await?;
    let raw = Raw::of(&server);
    let w = worker(raw.guest("env").await?, "w");
    raw.result(&w, PRINT, &[json!("before")]).await?;
    let mut socket = connect(&server, &w).await?;
    let (kinds, output) = until_finished(&mut socket).await?;
    assert_eq!(
        (kinds.first().map(String::as_str), output.as_str()),
        (Some("InvocationStart"), "before\n")
    );
    raw.result(&w, PRINT, &[json!("after")]).await?;
    assert_eq!(until_finished(&mut socket).await?.1, "after\n");
    raw.result(&w, "test:env/api.{eprint}", &[json!("oops")]).await?;
    let (kinds, output) = until_finished(&mut socket).await?;
    assert!(kinds.contains(&"StdErr".to_owned()) && output == "oops\n", "{kinds:?}");
    raw.result(&w, "test:env/api.{log-all}", &[json!("ctx"), json!("text")]).await?;
    let mut levels = Vec::new();
    while levels.len() < 6 {
        let frame = frame(&mut socket).await?.ok_or("the stream ended")?;
        if let Some(log) = frame.get("Log") {
            assert_eq!((&log["context"], &log["message"]), (&json!("ctx"), &json!("text")));
            levels.push(log["level"].as_str().unwrap_or_default().to_owned());
        }
    }
    assert_eq!(levels, ["Trace", "Debug", "Info", "Warn", "Error", "Critical"]);
    // Pings are answered, and other frames of the client ignored.
    socket.send(Message::Text("ignored".into())).await?;
    socket.send(Message::Ping(vec![1, 2, 3, 4].into())).await?;
    let pong = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Pong(data))) => return Some(data),
                Some(Ok(_)) => {}
                _ => return None,
            }
        }
    });
    assert_eq!(pong.await?.as_deref(), Some(&[1u8, 2, 3, 4][..]));
    Ok(())
}

/// Connecting to a worker that does nothing any more is an answer, not a wait.
#[tokio::test(flavor = "multi_thread")]
async fn workers_that_are_stopped_refuse_before_the_upgrade() -> Result<(), Failure> {
    let mut server = Server::start_with(&["--suspend-after", "1000"]).await?;
    let raw = Raw::of(&server);
    let id = raw.guest("counter").await?;
    let (failed, interrupted) = (worker(id, "failed"), worker(id, "interrupted"));
    raw.call(&failed, "invoke-and-await", "fail-if", &[json!(true)], None).await?;
    raw.call(
        &interrupted,
        "invoke",
        "test:counter/api.{slow-add}",
        &[json!(1), json!(60_000)],
        None,
    )
    .await?;
    raw.until_status(&interrupted, "Running").await?;
    raw.command(&format!("{interrupted}/interrupt")).await?;
    let exited = worker(raw.guest("env").await?, "exited");
    raw.call(&exited, "invoke-and-await", "test:env/api.{exit}", &[json!(false)], None).await?;
    for killed in [false, true] {
        if killed {
            server.crash().await?;
        }
        let missing = worker(id, "missing");
        for (w, status, kind) in [
            (&failed, 500, Some("PreviousInvocationFailed")),
            (&interrupted, 500, Some("Interrupted")),
            (&exited, 500, Some("PreviousInvocationExited")),
            (&missing, 404, None),
        ] {
            let refused =
                tokio::time::timeout(Duration::from_secs(10), connect(&server, w)).await?;
            let Err(tungstenite::Error::Http(response)) = refused else {
                return Err(format!("{w} was connected").into());
            };
            let body: Value =
                serde_json::from_slice(response.body().as_deref().unwrap_or_default())?;
            assert_eq!(
                (response.status().as_u16(), body["golemError"]["type"].as_str()),
                (status, kind),
                "{w}"
            );
        }
    }
    assert_eq!(raw.get(&format!("{failed}/connect")).await?.0, 400, "no upgrade");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_with_the_instance() -> Result<(), Failure> {
    let server = Server::start_with(&["--suspend-after", "1000"]).await?;
    let raw = Raw::of(&server);
    let id = raw.guest("counter").await?;
    for end in ["interrupt", "delete"] {
        let w = worker(id, end);
        raw.call(&w, "invoke", "test:counter/api.{slow-add}", &[json!(1), json!(60_000)], None)
            .await?;
        raw.until_status(&w, "Running").await?;
        let mut socket = connect(&server, &w).await?;
        assert!(frame(&mut socket).await?.is_some_and(|f| f.get("InvocationStart").is_some()));
        match end {
            "interrupt" => raw.command(&format!("{w}/interrupt")).await?,
            _ => raw.delete(&w).await?,
        };
        let mut last = None;
        while let Some(frame) = frame(&mut socket).await? {
            last = Some(frame);
        }
        assert_eq!(last, Some(json!("Close")), "{end}");
    }
    Ok(())
}

/// A simulated crash is none of the watcher's business: what was told is not told again.
#[tokio::test(flavor = "multi_thread")]
async fn replay_is_not_shown() -> Result<(), Failure> {
    let server = Server::start().await?;
    let raw = Raw::of(&server);
    let w = worker(raw.guest("clocks").await?, "w");
    raw.call(&w, "invoke", "test:clocks/api.{interruption}", &[json!(3)], Some("k")).await?;
    let mut socket = connect(&server, &w).await?;
    let mut output = String::new();
    let mut crashed = false;
    loop {
        let frame = frame(&mut socket).await?.ok_or("the stream ended")?;
        if let Some(bytes) = frame.pointer("/StdOut/bytes").and_then(Value::as_array) {
            let bytes = bytes.iter().filter_map(|b| b.as_u64().and_then(|b| u8::try_from(b).ok()));
            output.push_str(&String::from_utf8(bytes.collect())?);
            if !crashed && output.contains("tick 2") {
                crashed = true;
                raw.command(&format!("{w}/interrupt?recovery-immediately=true")).await?;
            }
        }
        if frame.get("InvocationFinished").is_some() {
            break;
        }
    }
    assert_eq!(output, "tick 1\ntick 2\ntick 3\n");
    assert_eq!(
        raw.result(&worker(raw.guest("counter").await?, "x"), ADD, &[json!(1)]).await?,
        json!(1)
    );
    Ok(())
}
