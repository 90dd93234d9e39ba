//! The documents in the tree are those of the code.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use emet_model::{ComponentId, PromiseId, VersionedComponentId, WorkerError, WorkerId};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// `EMET_UPDATE_DOCS=1 cargo test -p emet-worker-service --test docs` writes it anew.
#[test]
fn the_committed_openapi_document_is_the_served_one() {
    let path = docs().join("api/openapi.yaml");
    let document = emet_worker_service::document();
    if std::env::var_os("EMET_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &document).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(committed == document, "docs/api/openapi.yaml is out of date: see this test");
}

#[test]
fn every_reference_of_the_document_resolves_and_every_schema_is_used() {
    let document = emet_worker_service::document();
    let parsed: serde_yaml_ng::Value = serde_yaml_ng::from_str(&document).unwrap();
    let schemas = parsed["components"]["schemas"].as_mapping().unwrap();
    let defined: BTreeSet<&str> = schemas.keys().map(|key| key.as_str().unwrap()).collect();
    let used: BTreeSet<&str> = document
        .split("#/components/schemas/")
        .skip(1)
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next().unwrap())
        .collect();
    assert_eq!(defined, used);
}

/// One of each; the match makes a new variant fail to compile until it is listed here.
fn every_worker_error() -> Vec<WorkerError> {
    use WorkerError::*;
    let component_id = ComponentId(uuid::Uuid::nil());
    let worker_id = WorkerId::new(component_id, "w");
    let promise_id = PromiseId { worker_id: worker_id.clone(), oplog_idx: 1 };
    let version = VersionedComponentId { component_id, version: 0 };
    let text = String::new;
    let shard_id = emet_model::ShardIdValue { value: 1 };
    let all = vec![
        InvalidRequest { details: text() },
        WorkerAlreadyExists { worker_id: worker_id.clone() },
        WorkerNotFound { worker_id: worker_id.clone() },
        WorkerCreationFailed { worker_id: worker_id.clone(), details: text() },
        FailedToResumeWorker { worker_id, reason: Box::new(ShardingNotReady) },
        ComponentDownloadFailed { component_id: version, reason: text() },
        ComponentParseFailed { component_id: version, reason: text() },
        GetLatestVersionOfComponentFailed { component_id, reason: text() },
        InitialComponentFileDownloadFailed { path: text(), reason: text() },
        FileSystemError { path: text(), reason: text() },
        PromiseNotFound { promise_id: promise_id.clone() },
        PromiseDropped { promise_id: promise_id.clone() },
        PromiseAlreadyCompleted { promise_id },
        Interrupted { recover_immediately: true },
        ParamTypeMismatch { details: text() },
        NoValueInMessage,
        ValueMismatch { details: text() },
        UnexpectedOplogEntry { expected: text(), got: text() },
        RuntimeError { details: text() },
        InvalidShardId { shard_id, shard_ids: vec![] },
        InvalidAccount,
        PreviousInvocationFailed { details: text() },
        PreviousInvocationExited,
        Unknown { details: text() },
        ShardingNotReady,
        Unavailable { details: text() },
        ConnectionLost { details: text() },
    ];
    for error in &all {
        match error {
            InvalidRequest { .. } | WorkerAlreadyExists { .. } | WorkerNotFound { .. } => {}
            WorkerCreationFailed { .. } | FailedToResumeWorker { .. } => {}
            ComponentDownloadFailed { .. } | ComponentParseFailed { .. } => {}
            GetLatestVersionOfComponentFailed { .. } => {}
            InitialComponentFileDownloadFailed { .. } | FileSystemError { .. } => {}
            PromiseNotFound { .. } | PromiseDropped { .. } | PromiseAlreadyCompleted { .. } => {}
            Interrupted { .. } | ParamTypeMismatch { .. } | NoValueInMessage => {}
            ValueMismatch { .. } | UnexpectedOplogEntry { .. } | RuntimeError { .. } => {}
            InvalidShardId { .. } | InvalidAccount | PreviousInvocationFailed { .. } => {}
            PreviousInvocationExited | Unknown { .. } | ShardingNotReady => {}
            Unavailable { .. } | ConnectionLost { .. } => {}
        }
    }
    all
}

fn kebab(name: &str) -> String {
    let mut out = String::new();
    for char in name.chars() {
        if char.is_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.extend(char.to_lowercase());
    }
    out
}

#[test]
fn every_worker_error_has_a_page_and_is_in_the_document() {
    let document = emet_worker_service::document();
    for error in every_worker_error() {
        let json = serde_json::to_value(&error).unwrap();
        let name = json["type"].as_str().unwrap();
        let page = docs().join(format!("errors/{}.md", kebab(name)));
        let text = std::fs::read_to_string(&page).unwrap_or_else(|e| panic!("{page:?}: {e}"));
        assert!(text.contains(name) && text.contains("## What to do"), "{page:?}");
        assert!(document.contains(&format!("- {name}\n")), "{name} is not in the document");
    }
}

#[test]
fn the_index_lists_every_page() {
    let index = std::fs::read_to_string(docs().join("errors/README.md")).unwrap();
    for entry in std::fs::read_dir(docs().join("errors")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name == "README.md" || index.contains(&format!("({name})")), "{name}");
    }
}
