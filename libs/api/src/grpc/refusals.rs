//! Refusals that do not heal by waiting: somebody has to do something about them.

use emet_config::is_skew;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tonic::{Code, Status};

/// Time after which the same refusal is logged again.
const AGAIN: Duration = Duration::from_secs(60);

/// Whether a service will have nothing to do with this process: its release or its credentials do
/// not fit.
pub fn is_refusal(status: &Status) -> bool {
    is_skew(status) || matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied)
}

/// Logs refusals for those who try again and again: each once a minute.
#[derive(Debug, Default)]
pub struct Refusals {
    told: HashMap<String, Instant>,
}

impl Refusals {
    /// Logs why a call failed if that is a refusal; everything else heals by itself.
    pub fn note(&mut self, service: &str, status: &Status) {
        if !is_refusal(status) {
            return;
        }
        self.told.retain(|_, at| at.elapsed() < AGAIN);
        let reason = status.message();
        if !self.told.contains_key(reason) {
            tracing::warn!(service, "a service refuses this process: {reason}");
            self.told.insert(reason.to_owned(), Instant::now());
        }
    }
}
