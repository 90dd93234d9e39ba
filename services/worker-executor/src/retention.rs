//! Whose old entries are dropped, and when that is tried (docs/checkpoints.md).

use emet_model::{Component, OplogIndex};

/// Stands for all components.
const ALL: &str = "all";

/// Which workers drop their history, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Names or ids of components, or `all`.
    pub components: Vec<String>,
    /// Entries that are dropped at a time, at least. 0 counts as 1.
    pub entries: OplogIndex,
}

impl Default for Retention {
    /// Nothing is dropped.
    fn default() -> Self {
        Self { components: Vec::new(), entries: 10_000 }
    }
}

impl Retention {
    /// What holds for a worker of a component; none if it keeps its history.
    pub(crate) fn of(&self, component: &Component) -> Option<Dropping> {
        let id = component.versioned_component_id.component_id.to_string();
        let named =
            |text: &String| *text == ALL || *text == component.component_name || *text == id;
        let entries = self.entries.max(1);
        self.components.iter().any(named).then_some(Dropping { entries, since: 0, wait: entries })
    }
}

/// When a worker's history is dropped.
#[derive(Debug)]
pub(crate) struct Dropping {
    entries: OplogIndex,
    /// Index of the base, or of the last try.
    since: OplogIndex,
    /// Entries after that until the next try: more and more for a worker that cannot be compared.
    wait: OplogIndex,
}

impl Dropping {
    /// Whether it matters where the log of a worker with so many entries begins.
    pub(crate) fn concerns(&self, last: OplogIndex) -> bool {
        last >= self.entries
    }

    /// The log begins at this index: with a base there, or with its start.
    pub(crate) fn begins_at(&mut self, first: OplogIndex) {
        (self.since, self.wait) = (if first == 1 { 0 } else { first }, self.entries);
    }

    /// Whether it is time, for a worker that has nothing else to do.
    pub(crate) fn is_due(&self, last: OplogIndex) -> bool {
        last.saturating_sub(self.since) >= self.wait
    }

    /// Whether it comes before other work: a worker that is never idle drops its history, too.
    pub(crate) fn is_overdue(&self, last: OplogIndex) -> bool {
        last.saturating_sub(self.since) >= self.wait.saturating_mul(2)
    }

    /// Notes a try, of which nothing comes unless [`Self::begins_at`] is told.
    pub(crate) fn tried(&mut self, last: OplogIndex) {
        (self.since, self.wait) = (last, self.wait.saturating_mul(2));
    }
}

/// Why something that needs old entries is refused.
pub(crate) fn dropped(first: OplogIndex) -> String {
    format!("the history before entry {first} was dropped (emet explain history-dropped)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_after_so_many_entries_and_later_after_each_try_in_vain() {
        let mut dropping = Dropping { entries: 10, since: 0, wait: 10 };
        assert!(!dropping.is_due(9) && dropping.is_due(10));
        assert!(!dropping.is_overdue(19) && dropping.is_overdue(20));
        dropping.tried(12);
        assert!(!dropping.is_due(31) && dropping.is_due(32));
        dropping.tried(32);
        assert!(!dropping.is_due(71) && dropping.is_due(72));
        dropping.begins_at(72);
        assert!(!dropping.is_due(81) && dropping.is_due(82));
    }
}
