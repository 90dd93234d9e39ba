//! Headroom on the disk: writes are refused while free space is short.
//!
//! A database that meets a full disk in the middle of a write stops for good. Refusing early
//! keeps room for what the database still has to write by itself: buffers and compactions.

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a measured figure is trusted.
const TRUST: Duration = Duration::from_millis(100);

pub(super) struct SpaceGuard {
    path: PathBuf,
    margin: u64,
    /// When free space was measured, and what has remained of it since by our own count.
    seen: Option<(Instant, u64)>,
}

impl SpaceGuard {
    pub(super) fn new(path: PathBuf, margin: u64) -> Self {
        Self { path, margin, seen: None }
    }

    /// May `bytes` more be written, while `buffered` bytes wait in memory to be written again?
    /// Writes that free space (`relief`) may use half of the margin. `Err` says what is missing.
    pub(super) fn admit(&mut self, bytes: u64, buffered: u64, relief: bool) -> Result<(), String> {
        let margin = if relief { self.margin / 2 } else { self.margin };
        let needed = margin.saturating_add(bytes).saturating_add(if relief { 0 } else { buffered });
        let free = self.free(needed);
        if free < needed {
            return Err(format!(
                "{free} bytes are free at {}, and {needed} are needed (with {margin} kept back)",
                self.path.display()
            ));
        }
        if let Some((_, free)) = &mut self.seen {
            *free = free.saturating_sub(bytes);
        }
        Ok(())
    }

    /// Free bytes; measured again when the figure is old. A figure that would lead to a refusal
    /// is never trusted. A file system that does not tell is taken as large.
    fn free(&mut self, needed: u64) -> u64 {
        if let Some((at, free)) = self.seen
            && at.elapsed() < TRUST
            && free >= needed
        {
            return free;
        }
        let free = match rustix::fs::statvfs(&self.path) {
            Ok(stat) => stat.f_bavail.saturating_mul(stat.f_frsize),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "cannot measure free space");
                u64::MAX
            }
        };
        self.seen = Some((Instant::now(), free));
        free
    }
}
