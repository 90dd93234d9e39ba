//! Objects as files below a directory.
//!
//! A segment of a key becomes a file name with unsafe bytes percent-encoded; a long one becomes
//! several nested names. Directories end in `.d` and files in `.f`, so `a` and `a/b` can both be
//! objects and nothing collides.

use crate::{BlobError, BlobInfo, BlobStore};
use async_trait::async_trait;
use bytes::Bytes;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Longest file name made, before its ending, in bytes.
const MAX_NAME: usize = 200;

/// Objects below a directory.
#[derive(Clone, Debug)]
pub struct FsBlob {
    root: PathBuf,
}

fn encode(segment: &str) -> String {
    let mut out = String::with_capacity(segment.len() + 1);
    for byte in segment.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

fn decode(name: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// The names for one segment: pieces that are continued end in `+`.
fn names(segment: &str) -> Vec<String> {
    let encoded = encode(segment);
    let mut rest = encoded.as_str();
    let mut names = Vec::new();
    while let Some((head, tail)) = rest.split_at_checked(MAX_NAME).filter(|(_, tail)| !tail.is_empty()) {
        names.push(format!("{head}+"));
        rest = tail;
    }
    names.push(rest.to_owned());
    names
}

impl FsBlob {
    /// Opens a directory, making it if it is missing.
    pub fn open(root: impl Into<PathBuf>) -> std::io::Result<Self> {
        let root = root.into();
        std::fs::create_dir_all(&root)?;
        Ok(Self { root })
    }

    fn dir(&self, prefix: &str) -> PathBuf {
        let segments = prefix.split('/').filter(|_| !prefix.is_empty());
        segments.flat_map(names).fold(self.root.clone(), |path, name| path.join(format!("{name}.d")))
    }

    fn file(&self, key: &str) -> PathBuf {
        let (parent, last) = key.rsplit_once('/').unwrap_or(("", key));
        let mut pieces = names(last);
        let file = pieces.pop().unwrap_or_default();
        let parent = pieces.into_iter().fold(self.dir(parent), |path, name| path.join(format!("{name}.d")));
        parent.join(format!("{file}.f"))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        key: &str,
        act: impl FnOnce(Self) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, BlobError> {
        let (this, key) = (self.clone(), key.to_owned());
        let failed = |reason: String| BlobError::Io { key: key.clone(), reason };
        tokio::task::spawn_blocking(move || act(this)).await.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))
    }

    fn write(&self, key: &str, data: &[u8]) -> std::io::Result<()> {
        let path = self.file(key);
        let parent = path.parent().unwrap_or(&self.root);
        std::fs::create_dir_all(parent)?;
        let temporary = parent.join(format!(".tmp-{}", uuid::Uuid::new_v4().simple()));
        let written = std::fs::File::create(&temporary).and_then(|mut file| {
            file.write_all(data)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)?;
            std::fs::File::open(parent)?.sync_all()
        });
        if written.is_err() {
            drop(std::fs::remove_file(&temporary));
        }
        written
    }

    fn walk(&self, dir: &Path, prefix: &str, open: &str, found: &mut Vec<(String, BlobInfo)>) -> std::io::Result<()> {
        for entry in optional(std::fs::read_dir(dir))?.into_iter().flatten() {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(name) = name.strip_suffix(".d") {
                match name.strip_suffix('+') {
                    Some(piece) => self.walk(&entry.path(), prefix, &format!("{open}{piece}"), found)?,
                    None => {
                        let Some(segment) = decode(&format!("{open}{name}")) else { continue };
                        self.walk(&entry.path(), &format!("{prefix}{segment}/"), "", found)?;
                    }
                }
            } else if let Some(segment) = name.strip_suffix(".f").and_then(|n| decode(&format!("{open}{n}"))) {
                found.push((format!("{prefix}{segment}"), info(&entry.metadata()?)));
            }
        }
        Ok(())
    }
}

fn info(metadata: &std::fs::Metadata) -> BlobInfo {
    let modified = metadata.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    BlobInfo { size: metadata.len(), modified_ms: u64::try_from(modified.as_millis()).unwrap_or(u64::MAX) }
}

/// None for what is missing.
fn optional<T>(result: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(e),
    }
}

#[async_trait]
impl BlobStore for FsBlob {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), BlobError> {
        let name = key.to_owned();
        self.blocking(key, move |this| this.write(&name, &data)).await
    }

    async fn put_if_absent(&self, key: &str, data: Bytes) -> Result<bool, BlobError> {
        let name = key.to_owned();
        self.blocking(key, move |this| {
            if this.file(&name).exists() {
                return Ok(false);
            }
            this.write(&name, &data).map(|()| true)
        })
        .await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, BlobError> {
        let path = self.file(key);
        self.blocking(key, move |_| Ok(optional(std::fs::read(path))?.map(Bytes::from))).await
    }

    async fn get_range(&self, key: &str, start: u64, end: u64) -> Result<Option<Bytes>, BlobError> {
        let path = self.file(key);
        self.blocking(key, move |_| {
            let Some(mut file) = optional(std::fs::File::open(path))? else { return Ok(None) };
            file.seek(SeekFrom::Start(start))?;
            let mut data = Vec::new();
            file.take(end.saturating_sub(start)).read_to_end(&mut data)?;
            Ok(Some(data.into()))
        })
        .await
    }

    async fn head(&self, key: &str) -> Result<Option<BlobInfo>, BlobError> {
        let path = self.file(key);
        self.blocking(key, move |_| Ok(optional(std::fs::metadata(path))?.map(|m| info(&m)))).await
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        let path = self.file(key);
        self.blocking(key, move |_| optional(std::fs::remove_file(path)).map(drop)).await
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<(), BlobError> {
        let dir = self.dir(prefix.trim_end_matches('/'));
        self.blocking(prefix, move |_| optional(std::fs::remove_dir_all(dir)).map(drop)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<(String, BlobInfo)>, BlobError> {
        let (base, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.blocking(prefix, move |this| {
            let mut found = Vec::new();
            this.walk(&this.dir(base.trim_end_matches('/')), &base, "", &mut found)?;
            found.sort_by(|a, b| a.0.cmp(&b.0));
            found.retain(|(key, _)| after.as_ref().is_none_or(|after| key > after));
            found.truncate(limit);
            Ok(found)
        })
        .await
    }

    async fn copy(&self, from: &str, to: &str) -> Result<bool, BlobError> {
        match self.get(from).await? {
            Some(data) => self.put(to, data).await.map(|()| true),
            None => Ok(false),
        }
    }

    fn local_path(&self, key: &str) -> Option<PathBuf> {
        Some(self.file(key))
    }
}
