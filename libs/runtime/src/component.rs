//! Component versions that are ready to be instantiated.

use crate::WorkerCtx;
use crate::checkpoint::{Fresh, REMADE};
use crate::engine::artefact_tag;
use bytes::Bytes;
use emet_api::Components;
use emet_checkpoint::{Plan, Verdict, rewrite};
use emet_model::{Component as Metadata, ComponentType, VersionedComponentId, WorkerError};
use emet_storage::BlobStore;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
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
    /// What was added to the component; none if its state cannot be saved.
    pub(crate) plan: Option<Arc<Plan>>,
    /// State of the first fresh instance, once there was one.
    first_fresh: OnceLock<Arc<Fresh>>,
}

impl Prepared {
    /// The state of the first fresh instance, which others are told against.
    pub(crate) fn first_fresh(&self) -> Option<&Arc<Fresh>> {
        self.first_fresh.get()
    }

    /// Keeps the state of a fresh instance.
    pub(crate) fn set_first_fresh(&self, fresh: Arc<Fresh>) {
        // Another instance may have been as quick: each is right.
        drop(self.first_fresh.set(fresh));
    }

    /// Whether the state of an instance can be saved.
    pub fn supports_checkpoints(&self) -> bool {
        self.plan.is_some()
    }
}

type Slot = Arc<OnceCell<Arc<Prepared>>>;

/// Compiles, keeps and links component versions.
pub struct ComponentCache {
    engine: Engine,
    linker: Linker<WorkerCtx>,
    tags: Tags,
    /// Whether components are rewritten for checkpoints.
    rewriting: bool,
    blobs: Arc<dyn BlobStore>,
    components: Arc<dyn Components>,
    /// By version, and whether it is rewritten.
    ready: Mutex<HashMap<(VersionedComponentId, bool), Slot>>,
}

/// What compiled components depend on beside their content, as they are and rewritten.
struct Tags {
    plain: String,
    rewritten: String,
}

impl Tags {
    fn of(&self, rewriting: bool) -> &str {
        if rewriting { &self.rewritten } else { &self.plain }
    }
}

/// Where the compiled form of a binary is kept: it depends on the content, the engine and its
/// configuration.
fn artefact_key(digest: &str, tag: &str) -> String {
    format!("artefacts/{digest}/{tag}.artefact")
}

impl ComponentCache {
    /// A cache over the stores.
    pub fn new(
        engine: Engine,
        blobs: Arc<dyn BlobStore>,
        components: Arc<dyn Components>,
    ) -> wasmtime::Result<Self> {
        let linker = crate::host::linker(&engine)?;
        let plain = artefact_tag(&engine);
        let rewritten = format!("{plain}-{}", emet_checkpoint::VERSION);
        Ok(Self {
            engine,
            linker,
            tags: Tags { plain, rewritten },
            rewriting: true,
            blobs,
            components,
            ready: Mutex::new(HashMap::new()),
        })
    }

    /// The cache, with components compiled as they were uploaded: without checkpoints.
    #[must_use]
    pub fn without_checkpoints(mut self) -> Self {
        self.rewriting = false;
        self
    }

    /// What an instance depends on beside the component's content.
    pub fn tag(&self) -> &str {
        self.tags.of(self.rewriting)
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// A component version, compiled and linked. Concurrent callers share the work.
    pub async fn get(&self, id: VersionedComponentId) -> Result<Arc<Prepared>, WorkerError> {
        self.get_as(id, self.rewriting).await
    }

    /// As [`Self::get`], rewritten for checkpoints in any case: for a worker that has to start from a
    /// base.
    pub async fn rewritten(&self, id: VersionedComponentId) -> Result<Arc<Prepared>, WorkerError> {
        self.get_as(id, true).await
    }

    async fn get_as(
        &self,
        id: VersionedComponentId,
        rewriting: bool,
    ) -> Result<Arc<Prepared>, WorkerError> {
        let slot = self.slot((id, rewriting));
        slot.get_or_try_init(|| self.prepare(id, rewriting)).await.cloned()
    }

    fn slot(&self, id: (VersionedComponentId, bool)) -> Slot {
        let mut ready = self.ready.lock();
        if ready.len() >= MAX_READY && !ready.contains_key(&id) {
            ready.retain(|_, slot| Arc::strong_count(slot) > 1);
            if ready.len() >= MAX_READY {
                ready.clear();
            }
        }
        ready.entry(id).or_default().clone()
    }

    async fn prepare(
        &self,
        id: VersionedComponentId,
        rewriting: bool,
    ) -> Result<Arc<Prepared>, WorkerError> {
        let found = self.components.get(id.component_id, Some(id.version)).await;
        let metadata = found.map_err(|e| WorkerError::ComponentDownloadFailed {
            component_id: id,
            reason: e.to_string(),
        })?;
        let (component, plan) = self.load(&metadata, rewriting).await?;
        let parse_failed = |e: wasmtime::Error| WorkerError::ComponentParseFailed {
            component_id: id,
            reason: format!("{e:#}"),
        };
        let linker = crate::host::link_component(&self.linker, &component, &metadata)
            .map_err(parse_failed)?;
        let pre = linker.instantiate_pre(&component).map_err(parse_failed)?;
        let plan = plan.filter(|_| metadata.component_type == ComponentType::Durable).map(Arc::new);
        Ok(Arc::new(Prepared { metadata, pre, plan, first_fresh: OnceLock::new() }))
    }

    async fn load(
        &self,
        metadata: &Metadata,
        rewriting: bool,
    ) -> Result<(Component, Option<Plan>), WorkerError> {
        let id = metadata.versioned_component_id;
        let failed =
            |reason: String| WorkerError::ComponentDownloadFailed { component_id: id, reason };
        let key = artefact_key(&metadata.wasm_digest, self.tags.of(rewriting));
        if let Some(artefact) = self.blobs.get(&key).await.map_err(|e| failed(e.to_string()))? {
            match open_artefact(&self.engine, &artefact) {
                Ok(opened) => return Ok(opened),
                Err(error) => {
                    tracing::warn!(%key, %error, "a compiled artefact cannot be used; compiling again")
                }
            }
        }
        let wasm = self
            .components
            .download(id.component_id, Some(id.version))
            .await
            .map_err(|e| failed(e.to_string()))?;
        let artefact = self
            .compile_as(&metadata.wasm_digest, wasm, rewriting)
            .await
            .map_err(|reason| WorkerError::ComponentParseFailed { component_id: id, reason })?;
        open_artefact(&self.engine, &artefact).map_err(|e| WorkerError::ComponentParseFailed {
            component_id: id,
            reason: e.to_string(),
        })
    }

    /// Compiles a binary and keeps the artefact. Called after an upload, and where one is missing.
    pub async fn compile(&self, digest: &str, wasm: Bytes) -> Result<Bytes, String> {
        self.compile_as(digest, wasm, self.rewriting).await
    }

    async fn compile_as(
        &self,
        digest: &str,
        wasm: Bytes,
        rewriting: bool,
    ) -> Result<Bytes, String> {
        let engine = self.engine.clone();
        let compiled = tokio::task::spawn_blocking(move || -> Result<Vec<u8>, String> {
            // What was added may exceed a limit of the engine that the component itself keeps.
            let rewritten =
                if rewriting { Some(make_artefact(&engine, &wasm, true)?) } else { None };
            match rewritten.filter(|artefact| open_artefact(&engine, artefact).is_ok()) {
                Some(artefact) => Ok(artefact),
                None => make_artefact(&engine, &wasm, false),
            }
        });
        let artefact: Bytes = compiled.await.map_err(|e| e.to_string())??.into();
        let key = artefact_key(digest, self.tags.of(rewriting));
        self.blobs.put(&key, artefact.clone()).await.map_err(|e| e.to_string())?;
        Ok(artefact)
    }
}

/// Bytes of the checksum in front of the code.
const CHECKSUM: usize = 32;

/// A component and what was added to it: checksum, length of the plan, plan as JSON, code.
fn make_artefact(engine: &Engine, wasm: &[u8], rewriting: bool) -> Result<Vec<u8>, String> {
    let verdict = if rewriting { rewrite(wasm, REMADE) } else { Verdict::Refused(String::new()) };
    let (wasm, plan) = match &verdict {
        Verdict::Supported { wasm, plan } => (wasm.as_slice(), Some(plan)),
        Verdict::Refused(_) => (wasm, None),
    };
    let code = engine.precompile_component(wasm).map_err(|e| format!("{e:#}"))?;
    let plan = serde_json::to_vec(&plan).map_err(|e| e.to_string())?;
    let length = u32::try_from(plan.len()).map_err(|e| e.to_string())?;
    let content = [&length.to_le_bytes()[..], &plan, &code].concat();
    Ok([Sha256::digest(&content).as_slice(), &content].concat())
}

fn open_artefact(engine: &Engine, artefact: &[u8]) -> wasmtime::Result<(Component, Option<Plan>)> {
    let too_short = || wasmtime::format_err!("it is too short");
    let (checksum, content) = artefact.split_at_checked(CHECKSUM).ok_or_else(too_short)?;
    wasmtime::ensure!(Sha256::digest(content).as_slice() == checksum, "its checksum is wrong");
    let (length, rest) = content.split_first_chunk::<4>().ok_or_else(too_short)?;
    let (plan, code) = rest
        .split_at_checked(usize::try_from(u32::from_le_bytes(*length))?)
        .ok_or_else(too_short)?;
    let plan: Option<Plan> = serde_json::from_slice(plan)
        .map_err(|e| wasmtime::format_err!("its plan cannot be read: {e}"))?;
    #[allow(
        unsafe_code,
        reason = "the only way to load compiled code; the artefact was made by `compile` and its checksum is right"
    )]
    // SAFETY: the bytes come from this engine's `precompile_component`: the store is written by
    // executors only, the checksum excludes damage, and the key names engine and configuration.
    let component = unsafe { Component::deserialize(engine, code)? };
    Ok((component, plan))
}
