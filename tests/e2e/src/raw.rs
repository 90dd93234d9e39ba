//! Requests as any HTTP client makes them, for what the typed client hides: statuses and bodies.

use crate::{Failure, Server, guest};
use emet_model::ComponentId;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Longest time that a worker may take to get into a status.
const PATIENCE: Duration = Duration::from_secs(30);

/// A status and a JSON body.
pub type Answer = (u16, Value);

/// A plain client of the API.
#[derive(Clone)]
pub struct Raw {
    http: reqwest::Client,
    base: String,
}

impl Raw {
    /// A client of a server.
    pub fn of(server: &Server) -> Self {
        Self { http: reqwest::Client::new(), base: server.url() }
    }

    /// A request to be completed.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// Sends a request; its answer must be JSON.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, Failure> {
        let response = request.send().await?;
        let status = response.status().as_u16();
        let body = response.text().await?;
        let json = serde_json::from_str(&body)
            .map_err(|e| format!("{status} without JSON: {e}: {body}"))?;
        Ok((status, json))
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.send(self.request(Method::GET, path)).await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Result<Answer, Failure> {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// `POST` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// `POST` without a body.
    pub async fn command(&self, path: &str) -> Result<Answer, Failure> {
        self.send(self.request(Method::POST, path)).await
    }

    /// Invokes with untyped parameters; `how` is `invoke` or `invoke-and-await`.
    pub async fn call(
        &self,
        worker: &str,
        how: &str,
        function: &str,
        parameters: &[Value],
        key: Option<&str>,
    ) -> Result<Answer, Failure> {
        let params: Vec<Value> = parameters.iter().map(|value| json!({ "value": value })).collect();
        let request =
            self.request(Method::POST, &format!("{worker}/{how}")).query(&[("function", function)]);
        let request = request.json(&json!({ "params": params }));
        let request =
            key.into_iter().fold(request, |request, key| request.header("Idempotency-Key", key));
        self.send(request).await
    }

    /// Invokes, waits, and gives the one result; anything but 200 is a failure.
    pub async fn result(
        &self,
        worker: &str,
        function: &str,
        parameters: &[Value],
    ) -> Result<Value, Failure> {
        match self.call(worker, "invoke-and-await", function, parameters, None).await? {
            (200, body) => Ok(body.pointer("/result/value/0").cloned().unwrap_or_default()),
            (status, body) => Err(format!("{function}: {status} {body}").into()),
        }
    }

    /// Waits until the metadata of a worker are as wanted, and gives them.
    pub async fn until(
        &self,
        worker: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value, Failure> {
        let started = Instant::now();
        loop {
            let (status, metadata) = self.get(worker).await?;
            if status == 200 && wanted(&metadata) {
                return Ok(metadata);
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("{worker} did not get there: {status} {metadata}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a worker has a status.
    pub async fn until_status(&self, worker: &str, status: &str) -> Result<Value, Failure> {
        self.until(worker, |metadata| {
            metadata.get("status").and_then(Value::as_str) == Some(status)
        })
        .await
    }

    /// Every entry of a worker's oplog, page by page.
    pub async fn oplog(&self, worker: &str, parameters: &str) -> Result<Vec<Value>, Failure> {
        let mut entries = Vec::new();
        let mut cursor = String::new();
        loop {
            let (status, page) =
                self.get(&format!("{worker}/oplog?count=100{parameters}{cursor}")).await?;
            if status != 200 {
                return Err(format!("oplog: {status} {page}").into());
            }
            entries
                .extend(page.get("entries").and_then(Value::as_array).cloned().unwrap_or_default());
            let Some(next) = page.get("next").filter(|next| !next.is_null()) else {
                return Ok(entries);
            };
            let part = |name: &str| next.get(name).cloned().unwrap_or_default();
            cursor = format!(
                "&cursor={}-{}",
                part("next_oplog_index"),
                part("current_component_version")
            );
        }
    }

    /// Uploads a binary as a new component and gives the answer.
    pub async fn upload(
        &self,
        name: &str,
        wasm: Vec<u8>,
        component_type: &str,
    ) -> Result<Answer, Failure> {
        let form = reqwest::multipart::Form::new()
            .text("name", name.to_owned())
            .text("componentType", component_type.to_owned())
            .part("component", reqwest::multipart::Part::bytes(wasm));
        self.send(self.request(Method::POST, "/v1/components").multipart(form)).await
    }

    /// Uploads a prebuilt test component and gives its id.
    pub async fn guest(&self, name: &str) -> Result<ComponentId, Failure> {
        self.guest_of_type(name, "Durable").await
    }

    /// As [`Self::guest`], of a type.
    pub async fn guest_of_type(
        &self,
        name: &str,
        component_type: &str,
    ) -> Result<ComponentId, Failure> {
        component_id(&self.upload(name, guest(name)?, component_type).await?)
    }

    /// Uploads a binary as the next version of a component.
    pub async fn next_version(
        &self,
        component: ComponentId,
        wasm: Vec<u8>,
    ) -> Result<u64, Failure> {
        let path = format!("/v1/components/{component}/upload");
        let (status, body) = self.send(self.request(Method::PUT, &path).body(wasm)).await?;
        let version = body.pointer("/versionedComponentId/version").and_then(Value::as_u64);
        version.ok_or_else(|| format!("upload: {status} {body}").into())
    }
}

/// The id of the component that an upload made.
pub fn component_id(answer: &Answer) -> Result<ComponentId, Failure> {
    let id = answer.1.pointer("/versionedComponentId/componentId").and_then(Value::as_str);
    Ok(id.ok_or_else(|| format!("upload: {} {}", answer.0, answer.1))?.parse()?)
}

/// `W` of the documentation.
pub fn worker(component: ComponentId, name: &str) -> String {
    format!("/v1/components/{component}/workers/{name}")
}
