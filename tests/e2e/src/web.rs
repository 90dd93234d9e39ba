//! A web server in the test's own process: it counts what guests do to the world, answers as the
//! test wants, and can hold answers back.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// A request that has arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body as text.
    pub body: String,
    /// How many requests of this path have arrived, this one included.
    pub number: u64,
}

impl Seen {
    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

type Answer = Arc<dyn Fn(&Seen) -> Response + Send + Sync>;

struct Inner {
    answer: Answer,
    seen: Mutex<Vec<Seen>>,
    counts: Mutex<HashMap<String, u64>>,
    arrived: watch::Sender<()>,
}

/// The server. It ends with the test.
pub struct Web {
    port: u16,
    inner: Arc<Inner>,
}

impl Web {
    /// Starts a server that answers by a function.
    pub async fn start(
        answer: impl Fn(&Seen) -> Response + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let inner = Arc::new(Inner {
            answer: Arc::new(answer),
            seen: Mutex::default(),
            counts: Mutex::default(),
            arrived: watch::channel(()).0,
        });
        let app = axum::Router::new().fallback(serve).with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { port, inner })
    }

    /// A server that answers each request with the number of requests of its path.
    pub async fn counting() -> std::io::Result<Self> {
        Self::start(|seen| text(&seen.number.to_string())).await
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// An address on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Everything that has arrived, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.inner.seen.lock().clone()
    }

    /// The paths that have arrived, in order.
    pub fn paths(&self) -> Vec<String> {
        self.seen().into_iter().map(|s| s.path).collect()
    }

    /// Requests of one path.
    pub fn count(&self, path: &str) -> u64 {
        self.inner.counts.lock().get(path).copied().unwrap_or(0)
    }

    /// Waits until so many requests of a path have arrived.
    pub async fn wait(&self, path: &str, count: u64) {
        let mut arrived = self.inner.arrived.subscribe();
        while (self.inner.seen.lock().iter().filter(|s| s.path == path).count() as u64) < count {
            if arrived.changed().await.is_err() {
                return;
            }
        }
    }
}

async fn serve(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let number = {
        let mut counts = inner.counts.lock();
        let count = counts.entry(path.clone()).or_insert(0);
        *count += 1;
        *count
    };
    let headers = parts
        .headers
        .iter()
        .map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned()));
    let seen = Seen {
        method: parts.method.to_string(),
        path,
        headers: headers.collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
        number,
    };
    let answer = (inner.answer)(&seen);
    inner.seen.lock().push(seen);
    inner.arrived.send_replace(());
    if answer.extensions().get::<Never>().is_some() {
        std::future::pending::<()>().await;
    }
    answer
}

/// Marks an answer that is not sent.
#[derive(Clone)]
struct Never;

/// A plain answer.
pub fn text(body: &str) -> Response {
    Response::new(Body::from(body.to_owned()))
}

/// No answer: the request stays open.
pub fn never() -> Response {
    let mut answer = text("");
    answer.extensions_mut().insert(Never);
    answer
}

/// An answer whose body is sent piece by piece, and ends when the sender is dropped.
pub fn pieces() -> (mpsc::UnboundedSender<String>, Response) {
    let (sender, receiver) = mpsc::unbounded_channel::<String>();
    let stream = futures::stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((std::io::Result::Ok(Bytes::from(piece)), receiver))
    });
    (sender, Response::new(Body::from_stream(stream)))
}
