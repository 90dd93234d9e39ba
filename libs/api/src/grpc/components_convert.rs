//! Between the messages of `emet.components.v1` and the types of the trait.

use super::CHUNK;
use super::convert::{parse_json, required};
use super::proto::components as wire;
use crate::{ComponentError, NewComponent};
use bytes::Bytes;
use futures::StreamExt;
use tonic::{Status, Streaming};

pub(super) fn parse_failure(failure: wire::Failure) -> ComponentError {
    use wire::failure::Kind;
    let kind = failure.kind();
    let text = failure.reasons.join("; ");
    match kind {
        Kind::AlreadyExists => match text.parse() {
            Ok(id) => ComponentError::AlreadyExists(id),
            Err(_) => ComponentError::Internal(format!("the name is taken, by {text}")),
        },
        Kind::NotFound => ComponentError::NotFound(text),
        Kind::Invalid => ComponentError::Invalid(failure.reasons),
        Kind::LimitExceeded => ComponentError::LimitExceeded(text),
        Kind::Internal | Kind::Unspecified => ComponentError::Internal(text),
    }
}

/// An upload in pieces, the header first.
pub(super) fn upload_chunks(
    name: String,
    id: String,
    upload: NewComponent,
) -> Result<Vec<wire::UploadChunk>, ComponentError> {
    use wire::upload_chunk::Part;
    let internal = |e: serde_json::Error| ComponentError::Internal(e.to_string());
    let permissions: Vec<_> =
        upload.files.iter().flat_map(|(_, permissions)| permissions).collect();
    let header = wire::UploadHeader {
        name,
        component_id: id,
        component_type_json: match &upload.component_type {
            None => Bytes::new(),
            Some(typ) => serde_json::to_vec(typ).map_err(internal)?.into(),
        },
        has_files: upload.files.is_some(),
        permissions_json: serde_json::to_vec(&permissions).map_err(internal)?.into(),
        dynamic_linking_json: serde_json::to_vec(&upload.dynamic_linking).map_err(internal)?.into(),
    };
    let mut parts = vec![Part::Header(header)];
    parts.extend(pieces(upload.wasm).map(Part::Wasm));
    parts
        .extend(upload.files.into_iter().flat_map(|(archive, _)| pieces(archive)).map(Part::Files));
    Ok(parts.into_iter().map(|part| wire::UploadChunk { part: Some(part) }).collect())
}

/// Data in pieces of [`CHUNK`].
fn pieces(mut data: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || (!data.is_empty()).then(|| data.split_to(data.len().min(CHUNK))))
}

/// What arrives of an upload.
fn parse_header(
    header: &wire::UploadHeader,
    wasm: Bytes,
    archive: Bytes,
) -> Result<NewComponent, Status> {
    let component_type = match header.component_type_json.is_empty() {
        true => None,
        false => Some(parse_json(&header.component_type_json)?),
    };
    let files = match header.has_files {
        true => Some((archive, parse_json(&header.permissions_json)?)),
        false => None,
    };
    let dynamic_linking = parse_json(&header.dynamic_linking_json)?;
    Ok(NewComponent { wasm, component_type, files, dynamic_linking })
}

/// A failure as part of a reply.
pub(super) fn failure(error: &ComponentError) -> wire::Failure {
    use wire::failure::Kind;
    let (kind, reasons) = match error {
        ComponentError::AlreadyExists(id) => (Kind::AlreadyExists, vec![id.to_string()]),
        ComponentError::NotFound(reason) => (Kind::NotFound, vec![reason.clone()]),
        ComponentError::Invalid(reasons) => (Kind::Invalid, reasons.clone()),
        ComponentError::LimitExceeded(reason) => (Kind::LimitExceeded, vec![reason.clone()]),
        ComponentError::Internal(reason) => (Kind::Internal, vec![reason.clone()]),
    };
    wire::Failure { kind: kind.into(), reasons }
}

/// Collects the messages of an upload, refusing what is larger than `limit` bytes per part.
pub(super) async fn collect_upload(
    mut chunks: Streaming<wire::UploadChunk>,
    limit: usize,
) -> Result<(wire::UploadHeader, Result<NewComponent, ComponentError>), Status> {
    use wire::upload_chunk::Part;
    let (mut header, mut wasm, mut files) = (None, Vec::new(), Vec::new());
    while let Some(chunk) = chunks.next().await {
        match required(chunk?.part, "part of the upload")? {
            Part::Header(first) => header = Some(first),
            Part::Wasm(data) => wasm.extend_from_slice(&data),
            Part::Files(data) => files.extend_from_slice(&data),
        }
        if wasm.len() > limit || files.len() > limit {
            let error = ComponentError::LimitExceeded(format!(
                "a part of the upload is larger than {limit} bytes"
            ));
            return Ok((header.unwrap_or_default(), Err(error)));
        }
    }
    let header = required(header, "header of the upload")?;
    let upload = parse_header(&header, wasm.into(), files.into())?;
    Ok((header, Ok(upload)))
}

/// Content in pieces; a failure is the only piece.
pub(super) fn data_chunks(result: Result<Bytes, ComponentError>) -> Vec<wire::DataChunk> {
    match result {
        Ok(data) => pieces(data).map(|data| wire::DataChunk { failure: None, data }).collect(),
        Err(error) => vec![wire::DataChunk { failure: Some(failure(&error)), data: Bytes::new() }],
    }
}
