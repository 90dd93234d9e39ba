//! `emet worker list` and `find`.

use crate::context::Context;
use crate::failure::Failure;
use crate::output::Table;
use crate::watch::Watch;
use emet_api::WorkerPage;
use emet_api::rest::WorkersMetadataRequest;
use emet_client::Page;
use emet_model::{ComponentId, WorkerFilter, WorkerMetadata};

pub(super) const EXAMPLES: &str = "Examples:
  emet worker list shop:cart
  emet worker list shop:cart --filter 'status = Idle' --filter 'env.REGION = eu'
  emet worker list shop:cart --filter 'name like cart-' --count 10 --watch

A filter is '<property> <comparator> <value>' with the properties name, version, status,
createdAt and env.NAME, and the comparators =, !=, >=, >, <=, <, like and notlike.";

pub(super) const FIND_EXAMPLES: &str = r#"Example:
  emet worker find shop:cart '{"type": "Or", "filters": [
    {"type": "Status", "comparator": "Equal", "value": "Failed"},
    {"type": "Version", "comparator": "Less", "value": 3}]}'"#;

/// Page size of requests.
const PAGE: u64 = 50;

/// An enumeration.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Name or id of the component.
    component: String,
    /// Only workers for which this holds; repeat it for more conditions.
    #[arg(long, short = 'f')]
    filter: Vec<String>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    watch: Watch,
}

/// An enumeration with a filter tree.
#[derive(Clone, Debug, clap::Args)]
pub struct FindArgs {
    /// Name or id of the component.
    component: String,
    /// The filter tree as JSON.
    filter: String,
    #[command(flatten)]
    common: Common,
}

/// Options of both.
#[derive(Clone, Debug, clap::Args)]
struct Common {
    /// At most so many workers; all if not given.
    #[arg(long, short = 'n')]
    count: Option<u64>,
    /// Compute everything from the oplogs, rather than show cached statuses.
    #[arg(long)]
    precise: bool,
}

pub(super) async fn list(context: &Context, args: Args) -> Result<(), Failure> {
    // Bad filters are refused before anything is asked.
    WorkerFilter::parse_all(&args.filter).map_err(Failure::usage)?;
    let component = context.component_id(&args.component).await?;
    let Common { count, precise } = args.common;
    let show = async || {
        let found = all_workers(context, component, &args.filter, count, precise).await?;
        show(context, &found)
    };
    args.watch.run(context, show).await
}

pub(super) async fn find(context: &Context, args: FindArgs) -> Result<(), Failure> {
    let filter: WorkerFilter = serde_json::from_str(&args.filter)
        .map_err(|error| Failure::usage(format!("this is no filter tree: {error}")))?;
    let component = context.component_id(&args.component).await?;
    let limit = args.common.count.unwrap_or(u64::MAX);
    let request = WorkersMetadataRequest {
        filter: Some(filter),
        cursor: None,
        count: Some(limit.min(PAGE)),
        precise: Some(args.common.precise),
    };
    let pages = async |cursor| {
        let request = WorkersMetadataRequest { cursor, ..request.clone() };
        Ok(context.client.find_workers(component, &request).await?)
    };
    show(context, &collect(limit, pages).await?)
}

/// Every worker that fits, up to a number.
pub(super) async fn all_workers(
    context: &Context,
    component: ComponentId,
    filters: &[String],
    count: Option<u64>,
    precise: bool,
) -> Result<Vec<WorkerMetadata>, Failure> {
    let limit = count.unwrap_or(u64::MAX);
    let pages = async |cursor| {
        let page = Page { cursor, count: Some(limit.min(PAGE)), precise };
        Ok(context.client.workers(component, filters, page).await?)
    };
    collect(limit, pages).await
}

/// Reads pages until there is no more, or enough.
async fn collect(
    limit: u64,
    mut page: impl AsyncFnMut(Option<emet_api::Cursor>) -> Result<WorkerPage, Failure>,
) -> Result<Vec<WorkerMetadata>, Failure> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let next = page(cursor).await?;
        found.extend(next.workers);
        if next.cursor.is_none() || found.len() >= limit {
            found.truncate(limit);
            return Ok(found);
        }
        cursor = next.cursor;
    }
}

fn show(context: &Context, workers: &[WorkerMetadata]) -> Result<(), Failure> {
    context.out.show_table(&workers, || {
        let mut table = Table::new(&["WORKER", "STATUS", "VERSION", "PENDING", "CREATED"]);
        for worker in workers {
            table.row(vec![
                worker.worker_id.worker_name.clone(),
                worker.status.to_string(),
                worker.component_version.to_string(),
                worker.pending_invocation_count.to_string(),
                worker.created_at.to_string(),
            ]);
        }
        table
    })
}
