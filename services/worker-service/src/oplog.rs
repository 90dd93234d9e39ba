//! Reading and searching a worker's oplog.

use crate::endpoint::{Endpoint, get};
use crate::errors::{Answer, ApiError, Json};
use crate::extract::{Query, WorkerPath};
use crate::state::App;
use axum::extract::State;
use emet_api::{OplogPage, OplogPosition};
use serde_json::Value;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        get("/v1/components/{component_id}/workers/{worker_name}/oplog", oplog)
            .named("getOplog", "A page of a worker's oplog; read on until a page is empty.")
            .query("from", "integer", "First index to read, 1 by default; not with query.")
            .query("count", "integer", "Page size, at most 100.")
            .required()
            .query("cursor", "string", "nextIndex-componentVersion of the previous page.")
            .query("query", "string", "Only entries that fit; not with from.")
            .query(
                "kinds",
                "string",
                "all: show every entry with its own type; see docs/compatibility.md.",
            )
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
    let all_kinds = match query.get("kinds") {
        None => false,
        Some("all") => true,
        Some(other) => {
            return Err(ApiError::invalid(format!(
                "Invalid query parameter: kinds={other}: use all"
            )));
        }
    };
    let mut page = match search {
        Some(text) => app.workers.search_oplog(worker, text, position, count).await?,
        None => app.workers.oplog(worker, position, count).await?,
    };
    if !all_kinds {
        page.entries.iter_mut().for_each(|entry| show_as_known(&mut entry.entry));
    }
    Ok(Json(page))
}

/// The types that clients of the 1.1 line know. They give up on a page with any other type.
const KNOWN: [&str; 27] = [
    "Create",
    "ImportedFunctionInvoked",
    "ExportedFunctionInvoked",
    "ExportedFunctionCompleted",
    "Suspend",
    "Error",
    "NoOp",
    "Jump",
    "Interrupted",
    "Exited",
    "ChangeRetryPolicy",
    "BeginAtomicRegion",
    "EndAtomicRegion",
    "BeginRemoteWrite",
    "EndRemoteWrite",
    "PendingWorkerInvocation",
    "PendingUpdate",
    "SuccessfulUpdate",
    "FailedUpdate",
    "GrowMemory",
    "CreateResource",
    "DropResource",
    "DescribeResource",
    "Log",
    "Restart",
    "ActivatePlugin",
    "DeactivatePlugin",
];

/// Shows an entry of a newer type as the marker `NoOp`, so that indexes stay dense; its own type
/// goes to `kind`, and its fields stay.
fn show_as_known(entry: &mut Value) {
    let Some(fields) = entry.as_object_mut() else { return };
    let known =
        fields.get("type").and_then(Value::as_str).is_some_and(|kind| KNOWN.contains(&kind));
    if !known && let Some(kind) = fields.insert("type".into(), "NoOp".into()) {
        fields.insert("kind".into(), kind);
    }
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

#[cfg(test)]
mod tests {
    use super::show_as_known;
    use serde_json::json;

    #[test]
    fn newer_types_are_shown_as_markers_with_their_fields() {
        let mut entry =
            json!({"type": "Revert", "timestamp": "t", "dropped_region": {"start": 2, "end": 3}});
        show_as_known(&mut entry);
        let expected = json!({"type": "NoOp", "kind": "Revert", "timestamp": "t", "dropped_region": {"start": 2, "end": 3}});
        assert_eq!(entry, expected);
        let mut known = json!({"type": "Jump", "jump": {"start": 2, "end": 3}});
        show_as_known(&mut known);
        assert_eq!(known, json!({"type": "Jump", "jump": {"start": 2, "end": 3}}));
    }
}
