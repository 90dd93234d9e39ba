//! The plugin endpoints. Plugins are not offered: there are none to list, and none can be made.

use crate::endpoint::{Endpoint, delete, get, post, put};
use crate::errors::{Answer, ApiError, Empty, Json};
use crate::extract::{ComponentPath, Segments, WorkerPath};
use crate::state::App;
use axum::extract::State;
use serde_json::Value;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let mut all = installations();
    all.extend(definitions());
    all
}

fn installations() -> Vec<Endpoint> {
    vec![
        get("/v1/components/{component_id}/versions/{version}/plugins/installs", installed)
            .named("getInstalledPlugins", "The plugins of a component version: none.")
            .answers("[Unsupported]"),
        post("/v1/components/{component_id}/latest/plugins/installs", refuse_on_component)
            .named("installPlugin", "Refused: plugins are not offered.")
            .body("Unsupported")
            .answers("Unsupported"),
        put(
            "/v1/components/{component_id}/versions/latest/plugins/installs/{installation_id}",
            unknown_installation,
        )
        .named("updateInstalledPlugin", "Not found: plugins are not offered.")
        .body("Unsupported")
        .answers("{}"),
        delete(
            "/v1/components/{component_id}/latest/plugins/installs/{installation_id}",
            unknown_installation,
        )
        .named("uninstallPlugin", "Not found: plugins are not offered.")
        .answers("{}"),
        post(
            "/v1/components/{component_id}/workers/{worker_name}/activate-plugin",
            refuse_on_worker,
        )
        .named("activatePlugin", "Refused: plugins are not offered.")
        .query("plugin-installation-id", "uuid", "The installation.")
        .required()
        .answers("{}"),
        post(
            "/v1/components/{component_id}/workers/{worker_name}/deactivate-plugin",
            refuse_on_worker,
        )
        .named("deactivatePlugin", "Refused: plugins are not offered.")
        .query("plugin-installation-id", "uuid", "The installation.")
        .required()
        .answers("{}"),
    ]
}

fn definitions() -> Vec<Endpoint> {
    vec![
        get("/v1/plugins", none)
            .named("listPlugins", "The registered plugins: none.")
            .query("scope", "string", "global or component:<uuid>.")
            .answers("[Unsupported]"),
        post("/v1/plugins", refuse)
            .named("createPlugin", "Refused: plugins are not offered.")
            .body("Unsupported")
            .answers("{}"),
        get("/v1/plugins/{name}", none)
            .named("listPluginVersions", "The versions of a plugin: none.")
            .answers("[Unsupported]"),
        get("/v1/plugins/{name}/{version}", unknown)
            .named("getPlugin", "Not found: plugins are not offered.")
            .answers("Unsupported"),
        delete("/v1/plugins/{name}/{version}", unknown)
            .named("deletePlugin", "Not found: plugins are not offered.")
            .answers("{}"),
        post("/v1/library-plugins", refuse)
            .named("createLibraryPlugin", "Refused: plugins are not offered.")
            .answers("{}"),
        post("/v1/app-plugins", refuse)
            .named("createAppPlugin", "Refused: plugins are not offered.")
            .answers("{}"),
    ]
}

const REFUSAL: &str = "Plugins are not offered by this server (docs/errors/plugins-not-offered.md)";

async fn installed(State(app): State<App>, segments: Segments) -> Answer<Vec<Value>> {
    app.components.get(segments.component()?, Some(segments.version()?)).await?;
    Ok(Json(Vec::new()))
}

async fn none() -> Answer<Vec<Value>> {
    Ok(Json(Vec::new()))
}

async fn refuse() -> Answer<Empty> {
    Err(ApiError::invalid(REFUSAL))
}

async fn refuse_on_component(_: ComponentPath) -> Answer<Empty> {
    refuse().await
}

async fn refuse_on_worker(_: WorkerPath) -> Answer<Empty> {
    refuse().await
}

async fn unknown(segments: Segments) -> Answer<Empty> {
    let (name, version) = (segments.text("name")?, segments.text("version")?);
    Err(ApiError::not_found(format!("Plugin not found: {name} {version}. {REFUSAL}")))
}

async fn unknown_installation(segments: Segments) -> Answer<Empty> {
    segments.component()?;
    let id = segments.text("installation_id")?;
    Err(ApiError::not_found(format!("Plugin installation not found: {id}. {REFUSAL}")))
}
