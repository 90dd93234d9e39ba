//! The vocabulary of Emet: identities, statuses, filters, metadata and errors.
//!
//! Plain types without I/O. Where a type also appears in the REST API its serde form *is* the
//! documented JSON, so there is one type per concept and no conversion layer.

mod component;
mod error;
mod filter;
mod ids;
mod keys;
mod retry;
mod status;
mod time;
mod worker;

pub mod incoming_http;

pub use component::*;
pub use error::*;
pub use filter::*;
pub use ids::*;
pub use keys::*;
pub use retry::*;
pub use status::*;
pub use time::*;
pub use worker::*;
