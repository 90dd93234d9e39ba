//! The invoke endpoints.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use axum::body::Body;
use axum::http::Request;
use common::*;
use serde_json::json;

const TYPED: &str = r#"{"params":[{"typ":{"type":"U32"},"value":2}]}"#;

#[tokio::test]
async fn the_result_comes_with_its_type() {
    let api = Api::new();
    let path = "W/invoke-and-await?function=shop%3Acart%2Fapi.%7Badd-item%7D";
    let (status, body) = api.post(path, TYPED).await;
    let typ = json!({"type": "Tuple", "items": [{"type": "U64"}]});
    assert_eq!((status, body), (200, json!({"result": {"typ": typ, "value": [17]}})));
    let asked = api.fake.last();
    assert!(asked.contains(r#"function: "shop:cart/api.{add-item}""#), "{asked}");
    assert!(asked.contains("Typed([TypedValue { typ: U32, value: U32(2) }])"), "{asked}");
    assert!(asked.contains("idempotency_key: None"), "{asked}");
}

#[tokio::test]
async fn a_worker_is_not_needed() {
    let api = Api::new();
    assert_eq!(api.post("C/invoke?function=run", r#"{"params":[]}"#).await, (200, json!({})));
    assert!(api.fake.last().ends_with("} "), "no name: {}", api.fake.last());
    assert_eq!(api.post("C/invoke-and-await?function=run", r#"{"params":[]}"#).await.0, 200);
    assert_eq!(api.post("W/invoke?function=run", r#"{"params":[]}"#).await, (200, json!({})));
}

#[tokio::test]
async fn headers_become_key_and_trace() {
    let api = Api::new();
    let request = Request::post(expand("W/invoke?function=run"))
        .header("idempotency-key", "schlüssel")
        .header("traceparent", "00-1")
        .body(Body::from(r#"{"params":[]}"#));
    assert_eq!(api.json(request.unwrap()).await.0, 200);
    let asked = api.fake.last();
    assert!(asked.contains("schlüssel") && asked.contains(r#"("traceparent", "00-1")"#), "{asked}");
    let request = Request::post(expand("W/invoke?function=run"))
        .header("idempotency-key", &b"\xff"[..])
        .body(Body::from(r#"{"params":[]}"#));
    assert_eq!(api.json(request.unwrap()).await.0, 400);
}

#[tokio::test]
async fn parameters_are_typed_all_or_none() {
    let api = Api::new();
    let untyped = r#"{"params":[{"value":{"a":1}},{"value":null}]}"#;
    assert_eq!(api.post("W/invoke?function=run", untyped).await.0, 200);
    assert!(api.fake.last().contains("parameters: Json("));
    let mixed = r#"{"params":[{"value":1},{"typ":{"type":"U8"},"value":1}]}"#;
    let (status, body) = api.post("W/invoke?function=run", mixed).await;
    assert_eq!(status, 400);
    assert!(reason(&body).starts_with("1 of 2 parameters have a typ"));
    for bare in [r#"{"params":[5]}"#, r#"{"params":[[null,5]]}"#, r#"{"params":[null]}"#] {
        let (status, body) = api.post("W/invoke?function=run", bare).await;
        assert_eq!(status, 400, "{body}");
        assert!(reason(&body).contains("expected an object"), "{body}");
    }
    assert_eq!(
        api.post("W/invoke?function=run", r#"{"params":[{"typ":{"type":"U8"}}]}"#).await.0,
        400
    );
    assert_eq!(api.post("W/invoke", r#"{"params":[]}"#).await.0, 400);
}

#[tokio::test]
async fn every_mismatch_is_listed_with_its_path() {
    let typ = json!({"type": "Record", "fields": [
        {"name": "sku", "typ": {"type": "Str"}}, {"name": "qty", "typ": {"type": "U8"}}]});
    let params = json!({"params": [
        {"typ": typ, "value": {"sku": 5, "qty": 256}},
        {"typ": {"type": "Bool"}, "value": "x"},
    ]});
    let api = Api::new();
    let (status, body) = api.post("W/invoke-and-await?function=run", &params.to_string()).await;
    assert_eq!(status, 400);
    let errors: Vec<&str> =
        body["errors"].as_array().unwrap().iter().map(|e| e.as_str().unwrap()).collect();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors[0].starts_with("Parameter 0: in $.sku"), "{errors:?}");
    assert!(errors[1].starts_with("Parameter 0: in $.qty"), "{errors:?}");
    assert!(errors[2].starts_with("Parameter 1: "), "{errors:?}");
    assert_eq!(api.fake.last(), "", "nothing was invoked");
}
