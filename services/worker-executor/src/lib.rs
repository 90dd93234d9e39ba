//! Runs workers: one actor per worker that has something to do.
//!
//! The way of an invocation: [`actors`] finds or makes the worker's actor; [`actor`] decides by
//! the folded log whether it is new, queues or starts it; [`job`] loads the worker if needed,
//! replays its log and calls the guest; the result is committed to the oplog and answered.

mod actor;
mod actors;
mod calls;
mod checkpoints;
mod executor;
mod files;
mod firing;
mod fork;
mod job;
mod listing;
mod membership;
mod metadata;
mod moves;
mod observe;
mod ownership;
mod public;
mod rebase;
mod restoring;
mod retention;
mod room;
mod sampling;
mod search;
mod timers;
mod verify;
mod workers;

pub use executor::{Executor, ExecutorOptions, Stores};
pub use membership::{Member, MembershipOptions};
pub use ownership::Ownership;
pub use retention::Retention;
