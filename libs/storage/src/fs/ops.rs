//! The file operations below [`super::FsBlob`]: blocking, on whole paths.

use crate::blob::{BlobError, BlobInfo};
use bytes::Bytes;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

/// Directory for files that are being written. No key maps to a name with a dot in front.
const TEMPORARY: &str = ".tmp";

pub(super) fn blob_error(error: &io::Error) -> BlobError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => BlobError::Full(error.to_string()),
        _ => BlobError::Io(error.to_string()),
    }
}

/// `None` if the error says that there is no such file.
pub(super) fn found<T>(result: io::Result<T>) -> Result<Option<T>, BlobError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(blob_error(&error)),
    }
}

/// Bytes `start..end` of a file, clamped to its length.
pub(super) fn read(path: &Path, start: u64, end: u64) -> Result<Option<Bytes>, BlobError> {
    let read = || {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        let end = end.min(size);
        let length = end.saturating_sub(start);
        let mut data = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        file.seek(SeekFrom::Start(start.min(end)))?;
        file.take(length).read_to_end(&mut data)?;
        Ok(Bytes::from(data))
    };
    found(read())
}

pub(super) fn info(path: &Path) -> Result<Option<BlobInfo>, BlobError> {
    let info = || {
        let meta = fs::metadata(path)?;
        let modified = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let modified_ms = u64::try_from(modified.as_millis()).unwrap_or(u64::MAX);
        Ok(BlobInfo { size: meta.len(), modified_ms })
    };
    found(info())
}

/// The root and its counter of temporary names.
pub(super) struct Files {
    root: PathBuf,
    temporary: PathBuf,
    next: AtomicU64,
}

impl Files {
    pub(super) fn open(root: &Path) -> Result<Self, BlobError> {
        let temporary = root.join(TEMPORARY);
        let prepare = || {
            fs::create_dir_all(root)?;
            match fs::remove_dir_all(&temporary) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            fs::create_dir(&temporary)?;
            sync_dir(root)
        };
        prepare().map_err(|error| blob_error(&error))?;
        Ok(Self { root: root.to_owned(), temporary, next: AtomicU64::new(0) })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn put(&self, path: &Path, data: &[u8]) -> Result<(), BlobError> {
        self.write(path, |file| file.write_all(data), |temporary| fs::rename(temporary, path))
            .map_err(|error| blob_error(&error))
    }

    /// A hard link is refused if the target exists, which a rename is not.
    pub(super) fn put_if_absent(&self, path: &Path, data: &[u8]) -> Result<bool, BlobError> {
        if path.exists() {
            return Ok(false);
        }
        let link = |temporary: &Path| fs::hard_link(temporary, path);
        match self.write(path, |file| file.write_all(data), link) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(blob_error(&error)),
        }
    }

    pub(super) fn copy(&self, from: &Path, to: &Path) -> Result<bool, BlobError> {
        let Some(mut source) = found(File::open(from))? else { return Ok(false) };
        let fill = |file: &mut File| io::copy(&mut source, file).map(drop);
        self.write(to, fill, |temporary| fs::rename(temporary, to))
            .map_err(|error| blob_error(&error))?;
        Ok(true)
    }

    /// Writes a temporary file, makes it durable, and puts it in its place.
    fn write(
        &self,
        path: &Path,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
        place: impl Fn(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let temporary = self.temporary_path();
        let result = File::create_new(&temporary)
            .and_then(|mut file| fill(&mut file).and_then(|()| file.sync_all()))
            .and_then(|()| self.place(path, &temporary, place));
        // After a rename there is nothing left to remove.
        let _ = fs::remove_file(&temporary);
        result
    }

    /// A concurrent delete may remove the directory just made, as it is still empty: try again.
    fn place(
        &self,
        path: &Path,
        temporary: &Path,
        place: impl Fn(&Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let parent = path.parent().unwrap_or(&self.root);
        for _ in 0..100 {
            let placed = self.make_dirs(parent).and_then(|()| place(temporary));
            match placed.and_then(|()| sync_dir(parent)) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                result => return result,
            }
        }
        Err(io::Error::other("the directory of the object is removed again and again"))
    }

    /// Creates a directory and its parents up to the root, each made durable in its parent.
    fn make_dirs(&self, path: &Path) -> io::Result<()> {
        if path == self.root || path.is_dir() {
            return Ok(());
        }
        let parent = path.parent().unwrap_or(&self.root);
        self.make_dirs(parent)?;
        match fs::create_dir(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => sync_dir(parent),
        }
    }

    pub(super) fn delete(&self, path: &Path) -> Result<(), BlobError> {
        if found(fs::remove_file(path))?.is_some() {
            self.tidy(path)?;
        }
        Ok(())
    }

    /// Moves a whole directory away in one step, then removes it.
    pub(super) fn delete_tree(&self, path: &Path) -> Result<(), BlobError> {
        let temporary = self.temporary_path();
        if found(fs::rename(path, &temporary))?.is_some() {
            self.tidy(path)?;
            fs::remove_dir_all(&temporary).map_err(|error| blob_error(&error))?;
        }
        Ok(())
    }

    /// Makes a removal durable, and removes directories that it left empty.
    fn tidy(&self, removed: &Path) -> Result<(), BlobError> {
        let mut directory = removed.parent();
        while let Some(path) = directory
            && path != self.root
            && fs::remove_dir(path).is_ok()
        {
            directory = path.parent();
        }
        // One that is gone meanwhile was removed, and synced, by another call.
        found(sync_dir(directory.unwrap_or(&self.root))).map(drop)
    }

    fn temporary_path(&self) -> PathBuf {
        self.temporary.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
