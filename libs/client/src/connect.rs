//! The events of a worker.

use crate::error::causes;
use crate::request::worker_path;
use crate::{Client, ClientError};
use emet_api::WorkerEvent;
use emet_model::WorkerId;
use futures::StreamExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// A worker's events, as they happen.
pub struct Events {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    url: String,
}

impl Events {
    /// The next event; none after [`WorkerEvent::Close`] or when the server has gone.
    pub async fn next(&mut self) -> Option<Result<WorkerEvent, ClientError>> {
        loop {
            match self.socket.next().await? {
                // Events of a newer server are left out.
                Ok(Message::Text(text)) => match serde_json::from_str(text.as_str()) {
                    Ok(event) => return Some(Ok(event)),
                    Err(_) => continue,
                },
                Ok(Message::Close(_)) | Err(Error::ConnectionClosed) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(self.broken(&error))),
            }
        }
    }

    fn broken(&self, error: &Error) -> ClientError {
        ClientError::Transport { url: self.url.clone(), reason: error.to_string() }
    }
}

impl Client {
    /// `GET W/connect`
    pub async fn connect(&self, worker: &WorkerId) -> Result<Events, ClientError> {
        let url = format!("{}{}/connect", self.base.replacen("http", "ws", 1), worker_path(worker));
        let unusable = |error: &dyn std::fmt::Display| ClientError::Url(format!("{url}: {error}"));
        let mut request = url.as_str().into_client_request().map_err(|e| unusable(&e))?;
        if let Some(token) = &self.token {
            let bearer =
                format!("Bearer {}", token.0).parse().map_err(|_| unusable(&"not a token"))?;
            request.headers_mut().insert("authorization", bearer);
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Events { socket, url }),
            Err(Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                Err(ClientError::from_answer(response.status().as_u16(), body))
            }
            Err(error) => Err(ClientError::Transport { url, reason: causes(&error) }),
        }
    }
}
