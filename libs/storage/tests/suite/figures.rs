//! Rates of appends, printed:
//! `cargo test -p emet-storage --test suite figures -- --ignored --nocapture --test-threads 1`

use crate::servers::redis;
use crate::{append, key, open};
use bytes::Bytes;
use emet_storage::{Append, LogStore};
use emet_test_servers::RedisServer;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long each rate is measured.
const SPAN: Duration = Duration::from_secs(3);

/// Appends of three records of 150 bytes by so many workers, each to its own log.
async fn measure(name: &str, log: Arc<dyn LogStore>, workers: usize) {
    let end = Instant::now() + SPAN;
    let work = (0..workers).map(|n| {
        let log = log.clone();
        tokio::spawn(async move {
            let key = key(1, &format!("{workers} {n}"));
            let records = vec![Bytes::from(vec![n as u8; 150]); 3];
            let (mut times, mut expected) = (Vec::new(), 1);
            while Instant::now() < end {
                let start = Instant::now();
                let records = records.clone();
                log.append(Append { records, ..append(&key, 1, expected, &[]) }).await.unwrap();
                times.push(start.elapsed());
                expected += 3;
            }
            times
        })
    });
    let times = futures::future::join_all(work).await;
    let mut times: Vec<_> = times.into_iter().flat_map(Result::unwrap).collect();
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    let rate = times.len() as f64 / SPAN.as_secs_f64();
    println!("{name}, {workers} workers: {rate:.0}/s, p50 {:?}, p99 {:?}", at(0.5), at(0.99));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "prints figures"]
async fn figures_of_appends() {
    let server = RedisServer::start();
    let dir = tempfile::tempdir().unwrap();
    let embedded = open(dir.path());
    for workers in [1, 64, 512] {
        measure("redis, appendfsync always", redis(&server).await.log(), workers).await;
        measure("embedded", embedded.log(), workers).await;
    }
}
