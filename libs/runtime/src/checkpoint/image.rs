//! Memories and globals: read as what differs from a fresh instance, written back as that.

use super::access::Access;
use super::format::{Memory, PartState, Run};
use super::fresh::{Fresh, FreshMemory};
use super::written::Written;
use emet_checkpoint::{PAGE, Part, Plan};
use wasmtime::component::WasmList;

/// Bytes that are shown at a time; far below the limit for one call.
const CHUNK: u32 = 32 << 20;
/// Size of a page of WebAssembly, in bytes.
const WASM_PAGE: u32 = 65536;
/// Most changed bytes that one checkpoint holds (docs/limits.md).
const MAX_CHANGED: usize = 128 << 20;

const ZERO: [u8; PAGE] = [0; PAGE];

/// Memories and globals of a part.
pub(super) type Image = (Vec<Memory>, Vec<u64>);

/// Collects the pages of a memory, from an offset on, that differ from the fresh one; what lies
/// beyond the end of the fresh one is compared with zeroes. Pages that were not written are not even
/// looked at: that would bring them into memory.
pub(super) fn compare(
    fresh: &FreshMemory,
    offset: u32,
    bytes: &[u8],
    written: &Written,
    runs: &mut Vec<Run>,
) {
    let mut at = offset;
    for (number, page) in bytes.chunks(PAGE).enumerate() {
        let differs = || {
            let zero = ZERO.get(..page.len()).unwrap_or(&ZERO);
            page != fresh.page(at, page.len()).unwrap_or(zero)
        };
        let may_differ = written.may_be(number);
        debug_assert!(may_differ || !differs(), "the page at {at} was written unseen");
        if may_differ && differs() {
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
    /// Shows a whole memory, piece by piece with their offsets; gives its size in pages of
    /// WebAssembly.
    pub(super) async fn show_memory(
        &mut self,
        memory: u32,
        mut show: impl FnMut(u32, &[u8]),
    ) -> wasmtime::Result<u32> {
        let (pages,): (u32,) = self.invoke("size", (memory,)).await?;
        let read = self.func::<(u32, u32), (WasmList<u8>,)>(&format!("read-{memory}"))?;
        let size = u64::from(pages) * u64::from(WASM_PAGE);
        let mut offset = 0u64;
        while offset < size {
            let length = (size - offset).min(u64::from(CHUNK));
            let start = u32::try_from(offset)?;
            let (bytes,) = self.call(&read, (start, u32::try_from(length)?)).await?;
            show(start, bytes.as_le_slice(&*self.store));
            offset += length;
        }
        Ok(pages)
    }

    /// What differs from the fresh one in each part. None: it is too much.
    pub(super) async fn changed(
        &mut self,
        plan: &Plan,
        fresh: &Fresh,
    ) -> wasmtime::Result<Option<Vec<Image>>> {
        let (mut images, mut total) = (Vec::new(), 0usize);
        for ((number, part), fresh) in plan.parts.iter().enumerate().zip(&fresh.parts) {
            let mut access = self.of(number);
            let mut memories = Vec::new();
            for (memory, fresh) in (0..part.memories).zip(&fresh.memories) {
                let mut runs = Vec::new();
                let pages = access
                    .show_memory(memory, |start, bytes| {
                        compare(fresh, start, bytes, &Written::of(bytes), &mut runs);
                    })
                    .await?;
                total = total.saturating_add(runs.iter().map(|run| run.bytes.len()).sum());
                if total > MAX_CHANGED {
                    return Ok(None);
                }
                memories.push(Memory { pages, runs });
            }
            images.push((memories, access.globals(part).await?));
        }
        Ok(Some(images))
    }

    /// All mutable globals of the part, as bits.
    pub(super) async fn globals(&mut self, part: &Part) -> wasmtime::Result<Vec<u64>> {
        let get = self.func::<(u32,), (u64,)>("get")?;
        let mut globals = Vec::new();
        for (number, _) in (0u32..).zip(&part.globals) {
            globals.push(self.call(&get, (number,)).await?.0);
        }
        Ok(globals)
    }

    /// Writes what differs from the fresh one into a fresh instance.
    pub(crate) async fn write(
        &mut self,
        plan: &Plan,
        fresh: &Fresh,
        parts: &[PartState],
    ) -> wasmtime::Result<()> {
        let other = || wasmtime::format_err!("it is of another component");
        wasmtime::ensure!(parts.len() == plan.parts.len(), other());
        for ((number, state), fresh) in parts.iter().enumerate().zip(&fresh.parts) {
            let same = state.memories.len() == fresh.memories.len()
                && state.globals.len() == fresh.globals.len();
            wasmtime::ensure!(same, other());
            let mut access = self.of(number);
            for (memory, saved) in (0u32..).zip(&state.memories) {
                access.write_memory(memory, saved).await?;
            }
            let set = access.func::<(u32, u64), ()>("set")?;
            for (global, (saved, fresh)) in (0u32..).zip(state.globals.iter().zip(&fresh.globals)) {
                if saved != fresh {
                    access.call(&set, (global, *saved)).await?;
                }
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
        let fresh = FreshMemory::first(vec![7u8; 16 * PAGE]);
        let mut now = vec![7u8; 18 * PAGE];
        now[16 * PAGE..].fill(0);
        now[5] = 8;
        now[17 * PAGE + 1] = 9;
        let mut runs = vec![];
        compare(&fresh, 0, &now[..2 * PAGE], &Written::unknown(), &mut runs);
        let rest = &now[2 * PAGE..];
        compare(&fresh, 2 * PAGE as u32, rest, &Written::unknown(), &mut runs);
        let places: Vec<(u32, usize)> =
            runs.iter().map(|run| (run.start, run.bytes.len())).collect();
        assert_eq!(places, [(0, PAGE), (17 * PAGE as u32, PAGE)]);
    }
}
