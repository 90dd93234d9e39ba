//! `wasi:keyvalue` (guest spec 7.8): buckets that all workers share, numbers that no other worker
//! comes between, and a cache.

mod atomic;
mod cache;
mod eventual;

use super::functions;
use super::values::{Failure, IncomingValue, OutgoingValue, Stored, add_resource};
use crate::WorkerCtx;
use crate::log::HostFnInfo;
use wasmtime::component::{Linker, Resource, ResourceType};

pub(super) const FUNCTIONS: &[&dyn HostFnInfo] = &[
    &atomic::INCREMENT,
    &atomic::COMPARE_AND_SWAP,
    &cache::GET,
    &cache::EXISTS,
    &cache::SET,
    &cache::DELETE,
    &cache::GET_OR_SET,
    &cache::FILL,
    &eventual::GET,
    &eventual::SET,
    &eventual::DELETE,
    &eventual::EXISTS,
    &eventual::GET_MANY,
    &eventual::KEYS,
    &eventual::SET_MANY,
    &eventual::DELETE_MANY,
];

const TYPES: &str = "wasi:keyvalue/types@0.1.0";
const HANDLE_WATCH: &str = "wasi:keyvalue/handle-watch@0.1.0";
const ERROR: &str = "wasi:keyvalue/wasi-keyvalue-error@0.1.0";

/// Name space of the store that the buckets of guests are in.
const USER: &str = "user";

/// Longest name of a bucket or key, in bytes (docs/limits.md).
const MAX_NAME: usize = 2048;
/// Largest value, in bytes (docs/limits.md).
const MAX_VALUE: usize = 16 << 20;

/// The error of all functions: a text.
struct Trace(String);

/// A name space of keys.
struct Bucket(String);

/// What a function gives to the guest.
type Answer<T> = Result<T, Resource<Trace>>;

fn check_name(what: &str, name: &str) -> Result<(), String> {
    if name.len() > MAX_NAME {
        Err(format!("the {what} is longer than {MAX_NAME} bytes"))
    } else {
        Ok(())
    }
}

/// What the keys of a bucket begin with in the store. No bucket's prefix is the start of another's.
fn prefix(bucket: &str) -> Vec<u8> {
    let mut prefix = (bucket.len() as u64).to_be_bytes().to_vec();
    prefix.extend_from_slice(bucket.as_bytes());
    prefix
}

/// Where the store keeps a key of a bucket.
fn place(bucket: &str, key: &str) -> Stored<Vec<u8>> {
    check_name("key", key).map_err(Failure::Guest)?;
    let mut place = prefix(bucket);
    place.extend_from_slice(key.as_bytes());
    Ok(place)
}

impl WorkerCtx {
    /// Makes an error resource of a recorded error.
    fn kv_answer<T>(&mut self, outcome: Result<T, String>) -> wasmtime::Result<Answer<T>> {
        match outcome {
            Ok(value) => Ok(Ok(value)),
            Err(text) => Ok(Err(self.table.push(Trace(text))?)),
        }
    }

    /// Makes a value resource of recorded bytes.
    fn kv_value(
        &mut self,
        bytes: Option<Vec<u8>>,
    ) -> wasmtime::Result<Option<Resource<IncomingValue>>> {
        Ok(match bytes {
            Some(bytes) => Some(self.table.push(IncomingValue::new(bytes))?),
            None => None,
        })
    }

    fn kv_values(
        &mut self,
        outcome: Result<Option<Vec<u8>>, String>,
    ) -> wasmtime::Result<Answer<Option<Resource<IncomingValue>>>> {
        match outcome {
            Ok(bytes) => Ok(Ok(self.kv_value(bytes)?)),
            Err(text) => self.kv_answer(Err(text)),
        }
    }

    fn open_bucket(&mut self, name: String) -> wasmtime::Result<Answer<Resource<Bucket>>> {
        match check_name("bucket name", &name) {
            Ok(()) => Ok(Ok(self.table.push(Bucket(name))?)),
            Err(text) => self.kv_answer(Err(text)),
        }
    }

    fn bucket_name(&self, bucket: &Resource<Bucket>) -> wasmtime::Result<String> {
        Ok(self.table.get(bucket)?.0.clone())
    }
}

pub(super) fn add(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, ERROR, {
        "[method]error.trace" => |ctx, error: Resource<Trace>| Ok((ctx.table.get(&error)?.0.clone(),));
    });
    add_resource::<Trace>(linker, ERROR, "error")?;
    add_types(linker)?;
    add_handle_watch(linker)?;
    eventual::add(linker)?;
    atomic::add(linker)?;
    cache::add(linker)
}

/// A guest that calls these itself, instead of exporting them, gets a clear error.
fn add_handle_watch(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    const WHY: &str = "wasi:keyvalue/handle-watch is to be exported by components; changes of buckets are not watched here";
    functions!(linker, HANDLE_WATCH, {
        "on-set" => |_ctx, _bucket: Resource<Bucket>, _key: String, _value: Resource<IncomingValue>| {
            Err::<(), _>(wasmtime::Error::msg(WHY))
        };
        "on-delete" => |_ctx, _bucket: Resource<Bucket>, _key: String| Err::<(), _>(wasmtime::Error::msg(WHY));
    });
    Ok(())
}

fn add_types(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, TYPES, {
        "[static]bucket.open-bucket" => |ctx, name: String| Ok((ctx.open_bucket(name)?,));
        "[static]outgoing-value.new-outgoing-value" => |ctx| Ok((ctx.table.push(OutgoingValue::new(MAX_VALUE))?,));
        "[method]outgoing-value.outgoing-value-write-body-async" => |ctx, value: Resource<OutgoingValue>| {
            Ok((Answer::Ok(ctx.value_body(&value)?),))
        };
        "[method]outgoing-value.outgoing-value-write-body-sync" => |ctx, value: Resource<OutgoingValue>, bytes: Vec<u8>| {
            let written = ctx.table.get(&value)?.append(&bytes);
            Ok((ctx.kv_answer(written)?,))
        };
        "[method]incoming-value.incoming-value-consume-sync" => |ctx, value: Resource<IncomingValue>| {
            Ok((Answer::Ok(ctx.consume_value(&value)?.to_vec()),))
        };
        "[method]incoming-value.incoming-value-consume-async" => |ctx, value: Resource<IncomingValue>| {
            Ok((Answer::Ok(ctx.stream_value(&value)?),))
        };
        "[method]incoming-value.incoming-value-size" => |ctx, value: Resource<IncomingValue>| Ok((Answer::Ok(ctx.value_size(&value)?),));
    });
    add_resource::<Bucket>(linker, TYPES, "bucket")?;
    add_resource::<IncomingValue>(linker, TYPES, "incoming-value")?;
    linker.instance(TYPES)?.resource_async(
        "outgoing-value",
        ResourceType::host::<OutgoingValue>(),
        |mut store, rep| {
            Box::new(async move {
                let ctx = store.data_mut();
                let mut value = ctx.table.delete(Resource::<OutgoingValue>::new_own(rep))?;
                match value.vacancy.take() {
                    Some((key, ttl)) => ctx.cache_fill(key, ttl, value.bytes()).await,
                    None => Ok(()),
                }
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_different_buckets_are_apart() {
        let at = |bucket, key| place(bucket, key).ok().unwrap();
        assert_ne!(at("a", "bc"), at("ab", "c"));
        assert_ne!(at("", "abc"), at("abc", ""));
        assert!(!at("ab", "c").starts_with(&prefix("a")));
        assert!(at("a", "bc").starts_with(&prefix("a")));
        assert!(place("a", &"k".repeat(MAX_NAME + 1)).is_err());
    }
}
