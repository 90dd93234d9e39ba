//! The component service of another process.

use super::components_convert::{parse_failure, upload_chunks};
use super::convert::parse_json;
use super::proto::components as wire;
use super::{Channel, LONG, MAX_MESSAGE, SHORT};
use crate::{ComponentError, Components, NewComponent};
use async_trait::async_trait;
use bytes::Bytes;
use emet_model::{Component, ComponentId, ComponentVersion};
use futures::{StreamExt, stream};
use tonic::{Code, Request, Status, Streaming};

type Inner = wire::components_client::ComponentsClient<Channel>;

/// Attempts of a read; an upload is sent once, because it may have been stored.
const ATTEMPTS: u32 = 5;

/// Implements [`Components`] over a channel.
#[derive(Clone)]
pub struct ComponentsClient {
    inner: Inner,
}

fn unreachable(status: Status) -> ComponentError {
    ComponentError::Internal(format!(
        "the component service did not answer: {:?}: {}",
        status.code(),
        status.message()
    ))
}

fn component(reply: wire::ComponentReply) -> Result<Component, ComponentError> {
    match reply.failure {
        Some(failure) => Err(parse_failure(failure)),
        None => parse_json(&reply.component_json).map_err(unreachable),
    }
}

async fn components(
    mut replies: Streaming<wire::ComponentReply>,
) -> Result<Vec<Component>, ComponentError> {
    let mut found = Vec::new();
    while let Some(reply) = replies.next().await {
        found.push(component(reply.map_err(unreachable)?)?);
    }
    Ok(found)
}

async fn content(mut chunks: Streaming<wire::DataChunk>) -> Result<Bytes, ComponentError> {
    let mut content = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(unreachable)?;
        if let Some(failure) = chunk.failure {
            return Err(parse_failure(failure));
        }
        content.extend_from_slice(&chunk.data);
    }
    Ok(content.into())
}

fn within<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(SHORT);
    request
}

impl ComponentsClient {
    /// The component service at the other end of a channel.
    pub fn new(channel: Channel) -> Self {
        let inner = Inner::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        Self { inner }
    }

    fn inner(&self) -> Inner {
        self.inner.clone()
    }

    /// Reads, again if the connection fails: a component service that restarts is no failure.
    async fn read<T, F: Future<Output = Result<T, Status>>>(
        &self,
        call: impl Fn(Inner) -> F,
    ) -> Result<T, ComponentError> {
        let mut attempt = 1;
        loop {
            match call(self.inner()).await {
                Err(status) if status.code() == Code::Unavailable && attempt < ATTEMPTS => {
                    tokio::time::sleep(std::time::Duration::from_millis(50 << attempt)).await;
                    attempt += 1;
                }
                result => return result.map_err(unreachable),
            }
        }
    }

    async fn upload(
        &self,
        name: String,
        id: Option<ComponentId>,
        upload: NewComponent,
    ) -> Result<Component, ComponentError> {
        let chunks = upload_chunks(name, id.map(|id| id.to_string()).unwrap_or_default(), upload)?;
        let mut request = Request::new(stream::iter(chunks));
        request.set_timeout(LONG);
        let mut inner = self.inner();
        let reply = match id {
            None => inner.create(request).await,
            Some(_) => inner.update(request).await,
        };
        component(reply.map_err(unreachable)?.into_inner())
    }
}

fn version_request(id: ComponentId, version: Option<ComponentVersion>) -> wire::VersionRequest {
    wire::VersionRequest { component_id: id.to_string(), version }
}

#[async_trait]
impl Components for ComponentsClient {
    async fn create(
        &self,
        name: String,
        upload: NewComponent,
    ) -> Result<Component, ComponentError> {
        self.upload(name, None, upload).await
    }

    async fn update(
        &self,
        id: ComponentId,
        upload: NewComponent,
    ) -> Result<Component, ComponentError> {
        self.upload(String::new(), Some(id), upload).await
    }

    async fn list(&self, name: Option<&str>) -> Result<Vec<Component>, ComponentError> {
        let request = wire::ListRequest { name: name.map(str::to_owned) };
        let call = |mut inner: Inner| {
            let request = within(request.clone());
            async move { inner.list(request).await }
        };
        components(self.read(call).await?.into_inner()).await
    }

    async fn versions(&self, id: ComponentId) -> Result<Vec<Component>, ComponentError> {
        let request = wire::VersionsRequest { component_id: id.to_string() };
        let call = |mut inner: Inner| {
            let request = within(request.clone());
            async move { inner.versions(request).await }
        };
        components(self.read(call).await?.into_inner()).await
    }

    async fn get(
        &self,
        id: ComponentId,
        version: Option<ComponentVersion>,
    ) -> Result<Component, ComponentError> {
        let call =
            |mut inner: Inner| async move { inner.get(within(version_request(id, version))).await };
        component(self.read(call).await?.into_inner())
    }

    async fn download(
        &self,
        id: ComponentId,
        version: Option<ComponentVersion>,
    ) -> Result<Bytes, ComponentError> {
        let call = |mut inner: Inner| async move {
            inner.download(within(version_request(id, version))).await
        };
        content(self.read(call).await?.into_inner()).await
    }

    async fn file(
        &self,
        id: ComponentId,
        version: ComponentVersion,
        key: &str,
    ) -> Result<Bytes, ComponentError> {
        let request =
            wire::FileRequest { component_id: id.to_string(), version, key: key.to_owned() };
        let call = |mut inner: Inner| {
            let request = within(request.clone());
            async move { inner.file(request).await }
        };
        content(self.read(call).await?.into_inner()).await
    }
}
