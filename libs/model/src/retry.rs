//! Retry policies and the delay they give.

use std::time::Duration;

/// How failed invocations are retried (guest spec 3.6).
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Retries after the first failure.
    pub max_attempts: u32,
    /// Delay before the first retry.
    pub min_delay: Duration,
    /// Upper bound of every delay.
    pub max_delay: Duration,
    /// Growth of the delay from one retry to the next.
    pub multiplier: f64,
    /// Share of the delay that is added at random, at most.
    pub max_jitter_factor: Option<f64>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            min_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(1),
            multiplier: 3.0,
            max_jitter_factor: Some(0.15),
        }
    }
}

impl RetryPolicy {
    /// For a worker that ran out of memory: the node's state decides, not the worker's.
    pub fn out_of_memory() -> Self {
        Self {
            max_attempts: u32::MAX,
            min_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(5),
            multiplier: 2.0,
            max_jitter_factor: None,
        }
    }

    /// The delay before retry number `attempt` (from 1); `random` is uniform in [0, 1).
    pub fn delay(&self, attempt: u32, random: f64) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let multiplier = if self.multiplier.is_finite() { self.multiplier.max(0.0) } else { 1.0 };
        let base = self.min_delay.as_secs_f64() * multiplier.powi(exponent);
        let jittered = base * (1.0 + self.max_jitter_factor.unwrap_or(0.0).max(0.0) * random);
        let capped = jittered.min(self.max_delay.as_secs_f64());
        Duration::try_from_secs_f64(capped).unwrap_or(self.max_delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_by_the_multiplier_up_to_the_maximum() {
        let policy =
            RetryPolicy { max_jitter_factor: None, multiplier: 1.5, ..RetryPolicy::default() };
        assert_eq!(policy.delay(1, 0.0), Duration::from_millis(100));
        assert_eq!(policy.delay(2, 0.0), Duration::from_millis(150));
        assert_eq!(policy.delay(1000, 0.0), Duration::from_secs(1));
    }

    #[test]
    fn odd_multipliers_never_panic() {
        for multiplier in [f64::NAN, f64::INFINITY, -3.0, 0.0] {
            let policy = RetryPolicy { multiplier, ..RetryPolicy::default() };
            for attempt in [0, 1, 2, u32::MAX] {
                assert!(policy.delay(attempt, 0.999) <= policy.max_delay);
            }
        }
    }
}
