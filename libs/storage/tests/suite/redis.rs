//! What only the Redis backend promises: several processes, restarts, no memory, a cluster.

use crate::servers::{redis, redis_options};
use crate::{append, key, kv_laws, log_laws};
use bytes::Bytes;
use emet_storage::redis::{ConnectError, Flushing, Redis, RedisOptions};
use emet_storage::{Append, Batch, KvError, KvStore, LogError, LogKey, LogStore, Shards, Summary};
use emet_test_servers::{RedisCluster, RedisServer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn every_law_holds_on_a_cluster_of_three_masters() {
    let cluster = RedisCluster::start(3);
    let connect = async |law: &str| {
        let servers = cluster.urls();
        let options = RedisOptions { servers, prefix: law.into(), ..RedisOptions::default() };
        Redis::connect(options).await.unwrap()
    };
    log_laws::all(async |law| connect(law).await.log()).await;
    kv_laws::all(async |law| connect(law).await.kv()).await;
    for master in &cluster.masters {
        let keys: u64 = master.command("DBSIZE").trim_start_matches(':').parse().unwrap();
        assert!(keys > 10, "every master holds a part of the data");
    }
}

#[tokio::test]
async fn an_older_owner_in_another_process_is_refused() {
    let server = RedisServer::start();
    let (old, new) = (redis(&server).await.log(), redis(&server).await.log());
    let a = key(1, "a");
    old.append(append(&a, 1, 1, &["x"])).await.unwrap();
    new.fence(&a, 2).await.unwrap();
    let late = old.append(append(&a, 1, 2, &["late"])).await.unwrap_err();
    assert_eq!(late, LogError::Fenced { epoch: 1, current: 2 });
    new.append(append(&a, 2, 2, &["y"])).await.unwrap();
    let (one, two) = (old.read(&a, 1, 9).await.unwrap(), new.read(&a, 1, 9).await.unwrap());
    assert_eq!(one, two);
    assert_eq!(one.len(), 2);
}

#[tokio::test]
async fn two_processes_never_both_extend_a_log() {
    let server = RedisServer::start();
    let a = key(1, "a");
    let owners = [redis(&server).await.log(), redis(&server).await.log()];
    let race = owners.into_iter().enumerate().map(|(n, log)| {
        let a = a.clone();
        tokio::spawn(async move {
            let mut won = Vec::new();
            for index in 1..200 {
                match log.append(append(&a, 1, index, &[&n.to_string()])).await {
                    Ok(()) => won.push(index),
                    Err(error) => assert!(matches!(error, LogError::Conflict { .. }), "{error}"),
                }
            }
            won
        })
    });
    let won = futures::future::join_all(race).await;
    let mut all: Vec<u64> = won.into_iter().flat_map(Result::unwrap).collect();
    all.sort_unstable();
    let log = redis(&server).await.log();
    let last = log.head(&a).await.unwrap().unwrap().last;
    assert_eq!(all, (1..=last).collect::<Vec<_>>(), "each index was won once");
}

/// Writers that go on over failures as the owner of a log does: read again, then go on.
struct Load {
    stop: AtomicBool,
    written: AtomicU64,
}

impl Load {
    fn now(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Waits until so much was written.
    async fn reach(&self, count: u64) {
        while self.now() < count {
            tokio::task::yield_now().await;
        }
    }
}

/// Appends to one log until told to stop; gives the number of acknowledged records.
async fn write(log: Arc<dyn LogStore>, key: LogKey, load: Arc<Load>) -> u64 {
    let mut acknowledged = 0;
    while !load.stop.load(Ordering::Relaxed) {
        let next = acknowledged + 1;
        match log.append(append(&key, 1, next, &[&next.to_string()])).await {
            Ok(()) => acknowledged = next,
            Err(LogError::Io(_)) => {
                let Ok(head) = log.head(&key).await else { continue };
                let last = head.map_or(0, |head| head.last);
                assert!(last >= acknowledged, "{} lost", acknowledged - last);
                acknowledged = last;
            }
            Err(error) => panic!("{error}"),
        }
        load.written.fetch_add(1, Ordering::Relaxed);
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_append_is_lost_when_redis_is_killed_under_load() {
    let mut server = RedisServer::start();
    let store = redis(&server).await;
    let load = Arc::new(Load { stop: AtomicBool::new(false), written: AtomicU64::new(0) });
    let keys: Vec<_> = (0..24).map(|n| key(1, &format!("w{n}"))).collect();
    let writers: Vec<_> =
        keys.iter().map(|k| tokio::spawn(write(store.log(), k.clone(), load.clone()))).collect();
    for kill in 1..=4 {
        let until = load.now() + 500;
        load.reach(until).await;
        server.kill();
        server.restart();
        println!("kill {kill} after {until} appends");
    }
    load.stop.store(true, Ordering::Relaxed);
    let log = redis(&server).await.log();
    for (key, writer) in keys.iter().zip(writers) {
        let acknowledged = writer.await.unwrap();
        let records = log.read(key, 1, usize::MAX).await.unwrap();
        assert_eq!(records.len() as u64, acknowledged, "none lost, none double");
        for record in records {
            assert_eq!(record.data, Bytes::from(record.index.to_string()));
        }
    }
}

#[tokio::test]
async fn one_round_trip_carries_the_appends_of_many_workers() {
    let server = RedisServer::start();
    let log = redis(&server).await.log();
    let keys: Vec<_> = (0..256).map(|n| key(1, &format!("w{n}"))).collect();
    let all = |expected| keys.iter().map(move |key| (key, expected));
    for (key, expected) in all(1) {
        log.append(append(key, 1, expected, &["x"])).await.unwrap();
    }
    let reads = || {
        let info = server.command("INFO stats");
        let line = info.lines().find_map(|line| line.strip_prefix("total_reads_processed:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    let before = reads();
    let appends = all(2).map(|(key, expected)| log.append(append(key, 1, expected, &["y"])));
    for result in futures::future::join_all(appends).await {
        result.unwrap();
    }
    let round_trips = reads() - before;
    assert!(round_trips < 256 / 4, "{round_trips} reads for 256 appends");
}

/// The slot of a shard moves to another master while its workers go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_moves_between_masters_is_followed() {
    let cluster = RedisCluster::start(3);
    let options = RedisOptions { servers: cluster.urls(), ..RedisOptions::default() };
    let store = Redis::connect(options).await.unwrap();
    let load = Arc::new(Load { stop: AtomicBool::new(false), written: AtomicU64::new(0) });
    let a = key(1, "a");
    let writer = tokio::spawn(write(store.log(), a.clone(), load.clone()));
    load.reach(50).await;

    let name = format!("emet:{{s{}}}:", a.shard(1024));
    let slot = cluster.masters[0].command(&format!("CLUSTER KEYSLOT {name}"));
    let slot: usize = slot.trim_start_matches(':').parse().unwrap();
    let source = slot * 3 / 16384;
    let (from, to) = (&cluster.masters[source], &cluster.masters[(source + 1) % 3]);
    let (from_id, to_id) = (from.command("CLUSTER MYID"), to.command("CLUSTER MYID"));
    assert_eq!(to.command(&format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}")), "+OK");
    assert_eq!(from.command(&format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}")), "+OK");
    let log = "01010101-0101-0101-0101-010101010101:a";
    let migrate = format!("MIGRATE 127.0.0.1 {} \"\" 0 5000 KEYS", to.port());
    assert_eq!(from.command(&format!("{migrate} {name}h:{log} {name}r:{log}")), "+OK");
    assert_eq!(from.command(&format!("CLUSTER COUNTKEYSINSLOT {slot}")), ":0");
    for node in [to, from] {
        assert_eq!(node.command(&format!("CLUSTER SETSLOT {slot} NODE {to_id}")), "+OK");
    }

    load.reach(load.now() + 50).await;
    load.stop.store(true, Ordering::Relaxed);
    let acknowledged = writer.await.unwrap();
    let records = store.log().read(&a, 1, usize::MAX).await.unwrap();
    assert_eq!(records.len() as u64, acknowledged, "none lost, none double");
    assert_eq!(to.command(&format!("CLUSTER COUNTKEYSINSLOT {slot}")), ":2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_takes_over_without_losing_what_it_was_waited_for() {
    let mut cluster = RedisCluster::start_replicated(3);
    let options = RedisOptions { servers: cluster.urls(), replicas: 1, ..RedisOptions::default() };
    let store = Redis::connect(options).await.unwrap();
    let load = Arc::new(Load { stop: AtomicBool::new(false), written: AtomicU64::new(0) });
    let keys: Vec<_> = (0..12).map(|n| key(1, &format!("w{n}"))).collect();
    let writers: Vec<_> =
        keys.iter().map(|k| tokio::spawn(write(store.log(), k.clone(), load.clone()))).collect();
    load.reach(300).await;
    cluster.masters[1].kill();
    let start = std::time::Instant::now();
    while !cluster.replicas[1].command("INFO replication").contains("role:master") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("the replica took over {:?} after the kill", start.elapsed());
    // It needs a replica itself before a write counts: the former master comes back as one.
    cluster.masters[1].restart();
    // Every log goes on, those of the lost master too.
    let before: Vec<_> = futures::future::join_all(
        keys.iter()
            .map(|key| async { store.log().head(key).await.unwrap().map_or(0, |head| head.last) }),
    )
    .await;
    for (key, before) in keys.iter().zip(before) {
        while store.log().head(key).await.unwrap().is_none_or(|head| head.last <= before) {
            tokio::task::yield_now().await;
        }
    }
    println!("all logs went on {:?} after the kill", start.elapsed());
    load.stop.store(true, Ordering::Relaxed);
    for (key, writer) in keys.iter().zip(writers) {
        let acknowledged = writer.await.unwrap();
        let records = store.log().read(key, 1, usize::MAX).await.unwrap();
        assert_eq!(records.len() as u64, acknowledged, "none lost, none double");
    }
}

/// As the job of a worker while its actor handles a command that reads, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_is_not_polled_keeps_nobody_from_a_new_connection() {
    let mut server = RedisServer::start();
    let options = RedisOptions { retry_for: Duration::ZERO, ..redis_options(&server) };
    let log = Redis::connect(options).await.unwrap().log();
    let a = key(1, "a");
    server.kill();
    log.head(&a).await.unwrap_err();
    server.restart();
    let mut first = std::pin::pin!(log.head(&a));
    assert!(futures::poll!(first.as_mut()).is_pending());
    let second = tokio::time::timeout(Duration::from_secs(30), log.head(&a)).await;
    assert_eq!(second.expect("it waits for the first"), Ok(None));
    assert_eq!(first.await, Ok(None));
}

#[tokio::test]
async fn a_paused_server_is_waited_for() {
    let server = RedisServer::start();
    let options =
        RedisOptions { answer_within: Duration::from_millis(200), ..redis_options(&server) };
    let store = Redis::connect(options).await.unwrap();
    let a = key(1, "a");
    store.log().append(append(&a, 1, 1, &["x"])).await.unwrap();
    server.pause();
    let log = store.log();
    let waiting = tokio::spawn({
        let a = a.clone();
        async move { log.append(append(&a, 1, 2, &["y"])).await }
    });
    // Longer than a try: the append is sent again, and the server gets both.
    tokio::time::sleep(Duration::from_millis(600)).await;
    server.resume();
    waiting.await.unwrap().unwrap();
    let records = store.log().read(&a, 1, 9).await.unwrap();
    assert_eq!(records.len(), 2, "it was carried out once: {records:?}");
    store.log().append(append(&a, 1, 3, &["z"])).await.unwrap();
}

#[tokio::test]
async fn without_a_server_calls_fail_after_a_bounded_time() {
    let mut server = RedisServer::start();
    let retry_for = Duration::from_millis(300);
    let store = Redis::connect(RedisOptions { retry_for, ..redis_options(&server) }).await.unwrap();
    server.kill();
    let a = key(1, "a");
    let start = std::time::Instant::now();
    assert!(matches!(store.log().append(append(&a, 1, 1, &["x"])).await, Err(LogError::Io(_))));
    assert!(matches!(store.log().read(&a, 1, 1).await, Err(LogError::Io(_))));
    let put = store.kv().apply(Batch::new().put("s", "k", "v")).await;
    assert!(matches!(put, Err(KvError::Io(_))));
    assert!(start.elapsed() < Duration::from_secs(5));
    let options = RedisOptions { retry_for, ..redis_options(&server) };
    let refused = Redis::connect(options).await.map(drop).unwrap_err();
    assert!(matches!(refused, ConnectError::Unreachable(_)));
}

#[tokio::test]
async fn without_memory_appends_are_refused_whole_and_deleting_helps() {
    let server =
        RedisServer::start_with(&[("maxmemory", "16mb"), ("maxmemory-policy", "noeviction")]);
    let store = redis(&server).await;
    let log = store.log();
    let big = key(1, "big");
    let record = Bytes::from(vec![b'x'; 256 * 1024]);
    let mut next = 1;
    let error = loop {
        let more = Append { records: vec![record.clone()], ..append(&big, 1, next, &[]) };
        match log.append(more).await {
            Ok(()) => next += 1,
            Err(error) => break error,
        }
        assert!(next < 100, "the memory has no end");
    };
    assert!(matches!(error, LogError::Full(_)), "{error}");
    let head = log.head(&big).await.unwrap().unwrap();
    assert_eq!(head.last, next - 1, "nothing of the refused append is there");
    assert_eq!(log.read(&big, 1, usize::MAX).await.unwrap().len() as u64, next - 1);
    // What the refused append took on its way is free again: that much less is full for sure.
    assert_eq!(server.command("CONFIG SET maxmemory 12mb"), "+OK");
    let full = Append { unfinished: Some(true), ..append(&big, 1, next, &["x"]) };
    assert!(matches!(log.append(full).await, Err(LogError::Full(_))));
    assert_eq!(log.unfinished(&Shards::All).await.unwrap(), []);
    let new = log.append(append(&key(1, "new"), 1, 1, &["x"])).await;
    assert!(matches!(new, Err(LogError::Full(_))), "{new:?}");
    let put = store.kv().apply(Batch::new().put("s", "k", "v")).await;
    assert!(matches!(put, Err(KvError::Full(_))));
    assert!(store.kv().apply(Batch::new().delete("s", "k")).await.unwrap());

    log.delete(&big, 1).await.unwrap();
    // The server frees large keys in the background.
    while let Err(error) = log.append(append(&big, 1, 1, &["again"])).await {
        assert!(matches!(error, LogError::Full(_)), "{error}");
    }
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_loaded_again() {
    let server = RedisServer::start();
    let store = redis(&server).await;
    let a = key(1, "a");
    store.log().append(append(&a, 1, 1, &["x"])).await.unwrap();
    assert_eq!(server.command("SCRIPT FLUSH"), "+OK");
    store.log().append(append(&a, 1, 2, &["y"])).await.unwrap();
    assert_eq!(server.command("SCRIPT FLUSH"), "+OK");
    assert_eq!(store.log().read(&a, 1, 9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn settings_that_lose_writes_are_told_and_refused_on_demand() {
    let cases = [
        (vec![], Flushing::Always, false),
        (vec![("appendfsync", "everysec")], Flushing::EverySecond, false),
        (vec![("appendfsync", "no")], Flushing::BySystem, false),
        (vec![("appendonly", "no"), ("save", "60 1")], Flushing::InSnapshots, false),
        (vec![("appendonly", "no")], Flushing::Never, false),
        (vec![("maxmemory-policy", "allkeys-lru")], Flushing::Always, true),
    ];
    for (settings, flushing, evicts) in cases {
        let server = RedisServer::start_with(&settings);
        let options = RedisOptions { require_durable: false, ..redis_options(&server) };
        let found = Redis::connect(options).await.unwrap().durability();
        assert_eq!((found.flushing, found.evicts), (flushing, evicts), "{settings:?}");
        match Redis::connect(redis_options(&server)).await {
            Ok(_) => assert!(found.is_durable()),
            Err(error) => {
                assert!(!found.is_durable());
                assert!(matches!(error, ConnectError::NotDurable(_)), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn a_replica_is_not_written_to_and_its_master_is_found() {
    let master = RedisServer::start();
    let replica =
        RedisServer::start_with(&[("replicaof", &format!("127.0.0.1 {}", master.port()))]);
    let servers = vec![replica.url(), master.url()];
    let options = RedisOptions { servers, replicas: 1, ..redis_options(&master) };
    let store = Redis::connect(options).await.unwrap();
    let a = key(1, "a");
    store.log().append(append(&a, 1, 1, &["x"])).await.unwrap();
    // The replica has it: that is what `replicas` waits for. Now it takes over.
    assert_eq!(replica.command("REPLICAOF NO ONE"), "+OK");
    let demoted = format!("REPLICAOF 127.0.0.1 {}", replica.port());
    assert_eq!(master.command(&demoted), "+OK");
    store.log().append(append(&a, 1, 2, &["y"])).await.unwrap();
    // Head, records, order of the component, version, number of shards.
    assert_eq!(replica.command("DBSIZE"), ":5");
    assert_eq!(store.log().read(&a, 1, 9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn writes_that_too_few_replicas_have_do_not_count() {
    let server = RedisServer::start();
    let options = RedisOptions {
        replicas: 1,
        replicas_within: Duration::from_millis(20),
        retry_for: Duration::from_millis(200),
        ..redis_options(&server)
    };
    let error = Redis::connect(options).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("0 of 1 replicas"), "{error}");
}

#[tokio::test]
async fn another_number_of_shards_is_refused() {
    let server = RedisServer::start();
    drop(redis(&server).await);
    let other = RedisOptions { shards: 7, ..redis_options(&server) };
    let error = Redis::connect(other).await.map(drop).unwrap_err();
    assert!(matches!(error, ConnectError::Shards { wanted: 7, .. }), "{error}");
    let elsewhere = RedisOptions { shards: 7, prefix: "p".into(), ..redis_options(&server) };
    Redis::connect(elsewhere).await.unwrap();
}

#[tokio::test]
async fn another_format_is_refused() {
    let server = RedisServer::start();
    drop(redis(&server).await);
    assert_eq!(server.command("SET emet:{format}:version 2"), "+OK");
    let error = Redis::connect(redis_options(&server)).await.map(drop).unwrap_err();
    assert!(matches!(error, ConnectError::Format { known: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_batch_over_two_tags_is_refused() {
    let server = RedisServer::start();
    let kv = redis(&server).await.kv();
    let two = kv.apply(Batch::new().put("a", "k", "").put("b", "k", "")).await;
    assert!(matches!(two, Err(KvError::Invalid(_))));
    assert_eq!(kv.get("a", b"k").await.unwrap(), None);
}

#[tokio::test]
async fn lost_records_are_noticed() {
    let server = RedisServer::start();
    let log = redis(&server).await.log();
    let a = key(1, "a");
    log.append(append(&a, 1, 1, &["1", "2", "3", "4"])).await.unwrap();
    let shard = a.shard(1024);
    let stream = format!("emet:{{s{shard}}}:r:01010101-0101-0101-0101-010101010101:a");
    assert_eq!(server.command(&format!("XDEL {stream} 2-0")), ":1");
    let corrupt = |index, result: Result<_, LogError>| match result {
        Err(LogError::Corrupt { index: found, .. }) => assert_eq!(found, index),
        other => panic!("{other:?}"),
    };
    corrupt(2, log.read(&a, 1, 9).await);
    assert_eq!(log.read(&a, 3, 9).await.unwrap().len(), 2);
    assert_eq!(server.command(&format!("XDEL {stream} 4-0")), ":1");
    corrupt(4, log.read(&a, 3, 9).await);
}

#[tokio::test]
async fn an_orphan_of_the_order_is_not_listed() {
    let server = RedisServer::start();
    let log = redis(&server).await.log();
    let order = "emet:{01010101-0101-0101-0101-010101010101}:o";
    assert_eq!(server.command(&format!("ZADD {order} 0 0000000000000007:gone")), ":1");
    let summary = Some(Summary { index: 1, data: Bytes::from("s") });
    log.append(Append { summary, ..append(&key(1, "a"), 1, 1, &["x"]) }).await.unwrap();
    let fresh = "9000000000000000:creating";
    assert_eq!(server.command(&format!("ZADD {order} 0 {fresh}")), ":1");
    let listed = log.list([1; 16], 0, 9).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].0.name, "a");
    assert_eq!(server.command(&format!("ZCARD {order}")), ":2", "only the old one is removed");
}

/// A worker that exists throughout an enumeration is seen once, whatever happens to others.
#[tokio::test(flavor = "multi_thread")]
async fn an_enumeration_under_changes_misses_nobody() {
    let server = RedisServer::start();
    let log = redis(&server).await.log();
    let stay: Vec<_> = (0..60).map(|n| key(1, &format!("stay{n}"))).collect();
    let come_and_go = tokio::spawn({
        let log = redis(&server).await.log();
        async move {
            for n in 0..200 {
                let passing = key(1, &format!("pass{}", n % 7));
                log.append(append(&passing, 1, 1, &["x"])).await.unwrap();
                log.delete(&passing, 1).await.unwrap();
            }
        }
    });
    for key in &stay {
        log.append(append(key, 1, 1, &["x"])).await.unwrap();
    }
    while !come_and_go.is_finished() {
        let mut seen = Vec::new();
        let mut after = 0;
        loop {
            let page = log.list([1; 16], after, 7).await.unwrap();
            let Some((_, head)) = page.last() else { break };
            after = head.sequence;
            seen.extend(
                page.into_iter().map(|(key, _)| key).filter(|k| k.name.starts_with("stay")),
            );
        }
        assert_eq!(seen, stay, "in the order of creation");
    }
    come_and_go.await.unwrap();
}
