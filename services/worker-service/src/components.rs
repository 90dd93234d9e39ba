//! The component endpoints.

use crate::body;
use crate::endpoint::{Endpoint, get, post, put};
use crate::errors::{Answer, ApiError, Json};
use crate::extract::{ComponentPath, Query, Segments};
use crate::state::App;
use crate::upload;
use axum::extract::{Request, State};
use axum::http::{HeaderName, header};
use bytes::Bytes;
use emet_api::NewComponent;
use emet_model::{Component, ComponentType};

/// A binary answer.
pub(crate) type Binary = ([(HeaderName, &'static str); 1], Bytes);

const OCTETS: &str = "application/octet-stream";

/// A binary answer with its content type.
pub(crate) fn binary(bytes: Bytes) -> Binary {
    ([(header::CONTENT_TYPE, OCTETS)], bytes)
}

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        get("/v1/components", list)
            .named("getComponents", "Every version of every component, or of the one with a name.")
            .query("component-name", "string", "Only the component with this name.")
            .answers("[Component]"),
        post("/v1/components", create)
            .named("createComponent", "Uploads a new component as version 0.")
            .body_of("multipart/form-data", "ComponentUpload")
            .answers("Component"),
        put("/v1/components/{component_id}/upload", upload_binary)
            .named("uploadComponent", "Uploads the next version as the plain binary.")
            .query("component_type", "string", "Durable or Ephemeral; the previous one if absent.")
            .body_of(OCTETS, "bytes")
            .answers("Component"),
        post("/v1/components/{component_id}/updates", update)
            .named("updateComponent", "Uploads the next version of a component.")
            .body_of("multipart/form-data", "ComponentUpdate")
            .answers("Component"),
        get("/v1/components/{component_id}/download", download)
            .named("downloadComponent", "The binary of a version.")
            .query("version", "integer", "The version; the latest one if absent.")
            .answers_with(OCTETS, "bytes"),
        get("/v1/components/{component_id}", versions)
            .named(
                "getComponentMetadataAllVersions",
                "Every version of a component, ascending; none for an unknown one.",
            )
            .answers("[Component]"),
        get("/v1/components/{component_id}/versions/{version}", version)
            .named("getComponentMetadata", "One version of a component.")
            .answers("Component"),
        get("/v1/components/{component_id}/latest", latest)
            .named("getLatestComponentMetadata", "The latest version of a component.")
            .answers("Component"),
        get("/v1/components/{component_id}/versions/{version}/file-contents/{file_key}", file)
            .named("downloadComponentFile", "The content of an initial file, by its key.")
            .answers_with(OCTETS, "bytes"),
    ]
}

async fn list(State(app): State<App>, query: Query) -> Answer<Vec<Component>> {
    Ok(Json(app.components.list(query.get("component-name")).await?))
}

async fn create(State(app): State<App>, request: Request) -> Answer<Component> {
    let form = upload::read(request, &app.limits).await?;
    let name = form.name.clone();
    let upload = form.into_upload();
    let name = match (name, &upload) {
        (Some(name), Ok(_)) if !name.trim().is_empty() => name,
        (name, upload) => {
            let mut errors = upload.as_ref().err().cloned().unwrap_or_default();
            if name.is_none_or(|name| name.trim().is_empty()) {
                errors.insert(0, "Missing part: name".to_owned());
            }
            return Err(ApiError::invalid_all(errors));
        }
    };
    Ok(Json(app.components.create(name, upload.map_err(ApiError::invalid_all)?).await?))
}

async fn update(
    State(app): State<App>,
    ComponentPath(id): ComponentPath,
    request: Request,
) -> Answer<Component> {
    let form = upload::read(request, &app.limits).await?;
    let upload = form.into_upload().map_err(ApiError::invalid_all)?;
    Ok(Json(app.components.update(id, upload).await?))
}

async fn upload_binary(
    State(app): State<App>,
    ComponentPath(id): ComponentPath,
    query: Query,
    request: Request,
) -> Answer<Component> {
    let component_type = query.get("component_type").map(parse_type).transpose();
    let component_type = component_type.map_err(ApiError::invalid)?;
    let limit = app.limits.component_bytes;
    let wasm = body::read(request.into_body(), "component", limit).await?;
    let upload = NewComponent { wasm, component_type, ..NewComponent::default() };
    Ok(Json(app.components.update(id, upload).await?))
}

/// Parses the bare text of a component type.
pub(crate) fn parse_type(text: &str) -> Result<ComponentType, String> {
    match text.trim().trim_matches('"') {
        "Durable" => Ok(ComponentType::Durable),
        "Ephemeral" => Ok(ComponentType::Ephemeral),
        other => Err(format!("Invalid component type: {other}: use Durable or Ephemeral")),
    }
}

async fn download(
    State(app): State<App>,
    ComponentPath(id): ComponentPath,
    query: Query,
) -> Result<Binary, ApiError> {
    let version = query.parsed("version")?;
    Ok(binary(app.components.download(id, version).await?))
}

async fn versions(
    State(app): State<App>,
    ComponentPath(id): ComponentPath,
) -> Answer<Vec<Component>> {
    Ok(Json(app.components.versions(id).await?))
}

async fn version(State(app): State<App>, segments: Segments) -> Answer<Component> {
    let id = segments.component()?;
    Ok(Json(app.components.get(id, Some(segments.version()?)).await?))
}

async fn latest(State(app): State<App>, ComponentPath(id): ComponentPath) -> Answer<Component> {
    Ok(Json(app.components.get(id, None).await?))
}

async fn file(State(app): State<App>, segments: Segments) -> Result<Binary, ApiError> {
    let (id, version) = (segments.component()?, segments.version()?);
    Ok(binary(app.components.file(id, version, segments.text("file_key")?).await?))
}
