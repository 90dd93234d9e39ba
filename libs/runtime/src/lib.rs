//! Workers in memory: components on wasmtime, with every effect of a guest in its oplog.
//!
//! * [`engine`]: the one configuration of the engine
//! * [`ComponentCache`]: compiled and linked component versions
//! * [`Instance`]: a worker in memory; calls of its exports
//! * [`WorkerCtx`] and [`host`]: the state and the functions behind a guest's imports
//! * [`log`]: the one mechanism by which they are durable

mod component;
mod ctx;
mod instance;
mod memory;
mod node;
mod pressure;
mod promises;
mod resources;
mod stop;
mod vals;

pub mod checkpoint;
pub mod engine;
pub mod files;
pub mod host;
pub mod log;
pub mod network;

pub use component::{ComponentCache, Prepared};
pub use ctx::WorkerCtx;
pub use host::rpc::{UnderWay, Waiting, Waits};
pub use instance::Instance;
pub use memory::{MemoryAccount, MemoryBudget};
pub use node::Node;
pub use pressure::Pressure;
pub use promises::{PromiseState, Promises};
pub use stop::Stop;
