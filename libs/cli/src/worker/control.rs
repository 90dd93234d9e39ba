//! Creating, showing and steering single workers.

use super::Name;
use crate::context::Context;
use crate::failure::Failure;
use crate::progress::size;
use emet_api::rest::WorkerCreationRequest;
use emet_model::{UpdateRecord, WorkerMetadata};
use serde_json::json;

pub(super) async fn add(
    context: &Context,
    worker: &Name,
    args: Vec<String>,
    env: Vec<(String, String)>,
) -> Result<(), Failure> {
    let id = context.worker_id(&worker.words).await?;
    let name = id.worker_name.clone();
    let request = WorkerCreationRequest { name, args, env: env.into_iter().collect() };
    let created = context.client.create_worker(id.component_id, &request).await?;
    let text = format!("created {} with component version {}", id, created.component_version);
    context.out.done(&created, &text)
}

pub(super) async fn get(context: &Context, worker: &Name) -> Result<(), Failure> {
    let id = context.worker_id(&worker.words).await?;
    let metadata = context.client.worker(&id).await?;
    context.out.show_fields(&metadata, || fields(&metadata))
}

fn fields(metadata: &WorkerMetadata) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("worker", metadata.worker_id.worker_name.clone()),
        ("component", metadata.worker_id.component_id.to_string()),
        ("version", metadata.component_version.to_string()),
        ("status", metadata.status.to_string()),
        ("created", metadata.created_at.to_string()),
        ("pending", metadata.pending_invocation_count.to_string()),
        ("retries", metadata.retry_count.to_string()),
        ("memory", size(metadata.total_linear_memory_size)),
    ];
    if !metadata.args.is_empty() {
        fields.push(("args", metadata.args.join(" ")));
    }
    let env: Vec<String> = metadata.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let updates: Vec<String> = metadata.updates.iter().map(update).collect();
    let resources: Vec<String> = metadata.owned_resources.keys().cloned().collect();
    for (name, lines) in [("env", env), ("updates", updates), ("resources", resources)] {
        if !lines.is_empty() {
            fields.push((name, lines.join("\n")));
        }
    }
    if let Some(error) = &metadata.last_error {
        fields.push(("last error", error.trim_end().to_owned()));
    }
    fields
}

fn update(record: &UpdateRecord) -> String {
    let (state, version, details) = match record {
        UpdateRecord::PendingUpdate { target_version, .. } => ("pending", target_version, None),
        UpdateRecord::SuccessfulUpdate { target_version, .. } => ("done", target_version, None),
        UpdateRecord::FailedUpdate { target_version, details, .. } => {
            ("failed", target_version, details.as_deref())
        }
    };
    let details = details.map(|text| format!(": {text}")).unwrap_or_default();
    format!("{} to version {version} {state}{details}", record.timestamp())
}

pub(super) async fn delete(context: &Context, worker: &Name) -> Result<(), Failure> {
    let id = context.worker_id(&worker.words).await?;
    context.client.delete_worker(&id).await?;
    context.out.done(&json!({}), &format!("deleted {id}"))
}

pub(super) async fn interrupt(
    context: &Context,
    worker: &Name,
    recover_immediately: bool,
) -> Result<(), Failure> {
    let id = context.worker_id(&worker.words).await?;
    context.client.interrupt_worker(&id, recover_immediately).await?;
    let text = if recover_immediately {
        format!("crashed {id}; it recovers by itself")
    } else {
        format!("interrupted {id}; 'emet worker resume' lets it go on")
    };
    context.out.done(&json!({}), &text)
}

pub(super) async fn resume(context: &Context, worker: &Name) -> Result<(), Failure> {
    let id = context.worker_id(&worker.words).await?;
    context.client.resume_worker(&id).await?;
    context.out.done(&json!({}), &format!("resumed {id}"))
}
