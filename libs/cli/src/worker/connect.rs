//! `emet worker connect`.

use super::Name;
use crate::context::Context;
use crate::failure::Failure;
use crate::options::Format;
use emet_api::WorkerEvent;
use std::io::Write;

/// Follows a worker until it is unloaded.
pub(super) async fn connect(context: &Context, worker: &Name) -> Result<(), Failure> {
    let id = context.worker_id(&worker.words).await?;
    let mut events = context.client.connect(&id).await?;
    while let Some(event) = events.next().await {
        let event = event?;
        if context.out.format == Format::Table {
            print(context, &event)?;
        } else {
            context.out.item(&event, String::new)?;
        }
        if event == WorkerEvent::Close {
            break;
        }
    }
    Ok(())
}

/// The worker's output goes where it would go; what is about the worker goes to stderr.
fn print(context: &Context, event: &WorkerEvent) -> Result<(), Failure> {
    let mut err = std::io::stderr().lock();
    match event {
        WorkerEvent::StdOut { bytes, .. } => return context.out.bytes(bytes),
        WorkerEvent::StdErr { bytes, .. } => err.write_all(bytes)?,
        WorkerEvent::Log { timestamp, level, context, message } => {
            let context = if context.is_empty() { String::new() } else { format!(" {context}:") };
            writeln!(err, "{timestamp} {level:<5}{context} {message}")?;
        }
        WorkerEvent::InvocationStart { timestamp, function, idempotency_key } => {
            writeln!(err, "{timestamp} start {function} ({idempotency_key})")?;
        }
        WorkerEvent::InvocationFinished { timestamp, function, idempotency_key } => {
            writeln!(err, "{timestamp} end   {function} ({idempotency_key})")?;
        }
        WorkerEvent::Gap { missed } => writeln!(err, "({missed} events were missed)")?,
        WorkerEvent::Close => writeln!(err, "(the worker was unloaded)")?,
    }
    Ok(())
}
