//! Processor time of processes.

use anyhow::{Context, Result};
use std::time::Duration;

/// Length of a tick of `/proc`, which is the same on every Linux (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// What processes have used so far, in user mode and in the kernel.
pub(crate) fn used(processes: &[u32]) -> Result<Duration> {
    processes.iter().try_fold(Duration::ZERO, |sum, id| Ok(sum + used_by(*id)?))
}

fn used_by(id: u32) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    parse(&text).with_context(|| format!("unknown form of /proc/{id}/stat: {text}"))
}

/// Fields 14 and 15; the name, which may hold anything, ends with the last parenthesis (proc(5)).
fn parse(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let kernel: u32 = fields.next()?.parse().ok()?;
    Some(TICK * (user + kernel))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_confuse() {
        let stat = "7 (a) b 1) S 1 7 7 0 -1 4194304 1 0 0 0 150 50 0 0 20 0 1 0";
        assert_eq!(parse(stat), Some(Duration::from_secs(2)));
        assert!(used(&[std::process::id()]).is_ok());
        assert!(used(&[u32::MAX]).is_err());
    }
}
