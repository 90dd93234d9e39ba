//! `emet explain`: the pages of docs/errors.

use crate::context::Context;
use crate::failure::Failure;
use crate::suggest;
use emet_client::ClientError;
use emet_model::WorkerError;

pub(crate) const EXAMPLES: &str = "Examples:
  emet explain                     # list all errors
  emet explain worker-not-found";

/// Which error.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Name of its page; all names if not given.
    error: Option<String>,
}

macro_rules! pages {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../../docs/errors/", $name, ".md")))),*]
    };
}

/// Name and text of every page of docs/errors.
pub const PAGES: &[(&str, &str)] = pages![
    "api-gateway-not-offered"
    "component-already-exists"
    "component-download-failed"
    "component-internal"
    "component-invalid"
    "component-limit-exceeded"
    "component-not-found"
    "component-parse-failed"
    "connection-lost"
    "failed-to-resume-worker"
    "file-system-error"
    "forbidden"
    "get-latest-version-of-component-failed"
    "history-dropped"
    "initial-component-file-download-failed"
    "interrupted"
    "invalid-account"
    "invalid-http-request"
    "invalid-request"
    "invalid-shard-id"
    "no-value-in-message"
    "not-ready"
    "param-type-mismatch"
    "plugins-not-offered"
    "previous-invocation-exited"
    "previous-invocation-failed"
    "promise-already-completed"
    "promise-dropped"
    "promise-not-found"
    "runtime-error"
    "sharding-not-ready"
    "unauthorized"
    "unavailable"
    "unexpected-oplog-entry"
    "unknown"
    "value-mismatch"
    "version-skew"
    "worker-already-exists"
    "worker-creation-failed"
    "worker-not-found"
];

/// The name of a worker error's page: its type in kebab case.
fn page_of_worker(error: &WorkerError) -> Option<String> {
    let json = serde_json::to_value(error).ok()?;
    let mut name = String::new();
    for char in json.get("type")?.as_str()?.chars() {
        if char.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(char.to_ascii_lowercase());
    }
    Some(name)
}

/// The page that explains a refusal of the server.
pub(crate) fn page_of(error: &ClientError) -> Option<String> {
    if let Some(error) = error.worker_error() {
        return page_of_worker(error);
    }
    let text = error.to_string();
    let page = match error.status()? {
        400 if text.starts_with("Plugins") => "plugins-not-offered",
        401 => "unauthorized",
        403 if text.starts_with("The token") => "forbidden",
        403 => "component-limit-exceeded",
        404 if text.starts_with("Worker") => "worker-not-found",
        404 if text.starts_with("Couldn't retrieve") => "get-latest-version-of-component-failed",
        409 => "component-already-exists",
        500 => "component-internal",
        503 => "not-ready",
        _ => return None,
    };
    Some(page.to_owned())
}

pub(crate) fn run(context: &Context, args: &Args) -> Result<(), Failure> {
    let Some(wanted) = &args.error else {
        let names: Vec<&str> = PAGES.iter().map(|(name, _)| *name).collect();
        return context.out.show(&names, || names.join("\n"));
    };
    let name = wanted.trim_end_matches(".md");
    match PAGES.iter().find(|(page, _)| *page == name) {
        Some((_, text)) => context.out.show(&text, || text.trim_end().to_owned()),
        None => {
            let failure = Failure::usage(format!("there is no error called {wanted}"));
            let near = suggest::closest(name, PAGES.iter().map(|(page, _)| *page));
            Err(match near.as_slice() {
                [] => failure.help("'emet explain' lists all"),
                near => failure.help(format!("did you mean {}?", near.join(" or "))),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_errors_lead_to_their_pages() {
        let name = page_of_worker(&WorkerError::NoValueInMessage).unwrap();
        assert_eq!(name, "no-value-in-message");
        assert!(PAGES.iter().any(|(page, _)| *page == name));
    }
}
