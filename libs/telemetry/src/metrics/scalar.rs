//! Counters and gauges.

use super::{About, Metric, Value, sample};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Something that only rises.
#[derive(Debug, Default)]
pub struct Counter {
    name: &'static str,
    help: &'static str,
    value: AtomicU64,
}

impl Counter {
    /// A counter at zero.
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help, value: AtomicU64::new(0) }
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds many.
    pub fn add(&self, count: u64) {
        self.value.fetch_add(count, Ordering::Relaxed);
    }

    /// The present count.
    pub fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

/// Something that rises and falls.
#[derive(Debug, Default)]
pub struct Gauge {
    name: &'static str,
    help: &'static str,
    value: AtomicI64,
}

impl Gauge {
    /// A gauge at zero.
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help, value: AtomicI64::new(0) }
    }

    /// Sets it.
    pub fn set(&self, value: u64) {
        self.value.store(i64::try_from(value).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Raises it by one until the answer is dropped.
    pub fn hold(&'static self) -> Held {
        self.value.fetch_add(1, Ordering::Relaxed);
        Held(self)
    }

    /// The present value.
    pub fn get(&self) -> i64 {
        self.value.load(Ordering::Relaxed)
    }
}

/// One of what a gauge counts.
#[derive(Debug)]
pub struct Held(&'static Gauge);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.value.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Value for Counter {
    const KIND: &'static str = "counter";

    fn zero() -> Self {
        Self::default()
    }

    fn sample(&self, name: &str, labels: &str, out: &mut String) {
        sample(out, name, labels, format_args!("{}", self.get()));
    }
}

impl Value for Gauge {
    const KIND: &'static str = "gauge";

    fn zero() -> Self {
        Self::default()
    }

    fn sample(&self, name: &str, labels: &str, out: &mut String) {
        sample(out, name, labels, format_args!("{}", self.get()));
    }
}

impl Metric for Counter {
    fn about(&self) -> About {
        About { name: self.name, kind: Self::KIND, labels: &[], help: self.help }
    }

    fn samples(&self, out: &mut String) {
        self.sample(self.name, "", out);
    }
}

impl Metric for Gauge {
    fn about(&self) -> About {
        About { name: self.name, kind: Self::KIND, labels: &[], help: self.help }
    }

    fn samples(&self, out: &mut String) {
        self.sample(self.name, "", out);
    }
}
