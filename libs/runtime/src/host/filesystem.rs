//! `wasi:filesystem`: a private directory per worker, rebuilt by replay. Writes are executed again
//! each time; what a replay could not repeat by itself, the times of files, is recorded.

use super::values::add_resource;
use super::{functions, wasi};
use crate::WorkerCtx;
use crate::log::{HostFn, HostFnInfo};
use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView};
use wasmtime_wasi::p2::FsError;
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::preopens::Host as _;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, DescriptorStat, DirectoryEntry, ErrorCode, Host as _, HostDescriptor as _,
    MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};

/// Access and modification time of a file, as seconds and nanoseconds; or the number of an error.
type Times = Result<(Option<(u64, u32)>, Option<(u64, u32)>), u8>;

/// Names of the pre-opened directories.
const DIRECTORIES: HostFn<(), Vec<String>> = HostFn::read_local("cli::preopens::get_directories");
const STAT: HostFn<(), Times> = HostFn::read_local("filesystem::types::descriptor::stat");
const STAT_AT: HostFn<String, Times> = HostFn::read_local("filesystem::types::descriptor::stat_at");

pub(super) const FUNCTIONS: &[&dyn HostFnInfo] = &[&DIRECTORIES, &STAT, &STAT_AT];

type Fs<T> = Result<T, FsError>;

/// The rest of a listing.
pub(crate) struct SortedDirectory(VecDeque<DirectoryEntry>);

fn times(stat: &DescriptorStat) -> (Option<(u64, u32)>, Option<(u64, u32)>) {
    let pair = |t: &Option<Datetime>| t.as_ref().map(|t| (t.seconds, t.nanoseconds));
    (pair(&stat.data_access_timestamp), pair(&stat.data_modification_timestamp))
}

fn new_timestamp(time: Option<(u64, u32)>) -> NewTimestamp {
    match time {
        Some((seconds, nanoseconds)) => NewTimestamp::Timestamp(Datetime { seconds, nanoseconds }),
        None => NewTimestamp::NoChange,
    }
}

fn with_times(
    mut stat: DescriptorStat,
    recorded: &(Option<(u64, u32)>, Option<(u64, u32)>),
) -> DescriptorStat {
    let datetime =
        |t: Option<(u64, u32)>| t.map(|(seconds, nanoseconds)| Datetime { seconds, nanoseconds });
    stat.data_access_timestamp = datetime(recorded.0);
    stat.data_modification_timestamp = datetime(recorded.1);
    stat.status_change_timestamp = None;
    stat
}

impl WorkerCtx {
    fn fs<T>(&mut self, result: Fs<T>) -> wasmtime::Result<(Result<T, ErrorCode>,)> {
        match result {
            Ok(value) => Ok((Ok(value),)),
            Err(error) => Ok((Err(self.filesystem().convert_error_code(error)?),)),
        }
    }

    async fn directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        self.preopen()?;
        let found = self.filesystem().get_directories()?;
        let names: Vec<String> = found.iter().map(|(_, name)| name.clone()).collect();
        match self.journal.replay(&DIRECTORIES).await? {
            Some(recorded) if recorded != names => {
                wasmtime::bail!("the pre-opened directories were {recorded:?} and are {names:?}")
            }
            Some(_) => {}
            None => self.journal.record(&DIRECTORIES, (), &names).await?,
        }
        Ok(found)
    }

    async fn stat(&mut self, fd: Resource<Descriptor>) -> Fs<DescriptorStat> {
        let real = self.filesystem().stat(Resource::new_borrow(fd.rep())).await?;
        let recorded = self.journal.replay(&STAT).await.map_err(FsError::trap)?;
        if let Some(Ok(times)) = recorded {
            let set = self
                .filesystem()
                .set_times(fd, new_timestamp(times.0), new_timestamp(times.1))
                .await;
            drop(set); // a descriptor opened for reading cannot set times; the answer is right anyway
            return Ok(with_times(real, &times));
        }
        let seen = times(&real);
        self.journal.record(&STAT, (), &Ok(seen)).await.map_err(FsError::trap)?;
        Ok(with_times(real, &seen))
    }

    async fn stat_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
    ) -> Fs<DescriptorStat> {
        // A missing file is missing on replay too, so only found ones are recorded.
        let real =
            self.filesystem().stat_at(Resource::new_borrow(fd.rep()), flags, path.clone()).await?;
        let recorded = self.journal.replay(&STAT_AT).await.map_err(FsError::trap)?;
        if let Some(Ok(times)) = recorded {
            let set = self
                .filesystem()
                .set_times_at(fd, flags, path, new_timestamp(times.0), new_timestamp(times.1))
                .await;
            drop(set);
            return Ok(with_times(real, &times));
        }
        let seen = times(&real);
        self.journal.record(&STAT_AT, path, &Ok(seen)).await.map_err(FsError::trap)?;
        Ok(with_times(real, &seen))
    }

    /// A hash of what replay rebuilds: not of inode numbers.
    fn metadata_hash(stat: &DescriptorStat) -> MetadataHashValue {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        hash.update(stat.size.to_le_bytes());
        if let Some(time) = &stat.data_modification_timestamp {
            hash.update(time.seconds.to_le_bytes());
            hash.update(time.nanoseconds.to_le_bytes());
        }
        let digest: [u8; 32] = hash.finalize().into();
        let half = |from: usize| {
            digest.iter().skip(from).take(8).fold(0u64, |n, b| (n << 8) | u64::from(*b))
        };
        MetadataHashValue { lower: half(0), upper: half(8) }
    }

    /// Sorted by name, since the order of a directory depends on the machine.
    async fn read_directory(&mut self, fd: Resource<Descriptor>) -> Fs<Resource<SortedDirectory>> {
        let stream = self.filesystem().read_directory(fd).await?;
        let entries = self.table.delete(stream)?.into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut entries: Vec<DirectoryEntry> = entries;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(self.table.push(SortedDirectory(entries.into()))?)
    }

    fn read_directory_entry(
        &mut self,
        stream: &Resource<SortedDirectory>,
    ) -> Fs<Option<DirectoryEntry>> {
        Ok(self.table.get_mut(stream)?.0.pop_front())
    }

    /// Whether a path names a read-only initial file.
    fn is_read_only(&self, dir: &Resource<Descriptor>, path: &str, follow: bool) -> bool {
        if self.read_only.is_empty() {
            return false;
        }
        let Ok(Descriptor::Dir(dir)) = self.table.get(dir) else { return false };
        let path = PathBuf::from(format!("/proc/self/fd/{}", dir.dir.as_raw_fd()))
            .join(path.trim_start_matches('/'));
        let metadata =
            if follow { std::fs::metadata(path) } else { std::fs::symlink_metadata(path) };
        metadata.is_ok_and(|m| self.read_only.contains(&(m.dev(), m.ino())))
    }

    /// Whether a descriptor is of a read-only initial file.
    fn is_read_only_file(&self, fd: &Resource<Descriptor>) -> bool {
        let Ok(Descriptor::File(file)) = self.table.get(fd) else { return false };
        let metadata = std::fs::metadata(format!("/proc/self/fd/{}", file.file.as_raw_fd()));
        metadata.is_ok_and(|m| self.read_only.contains(&(m.dev(), m.ino())))
    }

    async fn set_times(
        &mut self,
        fd: Resource<Descriptor>,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> Fs<()> {
        if !self.read_only.is_empty() && self.is_read_only_file(&fd) {
            return Err(ErrorCode::NotPermitted.into());
        }
        self.filesystem().set_times(fd, accessed, modified).await
    }

    fn check_writable(&self, dir: &Resource<Descriptor>, path: &str, follow: bool) -> Fs<()> {
        if self.is_read_only(dir, path, follow) {
            Err(ErrorCode::NotPermitted.into())
        } else {
            Ok(())
        }
    }

    async fn open_at(
        &mut self,
        fd: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        open: OpenFlags,
        flags: DescriptorFlags,
    ) -> Fs<Resource<Descriptor>> {
        if flags.contains(DescriptorFlags::WRITE) || open.contains(OpenFlags::TRUNCATE) {
            self.check_writable(&fd, &path, path_flags.contains(PathFlags::SYMLINK_FOLLOW))?;
        }
        self.filesystem().open_at(fd, path_flags, path, open, flags).await
    }
}

pub(super) fn add(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, &wasi("filesystem/preopens"), {
        "get-directories" => |ctx| Ok((ctx.directories().await?,));
    });
    functions!(linker, &wasi("filesystem/types"), {
        "[method]descriptor.stat" => |ctx, fd: Resource<Descriptor>| {
            let stat = ctx.stat(fd).await;
            ctx.fs(stat)
        };
        "[method]descriptor.stat-at" => |ctx, fd: Resource<Descriptor>, flags: PathFlags, path: String| {
            let stat = ctx.stat_at(fd, flags, path).await;
            ctx.fs(stat)
        };
        "[method]descriptor.metadata-hash" => |ctx, fd: Resource<Descriptor>| {
            let hash = ctx.stat(fd).await.map(|s| WorkerCtx::metadata_hash(&s));
            ctx.fs(hash)
        };
        "[method]descriptor.metadata-hash-at" => |ctx, fd: Resource<Descriptor>, flags: PathFlags, path: String| {
            let hash = ctx.stat_at(fd, flags, path).await.map(|s| WorkerCtx::metadata_hash(&s));
            ctx.fs(hash)
        };
        "[method]descriptor.open-at" => |ctx, fd: Resource<Descriptor>, path_flags: PathFlags, path: String, open: OpenFlags, flags: DescriptorFlags| {
            let opened = ctx.open_at(fd, path_flags, path, open, flags).await;
            ctx.fs(opened)
        };
        "[method]descriptor.read-directory" => |ctx, fd: Resource<Descriptor>| {
            let listing = ctx.read_directory(fd).await;
            ctx.fs(listing)
        };
        "[method]directory-entry-stream.read-directory-entry" => |ctx, stream: Resource<SortedDirectory>| {
            let entry = ctx.read_directory_entry(&stream);
            ctx.fs(entry)
        };
    });
    add_resource::<SortedDirectory>(linker, &wasi("filesystem/types"), "directory-entry-stream")?;
    add_changes(linker)
}

/// Changes of the tree, which read-only files are protected from.
fn add_changes(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, &wasi("filesystem/types"), {
        "[method]descriptor.set-times" => |ctx, fd: Resource<Descriptor>, accessed: NewTimestamp, modified: NewTimestamp| {
            let done = ctx.set_times(fd, accessed, modified).await;
            ctx.fs(done)
        };
        "[method]descriptor.unlink-file-at" => |ctx, fd: Resource<Descriptor>, path: String| {
            let done = match ctx.check_writable(&fd, &path, false) {
                Ok(()) => ctx.filesystem().unlink_file_at(fd, path).await,
                Err(refused) => Err(refused),
            };
            ctx.fs(done)
        };
        "[method]descriptor.rename-at" => |ctx, fd: Resource<Descriptor>, from: String, to_fd: Resource<Descriptor>, to: String| {
            let allowed = ctx.check_writable(&fd, &from, false).and_then(|()| ctx.check_writable(&to_fd, &to, false));
            let done = match allowed {
                Ok(()) => ctx.filesystem().rename_at(fd, from, to_fd, to).await,
                Err(refused) => Err(refused),
            };
            ctx.fs(done)
        };
        "[method]descriptor.set-times-at" => |ctx, fd: Resource<Descriptor>, flags: PathFlags, path: String, accessed: NewTimestamp, modified: NewTimestamp| {
            let done = match ctx.check_writable(&fd, &path, flags.contains(PathFlags::SYMLINK_FOLLOW)) {
                Ok(()) => ctx.filesystem().set_times_at(fd, flags, path, accessed, modified).await,
                Err(refused) => Err(refused),
            };
            ctx.fs(done)
        };
    });
    Ok(())
}
