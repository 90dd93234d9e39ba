//! `wasi:random`: every number is recorded.

use super::{functions, wasi};
use crate::WorkerCtx;
use crate::log::{HostFn, HostFnInfo};
use rand::Rng;
use wasmtime::component::Linker;

const BYTES: HostFn<u64, Vec<u8>> = HostFn::read_local("golem random::get_random_bytes");
const U64: HostFn<(), u64> = HostFn::read_local("golem random::get_random_u64");
const INSECURE_BYTES: HostFn<u64, Vec<u8>> =
    HostFn::read_local("golem random::insecure::get_insecure_random_bytes");
const INSECURE_U64: HostFn<(), u64> =
    HostFn::read_local("golem random::insecure::get_insecure_random_u64");
const SEED: HostFn<(), (u64, u64)> =
    HostFn::read_local("golem random::insecure_seed::insecure_seed");

pub(super) const FUNCTIONS: &[&dyn HostFnInfo] =
    &[&BYTES, &U64, &INSECURE_BYTES, &INSECURE_U64, &SEED];

/// Largest number of random bytes of one call (docs/limits.md).
const MAX_BYTES: u64 = 16 << 20;

impl WorkerCtx {
    async fn random_bytes(
        &mut self,
        function: &HostFn<u64, Vec<u8>>,
        count: u64,
    ) -> wasmtime::Result<Vec<u8>> {
        if let Some(bytes) = self.journal.replay(function).await? {
            return Ok(bytes);
        }
        let length = usize::try_from(count.min(MAX_BYTES))?;
        wasmtime::ensure!(
            count <= MAX_BYTES,
            "{count} random bytes were asked for, the limit is {MAX_BYTES}"
        );
        let mut bytes = vec![0; length];
        rand::rng().fill_bytes(&mut bytes);
        self.journal.record(function, count, &bytes).await?;
        Ok(bytes)
    }

    async fn random_u64(&mut self, function: &HostFn<(), u64>) -> wasmtime::Result<u64> {
        if let Some(number) = self.journal.replay(function).await? {
            return Ok(number);
        }
        let number = rand::rng().next_u64();
        self.journal.record(function, (), &number).await?;
        Ok(number)
    }

    async fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        if let Some(seed) = self.journal.replay(&SEED).await? {
            return Ok(seed);
        }
        let seed = (rand::rng().next_u64(), rand::rng().next_u64());
        self.journal.record(&SEED, (), &seed).await?;
        Ok(seed)
    }
}

pub(super) fn add(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, &wasi("random/random"), {
        "get-random-bytes" => |ctx, count: u64| Ok((ctx.random_bytes(&BYTES, count).await?,));
        "get-random-u64" => |ctx| Ok((ctx.random_u64(&U64).await?,));
    });
    functions!(linker, &wasi("random/insecure"), {
        "get-insecure-random-bytes" => |ctx, count: u64| Ok((ctx.random_bytes(&INSECURE_BYTES, count).await?,));
        "get-insecure-random-u64" => |ctx| Ok((ctx.random_u64(&INSECURE_U64).await?,));
    });
    functions!(linker, &wasi("random/insecure-seed"), {
        "insecure-seed" => |ctx| Ok((ctx.insecure_seed().await?,));
    });
    Ok(())
}
