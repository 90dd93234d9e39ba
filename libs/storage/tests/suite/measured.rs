//! A measured store answers as the store below, counts, and knows when writes fail.

use bytes::Bytes;
use emet_storage::measured::{Measured, probe};
use emet_storage::memory::{MemoryBlob, MemoryKv, MemoryLog};
use emet_storage::{Append, Batch, BlobStore, KvError, KvStore, LogError, LogKey, LogStore};
use emet_telemetry::health::Health;
use emet_telemetry::metrics::list::{STORE_FAILURES, STORE_SECONDS};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A store that can be broken.
#[derive(Default)]
struct Breakable(AtomicBool);

#[async_trait::async_trait]
impl KvStore for Breakable {
    async fn get(&self, _: &str, _: &[u8]) -> Result<Option<Bytes>, KvError> {
        Ok(None)
    }
    async fn get_many(&self, _: &str, _: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, KvError> {
        Ok(Vec::new())
    }
    async fn apply(&self, _: Batch) -> Result<bool, KvError> {
        if self.0.load(Ordering::SeqCst) {
            Err(KvError::Poisoned("fsync failed".into()))
        } else {
            Ok(true)
        }
    }
    async fn scan(
        &self,
        _: &str,
        _: &[u8],
        _: Option<&[u8]>,
        _: usize,
    ) -> Result<Vec<(Vec<u8>, Bytes)>, KvError> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn operations_are_counted_and_refusals_are_no_trouble() {
    let health = Health::default();
    let log: Arc<dyn LogStore> =
        Measured::<dyn LogStore>::new(Arc::new(MemoryLog::default()), &health, "log");
    let key = LogKey { group: [7; 16], name: "w".into() };
    let append = |expected| Append {
        key: key.clone(),
        epoch: 1,
        expected,
        records: vec![Bytes::from_static(b"x")],
        unfinished: None,
        summary: None,
    };
    let (seconds, failures) =
        (STORE_SECONDS.with(["log", "append"]), STORE_FAILURES.with(["log", "append"]));
    let (before, failed) = (seconds.count(), failures.get());
    log.append(append(1)).await.unwrap();
    assert!(matches!(log.append(append(9)).await, Err(LogError::Conflict { .. })));
    assert_eq!(log.read(&key, 1, 10).await.unwrap().len(), 1);
    assert_eq!((seconds.count() - before, failures.get() - failed), (2, 1));
    assert!(health.troubles().is_empty(), "a refused append is not the store's fault");
}

#[tokio::test]
async fn failing_writes_make_the_store_unwell_until_one_succeeds() {
    let health = Health::default();
    let store = Arc::new(Breakable::default());
    let kv: Arc<dyn KvStore> = Measured::<dyn KvStore>::new(store.clone(), &health, "kv");
    kv.apply(Batch::new()).await.unwrap();
    assert!(health.troubles().is_empty());
    store.0.store(true, Ordering::SeqCst);
    kv.apply(Batch::new()).await.unwrap_err();
    let troubles = health.troubles();
    assert!(
        troubles.len() == 1
            && troubles[0].starts_with("writes to the kv store: ")
            && troubles[0].contains("fsync failed"),
        "{troubles:?}"
    );
    // Reading still works: that the store can be read says nothing about writes.
    kv.get("s", b"k").await.unwrap();
    assert_eq!(health.troubles().len(), 1);
    store.0.store(false, Ordering::SeqCst);
    kv.apply(Batch::new()).await.unwrap();
    assert!(health.troubles().is_empty());
}

#[tokio::test]
async fn probes_find_stores_that_answer() {
    let health = Health::default();
    let (log, kv, blobs) = (MemoryLog::default(), MemoryKv::default(), MemoryBlob::default());
    let blobs: Arc<dyn BlobStore> =
        Measured::<dyn BlobStore>::new(Arc::new(blobs), &health, "blob");
    probe(&health, Arc::new(log), Arc::new(kv), blobs);
    assert_eq!(health.troubles().len(), 3, "nothing is ready before it was probed");
    while !health.troubles().is_empty() {
        tokio::task::yield_now().await;
    }
}
