//! Rewrites a component so that the state of an idle instance of it can be read and put back.
//!
//! Not a byte of the guest's code changes. What is added (docs/checkpoints.md):
//! * modules with memories or mutable globals of their own export them;
//! * a *ledger* module, which knows of each entry of the component's handle table what kind of
//!   resource it is, and wrappers around those canonical functions that add or remove entries;
//! * an *accessor* module, whose functions are exported under names that start with [`PREFIX`].
//!
//! Whether a component can be rewritten is decided by its binary alone. The crate is pure: no I/O,
//! no runtime.

mod abi;
mod accessor;
mod ledger;
mod modules;
mod resources;
mod rewrite;
mod survey;
mod wrap;

use serde::{Deserialize, Serialize};

/// Version of the rewriting: part of the key of whatever depends on a rewritten component.
pub const VERSION: u32 = 1;

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
    /// Unique name of the type: part of the names of the imports that make and look at one.
    pub label: &'static str,
}

/// How many versions of an interface one component may import resources of the same label from.
pub const MAX_ALIKE: usize = 4;

/// Name of the import that gives a resource: `func() -> own<resource>`.
pub fn give_import(label: &str, alike: usize) -> String {
    format!("{PREFIX}give-{label}-{alike}")
}

/// Name of the import that is shown a resource: `func(borrow<resource>)`.
pub fn show_import(label: &str, alike: usize) -> String {
    format!("{PREFIX}show-{label}-{alike}")
}

/// Name of the import that is shown memory: `func(offset: u32, bytes: list<u8>)`.
pub const SAVE_IMPORT: &str = "emet-checkpoint-save";

/// Type of a mutable global.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of WebAssembly")]
pub enum GlobalType {
    I32,
    I64,
    F32,
    F64,
}

/// What an entry of the handle table is. Entry `i` of [`Plan::kinds`] is kind `i + 1` in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kind {
    /// Interface that was imported, in full; none for a resource of the component itself.
    pub interface: Option<String>,
    /// Name of the resource.
    pub name: String,
    /// Label by which the host makes one again; none: it cannot.
    pub label: Option<String>,
}

/// What a rewritten component exports beside its own, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Number of memories.
    pub memories: u32,
    /// Mutable globals.
    pub globals: Vec<GlobalType>,
    /// Kinds of resources.
    pub kinds: Vec<Kind>,
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
    let rewritten = rewrite::rewrite(wasm, remade).and_then(|(wasm, plan)| {
        let mut validator = wasmparser::Validator::new_with_features(rewrite::features());
        // A mistake of the rewriting must not cost the component: it runs as it was uploaded.
        validator
            .validate_all(&wasm)
            .map_err(|e| Refusal::Uses(format!("rewriting failed: {e}")))?;
        Ok((wasm, plan))
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
