//! Metrics with labels.

use super::{About, Counter, Metric, Value, sample};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most series of one family: whoever labels with something unbounded finds the rest under
/// `other`, and the process keeps its memory.
const MAX_SERIES: usize = 1000;

/// Metrics of one name that differ in labels.
#[derive(Debug)]
pub struct Family<V> {
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    /// By the labels as they are printed.
    series: RwLock<BTreeMap<String, Arc<V>>>,
}

impl<V: Value> Family<V> {
    /// A family without members.
    pub const fn new(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Self { name, help, labels, series: RwLock::new(BTreeMap::new()) }
    }

    /// The member with these values of the labels, in their order.
    pub fn with<const N: usize>(&self, values: [&str; N]) -> Arc<V> {
        debug_assert_eq!(N, self.labels.len(), "every label of {} has a value", self.name);
        let key = self.key(&values);
        if let Some(member) = self.series.read().get(&key) {
            return member.clone();
        }
        let mut series = self.series.write();
        let key = if series.len() < MAX_SERIES { key } else { self.key(&["other"; N]) };
        series.entry(key).or_insert_with(|| Arc::new(V::zero())).clone()
    }

    fn key(&self, values: &[&str]) -> String {
        let mut key = String::with_capacity(64);
        for (label, value) in self.labels.iter().zip(values) {
            key.push_str(label);
            key.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' | '"' => key.extend(['\\', c]),
                    '\n' => key.push_str("\\n"),
                    _ => key.push(c),
                }
            }
            key.push_str("\",");
        }
        key
    }
}

impl<V: Value + Send> Metric for Family<V> {
    fn about(&self) -> About {
        About { name: self.name, kind: V::KIND, labels: self.labels, help: self.help }
    }

    fn samples(&self, out: &mut String) {
        for (labels, member) in self.series.read().iter() {
            member.sample(self.name, labels, out);
        }
    }
}

/// Counters that differ in labels, where all members are known: counting looks nothing up.
#[derive(Debug)]
pub struct Fixed<const N: usize> {
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    /// The labels of each member as they are printed.
    members: [&'static str; N],
    counts: [AtomicU64; N],
}

impl<const N: usize> Fixed<N> {
    /// Members at zero.
    pub const fn new(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
        members: [&'static str; N],
    ) -> Self {
        Self { name, help, labels, members, counts: [const { AtomicU64::new(0) }; N] }
    }

    /// Adds one to the member at a place of the list; one that is not there is not counted.
    pub fn inc(&self, member: usize) {
        if let Some(count) = self.counts.get(member) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<const N: usize> Metric for Fixed<N> {
    fn about(&self) -> About {
        About { name: self.name, kind: Counter::KIND, labels: self.labels, help: self.help }
    }

    fn samples(&self, out: &mut String) {
        for (labels, count) in self.members.iter().zip(&self.counts) {
            sample(out, self.name, labels, format_args!("{}", count.load(Ordering::Relaxed)));
        }
    }
}
