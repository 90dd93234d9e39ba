//! The laws of `KvStore`, run against every backend.

use crate::open;
use bytes::Bytes;
use emet_storage::memory::MemoryKv;
use emet_storage::{Batch, KvError, KvStore};

macro_rules! laws {
    ($($law:ident),+ $(,)?) => {
        mod memory { $(
            #[tokio::test]
            async fn $law() { super::$law(&super::MemoryKv::new()).await; }
        )+ }
        mod embedded { $(
            #[tokio::test]
            async fn $law() {
                let dir = tempfile::tempdir().unwrap();
                super::$law(&*super::open(dir.path()).kv()).await;
            }
        )+ }
        mod redis { $(
            #[tokio::test]
            async fn $law() {
                let server = emet_test_servers::RedisServer::start();
                super::$law(&*crate::servers::redis(&server).await.kv()).await;
            }
        )+ }
        /// All laws one after the other, each on a fresh store from `make`.
        pub(crate) async fn all<S: std::ops::Deref<Target: KvStore + Sized>>(
            make: impl AsyncFn(&str) -> S,
        ) {
            $( $law(&*make(stringify!($law)).await).await; )+
        }
    };
}

laws!(
    a_batch_applies_whole_or_not_at_all,
    the_last_change_of_a_key_counts,
    scans_are_ordered_and_paged,
    conditions_serialise_concurrent_batches,
    odd_keys_are_kept_apart_or_refused,
);

async fn a_batch_applies_whole_or_not_at_all(kv: &dyn KvStore) {
    let (s, t) = ("s{tag}", "t{tag}");
    assert!(kv.apply(Batch::new().put(s, "a", "1").put(t, "a", "2")).await.unwrap());
    assert!(!kv.apply(Batch::new().if_absent(s, "a").put(s, "b", "x")).await.unwrap());
    let two = Batch::new().if_equal(s, "a", "1").if_equal(t, "a", "9").put(s, "b", "x");
    assert!(!kv.apply(two).await.unwrap());
    assert_eq!(kv.get(s, b"b").await.unwrap(), None);
    let both = Batch::new().if_equal(s, "a", "1").if_absent(s, "b").put(s, "b", "x");
    assert!(kv.apply(both.delete(s, "a").delete(s, "none")).await.unwrap());
    let keys = [b"a".to_vec(), b"b".to_vec()];
    let found = kv.get_many(s, &keys).await.unwrap();
    assert_eq!(found, [None, Some(Bytes::from("x"))]);
    assert_eq!(kv.get(t, b"a").await.unwrap(), Some(Bytes::from("2")));
    let gone = Batch::new().if_equal(s, "b", "x").delete(s, "b").delete(t, "a");
    assert!(kv.apply(gone).await.unwrap());
    assert_eq!(kv.scan(s, b"", None, 9).await.unwrap(), []);
    assert!(kv.apply(Batch::new()).await.unwrap());
}

async fn the_last_change_of_a_key_counts(kv: &dyn KvStore) {
    kv.apply(Batch::new().put("s", "k", "1").delete("s", "k").put("s", "k", "2")).await.unwrap();
    assert_eq!(kv.get("s", b"k").await.unwrap(), Some(Bytes::from("2")));
    kv.apply(Batch::new().put("s", "k", "3").delete("s", "k")).await.unwrap();
    assert_eq!(kv.get("s", b"k").await.unwrap(), None);
}

async fn scans_are_ordered_and_paged(kv: &dyn KvStore) {
    for space in ["r", "t", ""] {
        kv.apply(Batch::new().put(space, "a", "")).await.unwrap();
    }
    let mut batch = Batch::new();
    for n in [3u8, 255, 0, 7, 200] {
        batch = batch.put("s", [b'a', n].as_slice(), "v").put("s", [b'b', n].as_slice(), "v");
    }
    kv.apply(batch).await.unwrap();
    let mut seen = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = kv.scan("s", b"a", after.as_deref(), 2).await.unwrap();
        let Some((key, _)) = page.last() else { break };
        after = Some(key.clone());
        seen.extend(page.into_iter().map(|(key, _)| key[1]));
    }
    assert_eq!(seen, [0, 3, 7, 200, 255]);
    assert_eq!(kv.scan("s", b"", None, 100).await.unwrap().len(), 10);
    assert_eq!(kv.scan("s", b"b", Some(b"a"), 100).await.unwrap().len(), 5);
    assert_eq!(kv.scan("s", b"a", Some(b"b"), 100).await.unwrap().len(), 0);
    assert_eq!(kv.scan("", b"", None, 100).await.unwrap().len(), 1);
    let many = (0..2500u32).fold(Batch::new(), |b, n| b.put("many", n.to_be_bytes(), ""));
    kv.apply(many).await.unwrap();
    let found = kv.scan("many", b"", None, usize::MAX).await.unwrap();
    assert!(found.len() == 2500 && found.is_sorted());
    assert_eq!(kv.scan("many", b"", Some(&[0, 0, 4, 0]), 2000).await.unwrap().len(), 1475);
}

async fn conditions_serialise_concurrent_batches(kv: &dyn KvStore) {
    kv.apply(Batch::new().put("s", "n", "0")).await.unwrap();
    let increment = |_| async {
        loop {
            let now = kv.get("s", b"n").await.unwrap().unwrap();
            let next: u32 = std::str::from_utf8(&now).unwrap().parse::<u32>().unwrap() + 1;
            let batch = Batch::new().if_equal("s", "n", now).put("s", "n", next.to_string());
            if kv.apply(batch).await.unwrap() {
                break;
            }
        }
    };
    futures::future::join_all((0..30).map(increment)).await;
    assert_eq!(kv.get("s", b"n").await.unwrap(), Some(Bytes::from("30")));
}

async fn odd_keys_are_kept_apart_or_refused(kv: &dyn KvStore) {
    kv.apply(Batch::new().put("s", "", "empty").put("s", "\0x", "nul")).await.unwrap();
    assert_eq!(kv.get("s", b"").await.unwrap(), Some(Bytes::from("empty")));
    assert_eq!(kv.get("s", b"\0x").await.unwrap(), Some(Bytes::from("nul")));
    let refused = kv.apply(Batch::new().put("s\0", "x", "")).await;
    assert!(matches!(refused, Err(KvError::Invalid(_))));
    let refused = kv.apply(Batch::new().put("s", vec![0; 100_000], "")).await;
    assert!(matches!(refused, Err(KvError::Invalid(_))));
}
