//! Histograms.

use super::{About, Metric, Value, sample};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Upper bounds for latencies, in seconds: from a commit to memory to a call that takes minutes.
pub const LATENCY: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 60.0, 600.0,
];
/// Upper bounds for numbers of things.
pub const SIZES: &[f64] =
    &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0];

/// Most bounds that a histogram can have, and the bucket of what is above all of them.
const BUCKETS: usize = 19;

/// How often values were how large.
#[derive(Debug)]
pub struct Histogram {
    name: &'static str,
    help: &'static str,
    bounds: &'static [f64],
    /// Not cumulative.
    buckets: [AtomicU64; BUCKETS],
    /// Bits of a float.
    sum: AtomicU64,
}

impl Histogram {
    /// An empty histogram.
    pub const fn new(name: &'static str, help: &'static str, bounds: &'static [f64]) -> Self {
        assert!(bounds.len() < BUCKETS, "there is a bucket for every bound, and one above");
        let buckets = [const { AtomicU64::new(0) }; BUCKETS];
        Self { name, help, bounds, buckets, sum: AtomicU64::new(0) }
    }

    /// Takes a value in.
    pub fn observe(&self, value: f64) {
        let bucket =
            self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let add = |bits: u64| (f64::from_bits(bits) + value).to_bits();
        // The closure always gives a new value, so this cannot fail.
        let _ = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| Some(add(bits)));
    }

    /// Takes a number of things in.
    #[allow(clippy::cast_precision_loss, reason = "numbers this large are not told apart")]
    pub fn observe_count(&self, count: usize) {
        self.observe(count as f64);
    }

    /// Takes a latency in.
    pub fn record(&self, duration: Duration) {
        self.observe(duration.as_secs_f64());
    }

    /// Takes the time until the answer is dropped in.
    pub fn start(&self) -> Timer<'_> {
        Timer { histogram: self, started: Instant::now() }
    }

    /// How many values it has taken in.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }
}

/// Measures until it is dropped.
#[derive(Debug)]
pub struct Timer<'a> {
    histogram: &'a Histogram,
    started: Instant,
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        self.histogram.record(self.started.elapsed());
    }
}

impl Value for Histogram {
    const KIND: &'static str = "histogram";

    /// In families histograms are of latencies.
    fn zero() -> Self {
        Self::new("", "", LATENCY)
    }

    fn sample(&self, name: &str, labels: &str, out: &mut String) {
        let mut total = 0;
        for (bound, bucket) in self.bounds.iter().zip(&self.buckets) {
            total += bucket.load(Ordering::Relaxed);
            let labels = format!("{labels}le=\"{bound}\",");
            sample(out, &format!("{name}_bucket"), &labels, format_args!("{total}"));
        }
        let above = self.buckets.get(self.bounds.len()).map_or(0, |b| b.load(Ordering::Relaxed));
        total += above;
        sample(
            out,
            &format!("{name}_bucket"),
            &format!("{labels}le=\"+Inf\","),
            format_args!("{total}"),
        );
        let sum = f64::from_bits(self.sum.load(Ordering::Relaxed));
        sample(out, &format!("{name}_sum"), labels, format_args!("{sum}"));
        sample(out, &format!("{name}_count"), labels, format_args!("{total}"));
    }
}

impl Metric for Histogram {
    fn about(&self) -> About {
        About { name: self.name, kind: Self::KIND, labels: &[], help: self.help }
    }

    fn samples(&self, out: &mut String) {
        self.sample(self.name, "", out);
    }
}
