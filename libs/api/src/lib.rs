//! The interfaces of Emet's services and the models they exchange.
//!
//! [`Components`] and [`Workers`] are what every front end programs against, whether the service
//! runs in the same process or behind a network. The models in [`rest`] have the JSON of the
//! public API v1; where a type of `emet-model` already has it, it is used as it is.

pub mod cluster;
pub mod components;
pub mod grpc;
pub mod rest;
pub mod workers;

pub use components::{ComponentError, Components, NewComponent};
pub use workers::{
    Awaited, Caller, Cursor, FileContent, FileKind, FileNode, Invocation, InvokeParameters,
    OplogPage, OplogPosition, PublicOplogEntry, RevertTarget, Target, Verification, WorkerEvent,
    WorkerEvents, WorkerPage, Workers,
};
