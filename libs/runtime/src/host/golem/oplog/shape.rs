//! From the JSON of the public API to the JSON form of the interface's variant `oplog-entry`.

use emet_model::{RetryPolicy, Timestamp, WorkerId};
use emet_values::tree::{WitNode, WitValueTree};
use emet_values::{Type, TypedValue, Value};
use serde_json::{Map, Value as Json, json};

/// An entry as a case of the guest's type; `no-op` where that type has no such case.
pub(super) fn entry(public: &Json, ty: &Type) -> Json {
    let kind = public.get("type").and_then(Json::as_str).unwrap_or("NoOp");
    let case = kebab(kind);
    let known = matches!(ty, Type::Variant(cases) if cases.iter().any(|(name, _)| *name == case));
    let time = datetime(public.get("timestamp"));
    if !known {
        return json!({ "no-op": time });
    }
    let payload = match fields(kind, public) {
        None => time,
        Some(mut fields) => {
            fields.insert("timestamp".into(), time);
            Json::Object(fields)
        }
    };
    json!({ case: payload })
}

/// `ImportedFunctionInvoked` becomes `imported-function-invoked`.
fn kebab(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for char in name.chars() {
        if char.is_ascii_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.push(char.to_ascii_lowercase());
    }
    out
}

/// The fields of the case's record beside its time; none for cases that carry a time only.
fn fields(kind: &str, public: &Json) -> Option<Map<String, Json>> {
    let get = |key: &str| public.get(key).cloned().unwrap_or(Json::Null);
    let same = |keys: &[&str]| {
        keys.iter().map(|key| (key.replace('_', "-"), get(key))).collect::<Map<_, _>>()
    };
    let json = match kind {
        "Create" => return Some(create(public)),
        "ImportedFunctionInvoked" => json!({
            "function-name": get("function_name"),
            "request": wit_value(public.get("request")),
            "response": wit_value(public.get("response")),
            "wrapped-function-type": function_type(public.get("wrapped_function_type")),
        }),
        "ExportedFunctionInvoked" => json!({
            "function-name": get("function_name"),
            "request": wit_values(public.get("request")),
            "idempotency-key": get("idempotency_key"),
            "trace-id": public.get("trace_id").cloned().unwrap_or_else(|| json!("")),
            "trace-states": public.get("trace_states").cloned().unwrap_or_else(|| json!([])),
            "invocation-context": [],
        }),
        "ExportedFunctionCompleted" => {
            json!({ "response": wit_value(public.get("response")), "consumed-fuel": get("consumed_fuel") })
        }
        "Error" => return Some(same(&["error"])),
        "Jump" => return Some(region(public.get("jump"))),
        "Revert" => return Some(region(public.get("dropped_region"))),
        "ChangeRetryPolicy" => json!({ "retry-policy": policy(public.get("new_policy")) }),
        "EndAtomicRegion" | "EndRemoteWrite" => return Some(same(&["begin_index"])),
        "PendingWorkerInvocation" => json!({ "invocation": invocation(public.get("invocation")) }),
        "PendingUpdate" => {
            json!({ "target-version": get("target_version"), "update-description": update(public.get("description")) })
        }
        "SuccessfulUpdate" => json!({
            "target-version": get("target_version"), "new-component-size": get("new_component_size"), "new-active-plugins": [],
        }),
        "FailedUpdate" => return Some(same(&["target_version", "details"])),
        "GrowMemory" => return Some(same(&["delta"])),
        "CreateResource" | "DropResource" => return Some(same(&["resource_id"])),
        "DescribeResource" => json!({
            "resource-id": get("resource_id"),
            "resource-name": get("resource_name"),
            "resource-params": wit_values(public.get("resource_params")),
        }),
        "Log" => json!({
            "level": public.get("level").and_then(Json::as_str).unwrap_or_default().to_ascii_lowercase(),
            "context": get("context"),
            "message": get("message"),
        }),
        "CancelInvocation" => return Some(same(&["idempotency_key"])),
        "StartSpan" => json!({
            "span-id": get("span_id"), "parent": get("parent_id"), "linked-context": get("linked_context"),
            "attributes": attributes(public.get("attributes")),
        }),
        "FinishSpan" => return Some(same(&["span_id"])),
        "SetSpanAttribute" => {
            json!({ "span-id": get("span_id"), "key": get("key"), "value": { "string": get("value") } })
        }
        _ => return None,
    };
    json.as_object().cloned()
}

fn create(public: &Json) -> Map<String, Json> {
    let get = |key: &str| public.get(key).cloned().unwrap_or(Json::Null);
    let env = public.get("env").and_then(Json::as_object);
    let fields = [
        ("worker-id", worker_id(public.get("worker_id"))),
        ("component-version", get("component_version")),
        ("args", get("args")),
        (
            "env",
            env.map(|env| env.iter().map(|(k, v)| json!([k, v])).collect())
                .unwrap_or_else(|| json!([])),
        ),
        ("account-id", json!({ "value": get("account_id") })),
        ("parent", worker_id(public.get("parent"))),
        ("component-size", get("component_size")),
        ("initial-total-linear-memory-size", get("initial_total_linear_memory_size")),
        ("initial-active-plugins", json!([])),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Seconds and nanoseconds since the epoch.
fn datetime(time: Option<&Json>) -> Json {
    let ms = time.and_then(Json::as_str).and_then(Timestamp::parse).unwrap_or_default().0;
    json!({ "seconds": ms / 1000, "nanoseconds": ms % 1000 * 1_000_000 })
}

fn worker_id(id: Option<&Json>) -> Json {
    let Some(id) = id.and_then(|id| serde_json::from_value::<WorkerId>(id.clone()).ok()) else {
        return Json::Null;
    };
    let (high, low) = id.component_id.0.as_u64_pair();
    json!({ "component-id": { "uuid": { "high-bits": high, "low-bits": low } }, "worker-name": id.worker_name })
}

fn region(region: Option<&Json>) -> Map<String, Json> {
    region.and_then(Json::as_object).cloned().unwrap_or_default()
}

fn function_type(ty: Option<&Json>) -> Json {
    let name = kebab(ty.and_then(|t| t.get("type")).and_then(Json::as_str).unwrap_or("ReadLocal"));
    let index = ty.and_then(|t| t.get("index")).cloned().unwrap_or(Json::Null);
    json!({ name: index })
}

fn invocation(invocation: Option<&Json>) -> Json {
    let get = |key: &str| invocation.and_then(|i| i.get(key)).cloned().unwrap_or(Json::Null);
    match get("type").as_str() {
        Some("ManualUpdate") => json!({ "manual-update": get("target_version") }),
        _ => json!({ "exported-function": {
            "idempotency-key": get("idempotency_key"),
            "function-name": get("full_function_name"),
            "input": wit_values(invocation.and_then(|i| i.get("function_input"))),
        }}),
    }
}

fn update(description: Option<&Json>) -> Json {
    match description.and_then(|d| d.get("payload")) {
        Some(payload) => json!({ "snapshot-based": payload }),
        None => json!({ "auto-update": null }),
    }
}

fn attributes(attributes: Option<&Json>) -> Json {
    let pairs = attributes.and_then(Json::as_array).into_iter().flatten();
    pairs.map(|pair| json!({ "key": pair.get(0), "value": { "string": pair.get(1) } })).collect()
}

fn policy(policy: Option<&Json>) -> Json {
    let get = |key: &str| policy.and_then(|p| p.get(key)).cloned().unwrap_or(Json::Null);
    let default = RetryPolicy::default();
    let nanos = |key: &str| get(key).as_str().and_then(parse_duration).unwrap_or_default();
    json!({
        "max-attempts": get("max_attempts").as_u64().unwrap_or(u64::from(default.max_attempts)),
        "min-delay": nanos("min_delay"),
        "max-delay": nanos("max_delay"),
        "multiplier": get("multiplier"),
        "max-jitter-factor": get("max_jitter_factor"),
    })
}

/// `1s 500ms` in nanoseconds.
fn parse_duration(text: &str) -> Option<u64> {
    let part = |part: &str| {
        let digits = part.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = part.split_at(digits);
        let unit = match unit {
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(unit)
    };
    text.split(' ').map(part).try_fold(0u64, |sum, nanos| sum.checked_add(nanos?))
}

fn wit_values(values: Option<&Json>) -> Json {
    values
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
        .map(|value| wit_value(Some(value)))
        .collect()
}

/// A typed value as nodes. A query of an oplog must never fail: what cannot be shown as nodes is
/// shown as text.
fn wit_value(typed: Option<&Json>) -> Json {
    let value =
        typed.and_then(|t| serde_json::from_value::<TypedValue>(t.clone()).ok()).map(|t| t.value);
    let value =
        value.unwrap_or_else(|| Value::String(typed.map(Json::to_string).unwrap_or_default()));
    let tree = WitValueTree::from_value(&value);
    let nodes = tree.map_or_else(|error| vec![WitNode::String(error.to_string())], |tree| tree.0);
    json!({ "nodes": nodes.into_iter().map(node).collect::<Vec<_>>() })
}

fn node(node: WitNode) -> Json {
    match node {
        WitNode::Record(items) => json!({ "record-value": items }),
        WitNode::Variant(case, value) => json!({ "variant-value": [case, value] }),
        WitNode::Enum(case) => json!({ "enum-value": case }),
        WitNode::Flags(set) => json!({ "flags-value": set }),
        WitNode::Tuple(items) => json!({ "tuple-value": items }),
        WitNode::List(items) => json!({ "list-value": items }),
        WitNode::Option(value) => json!({ "option-value": value }),
        WitNode::Result(Ok(value)) => json!({ "result-value": { "ok": value } }),
        WitNode::Result(Err(value)) => json!({ "result-value": { "err": value } }),
        WitNode::U8(v) => json!({ "prim-u8": v }),
        WitNode::U16(v) => json!({ "prim-u16": v }),
        WitNode::U32(v) => json!({ "prim-u32": v }),
        WitNode::U64(v) => json!({ "prim-u64": v }),
        WitNode::S8(v) => json!({ "prim-s8": v }),
        WitNode::S16(v) => json!({ "prim-s16": v }),
        WitNode::S32(v) => json!({ "prim-s32": v }),
        WitNode::S64(v) => json!({ "prim-s64": v }),
        WitNode::F32(v) => json!({ "prim-float32": float(f64::from(v)) }),
        WitNode::F64(v) => json!({ "prim-float64": float(v) }),
        WitNode::Char(v) => json!({ "prim-char": u32::from(v) }),
        WitNode::Bool(v) => json!({ "prim-bool": v }),
        WitNode::String(v) => json!({ "prim-string": v }),
        WitNode::Handle(uri, id) => json!({ "handle": [{ "value": uri }, id] }),
    }
}

/// What JSON has no number for is written as text.
fn float(v: f64) -> Json {
    match v {
        v if v.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        v => json!(v),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_the_api_writes_them() {
        assert_eq!(parse_duration("1s 500ms"), Some(1_500_000_000));
        assert_eq!(parse_duration("0s"), Some(0));
        assert_eq!(parse_duration("7us 3ns"), Some(7_003));
        assert_eq!(parse_duration("soon"), None);
    }

    #[test]
    fn kinds_that_a_guest_does_not_know_are_shown_as_a_marker() {
        let known = Type::Variant(vec![("no-op".into(), None), ("revert".into(), None)]);
        let old = Type::Variant(vec![("no-op".into(), None)]);
        let public = json!({ "type": "Revert", "timestamp": "2024-10-20T23:42:04.333Z", "dropped_region": { "start": 2, "end": 5 } });
        assert_eq!(entry(&public, &known).pointer("/revert/end"), Some(&json!(5)));
        assert_eq!(entry(&public, &old).pointer("/no-op/nanoseconds"), Some(&json!(333_000_000)));
    }

    #[test]
    fn values_become_nodes_whatever_they_are() {
        let typed = json!({ "typ": { "type": "F64" }, "value": "NaN" });
        assert_eq!(wit_value(Some(&typed)).pointer("/nodes/0/prim-float64"), Some(&json!("NaN")));
        assert!(wit_value(Some(&json!({ "typ": 7 }))).pointer("/nodes/0/prim-string").is_some());
        assert!(wit_value(None).pointer("/nodes/0/prim-string").is_some());
    }
}
