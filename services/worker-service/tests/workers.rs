//! Statuses and bodies of the worker endpoints.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::*;
use serde_json::json;

#[tokio::test]
async fn creation_answers_the_id_and_the_version() {
    let api = Api::new();
    let body = r#"{"name":"cart-7","args":["-v"],"env":{"A":"1"}}"#;
    let id = json!({"componentId": ID, "workerName": "cart-7"});
    let (status, answer) = api.post("C/workers", body).await;
    assert_eq!((status, answer), (200, json!({"workerId": id, "componentVersion": 3})));
    assert_eq!(api.fake.last(), r#"create ["-v"] {"A": "1"} cart-7"#);
}

#[tokio::test]
async fn only_a_missing_worker_is_404_and_other_errors_are_the_union() {
    let api = Api::new();
    let (status, body) = api.get("C/workers/missing").await;
    let expected = format!("Worker not found: {ID}/missing");
    assert_eq!((status, body), (404, json!({"error": expected})));

    let (status, body) = api.post("C/workers", r#"{"name":"exists","args":[],"env":{}}"#).await;
    let id = json!({"componentId": ID, "workerName": "exists"});
    let error = json!({"type": "WorkerAlreadyExists", "workerId": id});
    let message = format!("Worker already exists: {ID}/exists");
    assert_eq!((status, body), (500, json!({"golemError": error, "message": message})));

    let (status, body) = api.post("C/workers/failed/resume", "").await;
    let error = json!({"type": "PreviousInvocationFailed", "details": "trap"});
    let message = "Previous invocation failed: trap";
    assert_eq!((status, body), (500, json!({"golemError": error, "message": message})));
}

#[tokio::test]
async fn creating_a_worker_of_an_unknown_component_is_404() {
    let path = format!("/v1/components/{OTHER_ID}/workers");
    let (status, body) = Api::new().post(&path, r#"{"name":"a","args":[],"env":{}}"#).await;
    assert_eq!(status, 404);
    assert!(body["error"].as_str().unwrap().starts_with("Couldn't retrieve the component"));
}

#[tokio::test]
async fn odd_names_and_ids_are_400() {
    let api = Api::new();
    let (status, body) = api.get("C/workers/-x").await;
    let expected = "Invalid worker name: Worker name must not start with a dash";
    assert_eq!((status, body), (400, json!({"errors": [expected]})));
    for path in ["C/workers/a%20b", "C/workers/a%2Fb", "C/workers/a:b", "C/workers/%ff"] {
        assert_eq!(api.get(path).await.0, 400, "{path}");
    }
    let (status, body) = api.get("/v1/components/nonsense/workers/a").await;
    assert_eq!(status, 400);
    assert!(reason(&body).starts_with("Invalid component id: nonsense"));
    let (status, body) = api.post("C/workers", r#"{"name":"a b","args":[],"env":{}}"#).await;
    assert_eq!((status, reason(&body).starts_with("Invalid worker name")), (400, true));
}

#[tokio::test]
async fn a_worker_may_be_called_find() {
    let api = Api::new();
    let (status, body) = api.get("C/workers/find").await;
    assert_eq!((status, &body["workerId"]["workerName"]), (200, &json!("find")));
    assert_eq!(api.call("DELETE", "C/workers/find", "").await, (200, json!({})));
    assert_eq!(api.post("C/workers/find/resume", "").await, (200, json!({})));
    let (status, body) = api.post("C/workers/find", "{}").await;
    assert_eq!((status, body["workers"].as_array().unwrap().len()), (200, 1));
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_400_with_the_reason() {
    let api = Api::new();
    for (body, expected) in [
        ("{\"name\":", "The request body is not valid JSON"),
        ("", "The request body is not valid JSON"),
        ("{\"name\":\"a\"}", "Unexpected request body: missing field `args`"),
        ("{\"name\":\"a\",\"args\":[],\"env\":{}}x", "The request body is not valid JSON"),
    ] {
        let (status, answer) = api.post("C/workers", body).await;
        assert_eq!(status, 400);
        assert!(reason(&answer).starts_with(expected), "{answer}");
    }
    let request = |kind: &str, body: Vec<u8>| {
        let uri = expand("C/workers");
        let request = axum::http::Request::post(uri).header("content-type", kind);
        request.body(axum::body::Body::from(body)).unwrap()
    };
    let (status, answer) =
        api.json(request("application/json", b"{\"name\":\"\xff\"}".into())).await;
    assert_eq!(status, 400);
    assert!(reason(&answer).contains("not valid UTF-8"));
    let (status, answer) = api.json(request("text/plain", b"{}".into())).await;
    assert_eq!(status, 400);
    assert!(reason(&answer).contains("Content-Type: application/json"));
    let (status, answer) = api.json(request("application/json", vec![b' '; 5000])).await;
    assert_eq!(status, 400);
    assert!(reason(&answer).contains("too large: more than 1000 bytes"));
}

#[tokio::test]
async fn enumeration_understands_filters_cursor_and_count() {
    let api = Api::new();
    let path =
        "C/workers?filter=status%20%3D%20Idle&filter=env.R+=+eu&count=2&precise=true&cursor=0/1536";
    let (status, body) = api.get(path).await;
    assert_eq!((status, &body["cursor"]), (200, &json!(null)));
    let asked = api.fake.last();
    assert!(asked.contains("And") && asked.contains("Idle") && asked.contains("\"R\""), "{asked}");
    assert!(asked.ends_with("Some(Cursor { cursor: 1536, layer: 0 }) 2 true"), "{asked}");
    let (_, body) = api.get("C/workers?count=100000").await;
    assert_eq!(body["cursor"], json!({"cursor": 1536, "layer": 0}));
    assert_eq!(api.fake.last(), "list None None 100 false");
    api.get("C/workers").await;
    assert_eq!(api.fake.last(), "list None None 50 false");
    for wrong in ["filter=version%3E%3D1", "cursor=5", "count=x", "precise=yes", "filter=%zz"] {
        assert_eq!(api.get(&format!("C/workers?{wrong}")).await.0, 400, "{wrong}");
    }
    let find = r#"{"filter":{"type":"Status","comparator":"Equal","value":"Idle"},
        "cursor":{"cursor":1,"layer":0},"count":7,"precise":null}"#;
    assert_eq!(api.post("C/workers/find", find).await.0, 200);
    assert!(api.fake.last().ends_with("Some(Cursor { cursor: 1, layer: 0 }) 7 false"));
}

#[tokio::test]
async fn control_endpoints_pass_their_parameters_on() {
    let api = Api::new();
    for (method, path, body, asked) in [
        ("POST", "W/interrupt", "", "interrupt false cart-7"),
        ("POST", "W/interrupt?recovery-immediately=true", "", "interrupt true cart-7"),
        ("POST", "W/resume", "", "resume cart-7"),
        ("DELETE", "W", "", "delete cart-7"),
        ("DELETE", "C/workers/missing", "", "delete missing"),
        ("POST", "W/update", r#"{"mode":"Manual","targetVersion":4}"#, "update Manual 4 cart-7"),
        (
            "POST",
            "W/revert",
            r#"{"type":"revertToOplogIndex","lastOplogIndex":9}"#,
            "revert RevertToOplogIndex { last_oplog_index: 9 } cart-7",
        ),
        ("POST", "W/fork", r#"{"targetWorkerName":"b","oplogIndexCutOff":5}"#, "fork b 5 cart-7"),
    ] {
        assert_eq!(api.call(method, path, body).await, (200, json!({})), "{path}");
        assert_eq!(api.fake.last(), asked);
    }
    let (status, body) = api.call("DELETE", "W/invocations/key%201", "").await;
    assert_eq!((status, body), (200, json!({"canceled": true})));
    assert_eq!(api.fake.last(), "cancel key 1 cart-7");
}

#[tokio::test]
async fn promises_are_completed_with_bytes_as_numbers() {
    let api = Api::new();
    let (status, body) = api.post("W/complete", r#"{"oplogIdx":5,"data":[104,105]}"#).await;
    assert_eq!((status, body), (200, json!(true)));
    assert_eq!(api.fake.last(), "complete 5 b\"hi\" cart-7");
    assert_eq!(api.post("W/complete", r#"{"oplogIdx":1,"data":[]}"#).await, (200, json!(false)));
    assert_eq!(api.post("W/complete", r#"{"oplogIdx":1,"data":[256]}"#).await.0, 400);
}

#[tokio::test]
async fn a_panic_is_a_500_of_the_union() {
    let (status, body) = Api::new().get("C/workers/boom").await;
    assert_eq!((status, &body["golemError"]["type"]), (500, &json!("Unknown")));
}

#[tokio::test]
async fn oplog_pages_by_index_query_or_cursor() {
    let api = Api::new();
    let (status, body) = api.get("W/oplog?count=5000&from=0").await;
    assert_eq!(status, 200);
    assert_eq!(body["next"], json!({"next_oplog_index": 2, "current_component_version": 0}));
    assert_eq!(body["entries"][0]["oplogIndex"], 1);
    let position = "OplogPosition { next_oplog_index: 1, current_component_version: 0 }";
    assert_eq!(api.fake.last(), format!("oplog {position} 100 cart-7"));
    let (_, body) = api.get("W/oplog?count=10&cursor=101-4&from=3").await;
    assert_eq!(body["next"], json!(null));
    let position = "OplogPosition { next_oplog_index: 101, current_component_version: 4 }";
    assert_eq!(api.fake.last(), format!("oplog {position} 10 cart-7"));
    assert_eq!(api.get("W/oplog?count=10&query=a+AND+b").await.0, 200);
    assert!(api.fake.asked.lock().unwrap().contains(&"search a AND b".to_owned()));
    for wrong in
        ["", "count=0", "count=x", "count=1&from=1&query=a", "count=1&cursor=7", "count=1&kinds=x"]
    {
        assert_eq!(api.get(&format!("W/oplog?{wrong}")).await.0, 400, "{wrong}");
    }
}

#[tokio::test]
async fn files_are_found_by_encoded_and_by_nested_paths() {
    let api = Api::new();
    for path in ["W/files", "W/files/", "W/files/%2F", "W/files/dir%2Fsub", "W/files/dir/sub"] {
        assert_eq!(api.get(path).await, (200, json!({"nodes": []})), "{path}");
    }
    for path in
        ["W/file-contents/a.txt", "W/file-contents/dir%2Fa.txt", "W/file-contents/dir/a.txt"]
    {
        let request = axum::http::Request::get(expand(path)).body(axum::body::Body::empty());
        let response = api.send(request.unwrap()).await;
        assert_eq!(response.headers()["content-type"], "application/octet-stream");
        assert_eq!(text(response).await, "hello", "{path}");
    }
    assert_eq!(api.get("W/files/a.txt").await.0, 400);
    assert_eq!(api.get("W/files/none").await.0, 404);
    assert_eq!(api.get("W/file-contents/dir").await.0, 400);
    let (status, body) = api.get("W/file-contents/none").await;
    assert_eq!((status, body), (404, json!({"error": "File not found: /none"})));
}
