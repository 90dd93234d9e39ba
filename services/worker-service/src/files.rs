//! A worker's file system, read only.

use crate::components::{Binary, binary};
use crate::endpoint::{Endpoint, get};
use crate::errors::{Answer, ApiError, Json};
use crate::extract::Segments;
use crate::state::App;
use axum::extract::State;
use emet_api::FileContent;
use emet_api::rest::FilesResponse;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        get("/v1/components/{component_id}/workers/{worker_name}/files", list)
            .named("getRootFiles", "Lists the root directory of a worker.")
            .answers("GetFilesResponse"),
        get("/v1/components/{component_id}/workers/{worker_name}/files/{*path}", list)
            .named("getFiles", "Lists a directory of a worker; its path may be percent-encoded.")
            .answers("GetFilesResponse"),
        get("/v1/components/{component_id}/workers/{worker_name}/file-contents/{*path}", read)
            .named("getFileContent", "The content of a file of a worker.")
            .answers_with("application/octet-stream", "bytes"),
    ]
}

pub(crate) async fn list(State(app): State<App>, segments: Segments) -> Answer<FilesResponse> {
    let path = normalise(segments.get("path").unwrap_or_default());
    match app.workers.list_directory(segments.worker()?, &path).await? {
        FileContent::Found(nodes) => Ok(Json(FilesResponse { nodes })),
        FileContent::NotFound => Err(ApiError::not_found(format!("Directory not found: {path}"))),
        FileContent::WrongKind => Err(ApiError::invalid(format!("Not a directory: {path}"))),
    }
}

async fn read(State(app): State<App>, segments: Segments) -> Result<Binary, ApiError> {
    let path = normalise(segments.text("path")?);
    match app.workers.read_file(segments.worker()?, &path).await? {
        FileContent::Found(content) => Ok(binary(content)),
        FileContent::NotFound => Err(ApiError::not_found(format!("File not found: {path}"))),
        FileContent::WrongKind => Err(ApiError::invalid(format!("Not a file: {path}"))),
    }
}

/// The absolute path without empty, `.` and `..` segments; `..` of the root is the root.
fn normalise(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            name => segments.push(name),
        }
    }
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::normalise;

    #[test]
    fn paths_become_absolute_and_stay_below_the_root() {
        for (path, expected) in
            [("", "/"), ("/", "/"), ("a/b", "/a/b"), ("//a/./c/../b/", "/a/b"), ("../../a", "/a")]
        {
            assert_eq!(normalise(path), expected);
        }
    }
}
