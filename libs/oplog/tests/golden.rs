//! Stored entries of every released format are read as they were meant, and today's entries are
//! written as the golden files say. `EMET_UPDATE_GOLDEN=1` writes files that are missing; one that
//! exists is never changed, since it stands for logs that exist.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use emet_model::{ComponentId, IdempotencyKey, RetryPolicy, Timestamp, WorkerId};
use emet_oplog::{
    CallKind, Create, Entry, EntryKind, Failure, FailureKind, HostCall, Invocation, LogLevel,
    Payload, PersistenceLevel, codec,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use uuid::Uuid;

fn worker(name: &str) -> WorkerId {
    WorkerId::new(ComponentId(Uuid::from_u128(0x9c19b15a_c83d_46f7_9bc3_ead7923733f4)), name)
}

fn inline(bytes: &'static [u8]) -> Payload {
    Payload::Inline(Bytes::from_static(bytes))
}

fn invocation() -> Invocation {
    Invocation {
        key: IdempotencyKey("key-1".into()),
        function: "shop:cart/api.{add-item}".into(),
        parameters: inline(&[0x12, 1, 2, 1]),
        trace: vec![(
            "traceparent".into(),
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        )],
    }
}

/// An entry of every kind, by the name of its golden file.
fn samples() -> Vec<(&'static str, EntryKind)> {
    let policy = RetryPolicy {
        max_attempts: 3,
        min_delay: Duration::from_millis(100),
        max_delay: Duration::from_secs(1),
        multiplier: 1.5,
        max_jitter_factor: Some(0.15),
    };
    let failure = Failure {
        kind: FailureKind::Unknown,
        message: "wasm trap: unreachable".into(),
        attempt: 2,
        retry_from: 7,
        retriable: true,
    };
    let create = Create {
        worker_id: worker("cart-7"),
        component_version: 3,
        args: vec!["--verbose".into()],
        env: vec![("REGION".into(), "eu".into())],
        parent: Some(worker("parent")),
        component_size: 70_000,
        initial_memory: 1_114_112,
    };
    let call = HostCall {
        function: "golem_environment::get_environment".into(),
        kind: CallKind::ReadLocal,
        begin: Some(5),
        request: Payload::empty(),
        response: Payload::External { sha256: [0xab; 32], size: 100_000 },
    };
    let attributes = vec![("a".to_owned(), "b".to_owned())];
    vec![
        ("create", EntryKind::Create(Box::new(create))),
        ("host-call", EntryKind::HostCall(call)),
        ("invoked", EntryKind::Invoked(invocation())),
        ("completed", EntryKind::Completed { response: inline(&[0x12, 0]), consumed_fuel: -1 }),
        ("suspend", EntryKind::Suspend { calls: false }),
        ("suspend-calls", EntryKind::Suspend { calls: true }),
        ("error", EntryKind::Error(failure)),
        ("no-op", EntryKind::NoOp),
        ("jump", EntryKind::Jump { start: 4, end: 9 }),
        ("interrupted", EntryKind::Interrupted),
        ("exited", EntryKind::Exited),
        ("change-retry-policy", EntryKind::ChangeRetryPolicy(policy)),
        ("begin-atomic-region", EntryKind::BeginAtomicRegion),
        ("end-atomic-region", EntryKind::EndAtomicRegion { begin: 12 }),
        ("begin-remote-write", EntryKind::BeginRemoteWrite),
        ("end-remote-write", EntryKind::EndRemoteWrite { begin: 14 }),
        ("pending-invocation", EntryKind::PendingInvocation(invocation())),
        ("pending-manual-update", EntryKind::PendingManualUpdate { target: 4 }),
        (
            "pending-update",
            EntryKind::PendingUpdate { target: 4, snapshot: Some(inline(b"state")) },
        ),
        (
            "successful-update",
            EntryKind::SuccessfulUpdate {
                target: 4,
                component_size: 80_000,
                initial_memory: 65_536,
            },
        ),
        ("failed-update", EntryKind::FailedUpdate { target: 4, details: Some("no".into()) }),
        ("grow-memory", EntryKind::GrowMemory(65_536)),
        ("create-resource", EntryKind::CreateResource(0)),
        ("drop-resource", EntryKind::DropResource(1)),
        (
            "describe-resource",
            EntryKind::DescribeResource {
                id: 1,
                name: "counter".into(),
                parameters: vec!["\"x\"".into()],
            },
        ),
        (
            "log",
            EntryKind::Log { level: LogLevel::Warn, context: "ctx".into(), message: "text".into() },
        ),
        ("restart", EntryKind::Restart),
        ("revert", EntryKind::Revert { start: 8, end: 11 }),
        ("cancel-invocation", EntryKind::CancelInvocation(IdempotencyKey("key-1".into()))),
        ("resume", EntryKind::Resume),
        (
            "change-persistence-level",
            EntryKind::ChangePersistenceLevel(PersistenceLevel::RemoteSideEffects),
        ),
        (
            "start-span",
            EntryKind::StartSpan {
                span_id: "b7ad6b7169203331".into(),
                parent: "0af7651916cd43dd".into(),
                attributes,
            },
        ),
        ("finish-span", EntryKind::FinishSpan { span_id: "b7ad6b7169203331".into() }),
        (
            "set-span-attribute",
            EntryKind::SetSpanAttribute {
                span_id: "b7ad6b7169203331".into(),
                key: "k".into(),
                value: "v".into(),
            },
        ),
    ]
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v1").join(format!("{name}.hex"))
}

fn hex(bytes: &[u8]) -> String {
    let lines = bytes
        .chunks(16)
        .map(|line| line.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

fn unhex(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}

#[test]
fn entries_are_stored_as_the_golden_files_say() {
    for (name, kind) in samples() {
        let entry = Entry { timestamp: Timestamp(1_733_821_200_123), kind };
        let bytes = codec::encode(&entry);
        let path = golden(name);
        if !path.exists() && std::env::var_os("EMET_UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, hex(&bytes)).unwrap();
        }
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(hex(&bytes), text, "{name} is written differently now");
        assert_eq!(
            codec::decode(unhex(&text).into()).unwrap(),
            entry,
            "{name} is read differently now"
        );
    }
}

/// The numbers of the kinds in the protobuf text.
fn kinds_of_the_format() -> BTreeSet<u64> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/emet/oplog/v1/oplog.proto");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once("oneof kind {").unwrap();
    let (kinds, _) = rest.split_once('}').unwrap();
    let numbers = kinds
        .lines()
        .filter_map(|line| line.split_once('=')?.1.split_once(';')?.0.trim().parse().ok());
    numbers.collect()
}

/// The number of an encoded entry's kind: the tag after the timestamp, both varints.
fn kind_of(bytes: &[u8]) -> u64 {
    let mut rest = bytes.iter();
    let mut next = || {
        let (mut value, mut shift) = (0, 0);
        for byte in rest.by_ref() {
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    };
    assert_eq!(next() >> 3, 1, "the timestamp comes first");
    next();
    next() >> 3
}

#[test]
fn every_kind_has_a_golden_file() {
    let now = Timestamp(1);
    let kinds: BTreeSet<u64> = samples()
        .into_iter()
        .map(|(_, kind)| kind_of(&codec::encode(&Entry { timestamp: now, kind })))
        .collect();
    assert_eq!(kinds, kinds_of_the_format());
    let files = std::fs::read_dir(golden("x").parent().unwrap()).unwrap().count();
    assert_eq!(files, samples().len(), "a file for each sample, and no other");
}

#[test]
fn damaged_entries_are_errors() {
    for (name, kind) in samples() {
        let bytes = codec::encode(&Entry { timestamp: Timestamp(1), kind });
        assert!(codec::decode(Bytes::new()).is_err());
        for length in 0..bytes.len() {
            // Cut protobuf may still be an entry, but never one that panics or that is the whole one.
            let cut = codec::decode(bytes.slice(..length));
            assert!(cut.is_err() || cut != codec::decode(bytes.clone()), "{name} cut at {length}");
        }
    }
}
