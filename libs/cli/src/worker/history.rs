//! Oplog, revert, cancel and fork.

use super::Name;
use crate::context::Context;
use crate::failure::Failure;
use emet_api::{OplogPage, PublicOplogEntry, RevertTarget};
use emet_model::{IdempotencyKey, OplogIndex, WorkerId};
use serde_json::{Value, json};

pub(super) const OPLOG_EXAMPLES: &str = r#"Examples:
  emet worker oplog shop:cart/cart-7
  emet worker oplog shop:cart/cart-7 --from 100 --count 20
  emet worker oplog shop:cart/cart-7 --query 'exported-function AND "add-item"'
  emet worker oplog shop:cart/cart-7 -o json | jq .entry"#;

pub(super) const REVERT_EXAMPLES: &str = "Examples:
  emet worker revert shop:cart/cart-7 --to-index 120
  emet worker revert shop:cart/cart-7 --last 1";

/// Most entries that a server gives at a time.
const PAGE: u64 = 100;

/// Which entries.
#[derive(Clone, Debug, clap::Args)]
pub struct OplogArgs {
    #[command(flatten)]
    worker: Name,
    /// The first index.
    #[arg(long, conflicts_with = "query")]
    from: Option<OplogIndex>,
    /// At most so many entries; all if not given.
    #[arg(long, short = 'n')]
    count: Option<u64>,
    /// Only entries that fit: words, "phrases", /regexes/, field:word, AND, OR, NOT.
    #[arg(long, short = 'q')]
    query: Option<String>,
}

/// How far back.
#[derive(Clone, Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("target").required(true)))]
pub struct RevertArgs {
    #[command(flatten)]
    worker: Name,
    /// Keep everything up to this oplog index.
    #[arg(long, group = "target", value_name = "INDEX")]
    to_index: Option<OplogIndex>,
    /// Forget so many invocations.
    #[arg(long, group = "target", value_name = "NUMBER")]
    last: Option<u64>,
}

/// What becomes of what.
#[derive(Clone, Debug, clap::Args)]
pub struct ForkArgs {
    /// COMPONENT/WORKER.
    worker: String,
    /// Name of the new worker.
    target: String,
    /// The last oplog index that it takes over.
    #[arg(long, value_name = "INDEX")]
    at: OplogIndex,
}

pub(super) async fn oplog(context: &Context, args: OplogArgs) -> Result<(), Failure> {
    let worker = context.worker_id(&args.worker.words).await?;
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut page = first_page(context, &worker, &args, left.min(PAGE)).await?;
    loop {
        for entry in page.entries.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            context.out.item(entry, || line(entry))?;
        }
        left = left.saturating_sub(page.entries.len() as u64);
        let Some(next) = page.next else { return Ok(()) };
        if left == 0 {
            return Ok(());
        }
        let count = left.min(PAGE);
        page = match &args.query {
            Some(query) => context.client.search_oplog(&worker, query, Some(next), count).await?,
            None => context.client.oplog_after(&worker, next, count).await?,
        };
    }
}

async fn first_page(
    context: &Context,
    worker: &WorkerId,
    args: &OplogArgs,
    count: u64,
) -> Result<OplogPage, Failure> {
    Ok(match &args.query {
        Some(query) => context.client.search_oplog(worker, query, None, count).await?,
        None => context.client.oplog(worker, args.from.unwrap_or(1), count).await?,
    })
}

/// An entry in one line: index, time, type, and what else it holds.
fn line(entry: &PublicOplogEntry) -> String {
    let text = |key: &str| entry.entry.get(key).and_then(Value::as_str).unwrap_or_default();
    let fields = entry.entry.as_object().into_iter().flatten();
    let fields = fields.filter(|(key, _)| *key != "type" && *key != "timestamp");
    let fields = fields.map(|(key, value)| format!("{key}={}", brief(value)));
    let fields = fields.collect::<Vec<_>>().join(" ");
    let line =
        format!("{:>6}  {}  {:<27} {fields}", entry.oplog_index, text("timestamp"), text("type"));
    line.trim_end().to_owned()
}

/// A value, without the types of typed values, cut where it gets long.
fn brief(value: &Value) -> String {
    const LONGEST: usize = 120;
    let plain = match value {
        Value::Object(fields) if fields.contains_key("typ") => fields.get("value").unwrap_or(value),
        other => other,
    };
    let text = match plain {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(brief).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text,
    }
}

pub(super) async fn revert(context: &Context, args: RevertArgs) -> Result<(), Failure> {
    let worker = context.worker_id(&args.worker.words).await?;
    let target = match (args.to_index, args.last) {
        (Some(last_oplog_index), _) => RevertTarget::RevertToOplogIndex { last_oplog_index },
        (None, number) => {
            RevertTarget::RevertLastInvocations { number_of_invocations: number.unwrap_or(1) }
        }
    };
    context.client.revert_worker(&worker, target).await?;
    context.out.done(&json!({}), &format!("reverted {worker}"))
}

/// Fails if the states differ, so that scripts see it.
pub(super) async fn verify(context: &Context, worker: &Name) -> Result<(), Failure> {
    let worker = context.worker_id(&worker.words).await?;
    let found = context.client.verify_worker(&worker).await?;
    let checkpoint = found
        .checkpoint
        .map_or_else(|| "no checkpoint".to_owned(), |index| format!("the checkpoint at {index}"));
    let text = match &found.not_compared {
        Some(reason) => format!("not compared: {reason}"),
        None => format!(
            "{worker}: {} entries replayed; compared with the worker and {checkpoint}",
            found.last_oplog_index
        ),
    };
    context.out.done(&found, &text)?;
    match found.equal || found.not_compared.is_some() {
        true => Ok(()),
        false => Err(Failure::new(format!("the states differ: {}", found.differences.join("; ")))),
    }
}

pub(super) async fn cancel(context: &Context, worker: &Name, key: String) -> Result<(), Failure> {
    let worker = context.worker_id(&worker.words).await?;
    let canceled = context.client.cancel_invocation(&worker, &IdempotencyKey(key)).await?;
    let text = if canceled { "cancelled" } else { "it has completed; nothing to cancel" };
    context.out.done(&json!({"canceled": canceled}), text)
}

pub(super) async fn fork(context: &Context, args: ForkArgs) -> Result<(), Failure> {
    let source = context.worker_id(&[args.worker]).await?;
    context.client.fork_worker(&source, &args.target, args.at).await?;
    let text = format!("{} starts from {source} up to index {}", args.target, args.at);
    context.out.done(&json!({}), &text)
}
