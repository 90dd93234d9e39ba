//! Metrics in the Prometheus text format, without a library: atomics, and a list of them.
//!
//! Every metric is a static in [`list`], named and explained there, and nowhere else; so the
//! process needs no registration, and docs/operations/metrics.md can be compared with the list.

mod family;
mod histogram;
pub mod list;
pub(crate) mod process;
mod scalar;

pub use family::{Family, Fixed};
pub use histogram::{Histogram, LATENCY, SIZES, Timer};
pub use scalar::{Counter, Gauge, Held};

use std::fmt::Write;

/// What every metric can do.
pub trait Metric: Sync {
    /// Name, kind (`counter`, `gauge` or `histogram`) and explanation.
    fn about(&self) -> About;
    /// Appends the samples.
    fn samples(&self, out: &mut String);
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// Its name.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it tells, in one line.
    pub help: &'static str,
}

/// Something with a value, which may stand in a family.
pub trait Value: Sync {
    /// `counter`, `gauge` or `histogram`.
    const KIND: &'static str;
    /// Zero.
    fn zero() -> Self;
    /// Appends the samples of this value, under a name and with labels such as `a="b",`.
    fn sample(&self, name: &str, labels: &str, out: &mut String);
}

/// All metrics of this process in the text format.
pub fn render() -> String {
    let mut out = String::with_capacity(16 * 1024);
    for metric in list::ALL {
        let About { name, kind, help, .. } = metric.about();
        line(&mut out, format_args!("# HELP {name} {help}"));
        line(&mut out, format_args!("# TYPE {name} {kind}"));
        metric.samples(&mut out);
    }
    process::render(&mut out);
    out
}

/// Every metric that [`render`] prints.
pub fn all() -> impl Iterator<Item = About> {
    list::ALL.iter().map(|metric| metric.about()).chain(process::ABOUT)
}

/// Writing to a string cannot fail.
fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
    out.push('\n');
}

/// A sample, with labels such as `a="b",` or none.
fn sample(out: &mut String, name: &str, labels: &str, value: std::fmt::Arguments<'_>) {
    match labels.strip_suffix(',') {
        None => line(out, format_args!("{name} {value}")),
        Some(labels) => line(out, format_args!("{name}{{{labels}}} {value}")),
    }
}
