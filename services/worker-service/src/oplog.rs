//! Reading and searching a worker's oplog.

use crate::endpoint::{Endpoint, get};
use crate::errors::{Answer, ApiError, Json};
use crate::extract::{Query, WorkerPath};
use crate::state::App;
use axum::extract::State;
use emet_api::{OplogPage, OplogPosition};

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        get("/v1/components/{component_id}/workers/{worker_name}/oplog", oplog)
            .named("getOplog", "A page of a worker's oplog; read on until a page is empty.")
            .query("from", "integer", "First index to read, 1 by default; not with query.")
            .query("count", "integer", "Page size, at most 100.")
            .required()
            .query("cursor", "string", "nextIndex-componentVersion of the previous page.")
            .query("query", "string", "Only entries that fit; not with from.")
            .answers("GetOplogResponse"),
    ]
}

async fn oplog(
    State(app): State<App>,
    WorkerPath(worker): WorkerPath,
    query: Query,
) -> Answer<OplogPage> {
    query.required("count")?;
    let count: u64 = query.parsed("count")?.unwrap_or_default();
    if count == 0 {
        return Err(ApiError::invalid("Invalid query parameter: count=0: use at least 1"));
    }
    let count = count.min(app.limits.oplog_page);
    let from: Option<u64> = query.parsed("from")?;
    let cursor = query.get("cursor").map(parse_cursor).transpose()?;
    let search = query.get("query");
    if from.is_some() && search.is_some() {
        return Err(ApiError::invalid(
            "Query parameters from and query exclude each other: a search starts at the beginning",
        ));
    }
    let position = cursor.unwrap_or(OplogPosition {
        next_oplog_index: from.unwrap_or(1).max(1),
        current_component_version: 0,
    });
    let page = match search {
        Some(text) => app.workers.search_oplog(worker, text, position, count).await?,
        None => app.workers.oplog(worker, position, count).await?,
    };
    Ok(Json(page))
}

/// Parses `nextIndex-componentVersion`.
fn parse_cursor(text: &str) -> Result<OplogPosition, ApiError> {
    let position = text.split_once('-').and_then(|(index, version)| {
        Some(OplogPosition {
            next_oplog_index: index.parse().ok()?,
            current_component_version: version.parse().ok()?,
        })
    });
    position.ok_or_else(|| {
        ApiError::invalid(format!("Invalid cursor: {text}: use nextIndex-componentVersion"))
    })
}
