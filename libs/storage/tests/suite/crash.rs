//! A killed process loses nothing that it acknowledged.

use crate::{append, key, open};
use emet_storage::{KvStore, LogStore};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const DIR: &str = "EMET_STORAGE_CRASH_DIR";
const WRITERS: usize = 4;

/// Run by the other test in a process of its own; does nothing otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_appends_until_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let store = open(dir.as_ref());
    let writer = |name: usize| {
        let (log, kv) = (store.log(), store.kv());
        tokio::spawn(async move {
            let log_key = key(1, &name.to_string());
            let mut next = log.head(&log_key).await.unwrap().map_or(0, |head| head.last) + 1;
            loop {
                log.append(append(&log_key, 1, next, &["some record", "another"])).await.unwrap();
                next += 2;
                let batch = emet_storage::Batch::new().put("s", name.to_string(), next.to_string());
                kv.apply(batch).await.unwrap();
                println!("\nacknowledged {name} {}", next - 1);
            }
        })
    };
    futures::future::join_all((0..WRITERS).map(writer)).await;
}

#[tokio::test]
async fn whatever_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let acknowledged = append_and_kill(dir.path(), 150 * round);
        let store = open(dir.path());
        for (name, acknowledged) in acknowledged.into_iter().enumerate() {
            let log_key = key(1, &name.to_string());
            let last = store.log().head(&log_key).await.unwrap().map_or(0, |head| head.last);
            assert!(last >= acknowledged, "log {name} ends at {last}, not {acknowledged}");
            assert_eq!(last % 2, 0, "an append is there whole or not at all");
            let records = store.log().read(&log_key, 1, usize::MAX).await.unwrap();
            assert!(records.iter().map(|r| r.index).eq(1..=last), "indexes are dense");
            if acknowledged > 0 {
                let value = store.kv().get("s", name.to_string().as_bytes()).await.unwrap();
                let value = String::from_utf8(value.unwrap().to_vec()).unwrap();
                assert!(value.parse::<u64>().unwrap() > acknowledged);
            }
        }
    }
}

/// Lets a child append until it acknowledged `count` times, kills it, and returns the last index
/// acknowledged per log.
fn append_and_kill(dir: &std::path::Path, count: usize) -> [u64; WRITERS] {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child_that_appends_until_killed", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = [0; WRITERS];
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut seen = 0;
    for line in lines {
        let Some(rest) = line.strip_prefix("acknowledged ") else { continue };
        let (name, index) = rest.split_once(' ').unwrap();
        // The kill may cut the last line short: then the index is a prefix, and smaller.
        let index = index.parse().unwrap_or(0);
        acknowledged[name.parse::<usize>().unwrap()] = index;
        seen += 1;
        if seen == count {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(seen >= count, "the child ended early");
    acknowledged
}
