//! The component endpoints.

use crate::request::{component_path, segment};
use crate::{Client, ClientError};
use bytes::Bytes;
use emet_api::rest::{DynamicLinking, FilePermission, FilesPermissions};
use emet_model::{
    Component, ComponentId, ComponentType, ComponentVersion, DynamicLinkedInstance, FilePermissions,
};
use futures::StreamExt;
use reqwest::Body;
use reqwest::multipart::{Form, Part};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How much of a binary is handed over at a time.
const CHUNK: usize = 64 << 10;

/// What is uploaded.
#[derive(Clone, Default)]
pub struct Upload {
    /// The component binary.
    pub wasm: Bytes,
    /// Durable or ephemeral; the server's choice if absent.
    pub component_type: Option<ComponentType>,
    /// A zip archive of initial files, and permissions of paths in it.
    pub files: Option<(Bytes, Vec<(String, FilePermissions)>)>,
    /// Imports linked to other components.
    pub dynamic_linking: BTreeMap<String, DynamicLinkedInstance>,
    /// Called with the number of bytes of the binary that were handed over so far.
    pub progress: Option<Arc<dyn Fn(usize) + Send + Sync>>,
}

impl Upload {
    fn form(self, name: Option<String>) -> Result<Form, ClientError> {
        let mut form = Form::new();
        if let Some(name) = name {
            form = form.text("name", name);
        }
        if let Some(component_type) = self.component_type {
            form = form.text("componentType", format!("{component_type:?}"));
        }
        if let Some((archive, permissions)) = self.files {
            let values = permissions.into_iter();
            let values = values.map(|(path, permissions)| FilePermission { path, permissions });
            let permissions = FilesPermissions { values: values.collect() };
            form = form.text("filesPermissions", to_json(&permissions)?);
            form = form.part("files", binary_part(Part::stream(archive))?);
        }
        if !self.dynamic_linking.is_empty() {
            let linking = DynamicLinking { dynamic_linking: self.dynamic_linking };
            form = form.text("dynamicLinking", to_json(&linking)?);
        }
        let size = self.wasm.len() as u64;
        let body = Body::wrap_stream(chunks(self.wasm, self.progress));
        Ok(form.part("component", binary_part(Part::stream_with_length(body, size))?))
    }
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String, ClientError> {
    serde_json::to_string(value).map_err(|error| ClientError::Decode(error.to_string()))
}

fn binary_part(part: Part) -> Result<Part, ClientError> {
    part.mime_str("application/octet-stream")
        .map_err(|error| ClientError::Decode(error.to_string()))
}

/// The bytes in pieces, reporting each.
fn chunks(
    bytes: Bytes,
    progress: Option<Arc<dyn Fn(usize) + Send + Sync>>,
) -> impl futures::Stream<Item = Result<Bytes, std::convert::Infallible>> + Send + 'static {
    let total = bytes.len();
    futures::stream::unfold(bytes, |mut rest| async move {
        let size = rest.len().min(CHUNK);
        (size > 0).then(|| (rest.split_to(size), rest))
    })
    .scan(0, move |sent, chunk: Bytes| {
        *sent += chunk.len();
        if let Some(progress) = &progress {
            progress((*sent).min(total));
        }
        futures::future::ready(Some(Ok(chunk)))
    })
}

impl Client {
    /// `GET /v1/components`: every version of every component, or of the one with a name.
    pub async fn components(&self, name: Option<&str>) -> Result<Vec<Component>, ClientError> {
        let mut request = self.get("/v1/components");
        if let Some(name) = name {
            request = request.query(&[("component-name", name)]);
        }
        self.json(request).await
    }

    /// `POST /v1/components`
    pub async fn create_component(
        &self,
        name: &str,
        upload: Upload,
    ) -> Result<Component, ClientError> {
        let form = upload.form(Some(name.to_owned()))?;
        self.json(self.post("/v1/components").multipart(form)).await
    }

    /// `POST C/updates`
    pub async fn update_component(
        &self,
        id: ComponentId,
        upload: Upload,
    ) -> Result<Component, ClientError> {
        let path = format!("{}/updates", component_path(id));
        self.json(self.post(&path).multipart(upload.form(None)?)).await
    }

    /// `PUT C/upload`: the next version as the plain binary.
    pub async fn upload_binary(
        &self,
        id: ComponentId,
        wasm: Bytes,
        component_type: Option<ComponentType>,
    ) -> Result<Component, ClientError> {
        let path = format!("{}/upload", component_path(id));
        let mut request = self.request(reqwest::Method::PUT, &path).body(wasm);
        if let Some(component_type) = component_type {
            request = request.query(&[("component_type", format!("{component_type:?}"))]);
        }
        self.json(request).await
    }

    /// `GET C`: every version, none for an unknown component.
    pub async fn component_versions(&self, id: ComponentId) -> Result<Vec<Component>, ClientError> {
        self.json(self.get(&component_path(id))).await
    }

    /// `GET C/versions/{version}` or `GET C/latest`
    pub async fn component(
        &self,
        id: ComponentId,
        version: Option<ComponentVersion>,
    ) -> Result<Component, ClientError> {
        let path = component_path(id);
        let path = match version {
            Some(version) => format!("{path}/versions/{version}"),
            None => format!("{path}/latest"),
        };
        self.json(self.get(&path)).await
    }

    /// `GET C/download`
    pub async fn download_component(
        &self,
        id: ComponentId,
        version: Option<ComponentVersion>,
    ) -> Result<Bytes, ClientError> {
        let mut request = self.get(&format!("{}/download", component_path(id)));
        if let Some(version) = version {
            request = request.query(&[("version", version)]);
        }
        self.bytes(request).await
    }

    /// `GET C/versions/{version}/file-contents/{key}`
    pub async fn component_file(
        &self,
        id: ComponentId,
        version: ComponentVersion,
        key: &str,
    ) -> Result<Bytes, ClientError> {
        let path = component_path(id);
        let path = format!("{path}/versions/{version}/file-contents/{}", segment(key));
        self.bytes(self.get(&path)).await
    }
}
