//! Sets of index ranges that replay leaves out (guest spec 2.8).

use emet_model::OplogIndex;

/// Disjoint inclusive ranges, ascending; touching ranges are merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Regions(Vec<(OplogIndex, OplogIndex)>);

impl Regions {
    /// Adds a range; an empty one (start > end) changes nothing.
    pub fn add(&mut self, start: OplogIndex, end: OplogIndex) {
        if start > end {
            return;
        }
        let (mut start, mut end) = (start, end);
        self.0.retain(|&(s, e)| {
            let apart = e.saturating_add(1) < start || s > end.saturating_add(1);
            if !apart {
                start = start.min(s);
                end = end.max(e);
            }
            apart
        });
        let at = self.0.partition_point(|&(s, _)| s < start);
        self.0.insert(at, (start, end));
        debug_assert!(self.0.is_sorted(), "ranges stay ascending and disjoint");
    }

    /// Whether the index lies in one of the ranges.
    pub fn contains(&self, index: OplogIndex) -> bool {
        self.end_of(index).is_some()
    }

    /// Last index of the range that holds the index.
    pub fn end_of(&self, index: OplogIndex) -> Option<OplogIndex> {
        let at = self.0.partition_point(|&(_, e)| e < index);
        self.0.get(at).filter(|&&(s, _)| s <= index).map(|&(_, e)| e)
    }

    /// Whether every index of the range is in the set.
    pub fn covers(&self, start: OplogIndex, end: OplogIndex) -> bool {
        start > end || self.end_of(start).is_some_and(|e| e >= end)
    }

    /// The part of the set up to an index.
    pub fn until(&self, last: OplogIndex) -> Self {
        Self(
            self.0
                .iter()
                .filter(|(start, _)| *start <= last)
                .map(|&(start, end)| (start, end.min(last)))
                .collect(),
        )
    }

    /// Whether there are no ranges.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges.
    pub fn iter(&self) -> impl Iterator<Item = (OplogIndex, OplogIndex)> + '_ {
        self.0.iter().copied()
    }

    /// Both sets together.
    pub fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        other.iter().for_each(|(s, e)| all.add(s, e));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_like_a_set_of_indexes(ranges in prop::collection::vec((1u64..60, 0u64..12), 0..12)) {
            let mut regions = Regions::default();
            let mut model = BTreeSet::new();
            for (start, length) in ranges {
                regions.add(start, start + length - 1);
                model.extend(start..start + length);
            }
            for index in 0..80 {
                prop_assert_eq!(regions.contains(index), model.contains(&index));
            }
            let listed: Vec<u64> = regions.iter().flat_map(|(s, e)| s..=e).collect();
            prop_assert_eq!(listed, model.into_iter().collect::<Vec<_>>());
        }
    }
}
