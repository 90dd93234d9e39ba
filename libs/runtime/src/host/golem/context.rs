//! `golem:api/context` (guest spec 4.13): the trace that an invocation belongs to, and the spans
//! that the guest opens in it.
//!
//! The ids of an invocation's trace and spans are derived from its idempotency key and the place
//! in the log, so they are the same whenever the invocation runs again. The spans of a guest are
//! entries of the oplog.

use super::super::functions;
use super::super::values::add_resource;
use crate::WorkerCtx;
use emet_model::IdempotencyKey;
use emet_oplog::EntryKind;
use parking_lot::Mutex;
use std::sync::Arc;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;

const CONTEXT: &str = "golem:api/context@1.1.5";

/// Attributes of one span (docs/limits.md).
const MAX_ATTRIBUTES: usize = 1000;
/// Headers of the W3C trace context.
const TRACE_PARENT: &str = "traceparent";
const TRACE_STATE: &str = "tracestate";
/// Attribute with the name of a span.
const NAME: &str = "name";

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(variant)]
enum AttributeValue {
    #[component(name = "string")]
    String(String),
}

#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
struct Attribute {
    key: String,
    value: AttributeValue,
}

#[derive(Clone, Debug, ComponentType, Lower)]
#[component(record)]
struct AttributeChain {
    key: String,
    values: Vec<AttributeValue>,
}

/// A span: of the invocation, or one that the guest started.
struct SpanData {
    id: String,
    parent: Option<Arc<SpanData>>,
    /// In the order in which they were first set.
    attributes: Mutex<Vec<(String, String)>>,
}

impl SpanData {
    fn new(id: String, parent: Option<Arc<Self>>, attributes: Vec<(String, String)>) -> Arc<Self> {
        Arc::new(Self { id, parent, attributes: Mutex::new(attributes) })
    }

    fn get(&self, key: &str) -> Option<String> {
        self.attributes.lock().iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
    }

    fn set(&self, key: &str, value: &str) -> Result<(), String> {
        let mut attributes = self.attributes.lock();
        if let Some((_, old)) = attributes.iter_mut().find(|(name, _)| name == key) {
            value.clone_into(old);
            return Ok(());
        }
        if attributes.len() >= MAX_ATTRIBUTES {
            return Err(format!("a span has at most {MAX_ATTRIBUTES} attributes"));
        }
        attributes.push((key.to_owned(), value.to_owned()));
        Ok(())
    }

    /// This span and those around it, innermost first.
    fn chain(self: &Arc<Self>) -> impl Iterator<Item = Arc<Self>> {
        std::iter::successors(Some(self.clone()), |span| span.parent.clone())
    }
}

/// The trace of the current invocation.
struct Trace {
    id: String,
    states: String,
    current: Arc<SpanData>,
}

/// What a worker knows of traces.
#[derive(Default)]
pub(crate) struct Spans {
    /// The invocation that `trace` is of.
    key: Option<IdempotencyKey>,
    trace: Option<Trace>,
    /// Set where outgoing requests are not to carry headers.
    silent: bool,
}

/// A span of the guest under way.
struct Span {
    data: Arc<SpanData>,
    started: Datetime,
    finished: bool,
}

/// A span as part of its trace, as it was when asked for.
struct InvocationContext {
    trace_id: String,
    states: String,
    span: Arc<SpanData>,
}

impl InvocationContext {
    fn headers(&self) -> Vec<(String, String)> {
        headers(&self.trace_id, &self.span.id, &self.states)
    }

    fn attributes(&self, inherited: bool) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = Vec::new();
        for span in self.span.chain().take(if inherited { usize::MAX } else { 1 }) {
            for (key, value) in span.attributes.lock().iter() {
                if !all.iter().any(|(known, _)| known == key) {
                    all.push((key.clone(), value.clone()));
                }
            }
        }
        all
    }
}

fn headers(trace: &str, span: &str, states: &str) -> Vec<(String, String)> {
    let parent = (TRACE_PARENT.to_owned(), format!("00-{trace}-{span}-01"));
    let states = (!states.is_empty()).then(|| (TRACE_STATE.to_owned(), states.to_owned()));
    std::iter::once(parent).chain(states).collect()
}

/// Trace and span of a `traceparent`; none if it is malformed.
fn parse_parent(text: &str) -> Option<(String, String)> {
    let mut parts = text.split('-');
    let (version, trace, span, _flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, length: usize| {
        let digits =
            text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        digits && text.bytes().any(|b| b != b'0')
    };
    let valid = version.len() == 2 && version != "ff" && hex(trace, 32) && hex(span, 16);
    valid.then(|| (trace.to_owned(), span.to_owned()))
}

/// The span id that belongs to a place in the log.
fn span_id(key: &IdempotencyKey, place: u64) -> String {
    let (_, low) = key.derive(place).as_u64_pair();
    format!("{low:016x}")
}

impl WorkerCtx {
    /// The trace of the current invocation, begun when first asked for.
    fn trace(&mut self) -> &mut Trace {
        let key = self.journal.current_key.clone();
        if self.spans.key != key {
            self.spans.trace = None;
            self.spans.key.clone_from(&key);
        }
        let given = &self.journal.current_trace;
        self.spans
            .trace
            .get_or_insert_with(|| begin(&key.unwrap_or(IdempotencyKey(String::new())), given))
    }

    fn context(&mut self) -> InvocationContext {
        let trace = self.trace();
        InvocationContext {
            trace_id: trace.id.clone(),
            states: trace.states.clone(),
            span: trace.current.clone(),
        }
    }

    /// The headers that make what is called part of the current span.
    pub(crate) fn trace_headers(&mut self) -> Vec<(String, String)> {
        self.context().headers()
    }

    /// As [`Self::trace_headers`], unless the guest has switched them off for requests.
    pub(crate) fn request_trace_headers(&mut self) -> Vec<(String, String)> {
        if self.spans.silent { Vec::new() } else { self.trace_headers() }
    }

    async fn start_span(&mut self, name: String) -> wasmtime::Result<Resource<Span>> {
        let parent = self.trace().current.clone();
        let key = self.journal.current_key.clone().unwrap_or(IdempotencyKey(String::new()));
        // Not the id of a key that is derived at the same place.
        let id = span_id(&IdempotencyKey(format!("span-{key}")), self.journal.position());
        let attributes = vec![(NAME.to_owned(), name)];
        let entry = EntryKind::StartSpan {
            span_id: id.clone(),
            parent: parent.id.clone(),
            attributes: attributes.clone(),
        };
        let (_, time) = self.journal.marker_at(entry).await?;
        let nanoseconds = u32::try_from(time.0 % 1000 * 1_000_000).unwrap_or_default();
        let started = Datetime { seconds: time.0 / 1000, nanoseconds };
        let data = SpanData::new(id, Some(parent), attributes);
        self.trace().current = data.clone();
        Ok(self.table.push(Span { data, started, finished: false })?)
    }

    async fn set_attributes(
        &mut self,
        span: &Resource<Span>,
        attributes: Vec<Attribute>,
    ) -> wasmtime::Result<()> {
        let data = self.table.get(span)?.data.clone();
        for Attribute { key, value: AttributeValue::String(value) } in attributes {
            data.set(&key, &value).map_err(wasmtime::Error::msg)?;
            self.journal
                .marker(EntryKind::SetSpanAttribute { span_id: data.id.clone(), key, value })
                .await?;
        }
        Ok(())
    }

    async fn finish_span(&mut self, span: &Resource<Span>) -> wasmtime::Result<()> {
        let found = self.table.get_mut(span)?;
        if std::mem::replace(&mut found.finished, true) {
            return Ok(());
        }
        let data = found.data.clone();
        self.journal.marker(EntryKind::FinishSpan { span_id: data.id.clone() }).await?;
        let trace = self.trace();
        if Arc::ptr_eq(&trace.current, &data)
            && let Some(parent) = &data.parent
        {
            trace.current = parent.clone();
        }
        Ok(())
    }
}

/// The trace of an invocation that starts: the caller's if it sent one, with a span of its own.
fn begin(key: &IdempotencyKey, given: &[(String, String)]) -> Trace {
    let header = |name: &str| {
        given.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    };
    let given = header(TRACE_PARENT).and_then(parse_parent);
    let (id, outer) = match given {
        Some((trace, span)) => (trace, Some(SpanData::new(span, None, Vec::new()))),
        None => (key.derive(0).simple().to_string(), None),
    };
    let attributes = vec![(NAME.to_owned(), "invoke-exported-function".to_owned())];
    let current =
        SpanData::new(span_id(&IdempotencyKey(format!("span-{key}")), 0), outer, attributes);
    Trace { id, states: header(TRACE_STATE).unwrap_or_default().to_owned(), current }
}

pub(super) fn add(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, CONTEXT, {
        "start-span" => |ctx, name: String| Ok((ctx.start_span(name).await?,));
        "current-context" => |ctx| {
            let context = ctx.context();
            Ok((ctx.table.push(context)?,))
        };
        "allow-forwarding-trace-context-headers" => |ctx, allow: bool| {
            let before = !std::mem::replace(&mut ctx.spans.silent, !allow);
            Ok::<_, wasmtime::Error>((before,))
        };
    });
    add_span(linker)?;
    add_invocation_context(linker)
}

fn add_span(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, CONTEXT, {
        "[method]span.started-at" => |ctx, span: Resource<Span>| Ok((ctx.table.get(&span)?.started,));
        "[method]span.set-attribute" => |ctx, span: Resource<Span>, key: String, value: AttributeValue| {
            ctx.set_attributes(&span, vec![Attribute { key, value }]).await
        };
        "[method]span.set-attributes" => |ctx, span: Resource<Span>, attributes: Vec<Attribute>| {
            ctx.set_attributes(&span, attributes).await
        };
        "[method]span.finish" => |ctx, span: Resource<Span>| ctx.finish_span(&span).await;
    });
    linker.instance(CONTEXT)?.resource_async(
        "span",
        ResourceType::host::<Span>(),
        |mut store, rep| {
            Box::new(async move {
                let ctx = store.data_mut();
                ctx.finish_span(&Resource::new_borrow(rep)).await?;
                ctx.table.delete(Resource::<Span>::new_own(rep)).map(drop).map_err(Into::into)
            })
        },
    )
}

fn add_invocation_context(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    type Context = Resource<InvocationContext>;
    functions!(linker, CONTEXT, {
        "[method]invocation-context.trace-id" => |ctx, this: Context| Ok((ctx.table.get(&this)?.trace_id.clone(),));
        "[method]invocation-context.span-id" => |ctx, this: Context| Ok((ctx.table.get(&this)?.span.id.clone(),));
        "[method]invocation-context.parent" => |ctx, this: Context| {
            let InvocationContext { trace_id, states, span } = ctx.table.get(&this)?;
            let parent = span.parent.clone().map(|span| InvocationContext { trace_id: trace_id.clone(), states: states.clone(), span });
            Ok((parent.map(|parent| ctx.table.push(parent)).transpose()?,))
        };
        "[method]invocation-context.get-attribute" => |ctx, this: Context, key: String, inherited: bool| {
            let mut spans = ctx.table.get(&this)?.span.chain().take(if inherited { usize::MAX } else { 1 });
            Ok((spans.find_map(|span| span.get(&key)).map(AttributeValue::String),))
        };
        "[method]invocation-context.get-attributes" => |ctx, this: Context, inherited: bool| {
            let attributes = ctx.table.get(&this)?.attributes(inherited).into_iter();
            Ok((attributes.map(|(key, value)| Attribute { key, value: AttributeValue::String(value) }).collect::<Vec<_>>(),))
        };
        "[method]invocation-context.get-attribute-chain" => |ctx, this: Context, key: String| {
            let spans = ctx.table.get(&this)?.span.chain();
            Ok((spans.filter_map(|span| span.get(&key)).map(AttributeValue::String).collect::<Vec<_>>(),))
        };
        "[method]invocation-context.get-attribute-chains" => |ctx, this: Context| {
            let context = ctx.table.get(&this)?;
            let values = |key: &str| context.span.chain().filter_map(|span| span.get(key)).map(AttributeValue::String).collect();
            let chains = context.attributes(true).into_iter().map(|(key, _)| AttributeChain { values: values(&key), key });
            Ok((chains.collect::<Vec<_>>(),))
        };
        "[method]invocation-context.trace-context-headers" => |ctx, this: Context| Ok((ctx.table.get(&this)?.headers(),));
    });
    add_resource::<InvocationContext>(linker, CONTEXT, "invocation-context")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_parent_is_no_parent() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(parse_parent(&format!("00-{trace}-b7ad6b7169203331-01")).unwrap().0, trace);
        for text in
            ["", "00", "00-0-0-0", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]
        {
            assert_eq!(parse_parent(text), None, "{text}");
        }
        assert_eq!(parse_parent("00-00000000000000000000000000000000-b7ad6b7169203331-01"), None);
    }

    #[test]
    fn the_callers_trace_goes_on_and_without_one_a_trace_begins_that_is_the_same_every_time() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let given = [
            ("traceparent".to_owned(), parent.to_owned()),
            ("tracestate".to_owned(), "a=1".to_owned()),
        ];
        let key = IdempotencyKey("k".into());
        let trace = begin(&key, &given);
        assert_eq!(trace.id, "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(trace.states, "a=1");
        assert_eq!(trace.current.parent.as_ref().unwrap().id, "b7ad6b7169203331");
        let (first, again) = (begin(&key, &[]), begin(&key, &[]));
        assert_eq!((&first.id, &first.current.id), (&again.id, &again.current.id));
        assert!(parse_parent(&format!("00-{}-{}-01", first.id, first.current.id)).is_some());
    }

    #[test]
    fn attributes_are_found_from_the_inside_out() {
        let outer = SpanData::new(
            "1".into(),
            None,
            vec![("a".into(), "outer".into()), ("b".into(), "outer".into())],
        );
        let inner = SpanData::new("2".into(), Some(outer), vec![("a".into(), "inner".into())]);
        let context =
            InvocationContext { trace_id: String::new(), states: String::new(), span: inner };
        assert_eq!(context.attributes(false), [("a".to_owned(), "inner".to_owned())]);
        assert_eq!(context.attributes(true).len(), 2);
        assert_eq!(
            context.span.chain().filter_map(|s| s.get("a")).collect::<Vec<_>>(),
            ["inner", "outer"]
        );
    }
}
