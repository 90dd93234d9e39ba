//! The public HTTP front end: the REST API v1 over the services it is given.
//!
//! [`router`] programs against the [`Components`] and [`Workers`] traits alone, so the same front
//! end serves a single process and a cluster. Every endpoint is an entry of [`endpoint::Endpoint`]
//! in the module of its concern; the router *and* the OpenAPI document are built from that one
//! table, so neither can name an endpoint the other does not have.
//!
//! The path of an invocation, in order: [`guard`] (span, metrics, panics), the route, [`auth`]
//! (where tokens are needed), [`extract`] (path, query and body, each failing with the documented
//! JSON), [`invoke`], the service. There is nothing else in between, and nothing is buffered twice.

mod auth;
mod body;
mod components;
mod connect;
mod endpoint;
mod errors;
mod extract;
mod files;
mod guard;
mod invoke;
mod openapi;
mod oplog;
mod plugins;
mod state;
mod system;
mod upload;
mod workers;

pub use auth::{Auth, Tokens};
pub use openapi::document;
pub use state::{AppState, COMPATIBLE_VERSION, Limits};

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use endpoint::Endpoint;
use state::App;
use std::sync::Arc;

/// Every endpoint of the API, in the order of the document.
fn endpoints() -> Vec<Endpoint> {
    [
        components::endpoints(),
        plugins::endpoints(),
        workers::endpoints(),
        invoke::endpoints(),
        oplog::endpoints(),
        files::endpoints(),
        connect::endpoints(),
        auth::endpoints(),
        system::endpoints(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Further ways to endpoints, which the document does not repeat. A worker may be called `find`,
/// which the route of the enumeration would otherwise hide.
const ALIASES: [(&str, &str); 3] = [
    ("get", "/v1/components/{component_id}/workers/find"),
    ("delete", "/v1/components/{component_id}/workers/find"),
    ("get", "/v1/components/{component_id}/workers/{worker_name}/files/"),
];

/// The whole API as one router.
pub fn router(state: AppState) -> Router {
    let mut router: Router<App> = Router::new();
    for endpoint in endpoints() {
        router = router.route(endpoint.path, endpoint.handler);
    }
    let [(_, find), _, (_, files)] = ALIASES;
    router = router
        .route(find, get(workers::metadata).delete(workers::delete))
        .route(files, get(files::list))
        .fallback(system::not_found)
        .method_not_allowed_fallback(system::method_not_allowed);
    if state.auth.is_required() {
        router = router.layer(from_fn_with_state(state.auth.clone(), auth::check));
    }
    router.layer(guard::Guard).with_state(Arc::new(state))
}
