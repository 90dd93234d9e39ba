//! Law L5: the fold is a function of the log alone, so a cached state and the entries after it give
//! what the whole log gives.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use bytes::Bytes;
use emet_model::{ComponentId, IdempotencyKey, RetryPolicy, Timestamp, WorkerId};
use emet_oplog::*;
use proptest::prelude::*;
use std::time::Duration;
use uuid::Uuid;

fn create() -> EntryKind {
    EntryKind::Create(Box::new(Create {
        worker_id: WorkerId::new(ComponentId(Uuid::nil()), "w"),
        component_version: 3,
        args: vec!["-v".into()],
        env: vec![("A".into(), "1".into())],
        parent: Some(WorkerId::new(ComponentId(Uuid::max()), "p")),
        component_size: 10,
        initial_memory: 65536,
    }))
}

fn invocation(key: u8) -> Invocation {
    let parameters = Payload::Inline(Bytes::from(vec![key; 3]));
    Invocation {
        key: IdempotencyKey(format!("k{key}")),
        function: format!("f{key}"),
        parameters,
        trace: vec![("traceparent".into(), "x".into())],
    }
}

fn failure(attempt: u32, retriable: bool) -> Failure {
    Failure { kind: FailureKind::Unknown, message: "m".into(), attempt, retry_from: 2, retriable }
}

fn policy() -> RetryPolicy {
    RetryPolicy { multiplier: 1.5, max_delay: Duration::from_nanos(7), ..RetryPolicy::default() }
}

/// Entries of every kind that means something to the fold. Regions reach back from the entry's own
/// index, which is not known here: see [`placed`].
fn kind() -> impl Strategy<Value = EntryKind> {
    let index = 1u64..40;
    let external = Payload::External { sha256: [7; 32], size: 99_999 };
    prop_oneof![
        6 => (0u8..6).prop_map(|k| EntryKind::Invoked(invocation(k))),
        6 => Just(EntryKind::Completed { response: Payload::empty(), consumed_fuel: -1 }),
        4 => (0u8..6).prop_map(|k| EntryKind::PendingInvocation(invocation(k))),
        2 => Just(EntryKind::NoOp),
        1 => any::<bool>().prop_map(|calls| EntryKind::Suspend { calls }),
        1 => Just(EntryKind::Resume),
        1 => Just(EntryKind::Interrupted),
        1 => Just(EntryKind::Exited),
        1 => Just(EntryKind::Restart),
        2 => (1u32..5, any::<bool>()).prop_map(|(n, r)| EntryKind::Error(failure(n, r))),
        2 => (1u64..30).prop_map(|back| EntryKind::Jump { start: back, end: 0 }),
        2 => (1u64..30).prop_map(|back| EntryKind::Revert { start: back, end: 0 }),
        1 => Just(EntryKind::ChangeRetryPolicy(policy())),
        1 => Just(EntryKind::ChangePersistenceLevel(PersistenceLevel::Nothing)),
        1 => Just(EntryKind::BeginAtomicRegion),
        1 => index.clone().prop_map(|begin| EntryKind::EndAtomicRegion { begin }),
        1 => Just(EntryKind::BeginRemoteWrite),
        1 => index.prop_map(|begin| EntryKind::EndRemoteWrite { begin }),
        1 => (0u64..4).prop_map(|target| EntryKind::PendingManualUpdate { target }),
        1 => (0u64..4, any::<bool>()).prop_map(move |(target, manual)| EntryKind::PendingUpdate { target, snapshot: manual.then(|| external.clone()) }),
        1 => (0u64..4).prop_map(|target| EntryKind::SuccessfulUpdate { target, component_size: 5, initial_memory: 6 }),
        1 => (0u64..4).prop_map(|target| EntryKind::FailedUpdate { target, details: Some("d".into()) }),
        1 => Just(EntryKind::GrowMemory(65536)),
        2 => (0u64..4).prop_map(EntryKind::CreateResource),
        1 => (0u64..4).prop_map(EntryKind::DropResource),
        1 => (0u64..4).prop_map(|id| EntryKind::DescribeResource { id, name: "r".into(), parameters: vec!["\"a\"".into()] }),
        1 => (0u8..6).prop_map(|k| EntryKind::CancelInvocation(IdempotencyKey(format!("k{k}")))),
        1 => Just(EntryKind::Log { level: LogLevel::Stdout, context: String::new(), message: "x".into() }),
    ]
}

/// An entry at its index: a jump takes itself back, a revert what is before it.
fn placed(index: u64, kind: EntryKind) -> Entry {
    let kind = match kind {
        EntryKind::Jump { start, .. } => {
            EntryKind::Jump { start: index.saturating_sub(start).max(2), end: index }
        }
        EntryKind::Revert { start, .. } => {
            EntryKind::Revert { start: index.saturating_sub(start).max(2), end: index - 1 }
        }
        other => other,
    };
    Entry { timestamp: Timestamp(1000 + index), kind }
}

fn log(kinds: Vec<EntryKind>) -> Vec<Entry> {
    let kinds = std::iter::once(create()).chain(kinds);
    kinds.zip(1..).map(|(kind, index)| placed(index, kind)).collect()
}

/// Folds entries on top of a fold, as a reader of a store does.
fn fold(mut fold: Fold, log: &[Entry]) -> WorkerState {
    loop {
        let from = usize::try_from(fold.state().index).unwrap();
        for (entry, index) in log[from..].iter().zip(from as u64 + 1..) {
            fold.apply(index, entry);
        }
        match fold.finish() {
            Ok(state) => return state,
            Err(again) => fold = again,
        }
    }
}

proptest! {
    #[test]
    fn a_cached_state_and_what_is_newer_give_the_whole(kinds in prop::collection::vec(kind(), 0..60), cut in 0.0f64..1.0) {
        let log = log(kinds);
        let whole = fold(Fold::new(), &log);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small")]
        let cut = ((log.len() as f64 * cut) as usize).max(1);
        let cached = summary::encode(&fold(Fold::new(), &log[..cut]));
        let cached = summary::decode(&cached).unwrap().unwrap();
        prop_assert!(cached.whole);
        prop_assert_eq!(cached.state.index, cut as u64);
        prop_assert_eq!(fold(Fold::from_state(cached.state.clone()), &log), whole.clone());
        prop_assert_eq!(fold(Fold::from_base(cached.state), &log), whole);
    }

    #[test]
    fn results_that_are_kept_apart_count_until_they_are_taken_back(kinds in prop::collection::vec(kind(), 0..60), cut in 0.0f64..1.0) {
        let log = log(kinds);
        let whole = fold(Fold::new(), &log);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small")]
        let cut = ((log.len() as f64 * cut) as usize).max(1);
        let before = fold(Fold::new(), &log[..cut]);
        let apart = before.results.clone();
        let stored = summary::decode(&summary::encode_without_results(&before, cut as u64)).unwrap().unwrap();
        prop_assert!(stored.whole && stored.state.results.is_empty());
        let mut after = fold(Fold::from_base(stored.state), &log);
        for n in 0..6u8 {
            let key = IdempotencyKey(format!("k{n}"));
            let counts = |index| index <= after.results_stored && !after.deleted.contains(index);
            let kept = apart.get(&key).copied().filter(|finished| counts(finished.outcome.index()));
            prop_assert_eq!(after.results.get(&key).copied().or(kept), whole.results.get(&key).copied());
        }
        after.results.clone_from(&whole.results);
        after.results_stored = 0;
        prop_assert_eq!(after, whole);
    }
}

#[test]
fn large_states_are_cached_without_results_and_parameters_but_with_what_is_shown() {
    let mut kinds = vec![EntryKind::PendingInvocation(Invocation {
        parameters: Payload::Inline(vec![1; 60_000].into()),
        ..invocation(9)
    })];
    for n in 0..2000u32 {
        kinds.push(EntryKind::Invoked(Invocation {
            key: IdempotencyKey(format!("key-{n}")),
            ..invocation(0)
        }));
        kinds.push(EntryKind::Completed { response: Payload::empty(), consumed_fuel: 0 });
    }
    let state = fold(Fold::new(), &log(kinds));
    let cached = summary::encode(&state);
    assert!(cached.len() < 10_000);
    let cached = summary::decode(&cached).unwrap().unwrap();
    assert!(!cached.whole && cached.state.results.is_empty());
    assert_eq!(
        (cached.state.pending.len(), cached.state.status(), cached.state.create),
        (1, state.status(), state.create)
    );
}

#[test]
fn summaries_of_another_version_are_ignored_and_damaged_ones_are_errors() {
    let state = fold(Fold::new(), &log(Vec::new()));
    let good = summary::encode(&state);
    let mut other = good.to_vec();
    other[0] = other[0].wrapping_add(1);
    assert_eq!(summary::decode(&other.into()), Ok(None));
    assert_eq!(summary::decode(&Bytes::new()), Ok(None));
    assert!(summary::decode(&good.slice(..good.len() - 1)).is_err());
}
