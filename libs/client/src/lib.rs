//! A typed client of Emet's REST API, one method for each endpoint.
//!
//! ```no_run
//! # async fn example() -> Result<(), emet_client::ClientError> {
//! let client = emet_client::Client::new("http://localhost:9881")?;
//! for component in client.components(None).await? {
//!     println!("{} {}", component.component_name, component.versioned_component_id.version);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Errors of the server keep their status and parsed body: see [`ClientError`]. There are no
//! timeouts but for connecting: an invocation may rightly take days.

mod components;
mod connect;
mod error;
mod invoke;
mod request;
mod server;
mod tokens;
mod workers;

pub use components::Upload;
pub use connect::Events;
pub use error::{ApiFailure, ClientError};
pub use invoke::Call;
pub use server::{Health, VersionInfo};
pub use workers::Page;

use std::time::Duration;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client of one server; clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<Token>,
}

/// A token, which debug output does not show.
#[derive(Clone)]
struct Token(std::sync::Arc<str>);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Client {
    /// A client of the server at a URL such as `http://localhost:9881`.
    pub fn new(base_url: &str) -> Result<Self, ClientError> {
        let url = reqwest::Url::parse(base_url)
            .map_err(|error| ClientError::Url(format!("{base_url}: {error}")))?;
        if url.scheme() != "http" && url.scheme() != "https" {
            return Err(ClientError::Url(format!("{base_url}: use http:// or https://")));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| ClientError::from_reqwest(&error, base_url))?;
        Ok(Self { http, base: url.as_str().trim_end_matches('/').to_owned(), token: None })
    }

    /// The same client, sending a token with every request.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(Token(token.into()));
        self
    }

    /// The URL it was made with, without a slash at the end.
    pub fn base_url(&self) -> &str {
        &self.base
    }
}
