//! Object keys as paths that are safe on any file system.
//!
//! Bytes other than `A-Z a-z 0-9 . _ -` are written as `%XX`, and so is a dot in front; an empty
//! segment is a lone `%`. A directory that stands for a segment ends in `@`, so an object may
//! have the name of another one's directory. A segment that gets longer than [`CHUNK`] goes on
//! inside a directory that ends in `~`. None of these signs can come from a key.

use crate::blob::BlobError;
use std::path::{Path, PathBuf};

/// Longest part of a segment in one path component, in bytes.
const CHUNK: usize = 200;
/// Longest relative path, in bytes; the systems stop at 4096 with the root in front.
const MAX_PATH: usize = 3500;
const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// What a directory entry stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An object.
    Object,
    /// A segment with more segments below.
    Directory,
    /// The first part of a long segment.
    Continued,
}

/// Path of an object below `root`.
pub(super) fn object_path(root: &Path, key: &str) -> Result<PathBuf, BlobError> {
    crate::blob::check_key(key)?;
    let (directory, name) = key.rsplit_once('/').map_or((None, key), |(d, n)| (Some(d), n));
    let mut path = directory.map_or_else(|| Ok(root.to_owned()), |d| directory_path(root, d))?;
    push_segment(&mut path, name, "");
    check_length(root, path)
}

/// Path of the directory for a key without the '/' behind it.
pub(super) fn directory_path(root: &Path, key: &str) -> Result<PathBuf, BlobError> {
    let mut path = root.to_owned();
    for segment in key.split('/') {
        push_segment(&mut path, segment, "@");
    }
    check_length(root, path)
}

fn check_length(root: &Path, path: PathBuf) -> Result<PathBuf, BlobError> {
    let length = path.as_os_str().len().saturating_sub(root.as_os_str().len());
    if length > MAX_PATH {
        return Err(BlobError::Invalid(format!("a key takes {length} bytes, limit {MAX_PATH}")));
    }
    Ok(path)
}

fn push_segment(path: &mut PathBuf, segment: &str, end: &str) {
    let mut part = String::new();
    for (at, byte) in segment.bytes().enumerate() {
        let safe =
            byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || (byte == b'.' && at > 0);
        if part.len() + if safe { 1 } else { 3 } > CHUNK {
            part.push('~');
            path.push(&part);
            part.clear();
        }
        if safe {
            part.push(char::from(byte));
        } else {
            let digit = |nibble: u8| HEX.get(usize::from(nibble)).map_or('0', |d| char::from(*d));
            part.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    if part.is_empty() {
        part.push('%');
    }
    part.push_str(end);
    path.push(part);
}

/// The bytes and the kind of a directory entry; `None` for what is not ours.
pub(super) fn parse(entry: &str) -> Option<(Vec<u8>, Kind)> {
    let (part, kind) = match entry.as_bytes().last()? {
        b'@' => (entry.strip_suffix('@')?, Kind::Directory),
        b'~' => (entry.strip_suffix('~')?, Kind::Continued),
        _ => (entry, Kind::Object),
    };
    if part == "%" {
        return Some((Vec::new(), kind));
    }
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            b'.' if bytes.is_empty() => return None,
            byte => byte,
        });
    }
    Some((bytes, kind))
}

fn hex(digit: u8) -> Option<u8> {
    HEX.iter().position(|d| *d == digit).and_then(|at| u8::try_from(at).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(key: &str) -> String {
        object_path(Path::new("/r"), key).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn paths_are_as_documented() {
        assert_eq!(path("a/b.wasm"), "/r/a@/b.wasm");
        assert_eq!(path("../.x"), "/r/%2E.@/%2Ex");
        assert_eq!(path("/"), "/r/%@/%");
        assert_eq!(path("a b@~%"), "/r/a%20b%40%7E%25");
        let long = path(&"x".repeat(450));
        assert_eq!(long, format!("/r/{0}~/{0}~/{1}", "x".repeat(200), "x".repeat(50)));
    }

    #[test]
    fn no_component_is_special_or_too_long() {
        for key in ["..", ".", "../..", "\0", "ü/ö\n", &"é/".repeat(300), &"%".repeat(1000)] {
            let path = PathBuf::from(path(key));
            for part in path.strip_prefix("/r").unwrap().components() {
                let std::path::Component::Normal(part) = part else { panic!("{part:?}") };
                assert!(part.len() <= CHUNK + 1);
                assert!(parse(part.to_str().unwrap()).is_some());
            }
        }
        assert!(object_path(Path::new("/r"), &"%".repeat(4000)).is_err());
    }
}
