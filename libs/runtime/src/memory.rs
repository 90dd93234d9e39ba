//! Linear memory: how much a worker has, and how much all of them may have.

use crate::engine::MAX_MEMORY;
use crate::log::OplogWriter;
use crate::pressure::Pressure;
use crate::stop::Stop;
use emet_oplog::EntryKind;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::{ResourceLimiterAsync, Result};

/// How often a worker asks for room before it counts as out of memory.
const ROOM_ATTEMPTS: usize = 20;
/// How long it waits after each time.
const ROOM_STEP: Duration = Duration::from_millis(10);

/// Largest table of a guest, in elements.
const MAX_TABLE: usize = 100_000;

/// The memory that the workers of a node may use together, in bytes.
#[derive(Debug)]
pub struct MemoryBudget {
    limit: u64,
    used: Mutex<u64>,
    /// The want of more.
    pub pressure: Pressure,
}

impl MemoryBudget {
    /// A budget.
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: Mutex::new(0), pressure: Pressure::default() })
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        *self.used.lock()
    }

    /// The limit.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    fn take(&self, bytes: u64) -> bool {
        let mut used = self.used.lock();
        let fits = used.checked_add(bytes).is_some_and(|sum| sum <= self.limit);
        if fits {
            *used += bytes;
        }
        fits
    }

    /// As [`Self::take`]; where it does not fit, idle workers are asked to make room for a while.
    async fn take_or_wait(&self, bytes: u64) -> bool {
        if bytes > self.limit {
            return false;
        }
        for _ in 0..ROOM_ATTEMPTS {
            if self.take(bytes) {
                return true;
            }
            let _want = self.pressure.want();
            tokio::time::sleep(ROOM_STEP).await;
        }
        self.take(bytes)
    }

    fn give_back(&self, bytes: u64) {
        let mut used = self.used.lock();
        *used = used.saturating_sub(bytes);
    }
}

/// The memory of one loaded worker: taken from the budget, given back when the worker goes.
pub struct MemoryAccount {
    budget: Arc<MemoryBudget>,
    writer: Option<Arc<OplogWriter>>,
    granted: u64,
    /// What the log says the worker has; growth beyond it is recorded.
    recorded: u64,
}

impl MemoryAccount {
    /// An account of a worker whose log says that it has so many bytes.
    pub fn new(budget: Arc<MemoryBudget>, writer: Arc<OplogWriter>, recorded: u64) -> Self {
        Self { budget, writer: Some(writer), granted: 0, recorded }
    }
}

impl Drop for MemoryAccount {
    fn drop(&mut self) {
        self.budget.give_back(self.granted);
    }
}

#[wasmtime_wasi::async_trait]
impl ResourceLimiterAsync for MemoryAccount {
    async fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        if desired > MAX_MEMORY || maximum.is_some_and(|max| desired > max) {
            return Ok(false);
        }
        let growth = desired.saturating_sub(current) as u64;
        if !self.budget.take_or_wait(growth).await {
            return Err(Stop::OutOfMemory(format!(
                "{growth} bytes of memory cannot be granted now"
            ))
            .into());
        }
        self.granted += growth;
        // The initial memory, and growth that is replayed, is in the log already.
        if let Some(writer) = self.writer.as_ref().filter(|_| self.granted > self.recorded) {
            writer.add(EntryKind::GrowMemory(self.granted - self.recorded));
            self.recorded = self.granted;
        }
        Ok(true)
    }

    async fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        Ok(desired <= MAX_TABLE && maximum.is_none_or(|max| desired <= max))
    }

    fn instances(&self) -> usize {
        10_000
    }

    fn tables(&self) -> usize {
        10_000
    }

    fn memories(&self) -> usize {
        1_000
    }
}
