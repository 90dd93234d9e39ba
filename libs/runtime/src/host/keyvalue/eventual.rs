//! `eventual` and `eventual-batch`: keys one by one, and many at once.

use super::super::functions;
use super::super::values::{Failure, IncomingValue, OutgoingValue, Stored};
use super::{Answer, Bucket, USER, place, prefix};
use crate::WorkerCtx;
use crate::log::HostFn;
use bytes::Bytes;
use emet_storage::{Batch, KvStore};
use std::sync::Arc;
use wasmtime::component::{Linker, Resource};

type BucketKey = (String, String);
type BucketKeys = (String, Vec<String>);

pub(super) const GET: HostFn<BucketKey, Result<Option<Vec<u8>>, String>> =
    HostFn::read_remote("golem keyvalue::eventual::get");
pub(super) const SET: HostFn<(String, String, u64), Result<(), String>> =
    HostFn::write_remote("golem keyvalue::eventual::set");
pub(super) const DELETE: HostFn<BucketKey, Result<(), String>> =
    HostFn::write_remote("golem keyvalue::eventual::delete");
pub(super) const EXISTS: HostFn<BucketKey, Result<bool, String>> =
    HostFn::read_remote("golem keyvalue::eventual::exists");
pub(super) const GET_MANY: HostFn<BucketKeys, Result<Vec<Option<Vec<u8>>>, String>> =
    HostFn::read_remote("golem keyvalue::eventual_batch::get_many");
pub(super) const KEYS: HostFn<String, Result<Vec<String>, String>> =
    HostFn::read_remote("golem keyvalue::eventual_batch::get_keys");
pub(super) const SET_MANY: HostFn<(String, Vec<(String, u64)>), Result<(), String>> =
    HostFn::write_remote("golem keyvalue::eventual_batch::set_many");
pub(super) const DELETE_MANY: HostFn<BucketKeys, Result<(), String>> =
    HostFn::write_remote("golem keyvalue::eventual_batch::delete_many");

const EVENTUAL: &str = "wasi:keyvalue/eventual@0.1.0";
const BATCH: &str = "wasi:keyvalue/eventual-batch@0.1.0";

/// Most keys of one call (docs/limits.md).
const MAX_KEYS: usize = 1000;
/// Most bytes of values of one call (docs/limits.md).
const MAX_BYTES: usize = 64 << 20;
/// Most bytes of keys that `keys` lists (docs/limits.md).
const MAX_LISTED: usize = 16 << 20;
/// Keys fetched at a time, with their values.
const PAGE: usize = 32;

type Value = Resource<IncomingValue>;

fn check_count(count: usize) -> Stored<()> {
    if count > MAX_KEYS {
        Err(Failure::Guest(format!("more than {MAX_KEYS} keys in one call")))
    } else {
        Ok(())
    }
}

fn check_bytes(bytes: usize) -> Stored<()> {
    if bytes > MAX_BYTES {
        Err(Failure::Guest(format!("the values are larger than {MAX_BYTES} bytes together")))
    } else {
        Ok(())
    }
}

async fn get_many(
    kv: Arc<dyn KvStore>,
    bucket: &str,
    keys: &[String],
) -> Stored<Vec<Option<Vec<u8>>>> {
    check_count(keys.len())?;
    let places = keys.iter().map(|key| place(bucket, key)).collect::<Stored<Vec<_>>>()?;
    let mut values = Vec::with_capacity(places.len());
    let mut bytes = 0;
    for places in places.chunks(PAGE) {
        for value in kv.get_many(USER, places).await? {
            bytes += value.as_ref().map_or(0, Bytes::len);
            check_bytes(bytes)?;
            values.push(value.map(|v| v.to_vec()));
        }
    }
    Ok(values)
}

async fn keys(kv: Arc<dyn KvStore>, bucket: &str) -> Stored<Vec<String>> {
    let prefix = prefix(bucket);
    let mut keys = Vec::new();
    let mut bytes = 0;
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = kv.scan(USER, &prefix, after.as_deref(), PAGE).await?;
        let is_last = page.len() < PAGE;
        for (key, _) in &page {
            let name = key.strip_prefix(prefix.as_slice()).unwrap_or_default();
            bytes += name.len() + 1;
            keys.push(String::from_utf8_lossy(name).into_owned());
        }
        if bytes > MAX_LISTED {
            return Err(Failure::Guest(format!(
                "the bucket's keys are larger than {MAX_LISTED} bytes together"
            )));
        }
        after = page.into_iter().next_back().map(|(key, _)| key);
        if is_last {
            return Ok(keys);
        }
    }
}

async fn apply(kv: Arc<dyn KvStore>, batch: Stored<Batch>) -> Stored<()> {
    kv.apply(batch?).await?;
    Ok(())
}

impl WorkerCtx {
    async fn kv_get(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Answer<Option<Value>>> {
        let (bucket, kv) = (self.bucket_name(&bucket)?, self.node.kv.clone());
        let place = place(&bucket, &key);
        let act = async move { Ok(kv.get(USER, &place?).await?.map(|v| v.to_vec())) };
        let got = self.stored_read(&GET, (bucket, key), act).await?;
        self.kv_values(got)
    }

    async fn kv_exists(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Answer<bool>> {
        let (bucket, kv) = (self.bucket_name(&bucket)?, self.node.kv.clone());
        let place = place(&bucket, &key);
        let act = async move { Ok(kv.get(USER, &place?).await?.is_some()) };
        let exists = self.stored_read(&EXISTS, (bucket, key), act).await?;
        self.kv_answer(exists)
    }

    async fn kv_set(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        value: Resource<OutgoingValue>,
    ) -> wasmtime::Result<Answer<()>> {
        let (bucket, kv) = (self.bucket_name(&bucket)?, self.node.kv.clone());
        let value = self.table.get(&value)?.bytes();
        let length = value.len() as u64;
        let batch = place(&bucket, &key).map(|place| Batch::new().put(USER, place, value));
        let set = self.stored_write(&SET, (bucket, key, length), apply(kv, batch)).await?;
        self.kv_answer(set)
    }

    async fn kv_delete(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Answer<()>> {
        let (bucket, kv) = (self.bucket_name(&bucket)?, self.node.kv.clone());
        let batch = place(&bucket, &key).map(|place| Batch::new().delete(USER, place));
        let deleted = self.stored_write(&DELETE, (bucket, key), apply(kv, batch)).await?;
        self.kv_answer(deleted)
    }

    async fn kv_get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> wasmtime::Result<Answer<Vec<Option<Value>>>> {
        let (bucket, kv) = (self.bucket_name(&bucket)?, self.node.kv.clone());
        let request = (bucket.clone(), keys.clone());
        let act = async move { get_many(kv, &bucket, &keys).await };
        match self.stored_read(&GET_MANY, request, act).await? {
            Ok(values) => {
                let values = values
                    .into_iter()
                    .map(|value| self.kv_value(value))
                    .collect::<wasmtime::Result<Vec<_>>>();
                Ok(Ok(values?))
            }
            Err(text) => self.kv_answer(Err(text)),
        }
    }

    async fn kv_keys(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<Answer<Vec<String>>> {
        let (bucket, kv) = (self.bucket_name(&bucket)?, self.node.kv.clone());
        let request = bucket.clone();
        let listed =
            self.stored_read(&KEYS, request, async move { keys(kv, &bucket).await }).await?;
        self.kv_answer(listed)
    }

    async fn kv_set_many(
        &mut self,
        bucket: Resource<Bucket>,
        pairs: Vec<(String, Resource<OutgoingValue>)>,
    ) -> wasmtime::Result<Answer<()>> {
        let (bucket, kv) = (self.bucket_name(&bucket)?, self.node.kv.clone());
        let mut batch = check_count(pairs.len()).map(|()| Batch::new());
        let mut lengths = Vec::with_capacity(pairs.len());
        let mut bytes = 0;
        for (key, value) in pairs {
            let value = self.table.get(&value)?;
            bytes += value.len();
            lengths.push((key.clone(), value.len() as u64));
            // The bytes are copied only as long as they fit.
            batch = batch.and_then(|batch| {
                check_bytes(bytes)?;
                Ok(batch.put(USER, place(&bucket, &key)?, value.bytes()))
            });
        }
        let set = self.stored_write(&SET_MANY, (bucket, lengths), apply(kv, batch)).await?;
        self.kv_answer(set)
    }

    async fn kv_delete_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> wasmtime::Result<Answer<()>> {
        let (bucket, kv) = (self.bucket_name(&bucket)?, self.node.kv.clone());
        let batch = check_count(keys.len());
        let batch = batch.and_then(|()| {
            keys.iter()
                .try_fold(Batch::new(), |batch, key| Ok(batch.delete(USER, place(&bucket, key)?)))
        });
        let deleted = self.stored_write(&DELETE_MANY, (bucket, keys), apply(kv, batch)).await?;
        self.kv_answer(deleted)
    }
}

pub(super) fn add(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, EVENTUAL, {
        "get" => |ctx, bucket: Resource<Bucket>, key: String| Ok((ctx.kv_get(bucket, key).await?,));
        "set" => |ctx, bucket: Resource<Bucket>, key: String, value: Resource<OutgoingValue>| Ok((ctx.kv_set(bucket, key, value).await?,));
        "delete" => |ctx, bucket: Resource<Bucket>, key: String| Ok((ctx.kv_delete(bucket, key).await?,));
        "exists" => |ctx, bucket: Resource<Bucket>, key: String| Ok((ctx.kv_exists(bucket, key).await?,));
    });
    functions!(linker, BATCH, {
        "get-many" => |ctx, bucket: Resource<Bucket>, keys: Vec<String>| Ok((ctx.kv_get_many(bucket, keys).await?,));
        "keys" => |ctx, bucket: Resource<Bucket>| Ok((ctx.kv_keys(bucket).await?,));
        "set-many" => |ctx, bucket: Resource<Bucket>, pairs: Vec<(String, Resource<OutgoingValue>)>| {
            Ok((ctx.kv_set_many(bucket, pairs).await?,))
        };
        "delete-many" => |ctx, bucket: Resource<Bucket>, keys: Vec<String>| Ok((ctx.kv_delete_many(bucket, keys).await?,));
    });
    Ok(())
}
