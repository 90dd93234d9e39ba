//! Rewrites a component so that the state of an idle instance of it can be read and put back.
//!
//! Not a byte of the guest's code changes. What is added (docs/checkpoints.md), in each component
//! that has code, the nested ones of a composed component included:
//! * modules with memories or mutable globals of their own export them;
//! * a *ledger* module, which knows of each entry of the component's handle table what kind of
//!   resource it is, and wrappers around those canonical functions that add or remove entries;
//! * an *accessor* module, whose functions are exported under names that start with [`PREFIX`].
//!
//! A component passes on what its nested ones export. Only exports are added, nothing is imported,
//! so the indexes that a component is written in stay what they are.
//!
//! Whether a component can be rewritten is decided by its binary alone. The crate is pure: no I/O,
//! no runtime.

mod abi;
mod accessor;
mod interface;
mod ledger;
mod modules;
mod nested;
mod reencode;
mod resources;
mod rewrite;
mod survey;
mod wrap;
mod wrapping;

use serde::{Deserialize, Serialize};

/// Version of the rewriting: part of the key of whatever depends on a rewritten component. Bases depend
/// on it, too: who raises it has to keep the old way of rewriting for workers that start from one
/// (docs/adr/0041-bases-outlive-releases.md).
pub const VERSION: u32 = 3;

/// Names of imports and exports that start with this belong to Emet; a component that uses one is
/// refused at upload.
pub const PREFIX: &str = "emet-checkpoint-";

/// Size of the pages by which memory is saved, in bytes.
pub const PAGE: usize = 4096;

/// A resource type of the host of which the host can make a resource again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remade {
    /// Interface without its version, such as `wasi:io/streams`.
    pub interface: &'static str,
    /// Name of the resource in the interface.
    pub resource: &'static str,
    /// Unique name of the type.
    pub label: &'static str,
}

/// Name of an export of a part.
pub fn export_name(part: usize, name: &str) -> String {
    format!("{PREFIX}{part}-{name}")
}

/// Type of a mutable global.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of WebAssembly")]
pub enum GlobalType {
    I32,
    I64,
    F32,
    F64,
}

/// What an entry of a handle table is. Entry `i` of [`Part::kinds`] is kind `i + 1` in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kind {
    /// Interface that was imported, in full; none for a resource of the part itself.
    pub interface: Option<String>,
    /// Name of the resource.
    pub name: String,
    /// Label by which the host makes one again, if it is the host's; none: it cannot.
    pub label: Option<String>,
}

/// A component instance with code: it has memories, globals and a handle table of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Number of memories.
    pub memories: u32,
    /// Mutable globals.
    pub globals: Vec<GlobalType>,
    /// Kinds of resources.
    pub kinds: Vec<Kind>,
}

/// What a rewritten component exports beside its own. A component that is not composed has one part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its parts, by their numbers in the names of the exports.
    pub parts: Vec<Part>,
}

/// What became of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was rewritten.
    Supported {
        /// The rewritten binary.
        wasm: Vec<u8>,
        /// What is in it.
        plan: Plan,
    },
    /// It uses something whose state cannot be saved; the text says what.
    Refused(String),
}

/// Why a component is not rewritten.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// It uses something that cannot be saved.
    #[error("{0}")]
    Uses(String),
    /// The binary cannot be read.
    #[error("the binary cannot be read: {0}")]
    Unreadable(String),
}

impl From<wasmparser::BinaryReaderError> for Refusal {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

pub(crate) fn uses<T>(what: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Uses(what.into()))
}

/// Rewrites a component, if its state can be saved.
pub fn rewrite(wasm: &[u8], remade: &[Remade]) -> Verdict {
    let rewritten = rewrite::rewrite(wasm, remade, 0).and_then(|(wasm, parts)| {
        let mut validator = wasmparser::Validator::new_with_features(rewrite::features());
        // A mistake of the rewriting must not cost the component: it runs as it was uploaded.
        validator
            .validate_all(&wasm)
            .map_err(|e| Refusal::Uses(format!("rewriting failed: {e}")))?;
        Ok((wasm, Plan { parts }))
    });
    match rewritten {
        Ok((wasm, plan)) => Verdict::Supported { wasm, plan },
        Err(refusal) => Verdict::Refused(refusal.to_string()),
    }
}

/// A reserved name among the imports and exports of a component.
pub fn reserved_name(wasm: &[u8]) -> Option<String> {
    survey::outer_names(wasm).into_iter().find(|name| name.starts_with(PREFIX))
}
