//! Memories and globals: read as what differs from a fresh instance, written back as that.

use super::access::Access;
use super::format::{Memory, Run};
use crate::WorkerCtx;
use emet_checkpoint::{PAGE, Plan};
use std::sync::Arc;
use wasmtime::StoreContextMut;
use wasmtime::component::WasmList;

/// Bytes that are shown at a time; far below the limit for one call.
const CHUNK: u32 = 32 << 20;
/// Size of a page of WebAssembly, in bytes.
const WASM_PAGE: u32 = 65536;
/// Most changed bytes that one checkpoint holds (docs/limits.md).
const MAX_CHANGED: usize = 128 << 20;

const ZERO: [u8; PAGE] = [0; PAGE];

/// Memories and globals of an instance that has executed nothing but its initialisation.
pub(crate) struct Base {
    memories: Vec<Vec<u8>>,
    globals: Vec<u64>,
    /// Checksum of them all: a checkpoint fits only an equal base.
    pub(crate) fingerprint: u32,
}

/// Memory as the host is shown it.
#[derive(Default)]
pub(crate) enum Shown {
    /// It is not asked for.
    #[default]
    Nothing,
    /// It is copied.
    Copy(Vec<u8>),
    /// What differs from a memory of the base is copied.
    Compare { base: Arc<Base>, memory: usize, runs: Vec<Run> },
}

/// The import that is shown memory.
pub(super) fn show(mut store: StoreContextMut<'_, WorkerCtx>, offset: u32, bytes: &WasmList<u8>) {
    let mut shown = std::mem::take(&mut store.data_mut().checkpoint.shown_memory);
    let slice = bytes.as_le_slice(&store);
    match &mut shown {
        Shown::Nothing => {}
        Shown::Copy(copy) => copy.extend_from_slice(slice),
        Shown::Compare { base, memory, runs } => {
            let fresh = base.memories.get(*memory).map_or(&[][..], Vec::as_slice);
            compare(fresh, offset, slice, runs);
        }
    }
    store.data_mut().checkpoint.shown_memory = shown;
}

/// Collects the pages of a memory, from an offset on, that differ from the fresh one; what lies
/// beyond the end of the fresh one is compared with zeroes.
fn compare(fresh: &[u8], offset: u32, bytes: &[u8], runs: &mut Vec<Run>) {
    let mut at = offset;
    for page in bytes.chunks(PAGE) {
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let before = fresh
            .get(start..start.saturating_add(page.len()))
            .unwrap_or_else(|| ZERO.get(..page.len()).unwrap_or(&ZERO));
        if page != before {
            match runs
                .last_mut()
                .filter(|run| u64::from(run.start) + run.bytes.len() as u64 == u64::from(at))
            {
                Some(run) => run.bytes.extend_from_slice(page),
                None => runs.push(Run { start: at, bytes: page.to_vec() }),
            }
        }
        at = at.saturating_add(u32::try_from(page.len()).unwrap_or(0));
    }
}

impl Access<'_> {
    /// The state of a fresh instance.
    pub(crate) async fn base(&mut self, plan: &Plan) -> wasmtime::Result<Base> {
        let mut memories = Vec::new();
        for memory in 0..plan.memories {
            self.store.data_mut().checkpoint.shown_memory = Shown::Copy(Vec::new());
            self.show_memory(memory).await?;
            match std::mem::take(&mut self.store.data_mut().checkpoint.shown_memory) {
                Shown::Copy(copy) => memories.push(copy),
                _ => wasmtime::bail!("memory {memory} was not shown"),
            }
        }
        let globals = self.globals(plan).await?;
        let mut hasher = crc32fast::Hasher::new();
        for memory in &memories {
            hasher.update(&(memory.len() as u64).to_le_bytes());
            hasher.update(memory);
        }
        globals.iter().for_each(|global| hasher.update(&global.to_le_bytes()));
        Ok(Base { memories, globals, fingerprint: hasher.finalize() })
    }

    /// Lets the host see a whole memory; gives its size in pages of WebAssembly.
    async fn show_memory(&mut self, memory: u32) -> wasmtime::Result<u32> {
        let (pages,): (u32,) = self.invoke("size", (memory,)).await?;
        let read = self.func::<(u32, u32, u32), ()>("read")?;
        let size = u64::from(pages) * u64::from(WASM_PAGE);
        let mut offset = 0u64;
        while offset < size {
            let length = (size - offset).min(u64::from(CHUNK));
            self.call(&read, (memory, u32::try_from(offset)?, u32::try_from(length)?)).await?;
            offset += length;
        }
        Ok(pages)
    }

    /// What differs from the base. None: it is too much.
    pub(crate) async fn changed(
        &mut self,
        plan: &Plan,
        base: &Arc<Base>,
    ) -> wasmtime::Result<Option<Vec<Memory>>> {
        let (mut memories, mut total) = (Vec::new(), 0usize);
        for (memory, number) in (0..plan.memories).enumerate() {
            let compare = Shown::Compare { base: base.clone(), memory, runs: Vec::new() };
            self.store.data_mut().checkpoint.shown_memory = compare;
            let pages = self.show_memory(number).await?;
            let Shown::Compare { runs, .. } =
                std::mem::take(&mut self.store.data_mut().checkpoint.shown_memory)
            else {
                wasmtime::bail!("memory {number} was not shown");
            };
            total = total.saturating_add(runs.iter().map(|run| run.bytes.len()).sum());
            if total > MAX_CHANGED {
                return Ok(None);
            }
            memories.push(Memory { pages, runs });
        }
        Ok(Some(memories))
    }

    /// All mutable globals, as bits.
    pub(crate) async fn globals(&mut self, plan: &Plan) -> wasmtime::Result<Vec<u64>> {
        let get = self.func::<(u32,), (u64,)>("get")?;
        let mut globals = Vec::new();
        for (number, _) in (0u32..).zip(&plan.globals) {
            globals.push(self.call(&get, (number,)).await?.0);
        }
        Ok(globals)
    }

    /// Writes what differs from the base into a fresh instance.
    pub(crate) async fn write(
        &mut self,
        plan: &Plan,
        base: &Base,
        memories: &[Memory],
        globals: &[u64],
    ) -> wasmtime::Result<()> {
        wasmtime::ensure!(
            memories.len() == base.memories.len() && globals.len() == plan.globals.len(),
            "it is of another component"
        );
        for (number, memory) in (0u32..).zip(memories) {
            self.write_memory(number, memory).await?;
        }
        let set = self.func::<(u32, u64), ()>("set")?;
        for (number, (global, fresh)) in (0u32..).zip(globals.iter().zip(&base.globals)) {
            if global != fresh {
                self.call(&set, (number, *global)).await?;
            }
        }
        Ok(())
    }

    async fn write_memory(&mut self, number: u32, memory: &Memory) -> wasmtime::Result<()> {
        let (pages,): (u32,) = self.invoke("size", (number,)).await?;
        if memory.pages > pages {
            let (before,): (u32,) = self.invoke("grow", (number, memory.pages - pages)).await?;
            wasmtime::ensure!(
                before == pages,
                "memory {number} cannot grow to {} pages",
                memory.pages
            );
        }
        let seek = self.func::<(u32,), ()>("seek")?;
        for run in &memory.runs {
            self.call(&seek, (run.start,)).await?;
            let write = self.func::<(&[u8],), ()>(&format!("write-{number}"))?;
            self.call(&write, (run.bytes.as_slice(),)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_hold_exactly_the_pages_that_differ() {
        let fresh = vec![7u8; 2 * PAGE];
        let mut now = vec![7u8; 4 * PAGE];
        now[3 * PAGE..].fill(0);
        now[2 * PAGE..3 * PAGE].fill(0);
        now[5] = 8;
        now[3 * PAGE + 1] = 9;
        let mut runs = vec![];
        compare(&fresh, 0, &now[..2 * PAGE], &mut runs);
        compare(&fresh, 2 * PAGE as u32, &now[2 * PAGE..], &mut runs);
        let places: Vec<(u32, usize)> =
            runs.iter().map(|run| (run.start, run.bytes.len())).collect();
        assert_eq!(places, [(0, PAGE), (3 * PAGE as u32, PAGE)]);
    }
}
