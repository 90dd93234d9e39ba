//! The faults of the log in memory do what they say.

use crate::{append, key, trim};
use emet_storage::memory::MemoryLog;
use emet_storage::{LogError, LogStore};

async fn last(log: &MemoryLog) -> u64 {
    log.head(&key(1, "a")).await.unwrap().map_or(0, |head| head.last)
}

#[tokio::test]
async fn a_failed_append_writes_nothing_and_the_next_works() {
    let (log, a) = (MemoryLog::new(), key(1, "a"));
    log.faults().fail_nth(2);
    log.append(append(&a, 1, 1, &["x"])).await.unwrap();
    assert!(matches!(log.append(append(&a, 1, 2, &["y"])).await, Err(LogError::Io(_))));
    assert_eq!(last(&log).await, 1);
    log.append(append(&a, 1, 2, &["y"])).await.unwrap();
    log.faults().fail_next();
    assert!(log.append(append(&a, 1, 3, &["z"])).await.is_err());
    assert_eq!(log.faults().appends(), 4);
}

#[tokio::test]
async fn a_torn_append_leaves_a_prefix_and_a_crashed_store() {
    let (log, a) = (MemoryLog::new(), key(1, "a"));
    log.faults().tear_nth(1, 2);
    let torn = log.append(append(&a, 1, 1, &["x", "y", "z"])).await;
    assert!(matches!(torn, Err(LogError::Poisoned(_))));
    assert!(matches!(log.head(&a).await, Err(LogError::Poisoned(_))));
    let log = log.reopen();
    assert_eq!(last(&log).await, 2);
    log.append(append(&a, 1, 3, &["z"])).await.unwrap();
}

#[tokio::test]
async fn a_crash_after_an_append_keeps_it() {
    let (log, a) = (MemoryLog::new(), key(1, "a"));
    log.faults().crash_after_nth(1);
    assert!(log.append(append(&a, 1, 1, &["x"])).await.is_err());
    assert!(log.append(append(&a, 1, 2, &["y"])).await.is_err());
    let new = log.reopen();
    assert_eq!(last(&new).await, 1);
    assert!(log.read(&a, 1, 1).await.is_err(), "the old handle stays dead");
}

#[tokio::test]
async fn a_snapshot_can_be_cut_at_every_index() {
    let (log, a) = (MemoryLog::new(), key(1, "a"));
    log.append(append(&a, 1, 1, &["1", "2", "3", "4"])).await.unwrap();
    trim(&log, &a, 1).await.unwrap();
    for keep in 1..=4 {
        let copy = log.snapshot();
        copy.truncate(&a, keep);
        assert_eq!(last(&copy).await, keep);
        copy.append(append(&a, 1, keep + 1, &["x"])).await.unwrap();
    }
    assert_eq!(last(&log).await, 4);
}
