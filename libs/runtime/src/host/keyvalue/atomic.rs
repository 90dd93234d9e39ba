//! `atomic`: numbers that no other worker comes between.

use super::super::functions;
use super::super::values::{Failure, Stored};
use super::{Answer, Bucket, USER, place};
use crate::WorkerCtx;
use crate::log::HostFn;
use bytes::Bytes;
use emet_storage::{Batch, KvStore};
use std::sync::Arc;
use wasmtime::component::{Linker, Resource};

pub(super) const INCREMENT: HostFn<(String, String, u64), Result<u64, String>> =
    HostFn::write_remote("golem keyvalue::atomic::increment");
pub(super) const COMPARE_AND_SWAP: HostFn<(String, String, u64, u64), Result<bool, String>> =
    HostFn::write_remote("golem keyvalue::atomic::compare_and_swap");

const ATOMIC: &str = "wasi:keyvalue/atomic@0.1.0";

/// Times that other workers may come first before the guest is told.
const MAX_ATTEMPTS: usize = 1000;

/// The bytes of a number: big-endian; or text, where those bytes would look like text.
fn encode(number: u64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    if bytes.iter().all(u8::is_ascii_digit) {
        number.to_string().into_bytes()
    } else {
        bytes.to_vec()
    }
}

/// A number as [`encode`] writes it, or as decimal text.
fn decode(bytes: &[u8]) -> Option<u64> {
    if !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit) {
        return std::str::from_utf8(bytes).ok()?.parse().ok();
    }
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// Changes a number, again if another worker came first; a key without a value counts as 0. Where
/// `change` gives none, nothing is written and the result is none.
async fn change(
    kv: Arc<dyn KvStore>,
    place: Stored<Vec<u8>>,
    change: impl Fn(u64) -> Stored<Option<u64>>,
) -> Stored<Option<u64>> {
    let place = place?;
    for _ in 0..MAX_ATTEMPTS {
        let current: Option<Bytes> = kv.get(USER, &place).await?;
        let number = match &current {
            None => 0,
            Some(bytes) => {
                decode(bytes).ok_or_else(|| Failure::from("the value is not a number"))?
            }
        };
        let Some(number) = change(number)? else { return Ok(None) };
        let batch = Batch::new().put(USER, place.clone(), encode(number));
        let batch = match current {
            None => batch.if_absent(USER, place.clone()),
            Some(current) => batch.if_equal(USER, place.clone(), current),
        };
        if kv.apply(batch).await? {
            return Ok(Some(number));
        }
        tokio::task::yield_now().await;
    }
    Err(Failure::from("other workers changed the number all the time"))
}

impl WorkerCtx {
    async fn kv_increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: u64,
    ) -> wasmtime::Result<Answer<u64>> {
        let (bucket, kv) = (self.bucket_name(&bucket)?, self.node.kv.clone());
        let place = place(&bucket, &key);
        let act = async move {
            let add = |number: u64| match number.checked_add(delta) {
                Some(sum) => Ok(Some(sum)),
                None => Err(Failure::from("the number does not fit into 64 bits")),
            };
            Ok(change(kv, place, add).await?.unwrap_or_default())
        };
        let sum = self.stored_write(&INCREMENT, (bucket, key, delta), act).await?;
        self.kv_answer(sum)
    }

    async fn kv_compare_and_swap(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        old: u64,
        new: u64,
    ) -> wasmtime::Result<Answer<bool>> {
        let (bucket, kv) = (self.bucket_name(&bucket)?, self.node.kv.clone());
        let place = place(&bucket, &key);
        let act = async move {
            Ok(change(kv, place, |number| Ok((number == old).then_some(new))).await?.is_some())
        };
        let swapped = self.stored_write(&COMPARE_AND_SWAP, (bucket, key, old, new), act).await?;
        self.kv_answer(swapped)
    }
}

pub(super) fn add(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, ATOMIC, {
        "increment" => |ctx, bucket: Resource<Bucket>, key: String, delta: u64| Ok((ctx.kv_increment(bucket, key, delta).await?,));
        "compare-and-swap" => |ctx, bucket: Resource<Bucket>, key: String, old: u64, new: u64| {
            Ok((ctx.kv_compare_and_swap(bucket, key, old, new).await?,))
        };
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_also_those_that_look_like_text() {
        for number in [0, 1, 255, u64::MAX, u64::from_be_bytes(*b"12345678")] {
            assert_eq!(decode(&encode(number)), Some(number));
        }
        assert_eq!(decode(b"12345678"), Some(12_345_678));
        assert_eq!(decode(b"42"), Some(42));
        assert_eq!(decode(b""), None);
        assert_eq!(decode(b"x"), None);
    }
}
