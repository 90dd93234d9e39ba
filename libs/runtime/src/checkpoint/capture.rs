//! Reading the state of an idle instance.

use super::access::Access;
use super::files;
use super::format::{
    Binding, Body, Entry, GuestResource, Handles, IndexedResource, Node, Settings, seal,
};
use crate::{Instance, WorkerCtx};
use bytes::Bytes;
use emet_checkpoint::{PREFIX, Plan};
use emet_oplog::PersistenceLevel;
use sha2::{Digest, Sha256};

/// The state of an instance at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Capture {
    body: Body,
    base: u32,
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
        let (Some(plan), Some(base)) = (self.prepared.plan.clone(), self.prepared.base().cloned())
        else {
            return Ok(Captured::NotNow("the component does not support checkpoints".into()));
        };
        if let Some(reason) = self.ctx_ref().in_use() {
            return Ok(Captured::NotNow(reason));
        }
        let resources = match self.guest_resources(&plan).await? {
            Ok(resources) => resources,
            Err(reason) => return Ok(Captured::NotNow(reason)),
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
        let handles = match access.handles(&plan).await? {
            Ok(handles) => handles,
            Err(reason) => return Ok(Captured::NotNow(reason)),
        };
        let globals = access.globals(&plan).await?;
        let Some(memories) = access.changed(&plan, &base).await? else {
            return Ok(Captured::NotNow("too much of the memory has changed".into()));
        };
        let body = Body {
            memories,
            globals,
            handles: Some(handles),
            next_resource,
            resources,
            indexed,
            files,
            settings: Some(settings),
        };
        Ok(Captured::Taken(Box::new(Capture { body, base: base.fingerprint })))
    }

    pub(crate) fn access(&mut self) -> Access<'_> {
        Access { store: &mut self.store, instance: self.instance }
    }

    /// The component's own resources that callers hold, by rising id.
    async fn guest_resources(
        &mut self,
        plan: &Plan,
    ) -> wasmtime::Result<Result<Vec<GuestResource>, String>> {
        let (mut live, mut saved) = (self.resources.live(), Vec::new());
        live.sort_unstable_by_key(|(id, _)| *id);
        for (id, resource) in live {
            let numbers: Vec<u32> = (1u32..)
                .zip(&plan.kinds)
                .filter(|(_, kind)| kind.interface.is_none())
                .map(|(number, _)| number)
                .collect();
            let mut kind = None;
            for number in numbers {
                let ty = self
                    .instance
                    .get_resource(&mut self.store, format!("{PREFIX}resource-{number}").as_str());
                if ty == Some(resource.ty()) {
                    kind = Some(number);
                }
            }
            let Some(kind) = kind else {
                return Ok(Err("a caller holds a resource of an unknown type".into()));
            };
            let (rep,): (u32,) =
                self.access().invoke(&format!("borrow-{kind}"), (resource,)).await?;
            saved.push(GuestResource { id, kind, rep });
        }
        Ok(Ok(saved))
    }

    fn files(&self) -> Result<Vec<Node>, String> {
        let ctx = self.ctx_ref();
        files::read(ctx.files.path(), &ctx.read_only, &self.prepared.metadata.files)
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
    /// Checksum of the fresh instance that the state is told against.
    pub fn base(&self) -> u32 {
        self.base
    }

    /// Encodes a checkpoint of the state, with the folded state (`emet_oplog::summary`) up to the
    /// same index; takes time with its size.
    pub fn seal(&self, binding: Binding, state: Bytes) -> Result<Bytes, String> {
        seal(binding, state, &self.body)
    }

    /// SHA-256 of memories, globals and handles: the same for equal states, however they came to be.
    pub fn hash(&self) -> [u8; 32] {
        use prost::Message;
        let mut hasher = Sha256::new();
        hasher.update(self.base.to_le_bytes());
        hasher.update(Body { files: Vec::new(), ..self.body.clone() }.encode_to_vec());
        hasher.finalize().into()
    }

    /// In what respects two states differ, for people.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let (a, b) = (&self.body, &other.body);
        let mut found = Vec::new();
        if self.base != other.base {
            found.push("the fresh instances differ".to_owned());
        }
        for (number, (a, b)) in a.memories.iter().zip(&b.memories).enumerate() {
            if a.pages != b.pages {
                found.push(format!("memory {number} has {} and {} pages", a.pages, b.pages));
            } else if a.runs != b.runs {
                found.push(format!(
                    "memory {number} differs: {}",
                    first_difference(&a.runs, &b.runs)
                ));
            }
        }
        let globals = a.globals.iter().zip(&b.globals).enumerate().filter(|(_, (a, b))| a != b);
        found.extend(
            globals.map(|(number, (a, b))| format!("global {number} is {a:#x} and {b:#x}")),
        );
        if a.handles != b.handles {
            let show = |handles: &Option<Handles>| {
                handles.as_ref().map(|h| {
                    (
                        h.highest,
                        h.entries.iter().map(entry_text).collect::<Vec<_>>(),
                        h.free.clone(),
                    )
                })
            };
            found.push(format!(
                "the handle tables differ: {:?} and {:?}",
                show(&a.handles),
                show(&b.handles)
            ));
        }
        if (a.next_resource, &a.resources, &a.indexed)
            != (b.next_resource, &b.resources, &b.indexed)
        {
            found.push("the resources that callers hold differ".into());
        }
        if a.settings != b.settings {
            found.push("what the guest has set differs".into());
        }
        found.extend(files::differences(&a.files, &b.files));
        found
    }
}

fn entry_text(entry: &Entry) -> String {
    format!("{}: {:?}", entry.index, entry.origin)
}

fn first_difference(a: &[super::format::Run], b: &[super::format::Run]) -> String {
    let places = |runs: &[super::format::Run]| {
        runs.iter().map(|run| (run.start, run.bytes.len())).collect::<Vec<_>>()
    };
    if places(a) != places(b) {
        return format!("changed pages at {:?} and {:?}", places(a), places(b));
    }
    let bytes = a.iter().zip(b).flat_map(|(a, b)| (a.start..).zip(a.bytes.iter().zip(&b.bytes)));
    let differing: Vec<u32> =
        bytes.filter(|(_, (a, b))| a != b).map(|(at, _)| at).take(8).collect();
    format!("first at {differing:?}")
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
