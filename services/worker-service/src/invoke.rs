//! The invoke endpoints: the path that has to be fast.

use crate::endpoint::{Endpoint, post};
use crate::errors::{Answer, ApiError, Empty, Json, done};
use crate::extract::{JsonBody, Query, TargetPath, idempotency_key, trace};
use crate::state::App;
use axum::extract::State;
use axum::http::HeaderMap;
use emet_api::rest::{InvokeBody, InvokeParameter, InvokeResult};
use emet_api::{Invocation, InvokeParameters};
use emet_values::TypedValue;

const WORKER: [&str; 2] = [
    "/v1/components/{component_id}/workers/{worker_name}/invoke-and-await",
    "/v1/components/{component_id}/workers/{worker_name}/invoke",
];
const COMPONENT: [&str; 2] =
    ["/v1/components/{component_id}/invoke-and-await", "/v1/components/{component_id}/invoke"];

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let [worker_await, worker] = WORKER;
    let [component_await, component] = COMPONENT;
    let all = [
        post(worker_await, invoke_and_await)
            .named("invokeAndAwaitFunction", "Invokes a function and waits for its result.")
            .answers("InvokeResult"),
        post(worker, invoke)
            .named("invokeFunction", "Invokes a function; answers when that is durable.")
            .answers("{}"),
        post(component_await, invoke_and_await)
            .named(
                "invokeAndAwaitFunctionWithoutWorkerName",
                "Invokes a function of a fresh worker and waits for its result.",
            )
            .answers("InvokeResult"),
        post(component, invoke)
            .named("invokeFunctionWithoutWorkerName", "Invokes a function of a fresh worker.")
            .answers("{}"),
    ];
    all.into_iter()
        .map(|endpoint| {
            endpoint
                .query("function", "string", "Such as shop:cart/api.{add-item}.")
                .required()
                .header("Idempotency-Key", "Equal keys take effect once per worker.")
                .header("traceparent", "W3C trace context of the caller.")
                .header("tracestate", "W3C trace context of the caller.")
                .body("InvokeParameters")
        })
        .collect()
}

async fn invoke_and_await(
    State(app): State<App>,
    TargetPath(target): TargetPath,
    query: Query,
    headers: HeaderMap,
    JsonBody(body): JsonBody<InvokeBody>,
) -> Answer<InvokeResult> {
    let invocation = invocation(&query, &headers, body)?;
    let result = app.workers.invoke_and_await(target, invocation).await?;
    Ok(Json(InvokeResult { result }))
}

async fn invoke(
    State(app): State<App>,
    TargetPath(target): TargetPath,
    query: Query,
    headers: HeaderMap,
    JsonBody(body): JsonBody<InvokeBody>,
) -> Answer<Empty> {
    let invocation = invocation(&query, &headers, body)?;
    app.workers.invoke(target, invocation).await?;
    done()
}

fn invocation(
    query: &Query,
    headers: &HeaderMap,
    body: InvokeBody,
) -> Result<Invocation, ApiError> {
    Ok(Invocation {
        function: query.required("function")?.to_owned(),
        parameters: parameters(body.params)?,
        idempotency_key: idempotency_key(headers)?,
        key_is_new: false,
        trace: trace(headers),
        caller: None,
    })
}

/// All parameters with a type or none; no parameters count as typed.
fn parameters(params: Vec<InvokeParameter>) -> Result<InvokeParameters, ApiError> {
    let typed = params.iter().filter(|param| param.typ.is_some()).count();
    if typed == params.len() {
        return typed_values(params).map(InvokeParameters::Typed);
    }
    if typed == 0 {
        let values = params.into_iter().map(|param| param.value);
        return Ok(InvokeParameters::Json(values.collect()));
    }
    Err(ApiError::invalid(format!(
        "{typed} of {} parameters have a typ: give it for all of them or for none",
        params.len()
    )))
}

/// Decodes every parameter, collecting all mismatches of all of them.
fn typed_values(params: Vec<InvokeParameter>) -> Result<Vec<TypedValue>, ApiError> {
    let mut values = Vec::with_capacity(params.len());
    let mut errors = Vec::new();
    for (index, param) in params.into_iter().enumerate() {
        let Some(typ) = param.typ else { continue };
        match emet_values::json::decode(&typ, &param.value) {
            Ok(value) => values.push(TypedValue { typ, value }),
            Err(mismatches) => {
                errors.extend(mismatches.iter().map(|text| format!("Parameter {index}: {text}")));
            }
        }
    }
    if errors.is_empty() { Ok(values) } else { Err(ApiError::invalid_all(errors)) }
}
