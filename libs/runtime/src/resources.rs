//! The guest's own resources that were handed out to callers (guest spec 8.4).

use crate::vals::Handles;
use emet_values::Value;
use std::collections::HashMap;
use wasmtime::component::ResourceAny;

/// Names a resource by what it was constructed with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IndexKey {
    /// Full name of the resource, its interface included.
    pub(crate) resource: String,
    /// Canonical texts of the constructor's arguments.
    pub(crate) parameters: Vec<String>,
}

/// Resources by id; ids count from 0 in the order of creation, so replay gives the same ones.
#[derive(Default)]
pub(crate) struct GuestResources {
    uri: String,
    next: u64,
    live: HashMap<u64, ResourceAny>,
    indexed: HashMap<IndexKey, u64>,
    created: Vec<u64>,
    dropped: Vec<u64>,
}

impl GuestResources {
    /// The resources of a worker with this URN.
    pub(crate) fn new(uri: String) -> Self {
        Self { uri, ..Self::default() }
    }

    /// Ids handed out and taken back since the last call.
    pub(crate) fn take_changes(&mut self) -> (Vec<u64>, Vec<u64>) {
        (std::mem::take(&mut self.created), std::mem::take(&mut self.dropped))
    }

    /// The resource constructed with these arguments.
    pub(crate) fn find(&self, key: &IndexKey) -> Option<u64> {
        self.indexed.get(key).copied()
    }

    /// Makes a resource addressable.
    pub(crate) fn index(&mut self, key: IndexKey, id: u64) {
        self.indexed.insert(key, id);
    }

    /// A handle for a resource.
    pub(crate) fn handle(&self, id: u64) -> Value {
        Value::Handle { uri: self.uri.clone(), resource_id: id }
    }

    /// Forgets a resource; none if it is unknown.
    pub(crate) fn remove(&mut self, id: u64) -> Option<ResourceAny> {
        self.indexed.retain(|_, i| *i != id);
        let resource = self.live.remove(&id)?;
        self.dropped.push(id);
        Some(resource)
    }

    /// The id that a handle of this worker names.
    pub(crate) fn id_of(&self, uri: &str, id: u64) -> Result<u64, String> {
        if uri == self.uri {
            Ok(id)
        } else {
            Err("cannot resolve handle belonging to a different worker".into())
        }
    }

    /// All that callers hold.
    pub(crate) fn live(&self) -> Vec<(u64, ResourceAny)> {
        self.live.iter().map(|(id, resource)| (*id, *resource)).collect()
    }

    /// The next id, and the names of resources, in order.
    pub(crate) fn saved(&self) -> (u64, impl Iterator<Item = (IndexKey, u64)> + use<>) {
        let mut indexed: Vec<(IndexKey, u64)> =
            self.indexed.iter().map(|(key, id)| (key.clone(), *id)).collect();
        indexed.sort_unstable_by(|(a, _), (b, _)| {
            (&a.resource, &a.parameters).cmp(&(&b.resource, &b.parameters))
        });
        (self.next, indexed.into_iter())
    }

    /// Takes over what was saved.
    pub(crate) fn restore(
        &mut self,
        next: u64,
        live: Vec<(u64, ResourceAny)>,
        indexed: impl Iterator<Item = (IndexKey, u64)>,
    ) {
        self.next = next;
        self.live = live.into_iter().collect();
        self.indexed = indexed.collect();
    }

    /// Gives an owned resource away: the handle is spent.
    pub(crate) fn give(&mut self, id: u64) -> Result<ResourceAny, String> {
        self.remove(id).ok_or_else(|| "resource not found".into())
    }
}

impl Handles for GuestResources {
    fn lower(&mut self, uri: &str, id: u64, owned: bool) -> Result<ResourceAny, String> {
        let id = self.id_of(uri, id)?;
        if owned {
            return self.give(id);
        }
        self.live.get(&id).copied().ok_or_else(|| "resource not found".into())
    }

    fn lift(&mut self, resource: ResourceAny) -> Value {
        let id = self.next;
        self.next += 1;
        self.live.insert(id, resource);
        self.created.push(id);
        self.handle(id)
    }
}
