//! Faults a test can inject into a [`super::MemoryLog`].

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What happens to one append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It returns an error; nothing is written.
    Fail,
    /// Only the first `keep` records are written, without marks; then the store is crashed.
    Tear { keep: usize },
    /// It is written whole; then the store is crashed, so its caller never learns.
    Crash,
}

#[derive(Debug, Default)]
struct Plan {
    seen: u64,
    faults: BTreeMap<u64, Fault>,
}

/// Handle to plan faults. Appends are counted from 1, refused ones included, and a plan counts
/// from the moment it is made: the next append is number 1.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

impl Faults {
    /// The next append fails; nothing is written.
    pub fn fail_next(&self) {
        self.fail_nth(1);
    }

    /// The `nth` append from now fails; nothing is written.
    pub fn fail_nth(&self, nth: u64) {
        self.plan(nth, Fault::Fail);
    }

    /// The `nth` append from now writes only its first `keep` records; then the store behaves as
    /// crashed. (A store that tears an append breaks its contract: this shows who relies on it.)
    pub fn tear_nth(&self, nth: u64, keep: usize) {
        self.plan(nth, Fault::Tear { keep });
    }

    /// The `nth` append from now is written, but its caller gets an error and so does every
    /// later call.
    pub fn crash_after_nth(&self, nth: u64) {
        self.plan(nth, Fault::Crash);
    }

    /// Appends seen so far.
    #[must_use]
    pub fn appends(&self) -> u64 {
        self.0.lock().seen
    }

    /// Forgets every planned fault.
    pub fn clear(&self) {
        self.0.lock().faults.clear();
    }

    fn plan(&self, nth: u64, fault: Fault) {
        let mut plan = self.0.lock();
        let at = plan.seen.saturating_add(nth.max(1));
        plan.faults.insert(at, fault);
    }

    /// Counts an append and says what is to happen to it.
    pub(super) fn next(&self) -> Option<Fault> {
        let mut plan = self.0.lock();
        plan.seen = plan.seen.saturating_add(1);
        let now = plan.seen;
        plan.faults.remove(&now)
    }
}
