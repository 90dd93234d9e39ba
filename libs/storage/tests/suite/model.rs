//! Random operations give the same answers from the embedded store, from the store in memory and
//! from a plain vector, across reopening.

use crate::servers::redis_options;
use crate::{open, trim};
use bytes::Bytes;
use emet_storage::memory::{MemoryBlob, MemoryLog};
use emet_storage::redis::{Redis, RedisOptions};
use emet_storage::tiered::TieredOptions;
use emet_storage::{Append, LogKey, LogStore, Shards, Summary, Tiered};
use emet_test_servers::RedisServer;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug)]
enum Op {
    Append {
        log: u8,
        epoch: u64,
        offset: i64,
        sizes: Vec<usize>,
        unfinished: Option<bool>,
        summary: bool,
    },
    Fence {
        log: u8,
        epoch: u64,
    },
    Delete {
        log: u8,
    },
    Trim {
        log: u8,
        through: u64,
    },
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let log = 0u8..4;
    let sizes = prop_oneof![
        8 => prop::collection::vec(0usize..50, 0..5),
        1 => prop::collection::vec(0usize..3, 1000..1100),
        1 => prop::collection::vec(200_000usize..300_000, 1..3),
    ];
    let offset = prop_oneof![9 => Just(0i64), 1 => -2i64..3];
    let append = (log.clone(), 1u64..4, offset, sizes, any::<Option<bool>>(), any::<bool>());
    prop_oneof![
        10 => append.prop_map(|(log, epoch, offset, sizes, unfinished, summary)| Op::Append {
            log, epoch, offset, sizes, unfinished, summary
        }),
        1 => (log.clone(), 1u64..4).prop_map(|(log, epoch)| Op::Fence { log, epoch }),
        1 => log.clone().prop_map(|log| Op::Delete { log }),
        2 => (log, 0u64..2000).prop_map(|(log, through)| Op::Trim { log, through }),
        1 => Just(Op::Reopen),
    ]
}

/// The obvious log: records, trimmed count, epoch, mark.
#[derive(Clone, Debug, Default)]
struct Model {
    records: Vec<Bytes>,
    trimmed: usize,
    epoch: u64,
    unfinished: bool,
    summary: Option<Summary>,
}

fn name(log: u8) -> LogKey {
    LogKey { group: [log % 2; 16], name: format!("log {log}") }
}

fn build(op: &Op, models: &BTreeMap<u8, Model>) -> Option<Append> {
    let Op::Append { log, epoch, offset, sizes, unfinished, summary } = op else { return None };
    let last = models.get(log).map_or(0, |model| model.records.len() as u64);
    let records: Vec<_> =
        sizes.iter().enumerate().map(|(n, size)| Bytes::from(vec![n as u8; *size])).collect();
    let index = last + records.len() as u64;
    let summary = summary.then(|| Summary { index, data: Bytes::from(vec![*log; 10]) });
    let expected = (last + 1).saturating_add_signed(*offset);
    Some(Append {
        key: name(*log),
        epoch: *epoch,
        expected,
        records,
        unfinished: *unfinished,
        summary,
    })
}

/// Applies an operation to the model; says whether it must be accepted.
fn apply(op: &Op, append: Option<&Append>, models: &mut BTreeMap<u8, Model>) -> bool {
    match op {
        Op::Append { log, epoch, offset, .. } => {
            let known = models.get(log).map_or(0, |model| model.epoch);
            // Index 0 never fits; an offset of an empty log may be clamped to it.
            if *epoch < known || *offset != 0 {
                return false;
            }
            let append = append.unwrap();
            let model = models.entry(*log).or_default();
            model.epoch = *epoch;
            model.records.extend(append.records.iter().cloned());
            model.unfinished = append.unfinished.unwrap_or(model.unfinished);
            model.summary = append.summary.clone().or(model.summary.take());
        }
        Op::Fence { log, epoch } => {
            let model = models.entry(*log).or_default();
            if *epoch < model.epoch {
                return false;
            }
            model.epoch = *epoch;
        }
        Op::Delete { log } => drop(models.remove(log)),
        Op::Trim { log, through } => {
            if let Some(model) = models.get_mut(log) {
                let through = (*through as usize).min(model.records.len());
                model.trimmed = model.trimmed.max(through);
            }
        }
        Op::Reopen => {}
    }
    true
}

async fn run(log: &dyn LogStore, op: &Op, append: Option<Append>) -> bool {
    match op {
        Op::Append { .. } => log.append(append.unwrap()).await.is_ok(),
        Op::Fence { log: n, epoch } => log.fence(&name(*n), *epoch).await.is_ok(),
        Op::Delete { log: n } => log.delete(&name(*n), 9).await.is_ok(),
        Op::Trim { log: n, through } => trim(log, &name(*n), *through).await.is_ok(),
        Op::Reopen => true,
    }
}

async fn check(log: &dyn LogStore, models: &BTreeMap<u8, Model>) {
    for n in 0..4 {
        let head = log.head(&name(n)).await.unwrap();
        let Some(model) = models.get(&n) else {
            assert_eq!(head, None);
            continue;
        };
        let head = head.unwrap();
        let last = model.records.len() as u64;
        assert_eq!((head.last, head.epoch, head.unfinished), (last, model.epoch, model.unfinished));
        assert_eq!(head.summary, model.summary);
        let from = (model.trimmed as u64).saturating_sub(3);
        let records = log.read(&name(n), from, usize::MAX).await.unwrap();
        let first = model.trimmed as u64 + 1;
        let wanted = (first..).zip(&model.records[model.trimmed..]);
        assert!(records.iter().map(|r| (r.index, &r.data)).eq(wanted), "records of log {n}");
    }
    let unfinished: Vec<_> = log.unfinished(&Shards::All).await.unwrap();
    let mut wanted: Vec<_> =
        models.iter().filter(|(_, model)| model.unfinished).map(|(n, _)| name(*n)).collect();
    wanted.sort();
    assert_eq!(unfinished, wanted);
    let listed = log.list([0; 16], 0, 9).await.unwrap();
    assert_eq!(listed.len(), models.keys().filter(|n| *n % 2 == 0).count());
    assert!(listed.is_sorted_by_key(|(_, head)| head.sequence));
}

async fn scenario(ops: Vec<Op>) {
    let dir = tempfile::tempdir().unwrap();
    let mut models = BTreeMap::new();
    let mut embedded = Some(open(dir.path()).log());
    let mut memory = MemoryLog::new();
    for op in ops {
        if matches!(op, Op::Reopen) {
            embedded = None;
            memory = memory.reopen();
        }
        let log = embedded.get_or_insert_with(|| open(dir.path()).log());
        let append = build(&op, &models);
        let accepted = apply(&op, append.as_ref(), &mut models);
        assert_eq!(run(&**log, &op, append.clone()).await, accepted, "embedded: {op:?}");
        assert_eq!(run(&memory, &op, append).await, accepted, "memory: {op:?}");
        check(&**log, &models).await;
        check(&memory, &models).await;
    }
}

/// The same on another store, which `open` opens again and again.
async fn agrees(ops: Vec<Op>, open: impl AsyncFn() -> Arc<dyn LogStore>) {
    let mut models = BTreeMap::new();
    let mut log = open().await;
    let memory = MemoryLog::new();
    for op in ops {
        if matches!(op, Op::Reopen) {
            log = open().await;
        }
        let append = build(&op, &models);
        let accepted = apply(&op, append.as_ref(), &mut models);
        assert_eq!(run(&*log, &op, append.clone()).await, accepted, "{op:?}");
        assert_eq!(run(&memory, &op, append).await, accepted, "memory: {op:?}");
        check(&*log, &models).await;
        check(&memory, &models).await;
    }
}

/// Runs random operations on stores that `open` opens; it is told the number of the case.
fn random(cases: u32, open: impl AsyncFn(u32) -> Arc<dyn LogStore>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let case = std::cell::Cell::new(0);
    let result = runner.run(&prop::collection::vec(op(), 1..40), |ops| {
        case.set(case.get() + 1);
        runtime.block_on(agrees(ops, async || open(case.get()).await));
        Ok(())
    });
    result.unwrap();
}

#[test]
fn redis_agrees_with_the_store_in_memory() {
    let server = RedisServer::start();
    random(16, async |case| {
        let prefix = format!("case{case}");
        let options = RedisOptions { prefix, ..redis_options(&server) };
        let log: Arc<dyn LogStore> = Redis::connect(options).await.unwrap().log();
        log
    });
}

#[test]
fn tiers_agree_with_the_store_in_memory() {
    let stores = std::cell::RefCell::new(BTreeMap::new());
    random(64, async |case| {
        let (log, blobs) = stores
            .borrow_mut()
            .entry(case)
            .or_insert((MemoryLog::new(), MemoryBlob::new()))
            .clone();
        let options = TieredOptions { primary_records: 40, cache_bytes: 100_000 };
        let tiered = Tiered::new(Arc::new(log), Arc::new(blobs), options);
        for n in 0..4 {
            tiered.archive(&name(n), 9, u64::from(n)).await.unwrap();
        }
        let log: Arc<dyn LogStore> = Arc::new(tiered);
        log
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn stores_agree_with_a_plain_vector(ops in prop::collection::vec(op(), 1..40)) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(scenario(ops));
    }
}
