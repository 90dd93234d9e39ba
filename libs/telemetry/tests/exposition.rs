//! The text format, as a scraper reads it.

use emet_telemetry::metrics::{self, Counter, Family, Gauge, Histogram, LATENCY, Metric};
use std::collections::BTreeSet;
use std::time::Duration;

fn text(metric: &dyn Metric) -> String {
    let mut out = String::new();
    metric.samples(&mut out);
    out
}

#[test]
fn counters_and_gauges_print_their_value() {
    static HELD: Gauge = Gauge::new("held", "h");
    let counter = Counter::new("c_total", "c");
    counter.inc();
    counter.add(41);
    assert_eq!(text(&counter), "c_total 42\n");
    let (one, _two) = (HELD.hold(), HELD.hold());
    drop(one);
    assert_eq!(text(&HELD), "held 1\n");
}

#[test]
fn buckets_are_cumulative_and_end_with_infinity() {
    let histogram = Histogram::new("h", "h", &[0.1, 1.0]);
    for value in [0.05, 0.1, 0.5, 7.0] {
        histogram.observe(value);
    }
    let expected = "h_bucket{le=\"0.1\"} 2\nh_bucket{le=\"1\"} 3\nh_bucket{le=\"+Inf\"} 4\nh_sum 7.65\nh_count 4\n";
    assert_eq!(text(&histogram), expected);
    let timed = Histogram::new("t", "t", LATENCY);
    drop(timed.start());
    timed.record(Duration::from_secs(3600));
    assert_eq!(timed.count(), 2);
}

#[test]
fn labels_are_escaped_and_series_are_bounded() {
    let family: Family<Counter> = Family::new("f_total", "f", &["a", "b"]);
    family.with(["x\"\\\n", "y"]).inc();
    family.with(["x\"\\\n", "y"]).inc();
    assert_eq!(text(&family), "f_total{a=\"x\\\"\\\\\\n\",b=\"y\"} 2\n");
    for index in 0..5000 {
        family.with([&index.to_string(), "y"]).inc();
    }
    let printed = text(&family);
    assert!(printed.lines().count() <= 1001);
    assert!(printed.contains("f_total{a=\"other\",b=\"other\"} 4001\n"), "nothing is lost");
}

#[test]
fn every_metric_is_printed_once_with_help_and_type() {
    let printed = metrics::render();
    let mut names = BTreeSet::new();
    for about in metrics::all() {
        assert!(names.insert(about.name), "{} is there twice", about.name);
        assert!(about.name.starts_with("emet_"), "{}", about.name);
        assert_eq!(about.kind == "counter", about.name.ends_with("_total"), "{}", about.name);
        assert!(printed.contains(&format!(
            "# HELP {} {}\n# TYPE {} {}\n",
            about.name, about.help, about.name, about.kind
        )));
    }
    let declared: BTreeSet<&str> =
        printed.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert_eq!(declared, names);
    for line in printed.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        value.parse::<f64>().unwrap();
        let name = series.split('{').next().unwrap();
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        assert!(names.contains(name) || base.is_some_and(|base| names.contains(base)), "{line}");
    }
}
