//! Listing objects in the order of their keys, without visiting what lies before the page.

use super::name::{self, Kind};
use super::ops;
use crate::blob::{BlobError, BlobInfo};
use std::path::{Path, PathBuf};

/// One entry of a directory, as a key.
struct Entry {
    /// The whole key; a directory's ends in '/', which also puts it in its place in the order.
    key: Vec<u8>,
    path: PathBuf,
    is_directory: bool,
}

struct Walk<'a> {
    prefix: &'a [u8],
    after: Option<&'a [u8]>,
    limit: usize,
    page: Vec<(String, BlobInfo)>,
}

pub(super) fn list(
    root: &Path,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<(String, BlobInfo)>, BlobError> {
    let (start, base) = match prefix.rsplit_once('/') {
        Some((directory, _)) => (name::directory_path(root, directory)?, format!("{directory}/")),
        None => (root.to_owned(), String::new()),
    };
    let after = after.map(str::as_bytes);
    let mut walk = Walk { prefix: prefix.as_bytes(), after, limit, page: Vec::new() };
    walk.directory(&start, base.as_bytes())?;
    Ok(walk.page)
}

impl Walk<'_> {
    fn directory(&mut self, path: &Path, base: &[u8]) -> Result<(), BlobError> {
        let mut entries = Vec::new();
        read_entries(path, base, &mut entries)?;
        entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        for entry in entries {
            if self.page.len() >= self.limit {
                break;
            }
            if entry.is_directory {
                if self.may_hold(&entry.key) {
                    self.directory(&entry.path, &entry.key)?;
                }
            } else if self.wants(&entry.key) {
                self.object(entry)?;
            }
        }
        Ok(())
    }

    /// Whether a directory can hold keys of the page.
    fn may_hold(&self, directory: &[u8]) -> bool {
        let prefix = directory.starts_with(self.prefix) || self.prefix.starts_with(directory);
        prefix && self.after.is_none_or(|after| directory > after || after.starts_with(directory))
    }

    fn wants(&self, key: &[u8]) -> bool {
        key.starts_with(self.prefix) && self.after.is_none_or(|after| key > after)
    }

    /// An object that vanished since the directory was read is left out.
    fn object(&mut self, entry: Entry) -> Result<(), BlobError> {
        let Some(info) = ops::info(&entry.path)? else { return Ok(()) };
        if let Ok(key) = String::from_utf8(entry.key) {
            self.page.push((key, info));
        }
        Ok(())
    }
}

/// Reads a directory. Segments that were cut into parts are put together here, as their order
/// among the others depends on the whole.
fn read_entries(path: &Path, base: &[u8], entries: &mut Vec<Entry>) -> Result<(), BlobError> {
    let Some(directory) = ops::found(std::fs::read_dir(path))? else { return Ok(()) };
    for entry in directory {
        let entry = entry.map_err(|error| ops::blob_error(&error))?;
        let file_name = entry.file_name();
        let Some((part, kind)) = file_name.to_str().and_then(name::parse) else { continue };
        let mut key = [base, &part].concat();
        match kind {
            Kind::Continued => read_entries(&entry.path(), &key, entries)?,
            Kind::Directory => {
                key.push(b'/');
                entries.push(Entry { key, path: entry.path(), is_directory: true });
            }
            Kind::Object => {
                entries.push(Entry { key, path: entry.path(), is_directory: false });
            }
        }
    }
    Ok(())
}
