//! Looking into the files of a loaded worker.

use bytes::Bytes;
use emet_api::{FileContent, FileKind, FileNode};
use emet_model::{FilePermissions, WorkerError};
use emet_runtime::files::WorkerFiles;
use std::time::UNIX_EPOCH;

/// What is asked for.
pub(crate) enum FileRequest {
    List(String),
    Read(String),
}

/// What was found.
pub(crate) enum FileAnswer {
    Nodes(FileContent<Vec<FileNode>>),
    Content(FileContent<Bytes>),
}

pub(crate) fn answer(
    files: &WorkerFiles,
    request: &FileRequest,
) -> Result<FileAnswer, WorkerError> {
    let (FileRequest::List(path) | FileRequest::Read(path)) = request;
    let failed = |e: std::io::Error| WorkerError::FileSystemError {
        path: path.clone(),
        reason: e.to_string(),
    };
    let place = files.resolve(path);
    let metadata = place.as_ref().and_then(|p| std::fs::metadata(p).ok());
    let (Some(place), Some(metadata)) = (place, metadata) else {
        return Ok(match request {
            FileRequest::List(_) => FileAnswer::Nodes(FileContent::NotFound),
            FileRequest::Read(_) => FileAnswer::Content(FileContent::NotFound),
        });
    };
    match request {
        FileRequest::List(_) if !metadata.is_dir() => Ok(FileAnswer::Nodes(FileContent::WrongKind)),
        FileRequest::Read(_) if !metadata.is_file() => {
            Ok(FileAnswer::Content(FileContent::WrongKind))
        }
        FileRequest::Read(_) => Ok(FileAnswer::Content(FileContent::Found(
            std::fs::read(&place).map_err(failed)?.into(),
        ))),
        FileRequest::List(_) => {
            let mut nodes = Vec::new();
            for entry in std::fs::read_dir(&place).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                // A broken symbolic link is shown as the file that it is.
                let metadata = std::fs::metadata(entry.path())
                    .or_else(|_| entry.metadata())
                    .map_err(failed)?;
                nodes.push(node(entry.file_name().to_string_lossy().into_owned(), &metadata));
            }
            nodes.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(FileAnswer::Nodes(FileContent::Found(nodes)))
        }
    }
}

fn node(name: String, metadata: &std::fs::Metadata) -> FileNode {
    let modified = metadata
        .modified()
        .ok()
        .and_then(|t| t.duration_since(UNIX_EPOCH).ok())
        .unwrap_or_default();
    let is_dir = metadata.is_dir();
    let permissions = if metadata.permissions().readonly() {
        FilePermissions::ReadOnly
    } else {
        FilePermissions::ReadWrite
    };
    FileNode {
        name,
        last_modified: modified.as_secs(),
        kind: if is_dir { FileKind::Directory } else { FileKind::File },
        permissions: (!is_dir).then_some(permissions),
        size: (!is_dir).then_some(metadata.len()),
    }
}
