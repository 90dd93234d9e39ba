//! The one constructor of the engine's configuration.

use std::time::Duration;
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    WasmBacktraceDetails,
};

/// How often a running guest is looked at: preemption, interruption, commit of what it did.
const EPOCH: Duration = Duration::from_millis(10);
/// Largest linear memory of a worker, in bytes (docs/limits.md).
pub const MAX_MEMORY: usize = 1 << 30;
/// Stack of a guest, in bytes.
const WASM_STACK: usize = 1 << 20;
/// Stack of the fiber that a guest and its host functions run on, in bytes.
const FIBER_STACK: usize = 2 << 20;

/// Workers that are in memory at the same time, at most.
#[derive(Clone, Copy, Debug)]
pub struct EngineLimits {
    /// Loaded workers.
    pub instances: u32,
}

fn pool(limits: EngineLimits) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::default();
    // One worker uses a component instance, a stack, and as many core instances, memories and
    // tables as its component has modules; composed components have several.
    let per_worker = |n: u32| limits.instances.saturating_mul(n);
    pool.total_component_instances(per_worker(1).saturating_add(16))
        .total_stacks(per_worker(1).saturating_add(16))
        .total_core_instances(per_worker(32))
        .total_memories(per_worker(3))
        .total_tables(per_worker(8))
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .max_core_instances_per_component(256)
        .max_memories_per_component(32)
        .max_tables_per_component(64)
        .table_elements(100_000)
        .max_memory_size(MAX_MEMORY)
        .linear_memory_keep_resident(64 << 10)
        .table_keep_resident(8 << 10)
        .max_unused_warm_slots(64);
    pool
}

fn config(limits: EngineLimits) -> Config {
    let mut config = Config::new();
    // Law L7: the same inputs give the same outputs on every machine.
    config.cranelift_nan_canonicalization(true).relaxed_simd_deterministic(true);
    config.wasm_component_model(true).wasm_component_model_async(false).concurrency_support(false);
    config.epoch_interruption(true).cranelift_opt_level(OptLevel::Speed);
    config.max_wasm_stack(WASM_STACK).async_stack_size(FIBER_STACK);
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config.memory_reservation(MAX_MEMORY as u64).memory_guard_size(32 << 10).memory_init_cow(true);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits)));
    config
}

/// Makes the engine and starts its clock, which ends with the last clone of the engine.
pub fn engine(limits: EngineLimits) -> wasmtime::Result<Engine> {
    let engine = Engine::new(&config(limits))?;
    let weak = engine.weak();
    std::thread::Builder::new()
        .name("epoch".into())
        .spawn(move || {
            while let Some(engine) = weak.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(EPOCH);
            }
        })
        .map_err(|e| wasmtime::format_err!("cannot start the epoch clock: {e}"))?;
    Ok(engine)
}

/// Names everything that a compiled artefact depends on beside the component itself.
pub fn artefact_tag(engine: &Engine) -> String {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::collections::hash_map::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
