//! What belongs to a loaded worker beside its memory: the state of its host functions.

use crate::checkpoint::HostState;
use crate::files::WorkerFiles;
use crate::host::golem::Spans;
use crate::host::http::{Exchanges, Hooks};
use crate::host::rpc::UnderWay;
use crate::host::sockets::{self, Connections};
use crate::log::Journal;
use crate::memory::MemoryAccount;
use crate::node::Node;
use emet_model::{Component, ComponentType, ComponentVersion, WorkerId};
use emet_oplog::{Create, LogLevel};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// Largest text of one log entry, in bytes; longer output is cut into several (docs/limits.md).
const MAX_LOG_TEXT: usize = 64 * 1024;
/// Output buffered before it is committed, so that a flood of it meets the log's speed.
const MAX_BUFFERED_LOGS: usize = 1024;

/// The data of a worker's store.
pub struct WorkerCtx {
    /// The worker.
    pub worker: WorkerId,
    /// Version of the component that was instantiated.
    pub component_version: ComponentVersion,
    /// Durable or ephemeral.
    pub component_type: ComponentType,
    /// Arguments given at creation.
    pub args: Vec<String>,
    /// Environment given at creation.
    pub env: Vec<(String, String)>,
    /// Place in the oplog.
    pub journal: Journal,
    /// Services of the node.
    pub node: Arc<Node>,
    /// Resources that the guest holds.
    pub table: ResourceTable,
    /// The worker's directory; removed with the context.
    pub files: WorkerFiles,
    preopened: bool,
    pub(crate) wasi: WasiCtx,
    pub(crate) http: WasiHttpCtx,
    pub(crate) http_hooks: Hooks,
    /// HTTP exchanges that have not ended.
    pub(crate) exchanges: Exchanges,
    /// Sockets.
    pub(crate) connections: Connections,
    /// Trace of the current invocation.
    pub(crate) spans: Spans,
    /// Timers among the pollables, by their place in the table.
    pub(crate) deadlines: HashMap<u32, Option<SystemTime>>,
    /// Calls of other workers among the pollables: place of the pollable, and of the call.
    pub(crate) calls: HashMap<u32, u32>,
    /// Calls of other workers whose answers were not taken yet.
    pub(crate) under_way: UnderWay,
    /// Calls that were begun in the replay and not sent by this instance, by their place in the table.
    pub(crate) dormant: Vec<u32>,
    /// Resolves when the worker, which was stopped because it waits for calls, is to go on. Locked
    /// only to be shared: it is set and taken by whoever has the whole context.
    pub(crate) waiting: Mutex<Option<BoxFuture<'static, ()>>>,
    /// Streams that go to the log, by their place in the table.
    pub(crate) log_streams: HashMap<u32, LogLevel>,
    /// Device and inode of read-only initial files.
    pub(crate) read_only: HashSet<(u64, u64)>,
    /// Linear memory granted so far, in bytes.
    pub(crate) memory: MemoryAccount,
    /// What passes between the host and what was added to the component.
    pub(crate) checkpoint: HostState,
}

impl WorkerCtx {
    /// Whether the worker can be rebuilt in the middle of a call.
    pub(crate) fn can_suspend(&self) -> bool {
        self.component_type == ComponentType::Durable
    }

    /// Output of the guest goes to the oplog.
    pub(crate) async fn log(
        &mut self,
        level: LogLevel,
        context: &str,
        message: &str,
    ) -> wasmtime::Result<()> {
        let mut rest = message;
        while rest.len() > MAX_LOG_TEXT {
            let (head, tail) = rest.split_at(rest.floor_char_boundary(MAX_LOG_TEXT));
            self.journal.log(level, context, head);
            rest = tail;
        }
        self.journal.log(level, context, rest);
        if self.journal.writer.buffered() > MAX_BUFFERED_LOGS {
            self.journal.flush().await
        } else {
            Ok(())
        }
    }
}

impl WasiView for WorkerCtx {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for WorkerCtx {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.http_hooks }
    }
}

impl WorkerCtx {
    /// The context of a worker that is about to be instantiated.
    pub fn new(
        node: Arc<Node>,
        create: &Create,
        component: &Component,
        journal: Journal,
        files: WorkerFiles,
        read_only: HashSet<(u64, u64)>,
        memory: MemoryAccount,
    ) -> wasmtime::Result<Self> {
        let mut wasi = WasiCtxBuilder::new();
        let (reach, client) = node.network.of(&component.component_name);
        let connections = sockets::allow(&mut wasi, reach);
        Ok(Self {
            worker: create.worker_id.clone(),
            component_version: component.versioned_component_id.version,
            component_type: component.component_type,
            args: create.args.clone(),
            env: create.env.clone(),
            journal,
            table: ResourceTable::new(),
            files,
            preopened: false,
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            http_hooks: Hooks::new(client),
            exchanges: Exchanges::default(),
            connections,
            spans: Spans::default(),
            deadlines: HashMap::new(),
            calls: HashMap::new(),
            under_way: UnderWay::default(),
            dormant: Vec::new(),
            waiting: Mutex::new(None),
            log_streams: HashMap::new(),
            read_only,
            memory,
            checkpoint: HostState::default(),
            node,
        })
    }
    /// Lets the guest into its directory; most never ask for it.
    pub(crate) fn preopen(&mut self) -> wasmtime::Result<()> {
        if !std::mem::replace(&mut self.preopened, true) {
            let mut opened = WasiCtxBuilder::new();
            opened.preopened_dir(self.files.path(), "/", FsPerms::ReadWrite)?;
            opened.preopened_dir(self.files.path(), ".", FsPerms::ReadWrite)?;
            std::mem::swap(self.wasi.filesystem(), opened.build().filesystem());
        }
        Ok(())
    }
}
