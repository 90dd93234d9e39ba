//! The laws of `LogStore`, run against every backend.

use crate::{append, key, open, trim};
use bytes::Bytes;
use emet_storage::memory::MemoryLog;
use emet_storage::{Append, LogError, LogStore, Record, Shards, Summary, Trim};

macro_rules! laws {
    ($($law:ident),+ $(,)?) => {
        mod memory { $(
            #[tokio::test]
            async fn $law() { super::$law(&super::MemoryLog::new()).await; }
        )+ }
        mod embedded { $(
            #[tokio::test]
            async fn $law() {
                let dir = tempfile::tempdir().unwrap();
                super::$law(&*super::open(dir.path()).log()).await;
            }
        )+ }
        mod redis { $(
            #[tokio::test]
            async fn $law() {
                let server = emet_test_servers::RedisServer::start();
                super::$law(&*crate::servers::redis(&server).await.log()).await;
            }
        )+ }
        /// All laws one after the other, each on a fresh store from `make`.
        pub(crate) async fn all<S: std::ops::Deref<Target: LogStore + Sized>>(
            make: impl AsyncFn(&str) -> S,
        ) {
            $( $law(&*make(stringify!($law)).await).await; )+
        }
    };
}

laws!(
    indexes_are_dense,
    a_wrong_index_is_refused_whole,
    an_older_epoch_is_fenced_off,
    an_older_owner_of_a_shard_is_fenced_off,
    the_unfinished_mark_follows_appends,
    unfinished_logs_are_found_by_shard,
    a_summary_is_replaced_atomically,
    list_pages_in_creation_order,
    a_deleted_log_starts_anew,
    trim_drops_the_front_only,
    a_trim_of_a_deleted_log_leaves_its_successor,
    large_appends_read_back,
    a_refused_append_harms_no_other,
    names_are_separate_and_limited,
    concurrent_writers_of_one_log_never_both_win,
);

fn texts(records: &[Record]) -> Vec<(u64, &str)> {
    records.iter().map(|r| (r.index, std::str::from_utf8(&r.data).unwrap())).collect()
}

async fn indexes_are_dense(log: &dyn LogStore) {
    let a = key(1, "a");
    assert_eq!(log.head(&a).await.unwrap(), None);
    assert_eq!(log.read(&a, 1, 10).await.unwrap(), []);
    log.append(append(&a, 1, 1, &["x", "y"])).await.unwrap();
    log.append(append(&a, 1, 3, &["z"])).await.unwrap();
    log.append(append(&a, 1, 4, &[])).await.unwrap();
    assert_eq!(log.head(&a).await.unwrap().unwrap().last, 3);
    let all = [(1, "x"), (2, "y"), (3, "z")];
    for from in 0..6u64 {
        for max in 0..5usize {
            let skip = from.max(1) as usize - 1;
            let wanted: Vec<_> = all.into_iter().skip(skip).take(max).collect();
            assert_eq!(texts(&log.read(&a, from, max).await.unwrap()), wanted, "{from} {max}");
        }
    }
}

async fn a_wrong_index_is_refused_whole(log: &dyn LogStore) {
    let a = key(1, "a");
    log.append(append(&a, 1, 1, &["x"])).await.unwrap();
    for expected in [0, 1, 3, u64::MAX] {
        let mut wrong = append(&a, 5, expected, &["y"]);
        wrong.unfinished = Some(true);
        wrong.summary = Some(Summary { index: 1, data: Bytes::new() });
        let refused = log.append(wrong).await.unwrap_err();
        assert_eq!(refused, LogError::Conflict { expected, found: 2 });
    }
    let head = log.head(&a).await.unwrap().unwrap();
    assert_eq!((head.last, head.epoch, head.unfinished, head.summary), (1, 1, false, None));
    let refused = log.append(append(&key(1, "b"), 1, 2, &["y"])).await.unwrap_err();
    assert_eq!(refused, LogError::Conflict { expected: 2, found: 1 });
    assert_eq!(log.head(&key(1, "b")).await.unwrap(), None, "a refused append creates nothing");
}

async fn an_older_epoch_is_fenced_off(log: &dyn LogStore) {
    let a = key(1, "a");
    log.append(append(&a, 2, 1, &["x"])).await.unwrap();
    log.append(append(&a, 2, 2, &["y"])).await.unwrap();
    log.fence(&a, 4).await.unwrap();
    log.fence(&a, 4).await.unwrap();
    let fenced = |epoch| LogError::Fenced { epoch, current: 4 };
    assert_eq!(log.append(append(&a, 3, 3, &["old"])).await.unwrap_err(), fenced(3));
    assert_eq!(log.append(append(&a, 2, 9, &["old"])).await.unwrap_err(), fenced(2));
    assert_eq!(log.fence(&a, 3).await.unwrap_err(), fenced(3));
    assert_eq!(log.delete(&a, 3).await.unwrap_err(), fenced(3));
    let sequence = log.head(&a).await.unwrap().unwrap().sequence;
    let late = Trim { key: a.clone(), sequence, epoch: 3, through: 2 };
    assert_eq!(log.trim(late).await.unwrap_err(), fenced(3));
    assert_eq!(texts(&log.read(&a, 1, 9).await.unwrap()), [(1, "x"), (2, "y")]);
    log.append(append(&a, 5, 3, &["new"])).await.unwrap();
    assert_eq!(log.head(&a).await.unwrap().unwrap().epoch, 5);

    let b = key(1, "b");
    log.fence(&b, 7).await.unwrap();
    let head = log.head(&b).await.unwrap().unwrap();
    assert_eq!((head.last, head.epoch), (0, 7));
    assert!(log.append(append(&b, 6, 1, &["old"])).await.is_err());
}

async fn an_older_owner_of_a_shard_is_fenced_off(log: &dyn LogStore) {
    let (a, b, new) = (key(1, "a"), key(1, "b"), key(1, "new"));
    log.append(append(&a, 1, 1, &["x"])).await.unwrap();
    log.append(append(&b, 1, 1, &["x"])).await.unwrap();
    log.fence_shard(a.shard(1024), 1024, 3).await.unwrap();
    log.fence_shard(new.shard(1024), 1024, 3).await.unwrap();
    assert_ne!(a.shard(1024), b.shard(1024));
    let fenced = |epoch| LogError::Fenced { epoch, current: 3 };
    assert_eq!(log.append(append(&a, 2, 2, &["late"])).await.unwrap_err(), fenced(2));
    assert_eq!(log.append(append(&new, 2, 1, &["late"])).await.unwrap_err(), fenced(2));
    assert_eq!(log.fence(&a, 2).await.unwrap_err(), fenced(2));
    assert_eq!(log.fence(&new, 2).await.unwrap_err(), fenced(2));
    assert_eq!(log.delete(&a, 2).await.unwrap_err(), fenced(2));
    let sequence = log.head(&a).await.unwrap().unwrap().sequence;
    let late = Trim { key: a.clone(), sequence, epoch: 2, through: 1 };
    assert_eq!(log.trim(late).await.unwrap_err(), fenced(2));
    assert_eq!(log.fence_shard(a.shard(1024), 1024, 2).await.unwrap_err(), fenced(2));
    assert_eq!(log.head(&new).await.unwrap(), None, "a refused call creates nothing");
    assert_eq!(texts(&log.read(&a, 1, 9).await.unwrap()), [(1, "x")]);

    log.append(append(&b, 1, 2, &["y"])).await.unwrap();
    log.append(append(&a, 3, 2, &["y"])).await.unwrap();
    log.delete(&a, 3).await.unwrap();
    assert_eq!(log.append(append(&a, 2, 1, &["late"])).await.unwrap_err(), fenced(2));
    let wrong = log.fence_shard(1024, 1024, 4).await;
    assert!(matches!(wrong, Err(LogError::Invalid(_))));
}

async fn the_unfinished_mark_follows_appends(log: &dyn LogStore) {
    let (a, b) = (key(1, "a"), key(1, "b"));
    let mark = |k, expected, unfinished| Append { unfinished, ..append(k, 1, expected, &["x"]) };
    log.append(mark(&b, 1, Some(true))).await.unwrap();
    log.append(mark(&a, 1, Some(true))).await.unwrap();
    log.append(mark(&a, 2, None)).await.unwrap();
    assert_eq!(log.unfinished(&Shards::All).await.unwrap(), [a.clone(), b.clone()]);
    log.append(mark(&b, 2, Some(false))).await.unwrap();
    assert_eq!(log.unfinished(&Shards::All).await.unwrap(), std::slice::from_ref(&a));
    assert!(log.head(&a).await.unwrap().unwrap().unfinished);
    assert!(!log.head(&b).await.unwrap().unwrap().unfinished);
    log.delete(&a, 9).await.unwrap();
    assert_eq!(log.unfinished(&Shards::All).await.unwrap(), []);
}

async fn unfinished_logs_are_found_by_shard(log: &dyn LogStore) {
    let keys: Vec<_> = (0..40).map(|n| key(1, &format!("w{n}"))).collect();
    for key in &keys {
        log.append(Append { unfinished: Some(true), ..append(key, 1, 1, &["x"]) }).await.unwrap();
    }
    for total in [7, 1024] {
        let mut seen = Vec::new();
        for part in [0..total / 2, total / 2..total] {
            let shards = Shards::Of { total, numbers: part.clone().collect() };
            let found = log.unfinished(&shards).await.unwrap();
            assert!(found.is_sorted());
            assert!(found.iter().all(|key| part.contains(&key.shard(total))));
            seen.extend(found);
        }
        seen.sort();
        assert_eq!(seen, log.unfinished(&Shards::All).await.unwrap());
        assert_eq!(seen.len(), keys.len());
    }
    let none = Shards::Of { total: 1024, numbers: [].into() };
    assert_eq!(log.unfinished(&none).await.unwrap(), []);
}

async fn a_summary_is_replaced_atomically(log: &dyn LogStore) {
    let a = key(1, "a");
    for index in 1..4 {
        let summary = Some(Summary { index, data: Bytes::from(format!("state {index}")) });
        let with = Append { summary: summary.clone(), ..append(&a, 1, index, &["x"]) };
        log.append(with).await.unwrap();
        assert_eq!(log.head(&a).await.unwrap().unwrap().summary, summary);
    }
    log.append(append(&a, 1, 4, &["x"])).await.unwrap();
    let head = log.head(&a).await.unwrap().unwrap();
    assert_eq!((head.last, head.summary.unwrap().index), (4, 3), "kept until replaced");
}

async fn list_pages_in_creation_order(log: &dyn LogStore) {
    let names = ["q", "b", "z", "", "a/b\0c", "ü"];
    for name in names {
        log.append(append(&key(2, "other"), 1, 1, &[])).await.unwrap();
        log.append(append(&key(1, name), 1, 1, &["x"])).await.unwrap();
    }
    log.append(append(&key(1, "q"), 1, 2, &["x"])).await.unwrap();
    log.delete(&key(1, "z"), 9).await.unwrap();
    let mut seen = Vec::new();
    let mut after = 0;
    loop {
        let page = log.list([1; 16], after, 2).await.unwrap();
        let Some((_, head)) = page.last() else { break };
        assert!(page.len() <= 2 && head.sequence > after);
        after = head.sequence;
        for (key, head) in page {
            assert_eq!(log.head(&key).await.unwrap(), Some(head));
            seen.push(key.name);
        }
    }
    assert_eq!(seen, ["q", "b", "", "a/b\0c", "ü"]);
    assert_eq!(log.list([9; 16], 0, 10).await.unwrap(), []);
    assert_eq!(log.list([1; 16], u64::MAX, 10).await.unwrap(), []);
}

async fn a_deleted_log_starts_anew(log: &dyn LogStore) {
    let a = key(1, "a");
    log.delete(&a, 9).await.unwrap();
    log.append(append(&a, 3, 1, &["x", "y"])).await.unwrap();
    let before = log.head(&a).await.unwrap().unwrap().sequence;
    log.delete(&a, 9).await.unwrap();
    assert_eq!(log.head(&a).await.unwrap(), None);
    assert_eq!(log.read(&a, 1, 10).await.unwrap(), []);
    log.append(append(&a, 1, 1, &["new"])).await.unwrap();
    assert_eq!(texts(&log.read(&a, 1, 10).await.unwrap()), [(1, "new")]);
    assert!(log.head(&a).await.unwrap().unwrap().sequence > before);
}

async fn trim_drops_the_front_only(log: &dyn LogStore) {
    let a = key(1, "a");
    trim(log, &a, 5).await.unwrap();
    assert_eq!(log.head(&a).await.unwrap(), None);
    log.append(append(&a, 1, 1, &["1", "2"])).await.unwrap();
    log.append(append(&a, 1, 3, &["3", "4", "5"])).await.unwrap();
    log.append(append(&a, 1, 6, &["6"])).await.unwrap();
    trim(log, &a, 3).await.unwrap();
    trim(log, &a, 1).await.unwrap();
    assert_eq!(texts(&log.read(&a, 1, 10).await.unwrap()), [(4, "4"), (5, "5"), (6, "6")]);
    assert_eq!(texts(&log.read(&a, 5, 1).await.unwrap()), [(5, "5")]);
    trim(log, &a, 100).await.unwrap();
    assert_eq!(log.read(&a, 1, 10).await.unwrap(), []);
    assert_eq!(log.head(&a).await.unwrap().unwrap().last, 6);
    log.append(append(&a, 1, 7, &["7"])).await.unwrap();
    assert_eq!(texts(&log.read(&a, 1, 10).await.unwrap()), [(7, "7")]);
}

async fn a_trim_of_a_deleted_log_leaves_its_successor(log: &dyn LogStore) {
    let a = key(1, "a");
    log.append(append(&a, 1, 1, &["old"])).await.unwrap();
    let sequence = log.head(&a).await.unwrap().unwrap().sequence;
    log.delete(&a, 1).await.unwrap();
    log.append(append(&a, 1, 1, &["new"])).await.unwrap();
    log.trim(Trim { key: a.clone(), sequence, epoch: 1, through: 1 }).await.unwrap();
    assert_eq!(texts(&log.read(&a, 1, 9).await.unwrap()), [(1, "new")]);
}

async fn large_appends_read_back(log: &dyn LogStore) {
    let a = key(1, "a");
    let records: Vec<_> = (0..3000).map(|n| Bytes::from(vec![n as u8; n % 700])).collect();
    let large = Append { records: records.clone(), ..append(&a, 1, 1, &[]) };
    log.append(large).await.unwrap();
    assert_eq!(log.head(&a).await.unwrap().unwrap().last, 3000);
    for (from, max) in [(1, 3000), (1024, 2), (1025, 5), (2999, 10), (1500, 1000)] {
        let read = log.read(&a, from, max).await.unwrap();
        let wanted = &records[from as usize - 1..][..read.len()];
        assert_eq!(read.len(), max.min(3001 - from as usize));
        assert!(read.iter().zip(wanted).all(|(r, w)| r.data == w));
        assert!(read.iter().zip(from..).all(|(r, index)| r.index == index));
    }
    trim(log, &a, 1500).await.unwrap();
    assert_eq!(log.read(&a, 1, 1).await.unwrap()[0].index, 1501);
}

async fn a_refused_append_harms_no_other(log: &dyn LogStore) {
    let appends = (0..100).map(|n| {
        let expected = if n % 3 == 0 { 9 } else { 1 };
        log.append(append(&key(1, &n.to_string()), 1, expected, &["x"]))
    });
    // All wait at once, so the accepted and the refused share their groups.
    let results = futures::future::join_all(appends).await;
    for (n, result) in results.into_iter().enumerate() {
        assert_eq!(result.is_ok(), n % 3 != 0);
        let head = log.head(&key(1, &n.to_string())).await.unwrap();
        assert_eq!(head.is_some(), n % 3 != 0);
    }
}

async fn names_are_separate_and_limited(log: &dyn LogStore) {
    for (group, name) in [(1, "a"), (1, "ab"), (2, "a"), (1, "a\0"), (0, "")] {
        log.append(append(&key(group, name), 1, 1, &[name, "end"])).await.unwrap();
    }
    assert_eq!(texts(&log.read(&key(1, "a"), 1, 9).await.unwrap()), [(1, "a"), (2, "end")]);
    let long = key(1, &"n".repeat(100_000));
    let refused = log.append(append(&long, 1, 1, &["x"])).await.unwrap_err();
    assert!(matches!(refused, LogError::Invalid(_)));
    assert!(matches!(log.fence(&long, 1).await, Err(LogError::Invalid(_))));
}

async fn concurrent_writers_of_one_log_never_both_win(log: &dyn LogStore) {
    let a = key(1, "a");
    for expected in 1..20u64 {
        let tries = (0..8).map(|n| {
            let text = n.to_string();
            let a = &a;
            async move { log.append(append(a, 1, expected, &[&text])).await }
        });
        let results = futures::future::join_all(tries).await;
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
    }
    assert_eq!(log.head(&a).await.unwrap().unwrap().last, 19);
}
