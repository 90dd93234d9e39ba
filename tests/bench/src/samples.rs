//! What several measurements of one thing add up to.

use std::time::Duration;

/// Measured values of one thing, in any order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// One value.
    pub(crate) fn of(value: f64) -> Self {
        Self(vec![value])
    }

    /// Adds a value.
    pub(crate) fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Adds a duration, in milliseconds.
    pub(crate) fn add_ms(&mut self, duration: Duration) {
        self.add(duration.as_secs_f64() * 1e3);
    }

    /// Adds the values of another set.
    pub(crate) fn extend(&mut self, other: Samples) {
        self.0.extend(other.0);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The value that this share of the others does not exceed.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = ((sorted.len() as f64 - 1.0) * share).round().max(0.0) as usize;
        sorted.get(at).copied().unwrap_or(f64::NAN)
    }

    /// The median.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The smallest and the largest value.
    pub(crate) fn spread(&self) -> (f64, f64) {
        (self.quantile(0.0), self.quantile(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let mut samples = Samples::default();
        [5.0, 1.0, 3.0, 2.0, 4.0].into_iter().for_each(|v| samples.add(v));
        assert_eq!(
            (samples.median(), samples.quantile(1.0), samples.spread()),
            (3.0, 5.0, (1.0, 5.0))
        );
    }
}
