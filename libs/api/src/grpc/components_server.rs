//! Offers component versions to other processes.

use super::MAX_MESSAGE;
use super::components_convert::{collect_upload, data_chunks, failure};
use super::convert::{component_id, json};
use super::proto::components as wire;
use crate::{ComponentError, Components};
use emet_model::Component;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};

/// The gRPC service over any [`Components`].
pub struct ComponentsServer {
    components: Arc<dyn Components>,
    /// Largest part of an upload, in bytes.
    limit: usize,
}

type Generated = wire::components_server::ComponentsServer<ComponentsServer>;
type Answered<T> = Result<Response<T>, Status>;
type Replies<T> = BoxStream<'static, Result<T, Status>>;

impl ComponentsServer {
    /// A service that hands every call to `components`; parts of uploads may have `limit` bytes.
    pub fn service(components: Arc<dyn Components>, limit: usize) -> Generated {
        Generated::new(Self { components, limit })
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }
}

fn reply(result: Result<Component, ComponentError>) -> Result<wire::ComponentReply, Status> {
    Ok(match result {
        Ok(component) => wire::ComponentReply { failure: None, component_json: json(&component)? },
        Err(error) => wire::ComponentReply { failure: Some(failure(&error)), ..Default::default() },
    })
}

fn replies(result: Result<Vec<Component>, ComponentError>) -> Replies<wire::ComponentReply> {
    match result {
        Ok(components) => {
            stream::iter(components.into_iter().map(|component| reply(Ok(component)))).boxed()
        }
        Err(error) => stream::iter([reply(Err(error))]).boxed(),
    }
}

fn chunks(result: Result<bytes::Bytes, ComponentError>) -> Answered<Replies<wire::DataChunk>> {
    Ok(Response::new(stream::iter(data_chunks(result).into_iter().map(Ok)).boxed()))
}

#[tonic::async_trait]
impl wire::components_server::Components for ComponentsServer {
    async fn create(
        &self,
        request: Request<Streaming<wire::UploadChunk>>,
    ) -> Answered<wire::ComponentReply> {
        let (header, upload) = collect_upload(request.into_inner(), self.limit).await?;
        let created = match upload {
            Ok(upload) => self.components.create(header.name, upload).await,
            Err(error) => Err(error),
        };
        reply(created).map(Response::new)
    }

    async fn update(
        &self,
        request: Request<Streaming<wire::UploadChunk>>,
    ) -> Answered<wire::ComponentReply> {
        let (header, upload) = collect_upload(request.into_inner(), self.limit).await?;
        let id = component_id(&header.component_id)?;
        let updated = match upload {
            Ok(upload) => self.components.update(id, upload).await,
            Err(error) => Err(error),
        };
        reply(updated).map(Response::new)
    }

    type ListStream = Replies<wire::ComponentReply>;

    async fn list(&self, request: Request<wire::ListRequest>) -> Answered<Self::ListStream> {
        let listed = self.components.list(request.into_inner().name.as_deref()).await;
        Ok(Response::new(replies(listed)))
    }

    type VersionsStream = Replies<wire::ComponentReply>;

    async fn versions(
        &self,
        request: Request<wire::VersionsRequest>,
    ) -> Answered<Self::VersionsStream> {
        let id = component_id(&request.into_inner().component_id)?;
        Ok(Response::new(replies(self.components.versions(id).await)))
    }

    async fn get(&self, request: Request<wire::VersionRequest>) -> Answered<wire::ComponentReply> {
        let request = request.into_inner();
        let id = component_id(&request.component_id)?;
        reply(self.components.get(id, request.version).await).map(Response::new)
    }

    type DownloadStream = Replies<wire::DataChunk>;

    async fn download(
        &self,
        request: Request<wire::VersionRequest>,
    ) -> Answered<Self::DownloadStream> {
        let request = request.into_inner();
        let id = component_id(&request.component_id)?;
        chunks(self.components.download(id, request.version).await)
    }

    type FileStream = Replies<wire::DataChunk>;

    async fn file(&self, request: Request<wire::FileRequest>) -> Answered<Self::FileStream> {
        let request = request.into_inner();
        let id = component_id(&request.component_id)?;
        chunks(self.components.file(id, request.version, &request.key).await)
    }
}
