//! The endpoints of a worker's life: creation, metadata, enumeration, control.

use crate::endpoint::{Endpoint, delete as delete_of, get, post};
use crate::errors::{Answer, ApiError, Empty, Json, done};
use crate::extract::{ComponentPath, JsonBody, Query, Segments, WorkerPath, valid_name};
use crate::state::App;
use axum::extract::State;
use emet_api::rest::{
    CancelResponse, CompleteParameters, ForkWorkerRequest, UpdateWorkerRequest,
    WorkerCreationRequest, WorkerCreationResponse, WorkersMetadataRequest,
};
use emet_api::{Cursor, RevertTarget, Verification, WorkerPage};
use emet_model::{IdempotencyKey, PromiseId, WorkerError, WorkerFilter, WorkerId, WorkerMetadata};

/// Page size of an enumeration that names none.
const DEFAULT_PAGE: u64 = 50;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let mut all = enumeration();
    all.extend(life());
    all.extend(history());
    all
}

fn enumeration() -> Vec<Endpoint> {
    vec![
        post("/v1/components/{component_id}/workers", create)
            .named("launchNewWorker", "Creates a worker of the latest version and loads it.")
            .body("WorkerCreationRequest")
            .answers("WorkerCreationResponse"),
        get("/v1/components/{component_id}/workers", list)
            .named("getWorkersMetadata", "A page of a component's workers, in order of creation.")
            .query("filter", "string", "<property> <comparator> <value>; all of them must hold.")
            .repeated()
            .query("cursor", "string", "layer/cursor of the previous page.")
            .query("count", "integer", "Page size, 50 by default.")
            .query("precise", "boolean", "Compute from the oplogs instead of cached statuses.")
            .answers("WorkersMetadataResponse"),
        post("/v1/components/{component_id}/workers/find", find)
            .named("findWorkersMetadata", "The enumeration with a filter tree.")
            .body("WorkersMetadataRequest")
            .answers("WorkersMetadataResponse"),
        get("/v1/components/{component_id}/workers/{worker_name}", metadata)
            .named("getWorkerMetadata", "Everything known of a worker.")
            .answers("WorkerMetadata"),
        delete_of("/v1/components/{component_id}/workers/{worker_name}", delete)
            .named("deleteWorker", "Deletes a worker and all that belongs to it, if it exists.")
            .answers("{}"),
    ]
}

fn life() -> Vec<Endpoint> {
    vec![
        post("/v1/components/{component_id}/workers/{worker_name}/complete", complete)
            .named("completePromise", "Completes a promise; false if it was completed before.")
            .body("CompleteParameters")
            .answers("boolean"),
        post("/v1/components/{component_id}/workers/{worker_name}/interrupt", interrupt)
            .named("interruptWorker", "Stops what a worker is executing.")
            .query("recovery-immediately", "boolean", "Go on at once: a simulated crash.")
            .answers("{}"),
        post("/v1/components/{component_id}/workers/{worker_name}/resume", resume)
            .named("resumeWorker", "Lets an interrupted or suspended worker go on.")
            .answers("{}"),
        post("/v1/components/{component_id}/workers/{worker_name}/update", update)
            .named("updateWorker", "Requests an update to another component version.")
            .body("UpdateWorkerRequest")
            .answers("{}"),
    ]
}

fn history() -> Vec<Endpoint> {
    vec![
        post("/v1/components/{component_id}/workers/{worker_name}/revert", revert)
            .named("revertWorker", "Forgets the end of a worker's history.")
            .body("RevertWorkerTarget")
            .answers("{}"),
        post("/v1/components/{component_id}/workers/{worker_name}/verify", verify)
            .named(
                "verifyWorker",
                "Compares a worker and its newest checkpoint with a replay of its log. An \
                 extension: the original API has no such endpoint.",
            )
            .answers("Verification"),
        delete_of(
            "/v1/components/{component_id}/workers/{worker_name}/invocations/{idempotency_key}",
            cancel,
        )
        .named("cancelInvocation", "Cancels a queued invocation; false if it has completed.")
        .answers("CancelResponse"),
        post("/v1/components/{component_id}/workers/{worker_name}/fork", fork)
            .named(
                "forkWorker",
                "Makes a new worker from the beginning of a worker's history. An extension: \
                 the original API has no such endpoint.",
            )
            .body("ForkWorkerRequest")
            .answers("{}"),
    ]
}

async fn create(
    State(app): State<App>,
    ComponentPath(component): ComponentPath,
    JsonBody(request): JsonBody<WorkerCreationRequest>,
) -> Answer<WorkerCreationResponse> {
    valid_name(&request.name)?;
    let worker_id = WorkerId::new(component, request.name);
    let created = app.workers.create(worker_id.clone(), request.args, request.env).await;
    let component_version = created.map_err(|error| match error {
        WorkerError::GetLatestVersionOfComponentFailed { .. } => {
            ApiError::not_found(error.to_string())
        }
        other => other.into(),
    })?;
    Ok(Json(WorkerCreationResponse { worker_id, component_version }))
}

async fn list(
    State(app): State<App>,
    ComponentPath(component): ComponentPath,
    query: Query,
) -> Answer<WorkerPage> {
    let filter = WorkerFilter::parse_all(&query.all("filter")).map_err(ApiError::invalid)?;
    let cursor = query.get("cursor").map(parse_cursor).transpose()?;
    let count = page_size(&app, query.parsed("count")?);
    let precise = query.parsed("precise")?.unwrap_or(false);
    Ok(Json(app.workers.list(component, filter, cursor, count, precise).await?))
}

async fn find(
    State(app): State<App>,
    ComponentPath(component): ComponentPath,
    JsonBody(request): JsonBody<WorkersMetadataRequest>,
) -> Answer<WorkerPage> {
    let count = page_size(&app, request.count);
    let precise = request.precise.unwrap_or(false);
    let page = app.workers.list(component, request.filter, request.cursor, count, precise);
    Ok(Json(page.await?))
}

fn page_size(app: &App, asked: Option<u64>) -> u64 {
    asked.unwrap_or(DEFAULT_PAGE).min(app.limits.worker_page)
}

/// Parses `layer/cursor`.
fn parse_cursor(text: &str) -> Result<Cursor, ApiError> {
    let cursor = text.split_once('/').and_then(|(layer, cursor)| {
        Some(Cursor { cursor: cursor.parse().ok()?, layer: layer.parse().ok()? })
    });
    cursor.ok_or_else(|| ApiError::invalid(format!("Invalid cursor: {text}: use layer/cursor")))
}

pub(crate) async fn metadata(
    State(app): State<App>,
    WorkerPath(worker): WorkerPath,
) -> Answer<WorkerMetadata> {
    Ok(Json(app.workers.metadata(worker).await?))
}

pub(crate) async fn delete(
    State(app): State<App>,
    WorkerPath(worker): WorkerPath,
) -> Answer<Empty> {
    app.workers.delete(worker).await?;
    done()
}

async fn complete(
    State(app): State<App>,
    WorkerPath(worker_id): WorkerPath,
    JsonBody(request): JsonBody<CompleteParameters>,
) -> Answer<bool> {
    let promise = PromiseId { worker_id, oplog_idx: request.oplog_idx };
    Ok(Json(app.workers.complete_promise(promise, request.data.into()).await?))
}

async fn interrupt(
    State(app): State<App>,
    WorkerPath(worker): WorkerPath,
    query: Query,
) -> Answer<Empty> {
    let recover_immediately = query.parsed("recovery-immediately")?.unwrap_or(false);
    app.workers.interrupt(worker, recover_immediately).await?;
    done()
}

async fn resume(State(app): State<App>, WorkerPath(worker): WorkerPath) -> Answer<Empty> {
    app.workers.resume(worker).await?;
    done()
}

async fn update(
    State(app): State<App>,
    WorkerPath(worker): WorkerPath,
    JsonBody(request): JsonBody<UpdateWorkerRequest>,
) -> Answer<Empty> {
    app.workers.update(worker, request.mode, request.target_version).await?;
    done()
}

async fn revert(
    State(app): State<App>,
    WorkerPath(worker): WorkerPath,
    JsonBody(target): JsonBody<RevertTarget>,
) -> Answer<Empty> {
    app.workers.revert(worker, target).await?;
    done()
}

async fn verify(State(app): State<App>, WorkerPath(worker): WorkerPath) -> Answer<Verification> {
    Ok(Json(app.workers.verify(worker).await?))
}

async fn cancel(State(app): State<App>, segments: Segments) -> Answer<CancelResponse> {
    let key = IdempotencyKey(segments.text("idempotency_key")?.to_owned());
    let canceled = app.workers.cancel(segments.worker()?, key).await?;
    Ok(Json(CancelResponse { canceled }))
}

async fn fork(
    State(app): State<App>,
    WorkerPath(source): WorkerPath,
    JsonBody(request): JsonBody<ForkWorkerRequest>,
) -> Answer<Empty> {
    valid_name(&request.target_worker_name)?;
    let target = WorkerId::new(source.component_id, request.target_worker_name);
    app.workers.fork(source, target, request.oplog_index_cut_off).await?;
    done()
}
