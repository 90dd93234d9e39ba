//! Figures, each beside what it is compared with: as a table, and as `target/bench.json`.

use crate::samples::Samples;
use serde::Serialize;
use std::io::Write;
use std::path::Path;

/// What a figure has to reach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// The ratio to the yardstick is at most this.
    RatioAtMost(f64),
    /// The ratio to the yardstick is at least this.
    RatioAtLeast(f64),
    /// The value is at most this.
    AtMost(f64),
    /// The value is at least this.
    AtLeast(f64),
    /// Shown for the record.
    None,
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// Stable name.
    name: String,
    /// Median of the measurements.
    value: f64,
    /// Its unit.
    unit: String,
    /// What it is compared with, measured in the same run.
    yardstick: Option<f64>,
    /// What the yardstick is.
    yardstick_name: Option<String>,
    /// Value divided by yardstick.
    ratio: Option<f64>,
    /// What it has to reach, in words.
    target: String,
    /// Whether it does.
    met: bool,
    /// Smallest measurement.
    min: f64,
    /// Largest measurement.
    max: f64,
}

impl Figure {
    /// A figure from its measurements.
    pub(crate) fn new(
        name: &str,
        unit: &str,
        samples: &Samples,
        yardstick: Option<(&str, f64)>,
        target: Target,
    ) -> Self {
        let value = samples.median();
        let (min, max) = samples.spread();
        let ratio = yardstick.map(|(_, y)| value / y);
        let within = |limit: f64, figure: Option<f64>| figure.is_some_and(|f| f <= limit);
        let reaches = |limit: f64, figure: Option<f64>| figure.is_some_and(|f| f >= limit);
        let (target, met) = match target {
            Target::RatioAtMost(limit) => (format!("ratio <= {limit}"), within(limit, ratio)),
            Target::RatioAtLeast(limit) => (format!("ratio >= {limit}"), reaches(limit, ratio)),
            Target::AtMost(limit) => (format!("<= {limit} {unit}"), within(limit, Some(value))),
            Target::AtLeast(limit) => (format!(">= {limit} {unit}"), reaches(limit, Some(value))),
            Target::None => ("-".to_owned(), true),
        };
        Self {
            name: name.to_owned(),
            value,
            unit: unit.to_owned(),
            yardstick: yardstick.map(|(_, y)| y),
            yardstick_name: yardstick.map(|(name, _)| name.to_owned()),
            ratio,
            target,
            met,
            min,
            max,
        }
    }

    fn row(&self) -> String {
        let against = match (&self.yardstick_name, self.yardstick, self.ratio) {
            (Some(name), Some(value), Some(ratio)) => {
                format!("{} {name} = {}", number(value), number(ratio))
            }
            _ => "-".to_owned(),
        };
        let verdict = match (self.target.as_str(), self.met) {
            ("-", _) => "",
            (_, true) => "met",
            (_, false) => "NOT MET",
        };
        format!(
            "{:<24} {:>10} {:<10} {:>21} {:<38} {:<18} {verdict}",
            self.name,
            number(self.value),
            self.unit,
            format!("[{} .. {}]", number(self.min), number(self.max)),
            against,
            self.target
        )
    }
}

/// Three or four digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}

/// Writes a line for the person who waits.
pub(crate) fn say(line: &str) {
    // A closed terminal must not end a measurement.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints a figure as soon as it is known.
pub(crate) fn print(figure: &Figure) {
    say(&figure.row());
}

/// The heading of the table.
pub(crate) fn heading() {
    say(&format!(
        "{:<24} {:>10} {:<10} {:>21} {:<38} {:<18}",
        "figure", "median", "unit", "[min .. max]", "against = ratio", "target"
    ));
}

/// Adds the figures to those in a file: one that was measured before is replaced.
pub(crate) fn write(path: &Path, figures: &[Figure]) -> anyhow::Result<()> {
    let before = std::fs::read(path).unwrap_or_default();
    let before: Vec<serde_json::Value> = serde_json::from_slice(&before).unwrap_or_default();
    let measured = |old: &serde_json::Value| {
        figures.iter().any(|f| old.get("name").and_then(|n| n.as_str()) == Some(&f.name))
    };
    let mut all: Vec<serde_json::Value> = before.into_iter().filter(|old| !measured(old)).collect();
    for figure in figures {
        all.push(serde_json::to_value(figure)?);
    }
    std::fs::write(path, serde_json::to_vec_pretty(&all)?)?;
    Ok(())
}
