//! The rewriting of real components, and of small ones that cannot be rewritten.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use emet_checkpoint::{Remade, Verdict, rewrite};
use std::path::{Path, PathBuf};

const REMADE: &[Remade] = &[
    Remade { interface: "wasi:io/streams", resource: "input-stream", label: "input-stream" },
    Remade { interface: "wasi:io/streams", resource: "output-stream", label: "output-stream" },
    Remade { interface: "wasi:filesystem/types", resource: "descriptor", label: "descriptor" },
];

fn prebuilt() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut all = vec![];
    for dir in ["tests/guests/prebuilt", "examples/prebuilt"] {
        for entry in std::fs::read_dir(root.join(dir)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "wasm") {
                all.push(path);
            }
        }
    }
    all.sort();
    all
}

#[test]
fn every_component_is_rewritten_or_refused_for_a_reason() {
    let mut supported = 0;
    for path in prebuilt() {
        match rewrite(&std::fs::read(&path).unwrap(), REMADE) {
            Verdict::Supported { plan, .. } => {
                supported += 1;
                assert!(plan.parts.iter().any(|p| p.memories > 0), "{}: {plan:?}", path.display());
                for part in &plan.parts {
                    eprintln!(
                        "{}: {} memories, {} globals, {} kinds",
                        path.display(),
                        part.memories,
                        part.globals.len(),
                        part.kinds.len()
                    );
                }
            }
            Verdict::Refused(reason) => {
                eprintln!("{}: {reason}", path.display());
                assert!(!reason.contains("rewriting failed"), "{}: {reason}", path.display());
            }
        }
    }
    assert!(supported > 20, "{supported}");
}
