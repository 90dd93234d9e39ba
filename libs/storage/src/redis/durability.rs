//! What an acknowledged write survives, by the settings of the server.

use redis::Value;
use std::fmt;

/// When a server brings writes to its disk.
///
/// From the safest to the least safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flushing {
    /// `appendfsync always`: before it answers.
    Always,
    /// `appendfsync everysec`.
    EverySecond,
    /// `appendfsync no`: when the operating system does.
    BySystem,
    /// Only in snapshots (`save`).
    InSnapshots,
    /// Not at all.
    Never,
    /// The server does not tell its settings.
    Unknown,
}

/// What acknowledged writes survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durability {
    /// When writes reach the disk.
    pub flushing: Flushing,
    /// Whether a full server makes room by removing keys of ours (`maxmemory-policy allkeys-*`).
    pub evicts: bool,
}

impl Durability {
    /// Whether an acknowledged write survives a crash of the server and of its machine.
    #[must_use]
    pub fn is_durable(self) -> bool {
        self.flushing == Flushing::Always && !self.evicts
    }

    /// Of two servers that each hold a part of the data.
    pub(super) fn worst(self, other: Self) -> Self {
        Self { flushing: self.flushing.max(other.flushing), evicts: self.evicts || other.evicts }
    }

    /// From the answer to `CONFIG GET`; `None` if the server refuses it.
    pub(super) fn from_config(config: Option<&Value>) -> Self {
        let Some(Value::Array(pairs)) = config else {
            return Self { flushing: Flushing::Unknown, evicts: false };
        };
        let get = |name: &str| {
            let at = pairs.iter().position(|value| text(value) == name)?;
            pairs.get(at.saturating_add(1)).map(text)
        };
        let flushing = match (get("appendonly"), get("appendfsync"), get("save")) {
            (Some("yes"), Some("always"), _) => Flushing::Always,
            (Some("yes"), Some("everysec"), _) => Flushing::EverySecond,
            (Some("yes"), Some(_), _) => Flushing::BySystem,
            (Some("no"), _, Some("")) => Flushing::Never,
            (Some("no"), _, Some(_)) => Flushing::InSnapshots,
            _ => Flushing::Unknown,
        };
        let evicts = get("maxmemory-policy").is_some_and(|policy| policy.starts_with("allkeys"));
        Self { flushing, evicts }
    }
}

fn text(value: &Value) -> &str {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
        Value::SimpleString(text) => text,
        _ => "",
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.flushing {
            Flushing::Always => "acknowledged writes are on the disk of the server (appendfsync always)",
            Flushing::EverySecond => {
                "a crash of the server may lose the writes of its last two seconds (appendfsync everysec)"
            }
            Flushing::BySystem => {
                "a crash of the server's machine may lose the writes of half a minute (appendfsync no)"
            }
            Flushing::InSnapshots => {
                "a crash of the server loses all writes since its last snapshot (appendonly no)"
            }
            Flushing::Never => "a restart of the server loses everything (no append-only file, no snapshots)",
            Flushing::Unknown => "the server does not tell what its writes survive (CONFIG GET is refused)",
        })?;
        if self.evicts {
            f.write_str(
                "; when its memory is full it removes stored data (maxmemory-policy allkeys-*)",
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[&str]) -> Durability {
        let values = pairs.iter().map(|text| Value::BulkString((*text).into())).collect();
        Durability::from_config(Some(&Value::Array(values)))
    }

    #[test]
    fn settings_are_understood() {
        let always = config(&[
            "appendfsync",
            "always",
            "appendonly",
            "yes",
            "maxmemory-policy",
            "noeviction",
        ]);
        assert!(always.is_durable());
        let evicting = config(&[
            "appendonly",
            "yes",
            "appendfsync",
            "always",
            "maxmemory-policy",
            "allkeys-lru",
        ]);
        assert!(!evicting.is_durable());
        let flushing = |pairs: &[&str]| config(pairs).flushing;
        assert_eq!(
            flushing(&["appendonly", "yes", "appendfsync", "everysec"]),
            Flushing::EverySecond
        );
        assert_eq!(flushing(&["appendonly", "yes", "appendfsync", "no"]), Flushing::BySystem);
        assert_eq!(flushing(&["appendonly", "no", "save", "3600 1"]), Flushing::InSnapshots);
        assert_eq!(flushing(&["appendonly", "no", "save", ""]), Flushing::Never);
        assert_eq!(Durability::from_config(None).flushing, Flushing::Unknown);
        assert_eq!(always.worst(evicting), evicting);
    }
}
