//! The endpoints about the server itself.

use crate::{Client, ClientError};
use serde::{Deserialize, Serialize};

/// Answer to `GET /version`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionInfo {
    /// Version of the API.
    pub version: String,
    /// Version of the server; servers of other make have none.
    pub emet_version: Option<String>,
}

/// Answer to `GET /healthcheck`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The parts that are not ready.
    #[serde(default)]
    pub not_ready: Vec<String>,
}

impl Client {
    /// `GET /version`
    pub async fn version(&self) -> Result<VersionInfo, ClientError> {
        self.json(self.get("/version")).await
    }

    /// `GET /healthcheck`; a server that is not ready is no error.
    pub async fn health(&self) -> Result<Health, ClientError> {
        let failed = |error: reqwest::Error| ClientError::from_reqwest(&error, self.base_url());
        let response = self.get("/healthcheck").send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let body = response.bytes().await.map_err(failed)?;
        match (status, serde_json::from_slice(&body)) {
            (200 | 503, Ok(health)) => Ok(health),
            _ => Err(ClientError::from_answer(status, &body)),
        }
    }

    /// `GET /metrics`
    pub async fn metrics(&self) -> Result<String, ClientError> {
        let body = self.bytes(self.get("/metrics")).await?;
        String::from_utf8(body.into()).map_err(|error| ClientError::Decode(error.to_string()))
    }
}
