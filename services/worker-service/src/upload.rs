//! The multipart form of an upload (services spec 1.11): parts in any order, without lengths.

use crate::body::Collector;
use crate::components::parse_type;
use crate::errors::ApiError;
use crate::state::Limits;
use axum::extract::multipart::Field;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use bytes::Bytes;
use emet_api::NewComponent;
use emet_api::rest::{DynamicLinking, FilesPermissions};
use emet_model::ComponentType;

/// The parts that were sent, and what is wrong with them.
#[derive(Default)]
pub(crate) struct Form {
    pub(crate) name: Option<String>,
    component_type: Option<ComponentType>,
    component: Option<Bytes>,
    files: Option<Bytes>,
    permissions: Option<FilesPermissions>,
    linking: Option<DynamicLinking>,
    errors: Vec<String>,
}

/// Reads every part; what is wrong with single parts is kept for the end, so that a client
/// that sends everything before it reads the answer gets to see it.
pub(crate) async fn read(mut request: Request, limits: &Limits) -> Result<Form, ApiError> {
    // The parts have limits of their own.
    DefaultBodyLimit::disable().apply(&mut request);
    let mut parts = Multipart::from_request(request, &()).await.map_err(|error| {
        ApiError::invalid(format!("Expected a multipart/form-data body: {}", error.body_text()))
    })?;
    let mut form = Form::default();
    loop {
        match parts.next_field().await {
            Ok(Some(part)) => {
                if !form.take(part, limits).await? {
                    return Ok(form);
                }
            }
            Ok(None) => return Ok(form),
            Err(error) => return Err(broken(&error)),
        }
    }
}

fn broken(error: &axum::extract::multipart::MultipartError) -> ApiError {
    ApiError::invalid(format!("Malformed multipart body: {}", error.body_text()))
}

/// Reads one part; none where nothing after it is worth reading.
async fn collect(mut part: Field<'_>, mut into: Collector) -> Result<(Collector, bool), ApiError> {
    while let Some(chunk) = part.chunk().await.map_err(|error| broken(&error))? {
        if !into.push(chunk) {
            return Ok((into, false));
        }
    }
    Ok((into, true))
}

impl Form {
    /// Takes one part; false when the rest of the body is not worth reading.
    async fn take(&mut self, part: Field<'_>, limits: &Limits) -> Result<bool, ApiError> {
        let name = part.name().unwrap_or_default().to_owned();
        let (what, limit) = match name.as_str() {
            "component" => ("component", limits.component_bytes),
            "files" => ("archive of initial files", limits.files_bytes),
            _ => ("text part of the upload", limits.json_bytes),
        };
        let (collector, go_on) = collect(part, Collector::new(what, limit)).await?;
        match collector.finish() {
            Ok(content) => {
                if let Err(error) = self.set(&name, content) {
                    self.errors.push(error);
                }
            }
            Err(error) => self.errors.push(error),
        }
        Ok(go_on)
    }

    /// Stores the content of a part. Unknown parts are ignored, as other servers of this API do.
    fn set(&mut self, name: &str, content: Bytes) -> Result<(), String> {
        match name {
            "name" => once(&mut self.name, name, text(name, &content)?.to_owned()),
            "componentType" => {
                once(&mut self.component_type, name, parse_type(text(name, &content)?)?)
            }
            "component" => once(&mut self.component, name, content),
            "files" => once(&mut self.files, name, content),
            "filesPermissions" => once(&mut self.permissions, name, json(name, &content)?),
            "dynamicLinking" => once(&mut self.linking, name, json(name, &content)?),
            _ => Ok(()),
        }
    }

    /// The upload, or everything that is wrong with it.
    pub(crate) fn into_upload(mut self) -> Result<NewComponent, Vec<String>> {
        if self.component.is_none() && self.errors.is_empty() {
            self.errors.push("Missing part: component".to_owned());
        }
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        let permissions = self.permissions.unwrap_or_default().values.into_iter();
        let permissions = permissions.map(|entry| (entry.path, entry.permissions)).collect();
        // Permissions without files say nothing: the previous files keep theirs.
        Ok(NewComponent {
            wasm: self.component.unwrap_or_default(),
            component_type: self.component_type,
            files: self.files.map(|archive| (archive, permissions)),
            dynamic_linking: self.linking.unwrap_or_default().dynamic_linking,
        })
    }
}

fn once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    match slot.replace(value) {
        Some(_) => Err(format!("Part {name} was sent twice")),
        None => Ok(()),
    }
}

fn text<'a>(name: &str, content: &'a [u8]) -> Result<&'a str, String> {
    std::str::from_utf8(content).map_err(|error| format!("Part {name} is not UTF-8: {error}"))
}

fn json<T: serde::de::DeserializeOwned>(name: &str, content: &[u8]) -> Result<T, String> {
    serde_json::from_str(text(name, content)?)
        .map_err(|error| format!("Part {name} is not the expected JSON: {error}"))
}
