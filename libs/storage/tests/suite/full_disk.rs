//! A full disk refuses writes, and is over when there is space again.

use crate::{append, key, trim};
use bytes::Bytes;
use emet_storage::embedded::Options;
use emet_storage::{Append, Batch, BlobError, BlobStore, Embedded, FsBlob, KvError, KvStore};
use emet_storage::{LogError, LogKey, LogStore};
use std::path::Path;
use std::process::Command;

/// A small file system of its own, unmounted at the end.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// `None` without the right to mount.
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path());
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(dir));
        }
        println!("skipped: no right to mount a small file system");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

/// Bytes that cannot be compressed, so that the space is really used.
fn noise(length: usize) -> Bytes {
    let mut seed = 1u64;
    let mut next = |_| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()
    };
    (0..length / 8).flat_map(&mut next).collect()
}

/// Appends until the store is full; returns the last index.
async fn fill(log: &dyn LogStore, key: &LogKey) -> u64 {
    for index in 1.. {
        let full = Append { records: vec![noise(1 << 16)], ..append(key, 1, index, &[]) };
        match log.append(full).await {
            Ok(()) => {}
            Err(LogError::Full(_)) => return index - 1,
            Err(other) => panic!("{other}"),
        }
    }
    unreachable!()
}

/// Fills what is left beside large records with small ones, behind one; returns the last index.
async fn fill_up(log: &dyn LogStore, key: &LogKey) -> u64 {
    for index in 2..1000 {
        match log.append(append(key, 1, index, &["x"])).await {
            Ok(()) => {}
            Err(LogError::Full(_)) => return index - 1,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the disk is not full");
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_loses_nothing() {
    let Some(disk) = Tmpfs::mount("320m") else { return };
    let path = disk.path().join("data");
    let options = Options { free_margin: 64 << 20, ..Options::default() };
    let store = Embedded::open_with(&path, options).unwrap();
    let (log, kv) = (store.log(), store.kv());
    let (a, b) = (key(1, "a"), key(1, "b"));
    log.append(append(&b, 1, 1, &["before"])).await.unwrap();
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![1; 180 << 20]).unwrap();

    let last = fill(&*log, &a).await;
    let last_b = fill_up(&*log, &b).await;
    assert!(matches!(kv.apply(Batch::new().put("s", "k", "v")).await, Err(KvError::Full(_))));
    assert_eq!(log.read(&a, 1, usize::MAX).await.unwrap().len() as u64, last);
    assert_eq!(log.head(&b).await.unwrap().unwrap().last, last_b);

    std::fs::remove_file(&ballast).unwrap();
    log.append(append(&b, 1, last_b + 1, &["after"])).await.unwrap();
    kv.apply(Batch::new().put("s", "k", "v")).await.unwrap();
    drop((store, log, kv));

    let log = Embedded::open_with(&path, options).unwrap().log();
    assert_eq!(log.head(&b).await.unwrap().unwrap().last, last_b + 1);
    assert_eq!(log.read(&a, 1, usize::MAX).await.unwrap().len() as u64, last);
}

#[tokio::test]
async fn deletion_works_on_a_full_disk() {
    let Some(disk) = Tmpfs::mount("64m") else { return };
    let options = Options { free_margin: 16 << 20, ..Options::default() };
    let log = Embedded::open_with(disk.path().join("data"), options).unwrap().log();
    let a = key(1, "a");
    fill(&*log, &a).await;
    trim(&*log, &a, 10).await.unwrap();
    log.delete(&a, 9).await.unwrap();
    assert_eq!(log.head(&a).await.unwrap(), None);
}

#[tokio::test]
async fn a_full_disk_keeps_the_old_object() {
    let Some(disk) = Tmpfs::mount("4m") else { return };
    let blobs = FsBlob::open(disk.path()).unwrap();
    blobs.put("k", Bytes::from("old")).await.unwrap();
    let large = Bytes::from(vec![1; 8 << 20]);
    assert!(matches!(blobs.put("k", large).await, Err(BlobError::Full(_))));
    assert_eq!(blobs.get("k").await.unwrap(), Some(Bytes::from("old")));
    blobs.put("k2", Bytes::from(vec![1; 2 << 20])).await.unwrap();
}

/// Free space is measured now and then, so something else can use it up unnoticed: then a write
/// fails inside the database.
#[tokio::test]
async fn a_write_that_fails_poisons_the_store_and_reopening_heals_it() {
    let Some(disk) = Tmpfs::mount("48m") else { return };
    let path = disk.path().join("data");
    let options = Options { free_margin: 0, ..Options::default() };
    let store = Embedded::open_with(&path, options).unwrap();
    let a = key(1, "a");
    let (ballast, rest) = (disk.path().join("ballast"), disk.path().join("rest"));
    std::fs::write(&ballast, vec![1; 44 << 20]).unwrap();
    let mut last = 0;
    let error = loop {
        let _ = std::fs::remove_file(&rest);
        tokio::time::sleep(std::time::Duration::from_millis(120)).await;
        store.log().append(append(&a, 1, last + 1, &["kept"])).await.unwrap();
        last += 1;
        let _ = std::fs::write(&rest, vec![1; 8 << 20]);
        let large = Append { records: vec![noise(1 << 16)], ..append(&a, 1, last + 1, &[]) };
        match store.log().append(large).await {
            // Noticed in time, because this test was slow.
            Err(LogError::Full(_)) if last < 50 => {}
            result => break result.unwrap_err(),
        }
    };
    assert!(matches!(error, LogError::Poisoned(_)), "{error}");
    std::fs::remove_file(&ballast).unwrap();
    let again = store.log().append(append(&a, 1, last + 1, &["x"])).await;
    assert!(matches!(again, Err(LogError::Poisoned(_))), "{again:?}");
    let put = store.kv().apply(Batch::new().put("s", "k", "v")).await;
    assert!(matches!(put, Err(KvError::Poisoned(_))), "{put:?}");
    assert_eq!(store.log().read(&a, 1, 99).await.unwrap().len() as u64, last, "reads go on");
    drop(store);

    let log = Embedded::open_with(&path, options).unwrap().log();
    let found = log.head(&a).await.unwrap().unwrap().last;
    assert!(found >= last, "{found} of {last}");
    log.append(append(&a, 1, found + 1, &["after"])).await.unwrap();
}
