//! The directory of a loaded worker: made fresh at every load and filled by replay.

use emet_model::{FilePermissions, InitialFile};
use emet_storage::BlobStore;
use std::collections::HashSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A directory that is removed when the worker is unloaded. It is made on first use, since most
/// workers have no files.
pub struct WorkerFiles {
    dir: PathBuf,
    made: OnceLock<()>,
}

/// Where the content of an initial file is kept.
pub fn initial_file_key(content_hash: &str) -> String {
    format!("files/{content_hash}")
}

impl WorkerFiles {
    /// A fresh directory below `root`.
    pub fn new(root: &Path) -> Self {
        let dir = root.join(uuid::Uuid::new_v4().simple().to_string());
        Self { dir, made: OnceLock::new() }
    }

    /// The directory. Where it cannot be made, whatever is done with it says so.
    pub fn path(&self) -> &Path {
        self.made.get_or_init(|| {
            if let Err(error) = std::fs::create_dir_all(&self.dir) {
                tracing::error!(dir = %self.dir.display(), %error, "cannot make the directory of a worker");
            }
        });
        &self.dir
    }

    /// The directory, if it was used.
    pub(crate) fn used(&self) -> Option<&Path> {
        self.made.get().map(|()| self.dir.as_path())
    }

    /// The place of an absolute path of the worker; none for a path that leaves the directory.
    pub fn resolve(&self, path: &str) -> Option<PathBuf> {
        let mut out = self.path().to_owned();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => return None,
                name => out.push(name),
            }
        }
        // A symbolic link of the guest must not lead outside either.
        let real = out.canonicalize().unwrap_or_else(|_| out.clone());
        let root = self.dir.canonicalize().unwrap_or_else(|_| self.dir.clone());
        real.starts_with(root).then_some(out)
    }

    /// Removes what is in the directory; it stays itself, since guests hold it open.
    pub fn clear(&self) -> std::io::Result<()> {
        let Some(dir) = self.used() else { return Ok(()) };
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => std::fs::remove_dir_all(entry.path())?,
                false => std::fs::remove_file(entry.path())?,
            }
        }
        Ok(())
    }

    /// Places the initial files; answers device and inode of the read-only ones.
    pub async fn place(
        &self,
        files: &[InitialFile],
        blobs: &dyn BlobStore,
    ) -> Result<HashSet<(u64, u64)>, (String, String)> {
        let mut read_only = HashSet::new();
        for file in files {
            let failed = |reason: String| (file.path.clone(), reason);
            let content =
                blobs.get(&initial_file_key(&file.key)).await.map_err(|e| failed(e.to_string()))?;
            let content = content.ok_or_else(|| failed("its content is missing".into()))?;
            let path = self
                .resolve(&file.path)
                .ok_or_else(|| failed("its path leaves the worker's directory".into()))?;
            let metadata =
                write(&path, &content, file.permissions).map_err(|e| failed(e.to_string()))?;
            if file.permissions == FilePermissions::ReadOnly {
                read_only.insert((metadata.dev(), metadata.ino()));
            }
        }
        Ok(read_only)
    }
}

fn write(
    path: &Path,
    content: &[u8],
    permissions: FilePermissions,
) -> std::io::Result<std::fs::Metadata> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, content)?;
    if permissions == FilePermissions::ReadOnly {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o444))?;
    }
    std::fs::metadata(path)
}

impl Drop for WorkerFiles {
    fn drop(&mut self) {
        if self.made.get().is_some()
            && let Err(error) = std::fs::remove_dir_all(&self.dir)
        {
            tracing::warn!(dir = %self.dir.display(), %error, "cannot remove the directory of an unloaded worker");
        }
    }
}
