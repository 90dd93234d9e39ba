//! A line on stderr that says how far an upload is.

use crate::options::colours;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Progress of one upload. On a terminal one line is rewritten, elsewhere nothing is printed.
pub(crate) struct Progress {
    shown: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { shown: std::io::stderr().is_terminal() }
    }

    /// What the client calls with the bytes sent so far.
    pub(crate) fn callback(&self, total: usize) -> Option<Arc<dyn Fn(usize) + Send + Sync>> {
        if !self.shown {
            return None;
        }
        let last = AtomicUsize::new(usize::MAX);
        Some(Arc::new(move |sent| {
            let percent = sent.saturating_mul(100) / total.max(1);
            if last.swap(percent, Ordering::Relaxed) != percent {
                rewrite(&message(sent, total, percent));
            }
        }))
    }

    /// Removes the line.
    pub(crate) fn finish(&self) {
        if self.shown {
            rewrite("");
        }
    }
}

fn message(sent: usize, total: usize, percent: usize) -> String {
    if sent >= total {
        return format!("uploaded {}, the server analyses and compiles it…", size(total as u64));
    }
    format!("uploading {percent:>3} % of {}", size(total as u64))
}

fn rewrite(text: &str) {
    let mut err = std::io::stderr().lock();
    let dim = if colours(&err) { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
    // Nothing can be done about a terminal that is gone.
    let _ = write!(err, "\r\x1b[K{}{text}{}", dim.0, dim.1);
    let _ = err.flush();
}

/// Bytes as people read them.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut name = "B";
    for unit in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        name = unit;
    }
    format!("{value:.1} {name}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB")]
        {
            assert_eq!(super::size(bytes), text);
        }
    }
}
