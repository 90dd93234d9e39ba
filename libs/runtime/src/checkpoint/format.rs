//! The stored form of a checkpoint and of a base (docs/format/checkpoint.md): a header that says what
//! it fits, the folded state, and the compressed state of the instance, closed by a checksum.

use bytes::Bytes;
use emet_model::WorkerId;
use emet_oplog::{WorkerState, summary};
use prost::Message;
use sha2::{Digest, Sha256};

/// How stored bytes begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    name: &'static str,
    magic: &'static [u8; 8],
    version: u32,
}

/// The form of checkpoints. Those of another version are left aside.
pub(crate) const CHECKPOINT: Form = Form { name: "checkpoint", magic: b"EMETCKPT", version: 2 };
/// The form of bases. Every later release has to read this version, too, for a base is no cache.
pub(crate) const BASE: Form = Form { name: "base", magic: b"EMETBASE", version: 1 };

const CHECKSUM: usize = 32;
/// Effort of compression: the fastest, which already takes out most.
const LEVEL: i32 = 1;
/// Largest state of an instance when it is not compressed, in bytes.
const MAX_BODY: usize = 512 << 20;

/// What a checkpoint depends on: it is used only where all of it is the same.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Binding {
    /// The worker's component.
    #[prost(string, tag = "1")]
    pub component: String,
    /// The worker's name.
    #[prost(string, tag = "2")]
    pub worker: String,
    /// Component version that was running.
    #[prost(uint64, tag = "3")]
    pub version: u64,
    /// SHA-256 of the binary, in hex.
    #[prost(string, tag = "4")]
    pub digest: String,
    /// Engine, its configuration, and the rewriting; of a base the rewriting alone.
    #[prost(string, tag = "5")]
    pub engine: String,
    /// Index of the last entry that is part of the state.
    #[prost(uint64, tag = "6")]
    pub index: u64,
    /// SHA-256 of that entry as it is stored.
    #[prost(bytes = "vec", tag = "7")]
    pub entry: Vec<u8>,
    /// Checksum of the fresh instance that the state is told against.
    #[prost(uint32, tag = "8")]
    pub fresh: u32,
    /// Whether that is the worker's own, made by an initialisation that deals with the host.
    #[prost(bool, tag = "9")]
    pub own_fresh: bool,
}

impl Binding {
    /// Whether it is of this worker.
    pub fn is_of(&self, worker: &WorkerId) -> bool {
        self.component == worker.component_id.to_string() && self.worker == worker.worker_name
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(message, optional, tag = "1")]
    binding: Option<Binding>,
    #[prost(bytes = "bytes", tag = "2")]
    state: Bytes,
    /// Length of the state of the instance when it is not compressed, in bytes.
    #[prost(uint64, tag = "3")]
    body_length: u64,
    #[prost(bytes = "bytes", repeated, tag = "4")]
    initial: Vec<Bytes>,
}

/// Changed pages that follow each other.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Run {
    /// Offset in the memory, in bytes.
    #[prost(uint32, tag = "1")]
    pub(crate) start: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) bytes: Vec<u8>,
}

/// A linear memory.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Memory {
    /// Size in pages of 64 KiB.
    #[prost(uint32, tag = "1")]
    pub(crate) pages: u32,
    #[prost(message, repeated, tag = "2")]
    pub(crate) runs: Vec<Run>,
}

/// A worker that calls go to.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Rpc {
    #[prost(string, tag = "1")]
    pub(crate) component: String,
    #[prost(string, optional, tag = "2")]
    pub(crate) name: Option<String>,
}

/// How a resource is made again.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub(crate) enum Origin {
    #[prost(bool, tag = "3")]
    Stdin(bool),
    #[prost(bool, tag = "4")]
    Stdout(bool),
    #[prost(bool, tag = "5")]
    Stderr(bool),
    /// The worker's directory.
    #[prost(bool, tag = "6")]
    Root(bool),
    #[prost(message, tag = "7")]
    Rpc(Rpc),
    /// A resource of the component itself.
    #[prost(message, tag = "8")]
    Guest(GuestOrigin),
}

/// How a resource of the component itself is made again.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct GuestOrigin {
    /// The part that defines its type.
    #[prost(uint32, tag = "1")]
    pub(crate) part: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) kind: u32,
    #[prost(uint32, tag = "3")]
    pub(crate) rep: u32,
}

/// An entry of the handle table.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Entry {
    #[prost(uint32, tag = "1")]
    pub(crate) index: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) kind: u32,
    #[prost(oneof = "Origin", tags = "3, 4, 5, 6, 7, 8")]
    pub(crate) origin: Option<Origin>,
}

/// The handle table.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Handles {
    /// The highest index that ever had an entry.
    #[prost(uint32, tag = "1")]
    pub(crate) highest: u32,
    /// Entries by rising index.
    #[prost(message, repeated, tag = "2")]
    pub(crate) entries: Vec<Entry>,
    /// Free indexes, the one to be given next first.
    #[prost(uint32, repeated, tag = "3")]
    pub(crate) free: Vec<u32>,
}

/// A resource of the component that callers hold.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct GuestResource {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(message, optional, tag = "2")]
    pub(crate) origin: Option<GuestOrigin>,
}

/// A resource that is named by its constructor's arguments.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct IndexedResource {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(string, tag = "2")]
    pub(crate) resource: String,
    #[prost(string, repeated, tag = "3")]
    pub(crate) parameters: Vec<String>,
}

/// A time of a file.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Time {
    #[prost(sint64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(sint64, tag = "2")]
    pub(crate) nanoseconds: i64,
}

/// What is at a path.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub(crate) enum NodeKind {
    #[prost(bool, tag = "5")]
    Directory(bool),
    /// Target of a symbolic link.
    #[prost(string, tag = "6")]
    Link(String),
    #[prost(bytes, tag = "7")]
    Content(Vec<u8>),
    /// Key of a read-only initial file.
    #[prost(string, tag = "8")]
    Initial(String),
}

/// A file, directory or link of the worker.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Node {
    /// Path from the worker's directory; empty for it itself.
    #[prost(string, tag = "1")]
    pub(crate) path: String,
    #[prost(uint32, tag = "2")]
    pub(crate) mode: u32,
    #[prost(message, optional, tag = "3")]
    pub(crate) accessed: Option<Time>,
    #[prost(message, optional, tag = "4")]
    pub(crate) modified: Option<Time>,
    #[prost(oneof = "NodeKind", tags = "5, 6, 7, 8")]
    pub(crate) kind: Option<NodeKind>,
}

/// What the guest has set.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Settings {
    /// Persistence level: 0 nothing, 1 remote side effects, 2 smart.
    #[prost(uint32, tag = "1")]
    pub(crate) level: u32,
    #[prost(bool, tag = "2")]
    pub(crate) idempotent: bool,
    /// Whether the guest has set a retry policy: it is that of the folded state then.
    #[prost(bool, tag = "3")]
    pub(crate) retry_policy: bool,
}

/// The state of a part: of an instance of a component with code.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PartState {
    #[prost(message, repeated, tag = "1")]
    pub(crate) memories: Vec<Memory>,
    #[prost(fixed64, repeated, tag = "2")]
    pub(crate) globals: Vec<u64>,
    #[prost(message, optional, tag = "3")]
    pub(crate) handles: Option<Handles>,
}

/// The state of an instance.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Body {
    #[prost(message, repeated, tag = "1")]
    pub(crate) parts: Vec<PartState>,
    #[prost(uint64, tag = "4")]
    pub(crate) next_resource: u64,
    #[prost(message, repeated, tag = "5")]
    pub(crate) resources: Vec<GuestResource>,
    #[prost(message, repeated, tag = "6")]
    pub(crate) indexed: Vec<IndexedResource>,
    #[prost(message, repeated, tag = "7")]
    pub(crate) files: Vec<Node>,
    #[prost(message, optional, tag = "8")]
    pub(crate) settings: Option<Settings>,
}

/// A stored checkpoint or base.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// What it fits.
    pub binding: Binding,
    /// What the log up to its index adds up to; results are kept beside it.
    pub state: WorkerState,
    /// Of a base of a worker with a fresh instance of its own: entries from index 2 on, as they were
    /// stored, up to the first invocation. They repeat the initialisation.
    pub initial: Vec<Bytes>,
    body: Bytes,
    body_length: usize,
}

/// Encodes a checkpoint or a base.
pub(crate) fn seal(
    form: Form,
    binding: Binding,
    state: Bytes,
    initial: Vec<Bytes>,
    body: &Body,
) -> Result<Bytes, String> {
    let body = body.encode_to_vec();
    if body.len() > MAX_BODY {
        return Err(format!(
            "the state of the instance has {} bytes, the limit is {MAX_BODY}",
            body.len()
        ));
    }
    let header = Header { binding: Some(binding), state, body_length: body.len() as u64, initial }
        .encode_to_vec();
    let compressed = zstd::bulk::compress(&body, LEVEL).map_err(|e| e.to_string())?;
    let mut out =
        Vec::with_capacity(form.magic.len() + 8 + header.len() + compressed.len() + CHECKSUM);
    out.extend_from_slice(form.magic);
    out.extend_from_slice(&form.version.to_le_bytes());
    out.extend_from_slice(&u32::try_from(header.len()).map_err(|e| e.to_string())?.to_le_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(&compressed);
    let checksum = Sha256::digest(&out);
    out.extend_from_slice(&checksum);
    Ok(out.into())
}

impl Checkpoint {
    /// Reads a checkpoint; the reason why the bytes are none.
    pub fn open(bytes: &Bytes) -> Result<Self, String> {
        Self::open_as(CHECKPOINT, bytes)
    }

    /// Reads a base; the reason why the bytes are none.
    pub fn open_base(bytes: &Bytes) -> Result<Self, String> {
        Self::open_as(BASE, bytes)
    }

    fn open_as(form: Form, bytes: &Bytes) -> Result<Self, String> {
        let (content, checksum) = bytes.split_last_chunk::<CHECKSUM>().ok_or("it is too short")?;
        if Sha256::digest(content).as_slice() != checksum {
            return Err("its checksum is wrong".into());
        }
        let rest =
            content.strip_prefix(form.magic).ok_or_else(|| format!("it is no {}", form.name))?;
        let (version, rest) = rest.split_first_chunk::<4>().ok_or("it is too short")?;
        let (version, known) = (u32::from_le_bytes(*version), form.version);
        if version != known {
            return Err(format!("it has form {version}, and this release reads form {known}"));
        }
        let (length, rest) = rest.split_first_chunk::<4>().ok_or("it is too short")?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|e| e.to_string())?;
        let (header, body) = rest.split_at_checked(length).ok_or("its header is cut off")?;
        let header = Header::decode(bytes.slice_ref(header)).map_err(|e| e.to_string())?;
        let binding = header.binding.ok_or("it does not say what it fits")?;
        let state = summary::decode(&header.state).map_err(|e| e.to_string())?;
        let state = state
            .filter(|state| state.whole)
            .ok_or("its folded state is of another version")?
            .state;
        if state.index != binding.index {
            return Err("its state is of another index".into());
        }
        let body_length =
            usize::try_from(header.body_length).ok().filter(|length| *length <= MAX_BODY);
        let body_length = body_length.ok_or("its state is too long")?;
        Ok(Self {
            binding,
            state,
            initial: header.initial,
            body: bytes.slice_ref(body),
            body_length,
        })
    }

    pub(crate) fn body(&self) -> Result<Body, String> {
        let body =
            zstd::bulk::decompress(&self.body, self.body_length).map_err(|e| e.to_string())?;
        Body::decode(body.as_slice()).map_err(|e| e.to_string())
    }
}
