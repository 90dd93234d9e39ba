//! Contexts of traces: W3C `traceparent` and `tracestate`, in and out.
//!
//! A context travels as pairs of names and values, which is what a call carries and the oplog
//! keeps. With traces off they are passed on as they came.

use http::{HeaderMap, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{Span as _, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Target of the spans that only exist for traces.
pub(crate) const TARGET: &str = "emet_trace";
/// Target of the span of a request, which log lines show as well.
pub const REQUESTS: &str = "emet_requests";

/// A context as it travels: `traceparent`, `tracestate`, and what else a caller sent along.
pub type Pairs = Vec<(String, String)>;

static ON: AtomicBool = AtomicBool::new(false);

pub(crate) fn enable() {
    ON.store(true, Ordering::Relaxed);
}

/// Whether traces are collected.
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

struct PairList<'a>(&'a [(String, String)]);

impl Extractor for PairList<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(key))
            .map(|(_, value)| value.as_str())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }
}

struct Collected<'a>(&'a mut Pairs);

impl Injector for Collected<'_> {
    fn set(&mut self, key: &str, value: String) {
        self.0.retain(|(name, _)| !name.eq_ignore_ascii_case(key));
        // An empty state is no state.
        if !value.is_empty() {
            self.0.push((key.to_owned(), value));
        }
    }
}

/// Makes a span the child of the span that a request came from.
pub fn adopt_headers(span: &Span, headers: &HeaderMap) {
    if is_on() {
        set_parent(span, &Headers(headers));
    }
}

/// Makes a span the child of a travelled context. Without a valid one nothing changes.
pub fn adopt(span: &Span, pairs: &[(String, String)]) {
    if is_on() {
        set_parent(span, &PairList(pairs));
    }
}

fn set_parent(span: &Span, carrier: &dyn Extractor) {
    let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), carrier);
    if parent.span().span_context().is_valid() {
        // A disabled span has no parent to set.
        drop(span.set_parent(parent));
    }
}

/// The context that what happens now is passed on with: that of the current span in the place of
/// the given one; with traces off, the given one.
pub fn current(given: Pairs) -> Pairs {
    of(&Span::current(), given)
}

/// As [`current`], of a span.
pub fn of(span: &Span, mut given: Pairs) -> Pairs {
    if is_on() {
        let context = span.context();
        if context.span().span_context().is_valid() {
            TraceContextPropagator::new().inject_context(&context, &mut Collected(&mut given));
        }
    }
    given
}

/// The id of the trace that a span belongs to, in hexadecimal, for log lines.
pub fn id(span: &Span) -> Option<String> {
    if !is_on() {
        return None;
    }
    let context = span.context();
    let id = context.span().span_context().clone();
    id.is_valid().then(|| id.trace_id().to_string())
}

/// Adds the current context to the headers of a request, unless it has one.
pub fn inject(headers: &mut HeaderMap) {
    if !is_on() || headers.contains_key("traceparent") {
        return;
    }
    for (name, value) in current(Vec::new()) {
        let name = http::HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
            headers.insert(name, value);
        }
    }
}

/// Records a span that has already passed, such as waiting in a queue, under a travelled context.
pub fn passed(
    name: &'static str,
    start: SystemTime,
    pairs: &[(String, String)],
    worker: &dyn std::fmt::Display,
) {
    if !is_on() {
        return;
    }
    let parent =
        TraceContextPropagator::new().extract_with_context(&Context::new(), &PairList(pairs));
    let tracer = global::tracer_provider().tracer("emet");
    let builder = tracer.span_builder(name).with_start_time(start);
    let builder = builder.with_attributes([KeyValue::new("worker", worker.to_string())]);
    builder.start_with_context(&tracer, &parent).end();
}
