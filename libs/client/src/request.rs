//! Sending requests and reading their answers.

use crate::{Client, ClientError};
use bytes::Bytes;
use emet_model::{ComponentId, WorkerId};
use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// `{}`.
#[derive(Deserialize)]
pub(crate) struct Empty {}

impl Client {
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(&token.0),
            None => request,
        }
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    pub(crate) fn delete(&self, path: &str) -> RequestBuilder {
        self.request(Method::DELETE, path)
    }

    /// Sends, and reads the whole answer of a success.
    pub(crate) async fn bytes(&self, request: RequestBuilder) -> Result<Bytes, ClientError> {
        let failed = |error: reqwest::Error| ClientError::from_reqwest(&error, &self.base);
        let response = request.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let body = response.bytes().await.map_err(failed)?;
        if status == 200 { Ok(body) } else { Err(ClientError::from_answer(status, &body)) }
    }

    /// Sends, and reads the JSON of a success.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, ClientError> {
        let body = self.bytes(request).await?;
        serde_json::from_slice(&body).map_err(|error| ClientError::Decode(error.to_string()))
    }

    /// Sends, and expects `{}`.
    pub(crate) async fn done(&self, request: RequestBuilder) -> Result<(), ClientError> {
        self.json::<Empty>(request).await.map(|Empty {}| ())
    }
}

/// `C` of the documentation.
pub(crate) fn component_path(id: ComponentId) -> String {
    format!("/v1/components/{id}")
}

/// `W` of the documentation.
pub(crate) fn worker_path(worker: &WorkerId) -> String {
    format!("{}/workers/{}", component_path(worker.component_id), segment(&worker.worker_name))
}

/// One path segment, percent-encoded.
pub(crate) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
