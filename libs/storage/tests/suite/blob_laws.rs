//! The laws of `BlobStore`, run against every backend.

use bytes::Bytes;
use emet_storage::memory::MemoryBlob;
use emet_storage::{BlobError, BlobStore, FsBlob};

macro_rules! laws {
    ($($law:ident),+ $(,)?) => {
        mod memory { $(
            #[tokio::test]
            async fn $law() { super::$law(&super::MemoryBlob::new()).await; }
        )+ }
        mod fs { $(
            #[tokio::test]
            async fn $law() {
                let dir = tempfile::tempdir().unwrap();
                super::$law(&super::FsBlob::open(dir.path().join("blobs")).unwrap()).await;
                let outside = std::fs::read_dir(dir.path()).unwrap().count();
                assert_eq!(outside, 1, "nothing is written outside the root");
            }
        )+ }
        mod s3 { $(
            #[tokio::test]
            async fn $law() {
                let server = emet_test_servers::S3Server::start();
                super::$law(&crate::servers::s3(&server).await).await;
            }
        )+ }
    };
}

laws!(
    objects_are_written_read_and_replaced,
    ranges_are_clamped,
    only_one_creates,
    odd_keys_round_trip_in_order,
    prefixes_are_deleted_whole,
    copies_replace,
    writers_and_deleters_do_not_disturb_each_other,
);

async fn objects_are_written_read_and_replaced(blobs: &dyn BlobStore) {
    assert_eq!(blobs.get("a/b").await.unwrap(), None);
    assert_eq!(blobs.head("a/b").await.unwrap(), None);
    blobs.put("a/b", Bytes::from("one")).await.unwrap();
    blobs.put("a", Bytes::from("file beside directory")).await.unwrap();
    blobs.put("a/b", Bytes::from("second")).await.unwrap();
    assert_eq!(blobs.get("a/b").await.unwrap(), Some(Bytes::from("second")));
    let info = blobs.head("a/b").await.unwrap().unwrap();
    assert_eq!(info.size, 6);
    assert!(info.modified_ms > 1_600_000_000_000);
    if let Some(path) = blobs.local_path("a/b") {
        assert_eq!(std::fs::read(path).unwrap(), b"second");
    }
    blobs.delete("a/b").await.unwrap();
    blobs.delete("a/b").await.unwrap();
    assert_eq!(blobs.get("a/b").await.unwrap(), None);
    assert!(blobs.get("a").await.unwrap().is_some());
    assert!(matches!(blobs.put("", Bytes::new()).await, Err(BlobError::Invalid(_))));
}

async fn ranges_are_clamped(blobs: &dyn BlobStore) {
    blobs.put("k", Bytes::from("0123456789")).await.unwrap();
    let cases =
        [(0, 3, "012"), (8, 99, "89"), (20, 30, ""), (5, 5, ""), (7, 2, ""), (0, 10, "0123456789")];
    for (start, end, wanted) in cases {
        assert_eq!(blobs.get_range("k", start, end).await.unwrap(), Some(Bytes::from(wanted)));
    }
    assert_eq!(blobs.get_range("none", 0, 1).await.unwrap(), None);
}

async fn only_one_creates(blobs: &dyn BlobStore) {
    let tries = (0..16).map(|n| blobs.put_if_absent("d/k", Bytes::from(vec![n])));
    let results = futures::future::join_all(tries).await;
    assert_eq!(results.into_iter().filter(|r| *r.as_ref().unwrap()).count(), 1);
    assert!(!blobs.put_if_absent("d/k", Bytes::new()).await.unwrap());
    assert_eq!(blobs.head("d/k").await.unwrap().unwrap().size, 1);
}

async fn odd_keys_round_trip_in_order(blobs: &dyn BlobStore) {
    let (x, ue) = ("x".repeat(200), "ü".repeat(100));
    let mut keys: Vec<String> = [
        "..",
        ".",
        "../..",
        "/",
        "//",
        "a",
        "a/",
        "a/b",
        "a-b",
        "a.b",
        "a b",
        ".tmp",
        ".tmp/0",
        "%",
        "%41",
        "a@",
        "a@/b",
        "a~",
        "a~/b",
        "\0",
        "c:\\d",
        "\n",
        "ü/ö/日本語",
        "A",
        "a/../b",
    ]
    .map(String::from)
    .into();
    for long in [&x, &ue] {
        for tail in ["", "!", "~", "/y", "!/y", "x", &x, "/", "z/z"] {
            keys.push(format!("{long}{tail}"));
            keys.push(format!("d/{long}{tail}"));
        }
    }
    for key in &keys {
        blobs.put(key, Bytes::from(key.clone())).await.unwrap();
    }
    for key in &keys {
        assert_eq!(blobs.get(key).await.unwrap(), Some(Bytes::from(key.clone())), "{key:?}");
    }
    keys.sort();
    keys.dedup();
    for prefix in ["", "a", "a/", "d/", "d/x", "d/xx", "ü", "..", "none", &x[..150]] {
        let wanted: Vec<_> = keys.iter().filter(|key| key.starts_with(prefix)).collect();
        let mut seen = Vec::new();
        loop {
            let after = seen.last().cloned();
            let page = blobs.list(prefix, after.as_deref(), 3).await.unwrap();
            if page.is_empty() {
                break;
            }
            seen.extend(page.into_iter().map(|(key, _)| key));
        }
        assert_eq!(seen.iter().collect::<Vec<_>>(), wanted, "prefix {prefix:?}");
    }
}

async fn prefixes_are_deleted_whole(blobs: &dyn BlobStore) {
    let long = "l".repeat(300);
    for key in ["p/a", "p/b/c", "p", "pq/a", &format!("{long}/a"), &format!("{long}b/a")] {
        blobs.put(key, Bytes::new()).await.unwrap();
    }
    blobs.delete_prefix("p/").await.unwrap();
    blobs.delete_prefix("none/").await.unwrap();
    blobs.delete_prefix(&format!("{long}/")).await.unwrap();
    let left: Vec<_> = blobs.list("", None, 9).await.unwrap().into_iter().map(|(k, _)| k).collect();
    assert_eq!(left, [format!("{long}b/a"), "p".into(), "pq/a".into()]);
    for wrong in ["", "/", "p"] {
        assert!(matches!(blobs.delete_prefix(wrong).await, Err(BlobError::Invalid(_))));
    }
}

async fn copies_replace(blobs: &dyn BlobStore) {
    assert!(!blobs.copy("none", "b").await.unwrap());
    blobs.put("a", Bytes::from("1")).await.unwrap();
    blobs.put("c/b", Bytes::from("old")).await.unwrap();
    assert!(blobs.copy("a", "c/b").await.unwrap());
    assert!(blobs.copy("a", "a").await.unwrap());
    blobs.put("a", Bytes::from("2")).await.unwrap();
    assert_eq!(blobs.get("c/b").await.unwrap(), Some(Bytes::from("1")));
}

async fn writers_and_deleters_do_not_disturb_each_other(blobs: &dyn BlobStore) {
    let tasks = (0..8).map(|n| async move {
        for round in 0..20 {
            let key = format!("deep/er/{n}");
            blobs.put(&key, Bytes::from(vec![round])).await.unwrap();
            assert_eq!(blobs.get(&key).await.unwrap(), Some(Bytes::from(vec![round])));
            blobs.delete(&key).await.unwrap();
        }
    });
    futures::future::join_all(tasks).await;
    assert_eq!(blobs.list("", None, 9).await.unwrap(), []);
}
