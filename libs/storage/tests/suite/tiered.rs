//! Two tiers are one log: through every crash, for every owner.

use crate::servers::{redis_options, s3_options};
use crate::{append, key, log_laws, trim};
use async_trait::async_trait;
use bytes::Bytes;
use emet_storage::memory::{MemoryBlob, MemoryLog};
use emet_storage::redis::RedisOptions;
use emet_storage::s3::S3Options;
use emet_storage::tiered::TieredOptions;
use emet_storage::{
    Append, BlobError, BlobInfo, BlobStore, Head, LogError, LogKey, LogStore, Record, Redis,
    S3Blob, Shards, Tiered, Trim,
};
use emet_test_servers::{RedisServer, S3Server};
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;

/// Moves records after almost every append.
const EAGER: TieredOptions = TieredOptions { primary_records: 2, cache_bytes: 1 << 20 };
/// Moves records when told.
const LAZY: TieredOptions = TieredOptions { primary_records: 1_000_000, cache_bytes: 1 << 20 };

fn tiered(log: &MemoryLog, blobs: &MemoryBlob, options: TieredOptions) -> Tiered {
    Tiered::new(Arc::new(log.clone()), Arc::new(blobs.clone()), options)
}

async fn write(log: &dyn LogStore, key: &LogKey, from: u64, to: u64) {
    for index in from..=to {
        log.append(append(key, 1, index, &[&index.to_string()])).await.unwrap();
    }
}

/// Checks that the log is `first..=last`, read from every place.
async fn complete(log: &dyn LogStore, key: &LogKey, first: u64, last: u64) {
    for from in [0, 1, first, first + 1, last / 2, last, last + 1] {
        for max in [1, 7, usize::MAX] {
            let records = log.read(key, from, max).await.unwrap();
            let wanted = (from.max(first)..=last).take(max);
            assert!(records.iter().map(|r| r.index).eq(wanted), "from {from}, at most {max}");
            assert!(records.iter().all(|r| r.data == r.index.to_string()));
        }
    }
}

async fn objects(blobs: &dyn BlobStore) -> Vec<String> {
    let listed = blobs.list("", None, usize::MAX).await.unwrap();
    listed.into_iter().map(|(name, _)| name).collect()
}

#[tokio::test]
async fn every_law_holds_on_eager_tiers() {
    let make = async |_: &str| Arc::new(tiered(&MemoryLog::new(), &MemoryBlob::new(), EAGER));
    log_laws::all(make).await;
}

#[tokio::test]
async fn every_law_holds_on_tiers_of_redis_and_s3() {
    let (one, two) = (RedisServer::start(), S3Server::start());
    let make = async |law: &str| {
        let options = RedisOptions { prefix: law.into(), ..redis_options(&one) };
        let primary = Redis::connect(options).await.unwrap().log();
        let options = S3Options { prefix: format!("{law}/"), ..s3_options(&two) };
        let blobs = S3Blob::open(options).await.unwrap();
        Arc::new(Tiered::new(primary, Arc::new(blobs), EAGER))
    };
    log_laws::all(make).await;
}

#[tokio::test]
async fn old_records_move_and_are_read_as_before() {
    let (log, blobs) = (MemoryLog::new(), MemoryBlob::new());
    let options = TieredOptions { primary_records: 100, ..EAGER };
    let both = tiered(&log, &blobs, options);
    let a = key(1, "a");
    write(&both, &a, 1, 1234).await;
    both.idle().await;
    let primary = log.read(&a, 1, usize::MAX).await.unwrap();
    assert!(primary.len() <= 100, "{} records stayed", primary.len());
    assert!(!objects(&blobs).await.is_empty());
    complete(&both, &a, 1, 1234).await;
    complete(&tiered(&log, &blobs, LAZY), &a, 1, 1234).await;
    assert_eq!(both.head(&a).await.unwrap().unwrap().last, 1234);
}

#[tokio::test]
async fn chunks_are_small_in_number_and_size() {
    let (log, blobs) = (MemoryLog::new(), MemoryBlob::new());
    let both = tiered(&log, &blobs, LAZY);
    let a = key(1, "a");
    let records: Vec<_> =
        (0..3000).map(|n| Bytes::from(format!("{n} {}", "x".repeat(900)))).collect();
    both.append(Append { records, ..append(&a, 1, 1, &[]) }).await.unwrap();
    assert_eq!(both.archive(&a, 1, 0).await.unwrap(), 3000);
    let listed = blobs.list("", None, 99).await.unwrap();
    assert_eq!(listed.len(), 3, "{listed:?}");
    assert!(listed.iter().map(|(_, info)| info.size).sum::<u64>() < 300_000, "{listed:?}");
    assert_eq!(both.read(&a, 1, usize::MAX).await.unwrap().len(), 3000);
}

#[tokio::test]
async fn an_owner_without_its_epoch_moves_nothing() {
    let (log, blobs) = (MemoryLog::new(), MemoryBlob::new());
    let (old, new) = (tiered(&log, &blobs, LAZY), tiered(&log, &blobs, LAZY));
    let a = key(1, "a");
    write(&old, &a, 1, 50).await;
    new.fence(&a, 2).await.unwrap();
    let refused = old.archive(&a, 1, 0).await.unwrap_err();
    assert_eq!(refused, LogError::Fenced { epoch: 1, current: 2 });
    assert!(objects(&blobs).await.is_empty());
    assert_eq!(log.read(&a, 1, 99).await.unwrap().len(), 50);
    assert_eq!(new.archive(&a, 2, 10).await.unwrap(), 40);
    complete(&old, &a, 1, 50).await;
}

#[tokio::test]
async fn deleting_removes_the_archive_and_a_new_log_does_not_see_it() {
    let (log, blobs) = (MemoryLog::new(), MemoryBlob::new());
    let both = tiered(&log, &blobs, LAZY);
    let (a, b) = (key(1, "a"), key(1, "b"));
    write(&both, &a, 1, 20).await;
    write(&both, &b, 1, 20).await;
    both.archive(&a, 1, 5).await.unwrap();
    both.archive(&b, 1, 5).await.unwrap();
    let before = objects(&blobs).await.len();
    both.delete(&a, 1).await.unwrap();
    assert_eq!(objects(&blobs).await.len(), before / 2);
    complete(&both, &b, 1, 20).await;

    // A crash between the two halves of a deletion.
    log.delete(&b, 1).await.unwrap();
    write(&both, &b, 1, 8).await;
    complete(&both, &b, 1, 8).await;
    both.archive(&b, 1, 2).await.unwrap();
    complete(&both, &b, 1, 8).await;
    assert_eq!(objects(&blobs).await.len(), 1, "what the old log left is gone");
}

#[tokio::test]
async fn trimming_reaches_into_the_archive() {
    let (log, blobs) = (MemoryLog::new(), MemoryBlob::new());
    let both = tiered(&log, &blobs, LAZY);
    let a = key(1, "a");
    write(&both, &a, 1, 30).await;
    both.archive(&a, 1, 20).await.unwrap();
    both.archive(&a, 1, 10).await.unwrap();
    trim(&both, &a, 4).await.unwrap();
    complete(&both, &a, 5, 30).await;
    trim(&both, &a, 3).await.unwrap();
    complete(&both, &a, 5, 30).await;
    trim(&both, &a, 10).await.unwrap();
    complete(&both, &a, 11, 30).await;
    assert_eq!(objects(&blobs).await.len(), 2, "one chunk and the floor");
    trim(&both, &a, 25).await.unwrap();
    complete(&both, &a, 26, 30).await;
    trim(&both, &a, 99).await.unwrap();
    assert_eq!(both.read(&a, 1, 9).await.unwrap(), []);
    write(&both, &a, 31, 33).await;
    complete(&both, &a, 31, 33).await;
}

#[tokio::test]
async fn damage_of_a_chunk_stops_that_log_only() {
    let (log, blobs) = (MemoryLog::new(), MemoryBlob::new());
    let both = tiered(&log, &blobs, TieredOptions { cache_bytes: 0, ..LAZY });
    let (a, b) = (key(1, "a"), key(1, "b"));
    for key in [&a, &b] {
        write(&both, key, 1, 20).await;
        both.archive(key, 1, 5).await.unwrap();
    }
    let sequence = log.head(&a).await.unwrap().unwrap().sequence;
    let names = objects(&blobs).await;
    let name = names.iter().find(|name| name.contains(&format!("/{sequence:020}/"))).unwrap();
    let mut bytes = blobs.get(name).await.unwrap().unwrap().to_vec();
    bytes[30] ^= 1;
    blobs.put(name, bytes.into()).await.unwrap();
    let error = both.read(&a, 3, 9).await.unwrap_err();
    assert!(matches!(error, LogError::Corrupt { index: 3, .. }), "{error}");
    assert_eq!(both.read(&a, 16, 9).await.unwrap().len(), 5);
    complete(&both, &b, 1, 20).await;

    blobs.delete(name).await.unwrap();
    assert!(matches!(both.read(&a, 3, 9).await, Err(LogError::Corrupt { index: 3, .. })));
}

/// Counts the steps of both stores, and ends the process at one of them.
#[derive(Debug)]
struct Crash {
    /// Steps left; 0: crashed.
    left: u64,
    /// Whether the last step is still carried out.
    after: bool,
}

#[derive(Clone)]
struct Failing<S> {
    store: S,
    crash: Arc<Mutex<Crash>>,
}

impl<S> Failing<S> {
    /// Runs a step unless the process has ended; an error also if it ends with this step.
    async fn step<T>(&self, work: impl Future<Output = T>) -> Result<T, String> {
        let (run, tell) = {
            let mut crash = self.crash.lock();
            let (left, after) = (crash.left, crash.after);
            crash.left = left.saturating_sub(1);
            (left > 1 || left == 1 && after, left > 1)
        };
        let result = if run { Some(work.await) } else { None };
        result.filter(|_| tell).ok_or_else(|| "the process has ended".to_owned())
    }
}

#[async_trait]
impl LogStore for Failing<MemoryLog> {
    async fn append(&self, append: Append) -> Result<(), LogError> {
        self.step(self.store.append(append)).await.map_err(LogError::Io)?
    }
    async fn read(&self, key: &LogKey, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
        self.step(self.store.read(key, from, max)).await.map_err(LogError::Io)?
    }
    async fn head(&self, key: &LogKey) -> Result<Option<Head>, LogError> {
        self.step(self.store.head(key)).await.map_err(LogError::Io)?
    }
    async fn fence(&self, key: &LogKey, epoch: u64) -> Result<(), LogError> {
        self.step(self.store.fence(key, epoch)).await.map_err(LogError::Io)?
    }
    async fn fence_shard(&self, shard: u32, total: u32, epoch: u64) -> Result<(), LogError> {
        self.step(self.store.fence_shard(shard, total, epoch)).await.map_err(LogError::Io)?
    }
    async fn delete(&self, key: &LogKey, epoch: u64) -> Result<(), LogError> {
        self.step(self.store.delete(key, epoch)).await.map_err(LogError::Io)?
    }
    async fn list(
        &self,
        group: [u8; 16],
        after: u64,
        limit: usize,
    ) -> Result<Vec<(LogKey, Head)>, LogError> {
        self.step(self.store.list(group, after, limit)).await.map_err(LogError::Io)?
    }
    async fn unfinished(&self, shards: &Shards) -> Result<Vec<LogKey>, LogError> {
        self.step(self.store.unfinished(shards)).await.map_err(LogError::Io)?
    }
    async fn trim(&self, trim: Trim) -> Result<(), LogError> {
        self.step(self.store.trim(trim)).await.map_err(LogError::Io)?
    }
}

#[async_trait]
impl BlobStore for Failing<MemoryBlob> {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), BlobError> {
        self.step(self.store.put(key, data)).await.map_err(BlobError::Io)?
    }
    async fn put_if_absent(&self, key: &str, data: Bytes) -> Result<bool, BlobError> {
        self.step(self.store.put_if_absent(key, data)).await.map_err(BlobError::Io)?
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>, BlobError> {
        self.step(self.store.get(key)).await.map_err(BlobError::Io)?
    }
    async fn get_range(&self, key: &str, start: u64, end: u64) -> Result<Option<Bytes>, BlobError> {
        self.step(self.store.get_range(key, start, end)).await.map_err(BlobError::Io)?
    }
    async fn head(&self, key: &str) -> Result<Option<BlobInfo>, BlobError> {
        self.step(self.store.head(key)).await.map_err(BlobError::Io)?
    }
    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        self.step(self.store.delete(key)).await.map_err(BlobError::Io)?
    }
    async fn delete_prefix(&self, prefix: &str) -> Result<(), BlobError> {
        self.step(self.store.delete_prefix(prefix)).await.map_err(BlobError::Io)?
    }
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, BlobInfo)>, BlobError> {
        self.step(self.store.list(prefix, after, limit)).await.map_err(BlobError::Io)?
    }
    async fn copy(&self, from: &str, to: &str) -> Result<bool, BlobError> {
        self.step(self.store.copy(from, to)).await.map_err(BlobError::Io)?
    }
    fn local_path(&self, _key: &str) -> Option<PathBuf> {
        None
    }
}

/// A log of 2500 records, most of them in the archive, and stores that crash at a step.
struct Scene {
    log: MemoryLog,
    blobs: MemoryBlob,
}

impl Scene {
    async fn new() -> Self {
        let scene = Self { log: MemoryLog::new(), blobs: MemoryBlob::new() };
        let healthy = tiered(&scene.log, &scene.blobs, LAZY);
        let records = (1..=2500).map(|n: u64| Bytes::from(n.to_string())).collect();
        healthy.append(Append { records, ..append(&key(1, "a"), 1, 1, &[]) }).await.unwrap();
        healthy.archive(&key(1, "a"), 1, 2400).await.unwrap();
        scene
    }

    fn failing(&self, left: u64, after: bool) -> Tiered {
        let crash = Arc::new(Mutex::new(Crash { left, after }));
        let log = Failing { store: self.log.clone(), crash: crash.clone() };
        Tiered::new(Arc::new(log), Arc::new(Failing { store: self.blobs.clone(), crash }), LAZY)
    }

    /// The stores as the next process finds them.
    fn reopened(&self) -> Tiered {
        tiered(&self.log, &self.blobs, LAZY)
    }
}

#[tokio::test]
async fn a_crash_at_any_step_of_a_move_loses_and_doubles_nothing() {
    let a = key(1, "a");
    for after in [false, true] {
        for step in 1.. {
            let scene = Scene::new().await;
            let moved = scene.failing(step, after).archive(&a, 1, 10).await;
            let next = scene.reopened();
            complete(&next, &a, 1, 2500).await;
            next.archive(&a, 1, 4).await.unwrap();
            complete(&next, &a, 1, 2500).await;
            assert_eq!(scene.log.read(&a, 1, 99).await.unwrap().len(), 4);
            if moved.is_ok() {
                assert!(step > 8, "the move has several steps");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_crash_at_any_step_of_a_trim_leaves_the_log_as_before_or_trimmed() {
    let a = key(1, "a");
    for after in [false, true] {
        for step in 1.. {
            let scene = Scene::new().await;
            scene.reopened().archive(&a, 1, 1200).await.unwrap();
            let done = trim(&scene.failing(step, after), &a, 1290).await;
            let next = scene.reopened();
            let first = next.read(&a, 1, 1).await.unwrap()[0].index;
            assert!(first == 1 || first == 1291, "{first}");
            complete(&next, &a, first, 2500).await;
            trim(&next, &a, 1290).await.unwrap();
            complete(&next, &a, 1291, 2500).await;
            if done.is_ok() {
                assert_eq!(first, 1291);
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_crash_at_any_step_of_a_deletion_can_be_repeated() {
    let a = key(1, "a");
    for after in [false, true] {
        for step in 1.. {
            let scene = Scene::new().await;
            let done = scene.failing(step, after).delete(&a, 1).await;
            let next = scene.reopened();
            if next.head(&a).await.unwrap().is_some() {
                complete(&next, &a, 1, 2500).await;
            }
            next.delete(&a, 1).await.unwrap();
            assert!(objects(&scene.blobs).await.is_empty());
            write(&next, &a, 1, 5).await;
            complete(&next, &a, 1, 5).await;
            if done.is_ok() {
                break;
            }
        }
    }
}

/// Readers see the whole log while two owners, one of them without its epoch, move it.
#[tokio::test(flavor = "multi_thread")]
async fn readers_are_not_disturbed_by_moves() {
    let (log, blobs) = (MemoryLog::new(), MemoryBlob::new());
    let a = key(1, "a");
    write(&log, &a, 1, 3000).await;
    let both = tiered(&log, &blobs, LAZY);
    let mover = tokio::spawn({
        let (one, two) = (both.clone(), tiered(&log, &blobs, LAZY));
        let a = a.clone();
        async move {
            for keep in (0..3000).rev().step_by(37) {
                let (x, y) = tokio::join!(one.archive(&a, 1, keep), two.archive(&a, 1, keep));
                x.and(y).unwrap();
            }
        }
    });
    while !mover.is_finished() {
        let records = both.read(&a, 1, usize::MAX).await.unwrap();
        assert!(records.iter().map(|record| record.index).eq(1..=3000));
    }
    mover.await.unwrap();
    complete(&both, &a, 1, 3000).await;
}
