//! The endpoints about the server itself, and the answers for paths that do not exist.

use crate::endpoint::{Endpoint, get};
use crate::errors::{Answer, ApiError, Empty, Json};
use crate::openapi;
use crate::state::{App, COMPATIBLE_VERSION};
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Value, json};

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        get("/", root).named("root", "What this server is.").answers("ServerInfo"),
        get("/version", version)
            .named("version", "The version of the API, for clients that compare it to theirs.")
            .answers("VersionInfo"),
        get("/healthcheck", healthcheck)
            .named(
                "healthcheck",
                "200 when every part is ready, else 503 naming those that are not.",
            )
            .answers("{}"),
        get("/metrics", metrics)
            .named("metrics", "Metrics in the Prometheus text format.")
            .answers_with("text/plain", "text"),
        get("/specs", specs)
            .named("specs", "This document.")
            .answers_with("application/yaml", "text"),
        get("/docs", docs)
            .named("docs", "This document as a page.")
            .answers_with("text/html", "text"),
    ]
}

async fn root(State(app): State<App>) -> Json<Value> {
    Json(json!({
        "name": "emet", "version": app.version, "apiVersion": COMPATIBLE_VERSION,
        "docs": "/docs", "specs": "/specs", "healthcheck": "/healthcheck",
    }))
}

async fn version(State(app): State<App>) -> Json<Value> {
    Json(json!({"version": COMPATIBLE_VERSION, "emetVersion": app.version}))
}

async fn healthcheck(State(app): State<App>) -> Response {
    let missing = (app.readiness)();
    if missing.is_empty() {
        return Json(Empty {}).into_response();
    }
    let error = format!("Not ready: {}", missing.join(", "));
    let body = Json(json!({"error": error, "notReady": missing}));
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

async fn metrics(State(app): State<App>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (app.metrics)())
}

async fn specs() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/yaml; charset=utf-8")], openapi::document())
}

async fn docs() -> Html<String> {
    Html(openapi::page())
}

/// 404 of paths that are no endpoint.
pub(crate) async fn not_found(method: Method, uri: Uri) -> Answer<Empty> {
    if uri.path() == "/v1/api" || uri.path().starts_with("/v1/api/") {
        return Err(ApiError::not_found(
            "The API gateway (definitions, deployments, security schemes) is not offered by this \
             server (docs/errors/api-gateway-not-offered.md)",
        ));
    }
    Err(ApiError::not_found(format!("No such endpoint: {method} {}; see /docs", uri.path())))
}

/// 405 of endpoints that have other methods.
pub(crate) async fn method_not_allowed(method: Method, uri: Uri) -> Answer<Empty> {
    Err(ApiError::plain(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{method} is not allowed for {}; see /docs", uri.path()),
    ))
}
