//! Random batches and scans give the same answers from Redis as from the store in memory.

use crate::servers::redis_options;
use bytes::Bytes;
use emet_storage::memory::MemoryKv;
use emet_storage::redis::{Redis, RedisOptions};
use emet_storage::{Batch, Condition, KvOp, KvStore};
use emet_test_servers::RedisServer;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// Spaces of one tag, so that batches may span them.
fn space() -> impl Strategy<Value = String> {
    prop_oneof![Just("a{t}".to_owned()), Just("b{t}".to_owned())]
}

/// Few short keys, so that they meet; bytes at both ends of the order.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0u8), Just(b'k'), Just(254), Just(255)];
    prop::collection::vec(byte, 0..3)
}

fn value() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<bool>(), 0..2)
        .prop_map(|bits| bits.into_iter().map(u8::from).collect::<Vec<_>>().into())
}

fn batch() -> impl Strategy<Value = Batch> {
    let condition = (space(), key(), prop::option::of(value()))
        .prop_map(|(space, key, expect)| Condition { space, key, expect });
    let op =
        (space(), key(), prop::option::of(value())).prop_map(|(space, key, value)| match value {
            Some(value) => KvOp::Put { space, key, value },
            None => KvOp::Delete { space, key },
        });
    (prop::collection::vec(condition, 0..2), prop::collection::vec(op, 0..6))
        .prop_map(|(conditions, ops)| Batch { conditions, ops })
}

type Query = (String, Vec<u8>, Option<Vec<u8>>, usize);

fn query() -> impl Strategy<Value = Query> {
    (space(), key(), prop::option::of(key()), 0usize..9)
}

async fn agrees(redis: &dyn KvStore, steps: Vec<(Batch, Query)>) {
    let memory = MemoryKv::new();
    for (batch, (space, prefix, after, limit)) in steps {
        let wanted = memory.apply(batch.clone()).await.unwrap();
        assert_eq!(redis.apply(batch).await.unwrap(), wanted);
        let wanted = memory.scan(&space, &prefix, after.as_deref(), limit).await.unwrap();
        let found = redis.scan(&space, &prefix, after.as_deref(), limit).await.unwrap();
        assert_eq!(found, wanted, "{prefix:?} after {after:?}");
        let keys = [prefix, after.unwrap_or_default()];
        let wanted = memory.get_many(&space, &keys).await.unwrap();
        assert_eq!(redis.get_many(&space, &keys).await.unwrap(), wanted);
    }
}

#[test]
fn redis_agrees_with_the_keys_in_memory() {
    let server = RedisServer::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() };
    let case = std::cell::Cell::new(0);
    let steps = prop::collection::vec((batch(), query()), 1..30);
    let result = TestRunner::new(config).run(&steps, |steps| {
        case.set(case.get() + 1);
        let prefix = format!("case{}", case.get());
        let options = RedisOptions { prefix, ..redis_options(&server) };
        runtime.block_on(async {
            let kv = Redis::connect(options).await.unwrap().kv();
            agrees(&*kv, steps).await;
        });
        Ok(())
    });
    result.unwrap();
}
