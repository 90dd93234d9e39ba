//! Dependencies point one way, the pure crates stay pure, licences are permissive.

use emet_tidy::{Failure, Metadata};
use std::collections::{BTreeMap, BTreeSet};

/// Each level may use the ones before it. `values` stands first because the metadata of a
/// component, which is part of the model, contains types of values; telemetry and configuration
/// know nothing of Emet and are used everywhere.
const LEVELS: [&[&str]; 8] = [
    &["emet-values", "emet-telemetry", "emet-config"],
    &["emet-model"],
    &["emet-oplog", "emet-shard-map"],
    &["emet-engine", "emet-api", "emet-checkpoint"],
    &["emet-storage", "emet-client", "emet-routing"],
    &["emet-runtime", "emet-cli"],
    &[
        "emet-component-service",
        "emet-worker-executor",
        "emet-worker-service",
        "emet-shard-manager",
    ],
    &["emet"],
];

/// Crates without I/O: they hold entries, folds and decisions, and run in the simulator as they are.
const PURE: [&str; 5] =
    ["emet-values", "emet-model", "emet-oplog", "emet-engine", "emet-shard-map"];

/// What a pure crate may not be built with: runtimes, clocks, randomness, network, disk.
const IMPURE: [&str; 12] = [
    "tokio",
    "futures",
    "async-trait",
    "rand",
    "hyper",
    "reqwest",
    "axum",
    "tonic",
    "redis",
    "fjall",
    "wasmtime",
    "parking_lot",
];

/// Licences that may be used without asking anybody.
const PERMISSIVE: [&str; 15] = [
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "0BSD",
    "ISC",
    "Zlib",
    "Unlicense",
    "Unicode-3.0",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
];

fn level(name: &str) -> Option<usize> {
    LEVELS.iter().position(|names| names.contains(&name))
}

#[test]
fn dependencies_point_one_way() -> Result<(), Failure> {
    let metadata = Metadata::read()?;
    let is_test = |name: &str| {
        ["emet-bench", "emet-crash", "emet-e2e", "emet-tidy"].contains(&name)
            || name.starts_with("emet-test")
    };
    for package in metadata.members().filter(|p| !is_test(&p.name)) {
        let own = level(&package.name)
            .ok_or_else(|| format!("{} has no level in this test", package.name))?;
        for used in package.normal().filter(|name| name.starts_with("emet")) {
            let its = level(used).ok_or_else(|| format!("{used} has no level in this test"))?;
            assert!(its < own, "{} uses {used}, which does not stand below it", package.name);
        }
    }
    Ok(())
}

#[test]
fn pure_crates_import_no_runtime() -> Result<(), Failure> {
    let metadata = Metadata::read()?;
    let members: Vec<_> = metadata.members().filter(|p| PURE.contains(&p.name.as_str())).collect();
    assert_eq!(members.len(), PURE.len(), "every pure crate exists");
    for package in members {
        let impure: Vec<&str> = package.normal().filter(|name| IMPURE.contains(name)).collect();
        assert!(impure.is_empty(), "{} is pure but uses {impure:?}", package.name);
    }
    Ok(())
}

/// Whether one side of an `OR` consists of permissive licences only.
fn permissive(expression: &str) -> bool {
    let expression = expression.replace(['(', ')'], " ").replace('/', " OR ");
    expression
        .split(" OR ")
        .any(|side| side.split(" AND ").all(|name| PERMISSIVE.contains(&name.trim())))
}

#[test]
fn licences_are_permissive() -> Result<(), Failure> {
    let metadata = Metadata::read()?;
    let other: Vec<String> = metadata
        .packages
        .iter()
        .filter(|p| !p.license.as_deref().is_some_and(permissive))
        .map(|p| format!("{} {}: {:?}", p.name, p.version, p.license))
        .collect();
    assert!(other.is_empty(), "{other:#?}");
    Ok(())
}

/// Libraries that we chose ourselves are there once. What they bring along is theirs.
#[test]
fn own_dependencies_have_one_version() -> Result<(), Failure> {
    let metadata = Metadata::read()?;
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in &metadata.packages {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    let own: BTreeSet<&str> = metadata.members().flat_map(|p| p.normal()).collect();
    // Older versions of these come in through others, which have not moved yet.
    let known = ["rand", "sha2", "thiserror", "wasm-encoder", "wasmparser"];
    let double: Vec<_> = own
        .iter()
        .filter_map(|n| versions.get_key_value(*n))
        .filter(|(n, v)| v.len() > 1 && !known.contains(*n))
        .collect();
    assert!(double.is_empty(), "{double:?}");
    Ok(())
}
