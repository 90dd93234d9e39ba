//! The way to a worker, wherever it runs.
//!
//! [`RoutedWorkers`] implements `Workers` over all executors of a cluster: it looks the worker's
//! shard up in a watched copy of the routing table, asks the owner, and follows the worker when it
//! moves. A worker service and every executor have one; an executor's knows itself, so that calls
//! between its own workers leave the process for nothing.
//!
//! What makes following safe is that a call can be repeated: an invocation under its idempotency
//! key takes effect once (law L6), and most other operations say what is to be, not what is to be
//! changed. The few that cannot be repeated are not, once they may have taken effect ([`Repeat`]).

mod peers;
mod route;
mod table;
mod workers;

pub use route::{Repeat, RoutedWorkers, RoutingOptions};
pub use table::{fixed, watch_routing};
