//! `cache`: values with a time to live, kept in the same store as buckets. What a call finds is
//! known when it returns, so its future is ready at once.

use super::super::functions;
use super::super::values::{Failure, IncomingValue, OutgoingValue, Stored, add_resource};
use super::{Answer, MAX_VALUE, check_name};
use crate::WorkerCtx;
use crate::log::HostFn;
use bytes::Bytes;
use emet_storage::{Batch, KvStore};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use wasmtime::component::{ComponentType, Linker, Lower, Resource};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

type Found = Result<Option<Vec<u8>>, String>;
type Written = (String, u64, Option<u32>);

pub(super) const GET: HostFn<String, Found> = HostFn::read_remote("golem keyvalue::cache::get");
pub(super) const EXISTS: HostFn<String, Result<bool, String>> =
    HostFn::read_remote("golem keyvalue::cache::exists");
pub(super) const SET: HostFn<Written, Result<(), String>> =
    HostFn::write_remote("golem keyvalue::cache::set");
pub(super) const DELETE: HostFn<String, Result<(), String>> =
    HostFn::write_remote("golem keyvalue::cache::delete");
pub(super) const GET_OR_SET: HostFn<String, Found> =
    HostFn::read_remote("golem keyvalue::cache::get_or_set");
pub(super) const FILL: HostFn<Written, Result<(), String>> =
    HostFn::write_remote("golem keyvalue::cache::fill");

const CACHE: &str = "wasi:keyvalue/cache@0.1.0";
/// Name space of the store that the cache is in.
const SPACE: &str = "cache";

/// The outcome of `get`.
struct FutureGet(Found);
/// The outcome of `exists`.
struct FutureExists(Result<bool, String>);
/// The outcome of `set` and `delete`.
struct FutureDone(Result<(), String>);
/// The outcome of `get-or-set`.
struct FutureGetOrSet {
    key: String,
    found: Found,
}
/// A key without a value.
struct Vacancy(String);

/// What all futures' pollables wait for: nothing.
struct Ready;

#[async_trait]
impl Pollable for Ready {
    async fn ready(&mut self) {}
}

#[derive(ComponentType, Lower)]
#[component(variant)]
enum Entry {
    #[component(name = "occupied")]
    Occupied(Resource<IncomingValue>),
    #[component(name = "vacant")]
    Vacant(Resource<Vacancy>),
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A stored value: when it expires, in milliseconds since the epoch, then its bytes.
fn pack(value: &[u8], ttl_ms: Option<u32>, now_ms: u64) -> Vec<u8> {
    let expires = ttl_ms.map_or(u64::MAX, |ttl| now_ms.saturating_add(u64::from(ttl)));
    [expires.to_be_bytes().as_slice(), value].concat()
}

/// The bytes of a stored value, unless it has expired.
fn unpack(stored: &[u8], now_ms: u64) -> Option<&[u8]> {
    let (expires, value) = stored.split_first_chunk::<8>()?;
    (u64::from_be_bytes(*expires) > now_ms).then_some(value)
}

/// The value of a key; an expired one is removed, if nobody has replaced it meanwhile.
async fn look_up(kv: Arc<dyn KvStore>, key: String) -> Stored<Option<Vec<u8>>> {
    check_name("key", &key)?;
    let Some(stored) = kv.get(SPACE, key.as_bytes()).await? else { return Ok(None) };
    if let Some(value) = unpack(&stored, now_ms()) {
        return Ok(Some(value.to_vec()));
    }
    kv.apply(Batch::new().delete(SPACE, key.as_bytes()).if_equal(SPACE, key.as_bytes(), stored))
        .await?;
    Ok(None)
}

async fn store(kv: Arc<dyn KvStore>, key: String, value: Bytes, ttl: Option<u32>) -> Stored<()> {
    check_name("key", &key)?;
    kv.apply(Batch::new().put(SPACE, key.as_bytes(), pack(&value, ttl, now_ms()))).await?;
    Ok(())
}

async fn remove(kv: Arc<dyn KvStore>, key: String) -> Stored<()> {
    check_name("key", &key).map_err(Failure::Guest)?;
    kv.apply(Batch::new().delete(SPACE, key.as_bytes())).await?;
    Ok(())
}

impl WorkerCtx {
    async fn cache_get(&mut self, key: String) -> wasmtime::Result<Resource<FutureGet>> {
        let act = look_up(self.node.kv.clone(), key.clone());
        let found = self.stored_read(&GET, key, act).await?;
        Ok(self.table.push(FutureGet(found))?)
    }

    async fn cache_exists(&mut self, key: String) -> wasmtime::Result<Resource<FutureExists>> {
        let (kv, wanted) = (self.node.kv.clone(), key.clone());
        let act = async move { Ok(look_up(kv, wanted).await?.is_some()) };
        let exists = self.stored_read(&EXISTS, key, act).await?;
        Ok(self.table.push(FutureExists(exists))?)
    }

    async fn cache_set(
        &mut self,
        key: String,
        value: Resource<OutgoingValue>,
        ttl: Option<u32>,
    ) -> wasmtime::Result<Resource<FutureDone>> {
        let value = self.table.get(&value)?.bytes();
        let request = (key.clone(), value.len() as u64, ttl);
        let act = store(self.node.kv.clone(), key, value, ttl);
        let done = self.stored_write(&SET, request, act).await?;
        Ok(self.table.push(FutureDone(done))?)
    }

    async fn cache_delete(&mut self, key: String) -> wasmtime::Result<Resource<FutureDone>> {
        let act = remove(self.node.kv.clone(), key.clone());
        let done = self.stored_write(&DELETE, key, act).await?;
        Ok(self.table.push(FutureDone(done))?)
    }

    async fn cache_get_or_set(
        &mut self,
        key: String,
    ) -> wasmtime::Result<Resource<FutureGetOrSet>> {
        let act = look_up(self.node.kv.clone(), key.clone());
        let found = self.stored_read(&GET_OR_SET, key.clone(), act).await?;
        Ok(self.table.push(FutureGetOrSet { key, found })?)
    }

    /// A value that was handed out for a vacant key is complete when the guest drops it. There is
    /// nobody to tell of a failure: the key stays vacant.
    pub(super) async fn cache_fill(
        &mut self,
        key: String,
        ttl: Option<u32>,
        value: Bytes,
    ) -> wasmtime::Result<()> {
        let request = (key.clone(), value.len() as u64, ttl);
        let act = store(self.node.kv.clone(), key, value, ttl);
        if let Err(reason) = self.stored_write(&FILL, request, act).await? {
            tracing::warn!(worker = %self.worker, %reason, "a cache entry was not filled");
        }
        Ok(())
    }

    fn cache_entry(
        &mut self,
        future: &Resource<FutureGetOrSet>,
    ) -> wasmtime::Result<Answer<Entry>> {
        let FutureGetOrSet { key, found } = self.table.get(future)?;
        match found.clone() {
            Ok(Some(bytes)) => Ok(Ok(Entry::Occupied(self.table.push(IncomingValue::new(bytes))?))),
            Ok(None) => {
                let vacancy = Vacancy(key.clone());
                Ok(Ok(Entry::Vacant(self.table.push(vacancy)?)))
            }
            Err(text) => self.kv_answer(Err(text)),
        }
    }

    fn vacancy_fill(
        &mut self,
        vacancy: &Resource<Vacancy>,
        ttl: Option<u32>,
    ) -> wasmtime::Result<Resource<OutgoingValue>> {
        let mut value = OutgoingValue::new(MAX_VALUE);
        value.vacancy = Some((self.table.get(vacancy)?.0.clone(), ttl));
        Ok(self.table.push(value)?)
    }

    fn ready_now(&mut self) -> wasmtime::Result<Resource<DynPollable>> {
        let ready = self.table.push(Ready)?;
        subscribe(&mut self.table, ready)
    }
}

pub(super) fn add(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, CACHE, {
        "get" => |ctx, key: String| Ok((ctx.cache_get(key).await?,));
        "exists" => |ctx, key: String| Ok((ctx.cache_exists(key).await?,));
        "set" => |ctx, key: String, value: Resource<OutgoingValue>, ttl: Option<u32>| Ok((ctx.cache_set(key, value, ttl).await?,));
        "get-or-set" => |ctx, key: String| Ok((ctx.cache_get_or_set(key).await?,));
        "delete" => |ctx, key: String| Ok((ctx.cache_delete(key).await?,));
    });
    functions!(linker, CACHE, {
        "[method]future-get-result.future-get-result-get" => |ctx, future: Resource<FutureGet>| {
            let found = ctx.table.get(&future)?.0.clone();
            Ok((Some(ctx.kv_values(found)?),))
        };
        "[method]future-get-result.listen-to-future-get-result" => |ctx, _future: Resource<FutureGet>| Ok((ctx.ready_now()?,));
        "[method]future-exists-result.future-exists-result-get" => |ctx, future: Resource<FutureExists>| {
            let exists = ctx.table.get(&future)?.0.clone();
            Ok((Some(ctx.kv_answer(exists)?),))
        };
        "[method]future-exists-result.listen-to-future-exists-result" => |ctx, _future: Resource<FutureExists>| Ok((ctx.ready_now()?,));
        "[method]future-result.future-result-get" => |ctx, future: Resource<FutureDone>| {
            let done = ctx.table.get(&future)?.0.clone();
            Ok((Some(ctx.kv_answer(done)?),))
        };
        "[method]future-result.listen-to-future-result" => |ctx, _future: Resource<FutureDone>| Ok((ctx.ready_now()?,));
        "[method]future-get-or-set-result.future-get-or-set-result-get" => |ctx, future: Resource<FutureGetOrSet>| {
            Ok((Some(ctx.cache_entry(&future)?),))
        };
        "[method]future-get-or-set-result.listen-to-future-get-or-set-result" => |ctx, _future: Resource<FutureGetOrSet>| {
            Ok((ctx.ready_now()?,))
        };
        "[method]vacancy.vacancy-fill" => |ctx, vacancy: Resource<Vacancy>, ttl: Option<u32>| Ok((ctx.vacancy_fill(&vacancy, ttl)?,));
    });
    add_resource::<FutureGet>(linker, CACHE, "future-get-result")?;
    add_resource::<FutureExists>(linker, CACHE, "future-exists-result")?;
    add_resource::<FutureDone>(linker, CACHE, "future-result")?;
    add_resource::<FutureGetOrSet>(linker, CACHE, "future-get-or-set-result")?;
    add_resource::<Vacancy>(linker, CACHE, "vacancy")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_expire() {
        let stored = pack(b"v", Some(100), 1000);
        assert_eq!(unpack(&stored, 1099), Some(b"v".as_slice()));
        assert_eq!(unpack(&stored, 1100), None);
        assert_eq!(unpack(&pack(b"", None, 1000), u64::MAX - 1), Some(b"".as_slice()));
        assert_eq!(unpack(b"short", 0), None);
    }
}
