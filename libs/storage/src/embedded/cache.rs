//! A bounded map with two generations: entries that were not used for a whole generation go.

use std::collections::HashMap;
use std::hash::Hash;

/// Keeps at least the `generation` entries used last, and at most twice as many.
pub(super) struct Cache<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    generation: usize,
}

impl<K: Eq + Hash + Clone, V: Clone> Cache<K, V> {
    pub(super) fn new(generation: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        self.insert(key, value.clone());
        Some(value)
    }

    pub(super) fn insert(&mut self, key: &K, value: V) {
        if let Some(slot) = self.young.get_mut(key) {
            *slot = value;
            return;
        }
        if self.young.len() >= self.generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(key);
        self.young.insert(key.clone(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_used_and_stays_bounded() {
        let mut cache = Cache::new(10);
        for n in 0..1000 {
            cache.insert(&n, n);
            assert_eq!(cache.get(&0), Some(0), "used all the time, so never dropped");
            assert!(cache.young.len() + cache.old.len() <= 20);
        }
        assert_eq!(cache.get(&995), Some(995));
        assert_eq!(cache.get(&1), None);
    }
}
