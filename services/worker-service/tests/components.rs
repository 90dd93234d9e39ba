//! Statuses and bodies of the component, plugin and server endpoints.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use axum::body::Body;
use axum::http::{Method, Request};
use common::*;
use emet_model::{ComponentType, FilePermissions};
use serde_json::json;
use std::sync::Arc;
use tower::ServiceExt;

/// A multipart form as the 1.1 client sends it: file parts without names and lengths.
fn form(path: &str, parts: &[(&str, &[u8])]) -> Request<Body> {
    let mut body = Vec::new();
    for (name, content) in parts {
        body.extend_from_slice(b"--XX\r\n");
        let header = format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        body.extend_from_slice(header.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--XX--\r\n");
    // In small pieces, so that no part arrives whole.
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> =
        body.chunks(7).map(|chunk| Ok(chunk.to_vec())).collect();
    Request::post(expand(path))
        .header("content-type", "multipart/form-data; boundary=XX")
        .body(Body::from_stream(futures::stream::iter(chunks)))
        .unwrap()
}

#[tokio::test]
async fn an_upload_takes_its_parts_in_any_order() {
    let api = Api::new();
    let linking =
        br#"{"dynamicLinking":{"a:b/c":{"type":"WasmRpc","targetInterfaceName":{"r":"d:e/f"}}}}"#;
    let parts: &[(&str, &[u8])] = &[
        ("component", b"\0asm"),
        ("filesPermissions", br#"{"values":[{"path":"/a.txt","permissions":"read-write"}]}"#),
        ("dynamicLinking", linking),
        ("unknown", b"ignored"),
        ("files", b"PK"),
        ("componentType", b"Ephemeral"),
        ("name", b"shop:cart"),
    ];
    let (status, body) = api.json(form("/v1/components", parts)).await;
    assert_eq!((status, &body["componentName"]), (200, &json!("shop:cart")));
    let uploads = api.fake.uploads.lock().unwrap();
    let (name, upload) = &uploads[0];
    assert_eq!((name.as_str(), &upload.wasm[..]), ("shop:cart", &b"\0asm"[..]));
    assert_eq!(upload.component_type, Some(ComponentType::Ephemeral));
    let (files, permissions) = upload.files.as_ref().unwrap();
    assert_eq!(&files[..], b"PK");
    assert_eq!(permissions, &[("/a.txt".to_owned(), FilePermissions::ReadWrite)]);
    assert!(upload.dynamic_linking.contains_key("a:b/c"));
}

#[tokio::test]
async fn every_fault_of_an_upload_is_listed() {
    let api = Api::new();
    let (status, body) = api.json(form("/v1/components", &[])).await;
    let expected = json!({"errors": ["Missing part: name", "Missing part: component"]});
    assert_eq!((status, body), (400, expected));
    let parts: &[(&str, &[u8])] = &[
        ("name", b"\xff"),
        ("componentType", b"Sometimes"),
        ("component", &[0; 2000]),
        ("filesPermissions", b"{}"),
    ];
    let (status, body) = api.json(form("/v1/components", parts)).await;
    assert_eq!((status, body["errors"].as_array().unwrap().len()), (400, 5), "{body}");
    let request = Request::post("/v1/components").body(Body::from("x")).unwrap();
    let (status, body) = api.json(request).await;
    assert_eq!(status, 400);
    assert!(reason(&body).starts_with("Expected a multipart/form-data body"));
}

#[tokio::test]
async fn failures_of_the_service_have_their_statuses() {
    let api = Api::new();
    let exists = format!("Component already exists: {ID}");
    for (name, status, body) in [
        ("taken", 409, json!({"error": exists})),
        ("bad", 400, json!({"errors": ["one", "two"]})),
        ("huge", 403, json!({"error": "limit"})),
        ("broken", 500, json!({"error": "disk"})),
    ] {
        let parts: &[(&str, &[u8])] = &[("name", name.as_bytes()), ("component", b"x")];
        assert_eq!(api.json(form("/v1/components", parts)).await, (status, body));
    }
}

#[tokio::test]
async fn updates_come_as_forms_or_as_plain_binaries() {
    let api = Api::new();
    let (status, body) = api.json(form("C/updates", &[("component", b"x")])).await;
    assert_eq!((status, &body["versionedComponentId"]["version"]), (200, &json!(1)));
    let put = |query: &str, size: usize| {
        let request = Request::put(expand(&format!("C/upload{query}")));
        request.body(Body::from(vec![0; size])).unwrap()
    };
    assert_eq!(api.json(put("?component_type=Ephemeral", 5)).await.0, 200);
    assert_eq!(api.json(put("?component_type=Odd", 5)).await.0, 400);
    assert_eq!(api.json(put("", 1001)).await.0, 400);
    let uploads = api.fake.uploads.lock().unwrap();
    let types: Vec<_> = uploads.iter().map(|(_, upload)| upload.component_type).collect();
    assert_eq!(types, [None, Some(ComponentType::Ephemeral)]);
}

#[tokio::test]
async fn reading_follows_the_documented_not_found_rules() {
    let api = Api::new();
    let unknown = |rest: &str| format!("/v1/components/{OTHER_ID}{rest}");
    assert_eq!(api.get(&unknown("")).await, (200, json!([])));
    let not_found = json!({"error": "Component not found"});
    assert_eq!(api.get(&unknown("/latest")).await, (404, not_found.clone()));
    assert_eq!(api.get("C/versions/9").await, (404, not_found));
    assert_eq!(api.get("C/versions/x").await, (400, json!({"errors": ["Invalid version"]})));
    assert_eq!(api.get(&unknown("/download")).await.1, json!({"error": "Unknown component id"}));
    assert_eq!(api.get("/v1/components?component-name=none").await, (200, json!([])));
    let (_, body) = api.get("/v1/components?component-name=shop%3Acart").await;
    assert_eq!(body.as_array().unwrap().len(), 2);
    let request = Request::get(expand("C/download?version=0")).body(Body::empty()).unwrap();
    assert_eq!(text(api.send(request).await).await, "\0asm");
    let request = Request::get(expand("C/versions/0/file-contents/k")).body(Body::empty()).unwrap();
    assert_eq!(text(api.send(request).await).await, "k");
}

#[tokio::test]
async fn there_are_no_plugins() {
    let api = Api::new();
    for path in [
        "/v1/plugins",
        "/v1/plugins?scope=global",
        "/v1/plugins/a",
        "C/versions/0/plugins/installs",
    ] {
        assert_eq!(api.get(path).await, (200, json!([])), "{path}");
    }
    for (method, path, status) in [
        ("POST", "/v1/plugins", 400),
        ("POST", "C/latest/plugins/installs", 400),
        ("POST", "W/activate-plugin?plugin-installation-id=x", 400),
        ("POST", "W/deactivate-plugin?plugin-installation-id=x", 400),
        ("GET", "/v1/plugins/a/1", 404),
        ("DELETE", "/v1/plugins/a/1", 404),
        ("DELETE", "C/latest/plugins/installs/x", 404),
        ("PUT", "C/versions/latest/plugins/installs/x", 404),
    ] {
        let (answer, body) = api.call(method, path, "").await;
        assert_eq!(answer, status, "{method} {path}: {body}");
        assert!(body.to_string().contains("plugins-not-offered"), "{body}");
    }
}

#[tokio::test]
async fn what_does_not_exist_is_json_too() {
    let api = Api::new();
    let (status, body) = api.get("/v1/nothing").await;
    assert_eq!(status, 404);
    assert!(body["error"].as_str().unwrap().starts_with("No such endpoint: GET /v1/nothing"));
    for path in ["/v1/api/definitions", "/v1/api/deployments/deploy", "/v1/api/security"] {
        let (status, body) = api.get(path).await;
        assert_eq!(status, 404);
        assert!(body["error"].as_str().unwrap().starts_with("The API gateway"), "{body}");
    }
    let (status, body) = api.call("PATCH", "W", "").await;
    assert_eq!((status, body["error"].as_str().unwrap().starts_with("PATCH")), (405, true));
}

#[tokio::test]
async fn the_server_tells_about_itself() {
    let api = Api::new();
    let (_, body) = api.get("/version").await;
    assert_eq!(body["version"], "1.1.0");
    assert_eq!(api.get("/healthcheck").await, (200, json!({})));
    assert_eq!(api.get("/").await.0, 200);
    for (path, start) in [("/metrics", "emet_up 1"), ("/specs", "openapi:"), ("/docs", "<!doctype")]
    {
        let request = Request::get(path).body(Body::empty()).unwrap();
        assert!(text(api.send(request).await).await.starts_with(start), "{path}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_ready_says_what_is_missing() {
    let state = state(&Arc::new(Fake::default()), vec!["storage".into(), "shards".into()]);
    let request = Request::get("/healthcheck").body(Body::empty()).unwrap();
    let response = emet_worker_service::router(state).oneshot(request).await.unwrap();
    assert_eq!(response.status().as_u16(), 503);
    assert!(text(response).await.contains(r#""error":"Not ready: storage, shards""#));
}

#[tokio::test]
async fn every_documented_operation_is_routed() {
    let api = Api::new();
    let document: serde_yaml_ng::Value =
        serde_yaml_ng::from_str(&emet_worker_service::document()).unwrap();
    let paths = document["paths"].as_mapping().unwrap();
    assert!(paths.len() > 40);
    for (path, methods) in paths {
        let path = path.as_str().unwrap().replace("{component_id}", ID);
        let path = path.replace("{version}", "0").replace(['{', '}'], "");
        for (method, _) in methods.as_mapping().unwrap() {
            let method: Method = method.as_str().unwrap().to_uppercase().parse().unwrap();
            let request = Request::builder().method(&method).uri(&path).body(Body::empty());
            let response = api.send(request.unwrap()).await;
            assert_ne!(response.status().as_u16(), 405, "{method} {path}");
            assert!(!text(response).await.contains("No such endpoint"), "{method} {path}");
        }
    }
}
