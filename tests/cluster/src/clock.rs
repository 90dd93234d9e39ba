//! [`Clock`].

use crate::{Failure, Process};
use std::path::{Path, PathBuf};

/// The wall clock of a process, which can jump while the process runs. Its monotonic clock goes on
/// as on a real machine, whose administrator or NTP daemon has set the time.
///
/// It is libfaketime, which `make setup-cluster` puts into `target/tools`.
pub struct Clock {
    file: PathBuf,
}

impl Clock {
    /// Gives a process a clock, which is right for now, from its next start on.
    ///
    /// # Errors
    /// The library is missing.
    pub fn of(process: &mut Process) -> Result<Self, Failure> {
        let library = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../target/tools/lib/libfaketime.so.1")
            .canonicalize()
            .map_err(|e| format!("libfaketime is missing ({e}): run `make setup-cluster`"))?;
        let clock = Self { file: process.clock_file() };
        clock.jump("+0")?;
        process.environment("LD_PRELOAD", &library.display().to_string());
        process.environment("FAKETIME_TIMESTAMP_FILE", &clock.file.display().to_string());
        process.environment("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        // How long it may go on with what it has read of the file, in seconds.
        process.environment("FAKETIME_CACHE_DURATION", "1");
        Ok(clock)
    }

    /// Sets it, so far from the right time: `+1h`, `-90s`. The process notices within a second.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn jump(&self, offset: &str) -> Result<(), Failure> {
        // In one step, because the process may read it at any time.
        let new = self.file.with_extension("new");
        std::fs::write(&new, offset)?;
        Ok(std::fs::rename(new, &self.file)?)
    }
}
