//! The oplog of a loaded worker: writing it, replaying it, and the one way in which host
//! functions use it.

mod events;
mod host_fn;
mod journal;
mod logs;
mod observe;
mod payloads;
mod writer;

pub use events::EventHub;
pub use host_fn::{HostFn, HostFnInfo};
pub use journal::Journal;
pub use logs::{Logs, base_failure, read_entries};
pub use payloads::Payloads;
pub use writer::{OplogWriter, log_failure, log_key, now};
