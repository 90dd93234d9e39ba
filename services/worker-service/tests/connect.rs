//! The websocket, and the typed client, over real connections.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use bytes::Bytes;
use common::*;
use emet_api::rest::WorkerCreationRequest;
use emet_api::{InvokeParameters, Target, WorkerEvent};
use emet_client::{Call, Client, Page, Upload};
use emet_model::{ComponentId, WorkerId};
use emet_values::Value;
use futures::{SinkExt, StreamExt};
use std::sync::Arc;
use tokio_tungstenite::tungstenite::Message;

async fn serve() -> (Arc<Fake>, String) {
    let fake = Arc::new(Fake::default());
    let router = emet_worker_service::router(state(&fake, Vec::new()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (fake, url)
}

fn id() -> ComponentId {
    ID.parse().unwrap()
}

#[tokio::test]
async fn frames_are_the_documented_json_and_close_ends_the_socket() {
    let (_, url) = serve().await;
    let url = format!("ws://{url}{}", expand("W/connect"));
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    socket.send(Message::Ping(Bytes::from_static(b"1234"))).await.unwrap();
    let mut texts = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Text(text) = message {
            texts.push(text.to_string());
        }
    }
    let first = r#"{"StdOut":{"timestamp":"1970-01-01T00:00:00.000Z","bytes":[104,105,10]}}"#;
    assert_eq!(texts, [first, "\"Close\""]);
}

#[tokio::test]
async fn errors_come_before_the_upgrade() {
    let (_, url) = serve().await;
    let client = Client::new(&format!("http://{url}")).unwrap();
    let failed = |name: &str| WorkerId::new(id(), name);
    let error = client.connect(&failed("missing")).await.err().unwrap();
    assert_eq!(error.status(), Some(404));
    let error = client.connect(&failed("failed")).await.err().unwrap();
    assert_eq!((error.status(), error.worker_error().is_some()), (Some(500), true));
    let (status, body) = Api::new().get("W/connect").await;
    assert_eq!(status, 400, "{body}");
}

#[tokio::test]
async fn the_client_reaches_every_kind_of_endpoint() {
    let (fake, url) = serve().await;
    let client = Client::new(&format!("http://{url}/")).unwrap();
    let worker = WorkerId::new(id(), "größe");
    assert_eq!(client.version().await.unwrap().version, "1.1.0");
    assert!(client.health().await.unwrap().not_ready.is_empty());
    assert_eq!(client.components(Some("shop:cart")).await.unwrap().len(), 2);
    assert_eq!(&client.download_component(id(), None).await.unwrap()[..], b"\0asm");
    let upload = Upload { wasm: Bytes::from(vec![7; 900]), ..Upload::default() };
    client.create_component("shop:cart", upload).await.unwrap();
    assert_eq!(fake.uploads.lock().unwrap()[0].1.wasm.len(), 900);

    let request = WorkerCreationRequest { name: "a".into(), args: vec![], env: [].into() };
    assert_eq!(client.create_worker(id(), &request).await.unwrap().component_version, 3);
    assert_eq!(client.worker(&worker).await.unwrap().worker_id, worker);
    let page = client.workers(id(), &["name = a".into()], Page::default()).await.unwrap();
    assert_eq!(page.cursor.unwrap().cursor, 1536);
    let parameters = InvokeParameters::Json(vec![]);
    let call = Call { function: "a:b/c.{d}".into(), parameters, idempotency_key: None };
    let target = Target { component_id: id(), worker_name: Some("größe".into()) };
    let result = client.invoke_and_await(&target, &call).await.unwrap();
    assert_eq!(result.value, Value::Tuple(vec![Value::U64(17)]));
    assert!(client.complete_promise(&worker, 5, vec![1]).await.unwrap());
    assert_eq!(client.oplog(&worker, 1, 10).await.unwrap().entries.len(), 1);
    assert!(client.list_files(&worker, "/").await.unwrap().is_empty());
    assert!(client.list_files(&worker, "/dir/../dir/sub").await.unwrap().is_empty());
    assert_eq!(&client.read_file(&worker, "/dir/a.txt").await.unwrap()[..], b"hello");
    let mut events = client.connect(&worker).await.unwrap();
    assert!(matches!(events.next().await, Some(Ok(WorkerEvent::StdOut { .. }))));
    assert!(matches!(events.next().await, Some(Ok(WorkerEvent::Close))));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn nobody_there_is_an_error_with_the_url() {
    let client = Client::new("http://127.0.0.1:1").unwrap();
    let error = client.version().await.unwrap_err().to_string();
    assert!(error.starts_with("cannot reach http://127.0.0.1:1"), "{error}");
    assert!(Client::new("localhost").is_err());
}
