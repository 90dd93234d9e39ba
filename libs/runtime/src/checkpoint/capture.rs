//! Reading the state of an idle instance.

use super::access::Access;
use super::differences;
use super::files;
use super::format::{
    BASE, Binding, Body, CHECKPOINT, GuestResource, IndexedResource, Node, PartState, Settings,
    seal,
};
use super::handles::GuestTypes;
use crate::{Instance, WorkerCtx};
use bytes::Bytes;
use emet_model::{Component, OplogIndex, WorkerId};
use emet_oplog::PersistenceLevel;
use sha2::{Digest, Sha256};

/// The state of an instance at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Capture {
    body: Body,
    fresh: u32,
    /// Whether the fresh instance is the worker's own.
    own_fresh: bool,
}

/// Outcome of [`Instance::capture`].
#[derive(Debug)]
pub enum Captured {
    /// The state.
    Taken(Box<Capture>),
    /// It cannot be saved now; the text says why. The instance is as it was.
    NotNow(String),
}

impl Instance {
    /// Reads the state of an instance that executes nothing. After an error the instance must not
    /// be used any more.
    pub async fn capture(&mut self) -> wasmtime::Result<Captured> {
        let fresh = match &self.fresh {
            Ok(fresh) => fresh.clone(),
            Err(reason) => return Ok(Captured::NotNow(reason.clone())),
        };
        let Some(plan) = self.prepared.plan.clone() else {
            return Ok(Captured::NotNow("the component does not support checkpoints".into()));
        };
        if let Some(reason) = self.ctx_ref().in_use() {
            return Ok(Captured::NotNow(reason));
        }
        let types = self.access().guest_types(&plan)?;
        let Some(resources) = self.guest_resources(&types).await? else {
            return Ok(Captured::NotNow("a caller holds a resource of an unknown type".into()));
        };
        let files = match self.files() {
            Ok(files) => files,
            Err(reason) => return Ok(Captured::NotNow(reason)),
        };
        let (next_resource, indexed) = self.resources.saved();
        let indexed = indexed
            .map(|(key, id)| IndexedResource {
                id,
                resource: key.resource,
                parameters: key.parameters,
            })
            .collect();
        let settings = self.ctx_ref().journal.settings();
        let mut access = self.access();
        let handles = match access.handles(&plan, &types).await? {
            Ok(handles) => handles,
            Err(reason) => return Ok(Captured::NotNow(reason)),
        };
        let Some(images) = access.changed(&plan, &fresh).await? else {
            return Ok(Captured::NotNow("too much of the memory has changed".into()));
        };
        let parts = images.into_iter().zip(handles);
        let parts = parts.map(|((memories, globals), handles)| PartState {
            memories,
            globals,
            handles: Some(handles),
        });
        let body = Body {
            parts: parts.collect(),
            next_resource,
            resources,
            indexed,
            files,
            settings: Some(settings),
        };
        let (fresh, own_fresh) = (fresh.fingerprint, fresh.own);
        Ok(Captured::Taken(Box::new(Capture { body, fresh, own_fresh })))
    }

    pub(crate) fn access(&mut self) -> Access<'_> {
        Access { store: &mut self.store, instance: self.instance, part: 0 }
    }

    /// The component's own resources that callers hold, by rising id; none if one is unknown.
    async fn guest_resources(
        &mut self,
        types: &GuestTypes,
    ) -> wasmtime::Result<Option<Vec<GuestResource>>> {
        let (mut live, mut saved) = (self.resources.live(), Vec::new());
        live.sort_unstable_by_key(|(id, _)| *id);
        for (id, resource) in live {
            let Some(origin) = self.access().guest_origin(types, resource).await? else {
                return Ok(None);
            };
            saved.push(GuestResource { id, origin: Some(origin) });
        }
        Ok(Some(saved))
    }

    fn files(&self) -> Result<Vec<Node>, String> {
        let ctx = self.ctx_ref();
        let Some(dir) = ctx.files.used() else { return Ok(Vec::new()) };
        files::read(dir, &ctx.read_only, &self.prepared.metadata.files)
    }
}

impl WorkerCtx {
    /// Why the host's side of the worker cannot be saved, if it cannot.
    fn in_use(&self) -> Option<String> {
        if !self.exchanges.is_empty() {
            return Some("an HTTP request is under way".into());
        }
        let journal = &self.journal;
        if !journal.is_live() {
            return Some("the log is being replayed".into());
        }
        let open =
            journal.writer.with_state(|s| !s.open_regions.is_empty() || !s.open_writes.is_empty());
        open.then(|| "an atomic region or a remote write has not ended".into())
    }
}

impl Capture {
    /// What the stored form depends on, but for the hash of the entry at the index, which is in the
    /// log only when it is durable.
    pub fn binding(
        &self,
        worker: &WorkerId,
        component: &Component,
        engine: String,
        index: OplogIndex,
    ) -> Binding {
        Binding {
            component: worker.component_id.to_string(),
            worker: worker.worker_name.clone(),
            version: component.versioned_component_id.version,
            digest: component.wasm_digest.clone(),
            engine,
            index,
            entry: Vec::new(),
            fresh: self.fresh,
            own_fresh: self.own_fresh,
        }
    }

    /// Encodes a checkpoint of the state, with the folded state (`emet_oplog::summary`) up to the
    /// same index; takes time with its size.
    pub fn seal(&self, binding: Binding, state: Bytes) -> Result<Bytes, String> {
        seal(CHECKPOINT, binding, state, Vec::new(), &self.body)
    }

    /// As [`Self::seal`], as a base with these [`super::Checkpoint::initial`] entries.
    pub fn seal_base(
        &self,
        binding: Binding,
        state: Bytes,
        initial: Vec<Bytes>,
    ) -> Result<Bytes, String> {
        seal(BASE, binding, state, initial, &self.body)
    }

    /// SHA-256 of all but the files: the same for equal states, however they came to be.
    pub fn hash(&self) -> [u8; 32] {
        use prost::Message;
        let mut hasher = Sha256::new();
        hasher.update(self.fresh.to_le_bytes());
        hasher.update(Body { files: Vec::new(), ..self.body.clone() }.encode_to_vec());
        hasher.finalize().into()
    }

    /// In what respects two states differ, for people.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = differences::between(&self.body, &other.body);
        if self.fresh != other.fresh {
            found.insert(0, "the fresh instances differ".to_owned());
        }
        found
    }
}

/// Number of a persistence level in the stored form.
pub(super) fn level_number(level: PersistenceLevel) -> u32 {
    match level {
        PersistenceLevel::Nothing => 0,
        PersistenceLevel::RemoteSideEffects => 1,
        PersistenceLevel::Smart => 2,
    }
}

/// The inverse of [`level_number`].
pub(super) fn level_of(number: u32) -> Option<PersistenceLevel> {
    [PersistenceLevel::Nothing, PersistenceLevel::RemoteSideEffects, PersistenceLevel::Smart]
        .into_iter()
        .find(|level| level_number(*level) == number)
}

impl crate::log::Journal {
    fn settings(&self) -> Settings {
        Settings {
            level: level_number(self.level()),
            idempotent: self.idempotent,
            retry_policy: self.retry_policy.is_some(),
        }
    }
}
