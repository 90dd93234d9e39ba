//! WIT types and values, and every form they take outside the runtime.
//!
//! The centre is the pair [`Type`] / [`Value`]. Each other module is one way in or out:
//!
//! * [`json`] and [`typed`]: the JSON of the REST interface;
//! * [`wave`]: the text of the command line and of inline constructor arguments;
//! * [`binary`]: the bytes of the operation log (`docs/format/values.md`);
//! * [`tree`]: the flat node lists of `golem:rpc`;
//! * [`wit`]: Rust types with a fixed WIT shape, for host call records;
//! * [`names`]: textual function names and their lookup among exports.
//!
//! Absent on purpose: input and output, clocks, and the runtime's own value type; the runtime
//! crate converts. Nothing here panics on input, however hostile; nesting is limited by
//! [`MAX_DEPTH`] everywhere.

mod check;
mod path;
mod types;
mod value;

pub mod binary;
pub mod json;
pub mod names;
pub mod tree;
pub mod typed;
pub mod wave;
pub mod wit;

pub use check::{check, check_type};
pub use names::{FunctionName, FunctionRef, ResolvedFunction, indexed_params};
pub use typed::TypedValue;
pub use types::{Export, FunctionType, ResourceMode, Type, TypeError};
pub use value::Value;
pub use wit::{ValueError, Wit};

/// The deepest nesting of a type or value that any codec accepts.
///
/// Depth counts the nodes on the longest way from the root to a leaf: a `u32` has depth 1, a
/// `list<u32>` depth 2. Deeper input is refused with an error, so that recursion is bounded.
/// (JSON text is bounded earlier: `serde_json` stops at 128 nested arrays and objects, and a
/// record type takes three of them per level.)
pub const MAX_DEPTH: usize = 128;

/// The most mismatches one check lists; the rest are summed up in one last line.
///
/// A long list of the wrong type would otherwise yield an answer larger than the request.
pub const MAX_MISMATCHES: usize = 1000;
