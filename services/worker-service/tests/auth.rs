//! Credentials at every endpoint: missing, bad, insufficient, right.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response};
use common::{Fake, ID};
use emet_storage::memory::MemoryKv;
use emet_storage::{Batch, KvStore};
use emet_worker_service::{Auth, Tokens, document, router};
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

const BOOTSTRAP: &str = "0123456789abcdef0123456789abcdef";

struct Api {
    router: Router,
    kv: Arc<dyn KvStore>,
}

fn bootstrap() -> emet_config::Secret {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), BOOTSTRAP).unwrap();
    emet_config::Secret::read(file.path()).unwrap()
}

fn api_with(auth: impl Fn(Arc<Tokens>) -> Auth) -> Api {
    let kv: Arc<dyn KvStore> = Arc::new(MemoryKv::default());
    let tokens = Arc::new(Tokens::new(kv.clone(), Some(&bootstrap())));
    let fake = Arc::new(Fake::default());
    let state =
        emet_worker_service::AppState { auth: auth(tokens), ..common::state(&fake, Vec::new()) };
    Api { router: router(state), kv }
}

fn api() -> Api {
    api_with(Auth::required)
}

impl Api {
    async fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &str,
    ) -> Response<Body> {
        let mut request =
            Request::builder().method(method).uri(path).header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.router
            .clone()
            .oneshot(request.body(Body::from(body.to_owned())).unwrap())
            .await
            .unwrap()
    }

    async fn json(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &str,
    ) -> (u16, Value) {
        let response = self.send(method, path, token, body).await;
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn token(&self, scopes: &[&str]) -> String {
        let body = json!({"name": format!("test {scopes:?}"), "scopes": scopes}).to_string();
        let (status, created) = self.json("POST", "/v1/tokens", Some(BOOTSTRAP), &body).await;
        assert_eq!(status, 200, "{created}");
        created["token"].as_str().unwrap().to_owned()
    }
}

/// Method, path and scope of every endpoint, by the served document.
fn endpoints() -> Vec<(String, String, Option<String>)> {
    let document: serde_yaml_ng::Value = serde_yaml_ng::from_str(&document()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_mapping().unwrap() {
        for (method, operation) in item.as_mapping().unwrap() {
            let scope = operation["security"][1]["token"][0].as_str().map(str::to_owned);
            let path = path.as_str().unwrap().replace("{component_id}", ID);
            let path = path.replace("{version}", "1").replace("{worker_name}", "w");
            let path = path.replace(['{', '}'], "");
            all.push((method.as_str().unwrap().to_uppercase(), path, scope));
        }
    }
    all
}

#[tokio::test]
async fn every_endpoint_refuses_missing_bad_and_insufficient_credentials() {
    let api = api();
    let (read, invoke, admin) =
        (api.token(&["read"]).await, api.token(&["invoke"]).await, api.token(&["admin"]).await);
    let both = api.token(&["read", "invoke"]).await;
    let other_secret =
        format!("{}{}", &read[..read.len() - 1], if read.ends_with('0') { '1' } else { '0' });
    let bad = ["", "x", "emet_", "emet_0_0", &read[..30], &other_secret, &BOOTSTRAP[1..]];
    let all = endpoints();
    assert!(all.len() > 50);
    let open: Vec<&str> =
        all.iter().filter(|(_, _, s)| s.is_none()).map(|(_, path, _)| path.as_str()).collect();
    assert_eq!(open, ["/", "/version", "/healthcheck", "/metrics", "/specs", "/docs"]);
    for (method, path, scope) in &all {
        let what = format!("{method} {path}");
        let Some(scope) = scope else {
            for token in [None, Some("x"), Some(read.as_str())] {
                assert_eq!(api.send(method, path, token, "").await.status(), 200, "{what}");
            }
            continue;
        };
        let missing = api.send(method, path, None, "{}").await;
        assert_eq!(missing.status(), 401, "{what}");
        assert_eq!(missing.headers()["www-authenticate"], "Bearer realm=\"emet\"");
        assert_eq!(missing.headers()["content-type"], "application/json; charset=utf-8");
        for token in bad {
            let (status, body) = api.json(method, path, Some(token), "{}").await;
            assert_eq!(status, 401, "{what} {token}");
            assert!(body["error"].as_str().unwrap().contains("not valid"), "{body}");
            assert_eq!(body.as_object().unwrap().len(), 1);
        }
        for (token, scopes) in [
            (&read, "read"),
            (&invoke, "invoke"),
            (&both, "read invoke"),
            (&admin, "read invoke admin"),
        ] {
            let (status, body) = api.json(method, path, Some(token), "{}").await;
            if scopes.split(' ').any(|own| own == scope) {
                assert!(status != 401 && status != 403, "{what} {scopes}: {status} {body}");
            } else {
                assert_eq!(status, 403, "{what} {scopes}");
                assert!(
                    body["error"].as_str().unwrap().contains(&format!("the scope '{scope}'")),
                    "{body}"
                );
            }
        }
    }
}

#[tokio::test]
async fn other_ways_in_are_closed_too() {
    let api = api();
    let read = api.token(&["read"]).await;
    let find = format!("/v1/components/{ID}/workers/find");
    assert_eq!(api.send("GET", &find, None, "").await.status(), 401);
    assert_eq!(api.send("DELETE", &find, Some(&read), "").await.status(), 403);
    assert_eq!(api.send("HEAD", "/v1/components", None, "").await.status(), 401);
    assert_eq!(api.send("HEAD", "/v1/components", Some(&read), "").await.status(), 200);
    // A method that is not there asks for everything, and tells nobody else that it is not there.
    assert_eq!(api.send("PATCH", "/v1/components", None, "").await.status(), 401);
    let (status, _) = api.json("PATCH", "/v1/components", Some(BOOTSTRAP), "").await;
    assert_eq!(status, 405);
    let basic = Request::builder().uri("/v1/components").header("authorization", "Basic YTpi");
    let refused = api.router.clone().oneshot(basic.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(refused.status(), 401);
    // Nothing is behind a path that does not exist.
    assert_eq!(api.send("GET", "/v1/nothing", None, "").await.status(), 404);
}

#[tokio::test]
async fn tokens_are_made_listed_and_revoked() {
    let api = api();
    let token = api.token(&["read"]).await;
    let (_, listed) = api.json("GET", "/v1/tokens", Some(BOOTSTRAP), "").await;
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["scopes"], json!(["read"]));
    let id = listed[0]["id"].as_str().unwrap();
    assert!(!listed.to_string().contains(token.rsplit('_').next().unwrap()));
    assert_eq!(api.send("GET", "/v1/components", Some(&token), "").await.status(), 200);
    assert_eq!(
        api.json("DELETE", &format!("/v1/tokens/{id}"), Some(BOOTSTRAP), "").await,
        (200, json!({}))
    );
    assert_eq!(api.send("GET", "/v1/components", Some(&token), "").await.status(), 401);
    assert_eq!(
        api.send("DELETE", &format!("/v1/tokens/{id}"), Some(BOOTSTRAP), "").await.status(),
        404
    );
}

#[tokio::test]
async fn secrets_are_not_in_the_store() {
    let api = api();
    let token = api.token(&["admin"]).await;
    let secret = token.rsplit('_').next().unwrap();
    assert_eq!(secret.len(), 64);
    let stored = api.kv.scan("tokens", &[], None, 10).await.unwrap();
    assert_eq!(stored.len(), 1);
    assert!(!String::from_utf8_lossy(&stored[0].1).contains(secret));
    // Two tokens have nothing in common.
    assert_ne!(api.token(&["admin"]).await, token);
}

#[tokio::test]
async fn tokens_expire() {
    let api = api();
    let body = json!({"name": "short", "scopes": ["read"], "expiresInSeconds": 3600}).to_string();
    let (_, created) = api.json("POST", "/v1/tokens", Some(BOOTSTRAP), &body).await;
    let (id, token) = (created["id"].as_str().unwrap(), created["token"].as_str().unwrap());
    assert_eq!(api.send("GET", "/v1/components", Some(token), "").await.status(), 200);
    // Its end is put into the past, as another process sees the store.
    let mut record: Value =
        serde_json::from_slice(&api.kv.get("tokens", id.as_bytes()).await.unwrap().unwrap())
            .unwrap();
    record["expires_at"] = record["created_at"].clone();
    let batch = Batch::new().put("tokens", id.as_bytes(), record.to_string());
    api.kv.apply(batch).await.unwrap();
    let tokens = Arc::new(Tokens::new(api.kv.clone(), None));
    let fake = Arc::new(Fake::default());
    let state = emet_worker_service::AppState {
        auth: Auth::required(tokens),
        ..common::state(&fake, Vec::new())
    };
    let other = Api { router: router(state), kv: api.kv.clone() };
    assert_eq!(other.send("GET", "/v1/components", Some(token), "").await.status(), 401);
    assert_eq!(other.send("GET", "/v1/components", Some(BOOTSTRAP), "").await.status(), 401);
}

#[tokio::test]
async fn nonsense_is_no_token() {
    let api = api();
    for body in [
        json!({"name": "", "scopes": ["read"]}),
        json!({"name": "n\n", "scopes": ["read"]}),
        json!({"name": "n", "scopes": []}),
        json!({"name": "n", "scopes": ["root"]}),
        json!({"name": "n", "scopes": ["read"], "expiresInSeconds": 0}),
        json!({"name": "n".repeat(101), "scopes": ["read"]}),
    ] {
        let (status, answer) =
            api.json("POST", "/v1/tokens", Some(BOOTSTRAP), &body.to_string()).await;
        assert_eq!(status, 400, "{body}");
        assert!(answer["errors"].is_array());
    }
}

#[tokio::test]
async fn without_required_tokens_everything_is_open_and_tokens_can_be_made() {
    let api = api_with(Auth::optional);
    assert_eq!(api.send("GET", "/v1/components", None, "").await.status(), 200);
    assert_eq!(api.send("GET", "/v1/components", Some("x"), "").await.status(), 200);
    let body = json!({"name": "first", "scopes": ["admin"]}).to_string();
    assert_eq!(api.json("POST", "/v1/tokens", None, &body).await.0, 200);
    let none = api_with(|_| Auth::off());
    assert_eq!(none.json("POST", "/v1/tokens", None, &body).await.0, 404);
}

#[tokio::test]
async fn metrics_with_an_address_of_their_own_are_private_here() {
    let api = api_with(|tokens| Auth::required(tokens).with_private_metrics(true));
    let read = api.token(&["read"]).await;
    assert_eq!(api.send("GET", "/metrics", None, "").await.status(), 401);
    assert_eq!(api.send("GET", "/metrics", Some(&read), "").await.status(), 200);
    assert_eq!(api.send("GET", "/healthcheck", None, "").await.status(), 200);
}
