//! Component versions that are ready to be instantiated.

use crate::WorkerCtx;
use crate::engine::artefact_tag;
use bytes::Bytes;
use emet_api::Components;
use emet_model::{Component as Metadata, VersionedComponentId, WorkerError};
use emet_storage::BlobStore;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::OnceCell;
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

/// Component versions kept ready (docs/limits.md). Those in use stay alive beyond it.
const MAX_READY: usize = 256;

/// A component version with its imports resolved.
pub struct Prepared {
    /// What is known of it.
    pub metadata: Metadata,
    pub(crate) pre: InstancePre<WorkerCtx>,
}

type Slot = Arc<OnceCell<Arc<Prepared>>>;

/// Compiles, keeps and links component versions.
pub struct ComponentCache {
    engine: Engine,
    linker: Linker<WorkerCtx>,
    tag: String,
    blobs: Arc<dyn BlobStore>,
    components: Arc<dyn Components>,
    ready: Mutex<HashMap<VersionedComponentId, Slot>>,
}

/// Where the compiled form of a binary is kept: it depends on the content, the engine and its
/// configuration.
fn artefact_key(digest: &str, tag: &str) -> String {
    format!("artefacts/{digest}/{tag}.cwasm")
}

impl ComponentCache {
    /// A cache over the stores.
    pub fn new(engine: Engine, blobs: Arc<dyn BlobStore>, components: Arc<dyn Components>) -> wasmtime::Result<Self> {
        let linker = crate::host::linker(&engine)?;
        let tag = artefact_tag(&engine);
        Ok(Self { engine, linker, tag, blobs, components, ready: Mutex::new(HashMap::new()) })
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// A component version, compiled and linked. Concurrent callers share the work.
    pub async fn get(&self, id: VersionedComponentId) -> Result<Arc<Prepared>, WorkerError> {
        let slot = self.slot(id);
        slot.get_or_try_init(|| self.prepare(id)).await.cloned()
    }

    fn slot(&self, id: VersionedComponentId) -> Slot {
        let mut ready = self.ready.lock();
        if ready.len() >= MAX_READY && !ready.contains_key(&id) {
            ready.retain(|_, slot| Arc::strong_count(slot) > 1);
            if ready.len() >= MAX_READY {
                ready.clear();
            }
        }
        ready.entry(id).or_default().clone()
    }

    async fn prepare(&self, id: VersionedComponentId) -> Result<Arc<Prepared>, WorkerError> {
        let found = self.components.get(id.component_id, Some(id.version)).await;
        let metadata = found.map_err(|e| WorkerError::ComponentDownloadFailed { component_id: id, reason: e.to_string() })?;
        let component = self.load(&metadata).await?;
        let parse_failed = |e: wasmtime::Error| WorkerError::ComponentParseFailed { component_id: id, reason: format!("{e:#}") };
        let linker = crate::host::link_component(&self.linker, &component, &metadata).map_err(parse_failed)?;
        let pre = linker.instantiate_pre(&component).map_err(parse_failed)?;
        Ok(Arc::new(Prepared { metadata, pre }))
    }

    async fn load(&self, metadata: &Metadata) -> Result<Component, WorkerError> {
        let id = metadata.versioned_component_id;
        let failed = |reason: String| WorkerError::ComponentDownloadFailed { component_id: id, reason };
        let key = artefact_key(&metadata.wasm_digest, &self.tag);
        if let Some(artefact) = self.blobs.get(&key).await.map_err(|e| failed(e.to_string()))? {
            match open_artefact(&self.engine, &artefact) {
                Ok(component) => return Ok(component),
                Err(error) => tracing::warn!(%key, %error, "a compiled artefact cannot be used; compiling again"),
            }
        }
        let wasm = self.components.download(id.component_id, Some(id.version)).await.map_err(|e| failed(e.to_string()))?;
        let artefact = self.compile(&metadata.wasm_digest, wasm).await.map_err(|reason| WorkerError::ComponentParseFailed { component_id: id, reason })?;
        open_artefact(&self.engine, &artefact).map_err(|e| WorkerError::ComponentParseFailed { component_id: id, reason: e.to_string() })
    }

    /// Compiles a binary and keeps the artefact. Called after an upload, and where one is missing.
    pub async fn compile(&self, digest: &str, wasm: Bytes) -> Result<Bytes, String> {
        let engine = self.engine.clone();
        let compiled = tokio::task::spawn_blocking(move || engine.precompile_component(&wasm));
        let code = compiled.await.map_err(|e| e.to_string())?.map_err(|e| format!("{e:#}"))?;
        let artefact: Bytes = [Sha256::digest(&code).as_slice(), &code].concat().into();
        let key = artefact_key(digest, &self.tag);
        self.blobs.put(&key, artefact.clone()).await.map_err(|e| e.to_string())?;
        Ok(artefact)
    }
}

/// Bytes of the checksum in front of the code.
const CHECKSUM: usize = 32;

fn open_artefact(engine: &Engine, artefact: &[u8]) -> wasmtime::Result<Component> {
    let (checksum, code) = artefact.split_at_checked(CHECKSUM).ok_or_else(|| wasmtime::format_err!("it is too short"))?;
    wasmtime::ensure!(Sha256::digest(code).as_slice() == checksum, "its checksum is wrong");
    #[allow(unsafe_code, reason = "the only way to load compiled code; the artefact was made by `compile` and its checksum is right")]
    // SAFETY: the bytes come from this engine's `precompile_component`: the store is written by
    // executors only, the checksum excludes damage, and the key names engine and configuration.
    unsafe {
        Component::deserialize(engine, code)
    }
}
