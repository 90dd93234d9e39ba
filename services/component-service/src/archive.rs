//! Initial files: a zip archive and the permissions of paths in it.

use emet_api::ComponentError;
use emet_model::{FilePermissions, InitialFile};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;

/// Most files of one component version (docs/limits.md).
const MAX_FILES: usize = 10_000;
/// Largest content of all files together, in bytes (docs/limits.md).
const MAX_CONTENT: u64 = 1 << 30;

/// A file and its content.
pub(crate) type Content = (InitialFile, Vec<u8>);

fn invalid(reason: impl std::fmt::Display) -> ComponentError {
    ComponentError::Invalid(vec![format!("Invalid initial files: {reason}")])
}

/// An absolute path without `.` and `..`.
fn normalise(path: &str) -> Result<String, ComponentError> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(invalid(format!("the path {path} contains .."))),
            name => parts.push(name),
        }
    }
    Ok(format!("/{}", parts.join("/")))
}

/// Unpacks an archive. Files without a named permission are read-only; every named path must be in
/// the archive.
pub(crate) fn unpack(
    archive: &[u8],
    permissions: &[(String, FilePermissions)],
) -> Result<Vec<Content>, ComponentError> {
    let mut named = BTreeMap::new();
    for (path, permission) in permissions {
        named.insert(normalise(path)?, *permission);
    }
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(archive)).map_err(invalid)?;
    if zip.len() > MAX_FILES {
        return Err(invalid(format!("there are more than {MAX_FILES} files")));
    }
    let mut files = Vec::new();
    let mut total = 0u64;
    for index in 0..zip.len() {
        let file = zip.by_index(index).map_err(invalid)?;
        if file.is_dir() {
            continue;
        }
        let path = normalise(&file.name().map_err(invalid)?)?;
        let mut content = Vec::new();
        file.take(MAX_CONTENT - total + 1).read_to_end(&mut content).map_err(invalid)?;
        total += content.len() as u64;
        if total > MAX_CONTENT {
            return Err(invalid(format!("they are larger than {MAX_CONTENT} bytes")));
        }
        let key: String = Sha256::digest(&content).iter().map(|b| format!("{b:02x}")).collect();
        let permissions = named.remove(&path).unwrap_or_default();
        files.push((InitialFile { key, path, permissions }, content));
    }
    if let Some(path) = named.keys().next() {
        return Err(invalid(format!(
            "permissions are given for {path}, which is not in the archive"
        )));
    }
    Ok(files)
}
