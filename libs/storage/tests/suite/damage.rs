//! Damaged rows stop one log, with an error that says where.

use crate::{append, key, open};
use emet_storage::{LogError, LogStore};
use std::path::Path;

/// Changes every record row and head row of the store that `pick` picks, behind its back.
fn damage(path: &Path, keyspace: &str, pick: impl Fn(&[u8]) -> bool) {
    let db = fjall::Database::builder(path).open().unwrap();
    let rows = db.keyspace(keyspace, fjall::KeyspaceCreateOptions::default).unwrap();
    let mut changed = 0;
    for guard in rows.iter() {
        let (key, value) = guard.into_inner().unwrap();
        if pick(&key) {
            let mut value = value.to_vec();
            *value.last_mut().unwrap() ^= 1;
            rows.insert(key, value).unwrap();
            changed += 1;
        }
    }
    assert!(changed > 0);
    db.persist(fjall::PersistMode::SyncAll).unwrap();
}

#[tokio::test]
async fn a_damaged_record_is_reported_with_its_index() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (key(1, "a"), key(1, "b"));
    {
        let log = open(dir.path()).log();
        log.append(append(&a, 1, 1, &["1", "2"])).await.unwrap();
        log.append(append(&a, 1, 3, &["3"])).await.unwrap();
        log.append(append(&a, 1, 4, &["4"])).await.unwrap();
        log.append(append(&b, 1, 1, &["1"])).await.unwrap();
    }
    damage(dir.path(), "records", |row| row[7] == 1 && row[15] == 3);
    let log = open(dir.path()).log();
    assert_eq!(log.read(&a, 1, 2).await.unwrap().len(), 2, "what lies before can be read");
    assert_eq!(log.read(&a, 4, 2).await.unwrap().len(), 1, "and what lies behind");
    let Err(LogError::Corrupt { key, index, .. }) = log.read(&a, 1, 9).await else {
        panic!("damage was not noticed")
    };
    assert_eq!((key, index), (a.clone(), 3));
    assert_eq!(log.read(&b, 1, 9).await.unwrap().len(), 1, "other logs are not affected");
    log.append(append(&b, 1, 2, &["2"])).await.unwrap();
}

#[tokio::test]
async fn a_damaged_end_or_head_refuses_appends_but_not_deletion() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (key(1, "a"), key(1, "b"));
    {
        let log = open(dir.path()).log();
        log.append(append(&a, 1, 1, &["1", "2"])).await.unwrap();
        log.append(append(&b, 1, 1, &["1"])).await.unwrap();
        log.append(append(&key(1, "c"), 1, 1, &["1"])).await.unwrap();
    }
    damage(dir.path(), "records", |row| row[7] == 1);
    damage(dir.path(), "heads", |row| row[0] == b'h' && row.ends_with(b"b"));
    let log = open(dir.path()).log();
    for damaged in [&a, &b] {
        assert!(matches!(log.head(damaged).await, Err(LogError::Corrupt { .. })));
        let refused = log.append(append(damaged, 1, 3, &["3"])).await;
        assert!(matches!(refused, Err(LogError::Corrupt { .. })), "{refused:?}");
    }
    let listed = log.list([1; 16], 0, 9).await.unwrap();
    assert_eq!(listed.len(), 1, "damaged logs do not hide the others");
    log.delete(&a, 9).await.unwrap();
    log.append(append(&a, 1, 1, &["new"])).await.unwrap();
}

#[tokio::test]
async fn a_missing_run_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let a = key(1, "a");
    {
        let log = open(dir.path()).log();
        for index in 1..=5 {
            log.append(append(&a, 1, index, &["x"])).await.unwrap();
        }
    }
    {
        let db = fjall::Database::builder(dir.path()).open().unwrap();
        let rows = db.keyspace("records", fjall::KeyspaceCreateOptions::default).unwrap();
        let row = rows.iter().nth(2).unwrap().key().unwrap();
        rows.remove(row).unwrap();
    }
    let log = open(dir.path()).log();
    assert!(matches!(log.read(&a, 1, 9).await, Err(LogError::Corrupt { index: 3, .. })));
    assert!(matches!(log.read(&a, 3, 9).await, Err(LogError::Corrupt { index: 3, .. })));
    assert_eq!(log.read(&a, 4, 9).await.unwrap().len(), 2);
}
