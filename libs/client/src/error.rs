//! Why a request failed.

use emet_api::rest::ErrorBody;
use emet_model::WorkerError;
use std::error::Error;
use std::fmt;

/// Why a request failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// The server's URL cannot be used.
    #[error("invalid server URL {0}")]
    Url(String),
    /// No answer: the server is not there, or the connection broke.
    #[error("cannot reach {url}: {reason}")]
    Transport {
        /// Of the server.
        url: String,
        /// Every cause, outermost first.
        reason: String,
    },
    /// The server refused, with a documented body.
    #[error("{0}")]
    Api(Box<ApiFailure>),
    /// The server answered something that is not documented.
    #[error("unexpected answer with status {status}: {body}")]
    Unexpected {
        /// HTTP status.
        status: u16,
        /// The body as text.
        body: String,
    },
    /// A success whose body is not what it should be.
    #[error("cannot understand the server's answer: {0}")]
    Decode(String),
}

/// A refusal by the server.
#[derive(Clone, Debug)]
pub struct ApiFailure {
    /// HTTP status.
    pub status: u16,
    /// The reason.
    pub body: ErrorBody,
}

impl fmt::Display for ApiFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.body {
            ErrorBody::Errors { errors } => f.write_str(&errors.join("\n")),
            ErrorBody::Error { error } => f.write_str(error),
            ErrorBody::Worker { golem_error, .. } => golem_error.fmt(f),
        }
    }
}

impl ClientError {
    /// The HTTP status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Api(failure) => Some(failure.status),
            Self::Unexpected { status, .. } => Some(*status),
            Self::Url(_) | Self::Transport { .. } | Self::Decode(_) => None,
        }
    }

    /// The error of the worker, if it is one.
    pub fn worker_error(&self) -> Option<&WorkerError> {
        match self {
            Self::Api(failure) => match &failure.body {
                ErrorBody::Worker { golem_error, .. } => Some(golem_error),
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn from_reqwest(error: &reqwest::Error, url: &str) -> Self {
        if error.is_decode() {
            return Self::Decode(causes(error));
        }
        Self::Transport { url: url.to_owned(), reason: causes(error) }
    }

    /// The refusal in an answer that is not a success.
    pub(crate) fn from_answer(status: u16, body: &[u8]) -> Self {
        match serde_json::from_slice(body) {
            Ok(body) => Self::Api(Box::new(ApiFailure { status, body })),
            Err(_) => {
                Self::Unexpected { status, body: String::from_utf8_lossy(body).trim().to_owned() }
            }
        }
    }
}

/// The causes of an error, outermost first; the client's own wrapper only repeats the URL.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut texts = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        texts.push(cause.to_string());
        next = cause.source();
    }
    if texts.is_empty() { error.to_string() } else { texts.join(": ") }
}
