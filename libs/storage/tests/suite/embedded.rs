//! What only the embedded store promises: it survives closing, and it is opened once.

use crate::{append, key, open, trim};
use bytes::Bytes;
use emet_storage::embedded::OpenError;
use emet_storage::{Append, Batch, Embedded, KvStore, LogError, LogStore, Shards, Summary, Trim};

#[tokio::test]
async fn everything_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (key(1, "a"), key(1, "b"));
    let store = open(dir.path());
    let summary = Some(Summary { index: 2, data: Bytes::from("s") });
    let first = append(&a, 4, 1, &["x", "y"]);
    let first = Append { unfinished: Some(true), summary, ..first };
    store.log().append(first).await.unwrap();
    store.log().append(append(&b, 1, 1, &["1", "2", "3"])).await.unwrap();
    trim(&*store.log(), &b, 3).await.unwrap();
    store.kv().apply(Batch::new().put("s", "k", "v")).await.unwrap();
    let before = store.log().list([1; 16], 0, 9).await.unwrap();
    drop(store);

    let store = open(dir.path());
    assert_eq!(store.log().list([1; 16], 0, 9).await.unwrap(), before);
    assert_eq!(store.log().unfinished(&Shards::All).await.unwrap(), std::slice::from_ref(&a));
    assert_eq!(store.kv().get("s", b"k").await.unwrap(), Some(Bytes::from("v")));
    let stale = store.log().append(append(&a, 3, 3, &["old"])).await.unwrap_err();
    assert_eq!(stale, LogError::Fenced { epoch: 3, current: 4 });
    store.log().fence_shard(a.shard(1024), 1024, 5).await.unwrap();
    drop(store);
    let store = open(dir.path());
    let stale = store.log().append(append(&a, 4, 3, &["old"])).await.unwrap_err();
    assert_eq!(stale, LogError::Fenced { epoch: 4, current: 5 });
    store.log().append(append(&a, 5, 3, &["z"])).await.unwrap();
    store.log().append(append(&b, 1, 4, &["4"])).await.unwrap();
    store.log().append(append(&key(1, "c"), 1, 1, &[])).await.unwrap();
    let newest = store.log().list([1; 16], 0, 9).await.unwrap().pop().unwrap();
    assert_eq!(newest.0.name, "c", "sequence numbers go on rising");
}

#[tokio::test]
async fn a_second_open_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let Err(error) = Embedded::open(dir.path()) else { panic!("opened twice") };
    assert!(matches!(error, OpenError::InUse(_)));
    assert!(error.to_string().ends_with("is in use by another process"), "{error}");
    let log = store.log();
    drop(store);
    assert!(Embedded::open(dir.path()).is_err(), "a port keeps the store open");
    drop(log);
    Embedded::open(dir.path()).unwrap();
}

#[tokio::test]
async fn deletes_trims_and_appends_of_one_log_keep_their_order_in_a_group() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).log();
    let a = key(1, "a");
    for _ in 0..20 {
        log.fence(&a, 9).await.unwrap();
        let sequence = log.head(&a).await.unwrap().unwrap().sequence;
        let (x, y, z) = tokio::join!(
            log.append(append(&a, 9, 1, &["x", "y"])),
            log.trim(Trim { key: a.clone(), sequence, epoch: 9, through: 1 }),
            log.append(append(&a, 9, 3, &["z"])),
        );
        x.and(y).and(z).unwrap();
        assert_eq!(log.read(&a, 1, 9).await.unwrap().len(), 2);
        let (x, y, z) = tokio::join!(
            log.append(append(&a, 9, 4, &["w"])),
            log.delete(&a, 9),
            log.append(append(&a, 1, 1, &["new"])),
        );
        x.and(y).and(z).unwrap();
        assert_eq!(log.read(&a, 1, 9).await.unwrap().len(), 1);
        assert_eq!(log.list([1; 16], 0, 9).await.unwrap().len(), 1);
        log.delete(&a, 9).await.unwrap();
    }
}
