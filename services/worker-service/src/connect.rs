//! The stream of a worker's events over a websocket (services spec 1.9).

use crate::endpoint::{Endpoint, get};
use crate::errors::ApiError;
use crate::extract::WorkerPath;
use crate::state::App;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use emet_api::{WorkerEvent, WorkerEvents};
use futures::StreamExt;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Silence after which the client is asked for a sign of life.
const PING_AFTER: Duration = Duration::from_secs(30);
/// How long it may take to answer, or to accept a frame.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        get("/v1/components/{component_id}/workers/{worker_name}/connect", connect)
            .named("workerConnect", "Websocket of a worker's output and invocations.")
            .answers("WorkerEvent"),
    ]
}

/// Errors are answered before the upgrade, as plain HTTP.
async fn connect(
    State(app): State<App>,
    WorkerPath(worker): WorkerPath,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgrade.map_err(|error| {
        ApiError::invalid(format!("This is a websocket endpoint: {}", error.body_text()))
    })?;
    let events = app.workers.connect(worker).await?;
    Ok(upgrade.on_upgrade(move |socket| forward(socket, events)))
}

/// Why the connection ends without more to say.
struct Gone;

/// Forwards events until the worker is unloaded or the client is gone.
async fn forward(mut socket: WebSocket, mut events: WorkerEvents) {
    let mut ping_at = Instant::now() + PING_AFTER;
    let mut pong_by: Option<Instant> = None;
    loop {
        let deadline = pong_by.unwrap_or(ping_at);
        let step = tokio::select! {
            event = events.next() => match event {
                Some(event) => send_event(&mut socket, &event).await,
                None => send_event(&mut socket, &WorkerEvent::Close).await,
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Close(_)) | Err(_)) | None => Err(Gone),
                // Any frame is a sign of life. Pings are answered by the protocol layer.
                Some(Ok(_)) => {
                    pong_by = None;
                    ping_at = Instant::now() + PING_AFTER;
                    Ok(())
                }
            },
            () = tokio::time::sleep_until(deadline) => match pong_by {
                Some(_) => Err(Gone),
                None => {
                    pong_by = Some(Instant::now() + PATIENCE);
                    send(&mut socket, Message::Ping(bytes::Bytes::from_static(b"emet"))).await
                }
            },
        };
        if step.is_err() {
            return;
        }
    }
}

/// Sends one frame; after [`WorkerEvent::Close`] the socket is closed.
async fn send_event(socket: &mut WebSocket, event: &WorkerEvent) -> Result<(), Gone> {
    let text = serde_json::to_string(event).map_err(|_| Gone)?;
    send(socket, Message::Text(text.into())).await?;
    if *event != WorkerEvent::Close {
        return Ok(());
    }
    send(socket, Message::Close(None)).await?;
    // The client's own close frame ends the conversation; reading it spares it a reset.
    let _ = timeout(PATIENCE, async { while let Some(Ok(_)) = socket.recv().await {} }).await;
    Err(Gone)
}

/// A client that does not read its frames is gone as well.
async fn send(socket: &mut WebSocket, message: Message) -> Result<(), Gone> {
    match timeout(PATIENCE, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Gone),
    }
}
