//! The decisions of a worker's life, as functions of its folded log. They act on nothing: the
//! worker actor carries them out.

mod admission;
mod control;
mod failure;
mod recovery;
mod updates;

pub use admission::{Admission, admit};
pub use control::{Cause, OnInterrupt, on_interrupt, wakes};
pub use failure::{AfterFailure, after_failure};
pub use recovery::{AfterAnnouncement, Load, Next, after_announcement, fits, load_plan, next};
pub use updates::{check_update, updates_in_vain};
