//! Hands recorded entries to a guest that runs again (guest spec 2.7).

use crate::{Entry, EntryKind, LogLevel, Regions};
use emet_model::OplogIndex;
use std::collections::VecDeque;

/// Answer of [`ReplayCursor::next`].
#[derive(Debug, PartialEq)]
pub enum Step {
    /// The next entry that is no hint.
    Entry(OplogIndex, Entry),
    /// The cursor needs entries from this index on: call [`ReplayCursor::feed`].
    Read(OplogIndex),
    /// Everything recorded was consumed: the guest is live.
    Live,
}

/// Position of a replay. Reads nothing itself: it asks for entries and is fed with them.
#[derive(Debug)]
pub struct ReplayCursor {
    /// The index to look at next.
    next: OplogIndex,
    /// Last index of the log when the replay started.
    target: OplogIndex,
    skipped: Regions,
    window: VecDeque<(OplogIndex, Entry)>,
    /// Output recorded after the last consumed entry, oldest first.
    logged: VecDeque<(LogLevel, String, String)>,
    last_consumed: OplogIndex,
}

impl ReplayCursor {
    /// A replay of the indexes `first..=target` without the skipped ones.
    pub fn new(first: OplogIndex, target: OplogIndex, skipped: Regions) -> Self {
        let mut cursor = Self {
            next: first,
            target,
            skipped,
            window: VecDeque::new(),
            logged: VecDeque::new(),
            last_consumed: first.saturating_sub(1),
        };
        cursor.jump_over_skipped();
        cursor
    }

    /// A replay of what follows an index, as if everything up to it had been consumed, of which
    /// `last_consumed` came last.
    pub fn resume(
        after: OplogIndex,
        last_consumed: OplogIndex,
        target: OplogIndex,
        skipped: Regions,
    ) -> Self {
        Self { last_consumed, ..Self::new(after.saturating_add(1), target, skipped) }
    }

    /// What the replay leaves out.
    pub fn skipped(&self) -> &Regions {
        &self.skipped
    }

    /// Whether everything recorded was consumed.
    pub fn is_live(&self) -> bool {
        self.next > self.target
    }

    /// Index of the last entry that was handed out or jumped over.
    pub fn position(&self) -> OplogIndex {
        self.last_consumed
    }

    /// Last index of the log when the replay started.
    pub fn target(&self) -> OplogIndex {
        self.target
    }

    /// Gives up the rest of the recorded entries: the guest is live from here.
    pub fn go_live(&mut self) {
        self.next = self.target.saturating_add(1);
        self.window.clear();
        self.logged.clear();
    }

    /// Takes entries with consecutive indexes, from the index that was asked for.
    pub fn feed(&mut self, entries: impl IntoIterator<Item = (OplogIndex, Entry)>) {
        for (index, entry) in entries {
            let expected = self.window.back().map_or(self.next, |(last, _)| last.saturating_add(1));
            if index == expected && index <= self.target {
                self.window.push_back((index, entry));
            }
        }
    }

    /// Consumes the next entry that is no hint, and the hints after it.
    #[allow(clippy::should_implement_trait, reason = "not an iterator: it may ask for entries")]
    pub fn next(&mut self) -> Step {
        match self.skip_hints() {
            Some(step) => step,
            None => self.take(),
        }
    }

    /// Consumes hints in front of the next entry, so that [`Self::is_live`] tells the truth.
    /// Some index means: feed from there and call again.
    pub fn settle(&mut self) -> Option<OplogIndex> {
        match self.skip_hints() {
            Some(Step::Read(from)) => Some(from),
            _ => None,
        }
    }

    /// Whether this output was recorded already: it is the next one of those recorded after the
    /// last consumed entry. Any other output means that the rest was not reached before.
    pub fn was_logged(&mut self, level: LogLevel, context: &str, message: &str) -> bool {
        match self.logged.pop_front() {
            Some((l, c, m)) if l == level && c == context && m == message => true,
            Some(_) => {
                self.logged.clear();
                false
            }
            None => false,
        }
    }

    /// None: an entry that is no hint is at the front of the window.
    fn skip_hints(&mut self) -> Option<Step> {
        loop {
            if self.is_live() {
                return Some(Step::Live);
            }
            while self.window.front().is_some_and(|(index, _)| *index < self.next) {
                self.window.pop_front();
            }
            let Some((_, entry)) = self.window.front() else { return Some(Step::Read(self.next)) };
            if !entry.is_hint() {
                return None;
            }
            if let Some((_, Entry { kind: EntryKind::Log { level, context, message }, .. })) =
                self.window.pop_front()
            {
                self.logged.push_back((level, context, message));
            }
            self.advance();
        }
    }

    fn take(&mut self) -> Step {
        let Some((index, entry)) = self.window.pop_front() else { return Step::Read(self.next) };
        debug_assert_eq!(index, self.next, "the window starts at the position");
        self.last_consumed = index;
        self.logged.clear();
        self.advance();
        Step::Entry(index, entry)
    }

    fn advance(&mut self) {
        self.next = self.next.saturating_add(1);
        self.jump_over_skipped();
    }

    fn jump_over_skipped(&mut self) {
        while let Some(end) = self.skipped.end_of(self.next) {
            self.last_consumed = end;
            self.next = end.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emet_model::Timestamp;
    use proptest::prelude::*;

    fn entry(hint: bool) -> Entry {
        let kind = if hint { EntryKind::GrowMemory(1) } else { EntryKind::NoOp };
        Entry { timestamp: Timestamp(0), kind }
    }

    fn drain(cursor: &mut ReplayCursor, log: &[bool], chunk: usize) -> Vec<OplogIndex> {
        let mut seen = vec![];
        loop {
            match cursor.next() {
                Step::Entry(index, _) => seen.push(index),
                Step::Live => return seen,
                Step::Read(from) => {
                    let entries = (from..)
                        .zip(log.iter().skip(from as usize - 1))
                        .take(chunk)
                        .map(|(i, h)| (i, entry(*h)));
                    cursor.feed(entries.collect::<Vec<_>>());
                }
            }
        }
    }

    proptest! {
        #[test]
        fn hands_out_exactly_the_entries_that_are_neither_hints_nor_skipped(
            log in prop::collection::vec(any::<bool>(), 1..60),
            skips in prop::collection::vec((1u64..60, 0u64..9), 0..4),
            chunk in 1usize..10,
        ) {
            let mut skipped = Regions::default();
            skips.iter().for_each(|(s, n)| skipped.add(*s, s + n - 1));
            let mut cursor = ReplayCursor::new(1, log.len() as u64, skipped.clone());
            let expected: Vec<u64> =
                (1..).zip(&log).filter(|(i, hint)| !**hint && !skipped.contains(*i)).map(|(i, _)| i).collect();
            prop_assert_eq!(drain(&mut cursor, &log, chunk), expected);
            prop_assert!(cursor.is_live());
        }
    }

    #[test]
    fn output_recorded_after_the_last_entry_is_recognised_once_and_in_order() {
        let log = |m: &str| Entry {
            timestamp: Timestamp(0),
            kind: EntryKind::Log {
                level: LogLevel::Stdout,
                context: String::new(),
                message: m.into(),
            },
        };
        let mut cursor = ReplayCursor::new(1, 3, Regions::default());
        cursor.feed([(1, entry(false)), (2, log("a")), (3, log("b"))]);
        assert!(matches!(cursor.next(), Step::Entry(1, _)));
        assert_eq!(cursor.settle(), None);
        assert!(cursor.is_live());
        assert!(cursor.was_logged(LogLevel::Stdout, "", "a"));
        assert!(cursor.was_logged(LogLevel::Stdout, "", "b"));
        assert!(!cursor.was_logged(LogLevel::Stdout, "", "b"));
    }
}
