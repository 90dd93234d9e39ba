//! The fresh instance that states are told against: one that has executed nothing but its
//! initialisation.
//!
//! Most components ask the host for nothing then, and a fresh instance is the same for every worker.
//! Of others, as those of Go, each worker has its own, made with random numbers and times that are
//! recorded as all answers of the host are: it is come by again by repeating the initialisation with
//! the recorded answers. To tell the state of such a worker against it, it is enough to keep in what
//! it differs from the first one of the component.

use super::access::Access;
use super::format::{Memory, Origin};
use super::image::compare;
use super::written::Written;
use crate::Instance;
use emet_checkpoint::{PAGE, Part, Plan};
use std::sync::Arc;

/// Most bytes by which the fresh instance of a worker may differ from the first one of its component
/// (docs/limits.md).
const MAX_OWN: usize = 4 << 20;

/// Memories and globals of a fresh instance.
pub(crate) struct Fresh {
    pub(super) parts: Vec<FreshPart>,
    /// Whether the initialisation has dealt with the host, so that another worker may have another.
    pub(crate) own: bool,
    /// Checksum of them all: a checkpoint fits only an equal one.
    pub(crate) fingerprint: u32,
}

#[derive(Default)]
pub(super) struct FreshPart {
    pub(super) memories: Vec<FreshMemory>,
    pub(super) globals: Vec<u64>,
}

/// A memory of a fresh instance.
#[derive(Default)]
pub(super) struct FreshMemory {
    /// The whole memory of the first one.
    first: Arc<Vec<u8>>,
    /// Size, and in what this one differs from the first.
    own: Memory,
}

impl FreshMemory {
    /// Of the first instance, or of one that is like it.
    pub(super) fn first(whole: Vec<u8>) -> Self {
        let pages = u32::try_from(whole.len() / (16 * PAGE)).unwrap_or(u32::MAX);
        Self { first: Arc::new(whole), own: Memory { pages, runs: Vec::new() } }
    }

    /// The bytes of a page; none beyond the end.
    pub(super) fn page(&self, at: u32, length: usize) -> Option<&[u8]> {
        let start = usize::try_from(at).ok()?;
        let end = start.checked_add(length)?;
        // What the first one has beyond the end of this one is nothing of this one.
        if end > usize::try_from(self.own.pages).ok()?.saturating_mul(16 * PAGE) {
            return None;
        }
        let next = self.own.runs.partition_point(|run| run.start <= at);
        let run = next.checked_sub(1).and_then(|last| self.own.runs.get(last));
        let own = run.and_then(|run| {
            let start = usize::try_from(at.checked_sub(run.start)?).ok()?;
            run.bytes.get(start..start.checked_add(length)?)
        });
        own.or_else(|| self.first.get(start..end))
    }
}

impl Instance {
    /// The state of this fresh instance, for telling later ones against it; or why there is none.
    pub(crate) async fn read_fresh(&mut self) -> wasmtime::Result<Result<Arc<Fresh>, String>> {
        let Some(plan) = self.prepared.plan.clone() else {
            return Ok(Err("the component does not support checkpoints".into()));
        };
        let first = self.prepared.first_fresh().cloned();
        let asked = self.ctx_ref().journal.is_touched();
        if let Some(first) = first.as_ref().filter(|first| !asked && !first.own) {
            return Ok(Ok(first.clone()));
        }
        let own = asked || !self.access().holds_nothing(&plan).await?;
        if own && let Some(reason) = self.cannot_begin_again(&plan, asked).await? {
            return Ok(Err(format!("after its initialisation, {reason}")));
        }
        let Some(fresh) = self.access().fresh(&plan, first.as_deref(), own).await? else {
            return Ok(Err("its initialisation gives too much that is its own".into()));
        };
        let fresh = Arc::new(fresh);
        if first.is_none() {
            self.prepared.set_first_fresh(fresh.clone());
        }
        Ok(Ok(fresh))
    }

    /// Why the initialisation, repeated with the recorded answers, would not give the same again
    /// in all respects, if so.
    async fn cannot_begin_again(
        &mut self,
        plan: &Plan,
        asked: bool,
    ) -> wasmtime::Result<Option<String>> {
        let ctx = self.ctx_ref();
        if asked && !ctx.journal.is_persisting() {
            return Ok(Some("what the host has answered is not in the log".into()));
        }
        if !ctx.exchanges.is_empty() {
            return Ok(Some("an HTTP request is under way".into()));
        }
        let types = self.access().guest_types(plan)?;
        let tables = match self.access().handles(plan, &types).await? {
            Ok(tables) => tables,
            Err(reason) => return Ok(Some(reason)),
        };
        let mut entries = tables.iter().flat_map(|table| &table.entries);
        let own = entries.any(|entry| matches!(entry.origin, Some(Origin::Guest(_))));
        Ok(own.then(|| "resources of the component are held".into()))
    }
}

impl Access<'_> {
    /// The state of a fresh instance, told against the first one, if there is one already. None:
    /// it differs too much.
    async fn fresh(
        &mut self,
        plan: &Plan,
        first: Option<&Fresh>,
        own: bool,
    ) -> wasmtime::Result<Option<Fresh>> {
        let mut hasher = crc32fast::Hasher::new();
        let mut parts = Vec::new();
        for (number, part) in plan.parts.iter().enumerate() {
            let first = first.and_then(|first| first.parts.get(number));
            parts.push(self.of(number).fresh_part(part, first, &mut hasher).await?);
        }
        let memories = parts.iter().flat_map(|part| &part.memories);
        let own_runs = memories.flat_map(|memory| &memory.own.runs);
        if own_runs.map(|run| run.bytes.len()).sum::<usize>() > MAX_OWN {
            return Ok(None);
        }
        Ok(Some(Fresh { parts, own, fingerprint: hasher.finalize() }))
    }

    async fn fresh_part(
        &mut self,
        part: &Part,
        first: Option<&FreshPart>,
        hasher: &mut crc32fast::Hasher,
    ) -> wasmtime::Result<FreshPart> {
        let mut fresh = FreshPart::default();
        for number in 0..part.memories {
            let first = first.and_then(|first| first.memories.get(usize::try_from(number).ok()?));
            fresh.memories.push(self.fresh_memory(number, first, hasher).await?);
        }
        fresh.globals = self.globals(part).await?;
        fresh.globals.iter().for_each(|global| hasher.update(&global.to_le_bytes()));
        Ok(fresh)
    }

    async fn fresh_memory(
        &mut self,
        number: u32,
        first: Option<&FreshMemory>,
        hasher: &mut crc32fast::Hasher,
    ) -> wasmtime::Result<FreshMemory> {
        let (mut whole, mut runs) = (Vec::new(), Vec::new());
        let show = |start, bytes: &[u8]| {
            hasher.update(bytes);
            match first {
                // Another initialisation may have written other pages than this one.
                Some(first) => compare(first, start, bytes, &Written::unknown(), &mut runs),
                None => whole.extend_from_slice(bytes),
            }
        };
        let pages = self.show_memory(number, show).await?;
        hasher.update(&pages.to_le_bytes());
        Ok(match first {
            Some(first) => FreshMemory { first: first.first.clone(), own: Memory { pages, runs } },
            None => FreshMemory::first(whole),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::Run;
    use super::*;

    const WASM_PAGE: usize = 16 * PAGE;

    fn page(memory: &FreshMemory, number: usize) -> Option<u8> {
        let bytes = memory.page((number * PAGE) as u32, PAGE)?;
        assert!(bytes.iter().all(|byte| *byte == bytes[0]));
        Some(bytes[0])
    }

    #[test]
    fn a_page_is_the_own_one_or_else_that_of_the_first_and_none_beyond_the_end() {
        let first = FreshMemory::first(vec![1; 2 * WASM_PAGE]);
        assert_eq!((page(&first, 31), page(&first, 32)), (Some(1), None));
        let run = |at: usize, pages: usize| Run {
            start: (at * PAGE) as u32,
            bytes: vec![2; pages * PAGE],
        };
        let own =
            |pages, runs| FreshMemory { first: first.first.clone(), own: Memory { pages, runs } };

        let smaller = own(1, vec![run(0, 1), run(3, 2)]);
        let found: Vec<_> = (0..6).map(|n| page(&smaller, n)).collect();
        assert_eq!(found, [2, 1, 1, 2, 2, 1].map(Some));
        assert_eq!((page(&smaller, 15), page(&smaller, 16)), (Some(1), None));

        let larger = own(3, vec![run(32, 1)]);
        assert_eq!((page(&larger, 31), page(&larger, 32)), (Some(1), Some(2)));
    }
}
