//! The worker's directory: read whole, and made again with modes and times.

use super::format::{Node, NodeKind, Time};
use crate::files::initial_file_key;
use emet_model::{FilePermissions, InitialFile};
use emet_storage::BlobStore;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use std::collections::HashSet;
use std::fs::{Metadata, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

/// Most files, directories and links of a worker that are saved (docs/limits.md).
const MAX_NODES: usize = 4096;
/// Most bytes that they have together (docs/limits.md).
const MAX_BYTES: u64 = 16 << 20;

/// Reads a directory; the reason why it cannot be saved.
pub(super) fn read(
    root: &Path,
    read_only: &HashSet<(u64, u64)>,
    initial: &[InitialFile],
) -> Result<Vec<Node>, String> {
    let mut reader = Reader { root, read_only, initial, nodes: Vec::new(), bytes: 0 };
    reader.read(root)?;
    Ok(reader.nodes)
}

struct Reader<'a> {
    root: &'a Path,
    read_only: &'a HashSet<(u64, u64)>,
    initial: &'a [InitialFile],
    nodes: Vec<Node>,
    bytes: u64,
}

impl Reader<'_> {
    fn read(&mut self, path: &Path) -> Result<(), String> {
        let failed = |e: std::io::Error| format!("a file cannot be read: {e}");
        let metadata = path.symlink_metadata().map_err(failed)?;
        let relative = path
            .strip_prefix(self.root)
            .ok()
            .and_then(Path::to_str)
            .ok_or("a file has a name that is no text")?
            .to_owned();
        if self.nodes.len() >= MAX_NODES {
            return Err(format!("there are more than {MAX_NODES} files"));
        }
        let kind = self.kind(path, &relative, &metadata)?;
        let is_directory = matches!(kind, NodeKind::Directory(_));
        self.nodes.push(Node {
            path: relative,
            mode: metadata.mode() & 0o7777,
            accessed: Some(Time { seconds: metadata.atime(), nanoseconds: metadata.atime_nsec() }),
            modified: Some(Time { seconds: metadata.mtime(), nanoseconds: metadata.mtime_nsec() }),
            kind: Some(kind),
        });
        if is_directory {
            let entries = std::fs::read_dir(path).map_err(failed)?;
            let mut children = entries
                .map(|entry| entry.map(|e| e.path()))
                .collect::<Result<Vec<_>, _>>()
                .map_err(failed)?;
            children.sort_unstable();
            children.iter().try_for_each(|child| self.read(child))?;
        }
        Ok(())
    }

    fn kind(
        &mut self,
        path: &Path,
        relative: &str,
        metadata: &Metadata,
    ) -> Result<NodeKind, String> {
        if metadata.is_dir() {
            return Ok(NodeKind::Directory(true));
        }
        if metadata.is_symlink() {
            let target = std::fs::read_link(path).map_err(|e| e.to_string())?;
            return target
                .to_str()
                .map(|target| NodeKind::Link(target.to_owned()))
                .ok_or_else(|| "a link leads to a name that is no text".into());
        }
        if !metadata.is_file() || metadata.nlink() > 1 {
            return Err(format!("{relative} has several names or is no file"));
        }
        if self.read_only.contains(&(metadata.dev(), metadata.ino())) {
            let file =
                self.initial.iter().find(|file| file.path.trim_start_matches('/') == relative);
            let file =
                file.ok_or_else(|| format!("{relative} is read-only but no initial file"))?;
            return Ok(NodeKind::Initial(file.key.clone()));
        }
        self.bytes = self.bytes.saturating_add(metadata.len());
        if self.bytes > MAX_BYTES {
            return Err(format!("the files have more than {MAX_BYTES} bytes"));
        }
        std::fs::read(path)
            .map(NodeKind::Content)
            .map_err(|e| format!("{relative} cannot be read: {e}"))
    }
}

/// Makes the files in an empty directory; answers device and inode of the read-only ones.
pub(super) async fn write(
    root: &Path,
    nodes: &[Node],
    initial: &[InitialFile],
    blobs: &dyn BlobStore,
) -> Result<HashSet<(u64, u64)>, String> {
    let mut read_only = HashSet::new();
    for node in nodes {
        let path = inside(root, &node.path)?;
        let failed = |e: std::io::Error| format!("{}: {e}", node.path);
        match node.kind.as_ref().ok_or("a file of an unknown kind")? {
            NodeKind::Directory(_) => std::fs::create_dir_all(&path).map_err(failed)?,
            NodeKind::Link(target) => symlink(target, &path).map_err(failed)?,
            NodeKind::Content(content) => std::fs::write(&path, content).map_err(failed)?,
            NodeKind::Initial(key) => {
                let known = initial
                    .iter()
                    .any(|file| file.key == *key && file.permissions == FilePermissions::ReadOnly);
                let content = if known {
                    blobs.get(&initial_file_key(key)).await.map_err(|e| e.to_string())?
                } else {
                    None
                };
                std::fs::write(&path, content.ok_or("an initial file is missing")?)
                    .map_err(failed)?;
                let metadata = std::fs::metadata(&path).map_err(failed)?;
                read_only.insert((metadata.dev(), metadata.ino()));
            }
        }
        if !matches!(node.kind, Some(NodeKind::Link(_))) {
            std::fs::set_permissions(&path, Permissions::from_mode(node.mode)).map_err(failed)?;
        }
    }
    // Children change the times of their directories, so times come last, from the leaves on.
    nodes.iter().rev().try_for_each(|node| set_times(root, node))?;
    Ok(read_only)
}

/// The place of a path below the root, which has no parts that lead elsewhere.
fn inside(root: &Path, path: &str) -> Result<std::path::PathBuf, String> {
    let plain =
        Path::new(path).components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if plain { Ok(root.join(path)) } else { Err("a path leads out of the directory".into()) }
}

fn set_times(root: &Path, node: &Node) -> Result<(), String> {
    let timespec =
        |time: Option<Time>| time.map(|t| Timespec { tv_sec: t.seconds, tv_nsec: t.nanoseconds });
    let (Some(last_access), Some(last_modification)) =
        (timespec(node.accessed), timespec(node.modified))
    else {
        return Ok(());
    };
    let path = inside(root, &node.path)?;
    let times = Timestamps { last_access, last_modification };
    utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|e| format!("{}: {e}", node.path))
}

/// In what two directories differ. Times are left out: replay makes those anew that nobody asked for.
/// So is the directory itself: it is made at the first use, which can be somebody's look into it.
pub(super) fn differences(a: &[Node], b: &[Node]) -> Vec<String> {
    let plain = |node: &Node| (node.path.clone(), node.mode, node.kind.clone());
    let only = |from: &[Node], other: &[Node]| -> Vec<String> {
        let other: Vec<_> = other.iter().map(plain).collect();
        from.iter()
            .filter(|node| !node.path.is_empty() && !other.contains(&plain(node)))
            .map(|node| format!("the file {:?} differs", node.path))
            .collect()
    };
    let mut found = only(a, b);
    found.extend(only(b, a));
    found.sort_unstable();
    found.dedup();
    found
}
