//! The world outside: an HTTP server that counts what is asked of it.

use crate::Failure;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderName;
use axum::http::header::DATE;
use axum::routing::{any, get};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinHandle;

type Counts = Arc<Mutex<BTreeMap<String, u64>>>;

/// A server on a free port; it ends with this value.
pub struct World {
    /// Its port.
    pub port: u16,
    counts: Counts,
    server: JoinHandle<()>,
}

impl World {
    /// Starts the server.
    pub async fn start() -> Result<Self, Failure> {
        let counts = Counts::default();
        let app = Router::new()
            .route("/chunks/{n}", get(chunks))
            .route("/{*what}", any(count))
            .with_state(counts.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let server = tokio::spawn(async move {
            // It serves until it is aborted.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { port, counts, server })
    }

    /// How often each path was asked for.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.counts.lock().clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Answers with the path and the body, which depend neither on the time nor on how often it was
/// asked.
async fn count(
    State(counts): State<Counts>,
    Path(what): Path<String>,
    body: Bytes,
) -> ([(HeaderName, &'static str); 1], String) {
    *counts.lock().entry(what.clone()).or_default() += 1;
    (
        [(DATE, "Thu, 01 Jan 1970 00:00:00 GMT")],
        format!("{what}:{}", String::from_utf8_lossy(&body)),
    )
}

/// A body of n separate pieces.
async fn chunks(State(counts): State<Counts>, Path(n): Path<usize>) -> Body {
    *counts.lock().entry(format!("chunks/{n}")).or_default() += 1;
    let pieces =
        (0..n).map(|i| Ok::<_, std::convert::Infallible>(Bytes::from(format!("piece {i};"))));
    Body::from_stream(futures::stream::iter(pieces))
}
