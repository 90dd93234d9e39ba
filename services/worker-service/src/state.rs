//! What the front end is given.

use crate::Auth;
use emet_api::{Components, Workers};
use std::sync::Arc;

/// The version told to clients by `GET /version`: of the API, in the numbers of the platform whose
/// API this is. It is the first one of the 1.1 line, since clients warn about servers that are
/// newer than themselves, and every client of the line is served.
pub const COMPATIBLE_VERSION: &str = "1.1.0";

/// Limits of requests and answers (docs/limits.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest component binary of an upload, in bytes.
    pub component_bytes: usize,
    /// Largest archive of initial files of an upload, in bytes.
    pub files_bytes: usize,
    /// Largest JSON body, and largest text part of an upload, in bytes.
    pub json_bytes: usize,
    /// Most workers in one page of an enumeration.
    pub worker_page: u64,
    /// Most entries in one page of an oplog.
    pub oplog_page: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            component_bytes: 64 << 20,
            files_bytes: 64 << 20,
            json_bytes: 16 << 20,
            worker_page: 1000,
            oplog_page: 100,
        }
    }
}

/// Everything the endpoints need.
#[derive(Clone)]
pub struct AppState {
    /// Stores components.
    pub components: Arc<dyn Components>,
    /// Runs workers.
    pub workers: Arc<dyn Workers>,
    /// Names the parts that cannot serve yet (or no longer); none when all is well.
    pub readiness: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// The metrics in the Prometheus text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Who may do what.
    pub auth: Auth,
    /// Version of Emet itself.
    pub version: String,
    /// Limits of requests and answers.
    pub limits: Limits,
}

/// The state as the handlers share it.
pub(crate) type App = Arc<AppState>;
