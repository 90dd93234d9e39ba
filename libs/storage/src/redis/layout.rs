//! Keys and small values. Drawn in `docs/format/redis.md`.

use crate::log::{LogKey, Summary};
use bytes::{Buf, BufMut, Bytes};
use uuid::Uuid;

/// Version of the layout, which its data carries.
pub(super) const FORMAT: u32 = 1;
/// Indexes, sequences and what is computed with in Lua stay below this: doubles count no further.
pub(super) const MAX_NUMBER: u64 = 1 << 53;
/// Digits of a sequence in the order of a component.
const SEQUENCE_DIGITS: usize = 16;

/// The names of all keys of one installation.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) prefix: String,
    pub(super) shards: u32,
}

/// The keys that hold one log.
pub(super) struct LogKeys {
    /// What marks call the log.
    pub(super) log: String,
    pub(super) head: String,
    pub(super) records: String,
    pub(super) summary: String,
    pub(super) marks: String,
    /// The epoch of the shard.
    pub(super) fence: String,
}

impl Layout {
    pub(super) fn log(&self, key: &LogKey) -> LogKeys {
        let log = format!("{}:{}", Uuid::from_bytes(key.group), key.name);
        let shard = key.shard(self.shards);
        let named = |kind: &str| format!("{}:{{s{shard}}}:{kind}:{log}", self.prefix);
        LogKeys {
            head: named("h"),
            records: named("r"),
            summary: named("s"),
            marks: self.marks(shard),
            fence: self.fence(shard),
            log,
        }
    }

    /// The set of unfinished logs of a shard.
    pub(super) fn marks(&self, shard: u32) -> String {
        format!("{}:{{s{shard}}}:u", self.prefix)
    }

    /// The epoch of a shard.
    pub(super) fn fence(&self, shard: u32) -> String {
        format!("{}:{{s{shard}}}:e", self.prefix)
    }

    /// The order of the logs of a component.
    pub(super) fn order(&self, group: [u8; 16]) -> String {
        format!("{}:{{{}}}:o", self.prefix, Uuid::from_bytes(group))
    }

    /// Keys and values of a space.
    pub(super) fn space(&self, space: &str) -> [String; 2] {
        let tag = tag(space);
        let tag = if tag.is_empty() { "-" } else { tag };
        ["k", "v"].map(|kind| format!("{}:{{{tag}}}:{kind}:{space}", self.prefix))
    }

    /// Where the version of this layout is kept.
    pub(super) fn version(&self) -> String {
        format!("{}:{{format}}:version", self.prefix)
    }

    /// Where the number of shards is kept.
    pub(super) fn shard_count(&self) -> String {
        format!("{}:{{format}}:shards", self.prefix)
    }
}

/// The tag of a space: what its name has in braces, else the whole name.
pub(super) fn tag(space: &str) -> &str {
    let braced = space.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    braced.map(|(tag, _)| tag).filter(|tag| !tag.is_empty()).unwrap_or(space)
}

/// The log that a mark names.
pub(super) fn parse_log(log: &[u8]) -> Option<LogKey> {
    let (component, name) = std::str::from_utf8(log).ok()?.split_at_checked(37)?;
    let group = component.strip_suffix(':')?.parse::<Uuid>().ok()?.into_bytes();
    Some(LogKey { group, name: name.to_owned() })
}

/// Sequence and name of an entry of an order.
pub(super) fn parse_order(entry: &[u8]) -> Option<(u64, String)> {
    let entry = std::str::from_utf8(entry).ok()?;
    let (sequence, name) = entry.split_at_checked(SEQUENCE_DIGITS)?;
    Some((sequence.parse().ok()?, name.strip_prefix(':')?.to_owned()))
}

/// What entries of an order with this sequence start with.
pub(super) fn sequence_text(sequence: u64) -> String {
    format!("{sequence:016}")
}

/// An epoch such that text order is the order of numbers.
pub(super) fn epoch_text(epoch: u64) -> String {
    format!("{epoch:020}")
}

pub(super) fn encode_summary(summary: &Summary) -> Vec<u8> {
    let mut out = Vec::with_capacity(summary.data.len().saturating_add(8));
    out.put_u64_le(summary.index);
    out.put_slice(&summary.data);
    out
}

pub(super) fn decode_summary(mut stored: Bytes) -> Option<Summary> {
    let index = stored.try_get_u64_le().ok()?;
    Some(Summary { index, data: stored })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout { prefix: "emet".into(), shards: 1024 }
    }

    fn worker() -> LogKey {
        let group = "9c19b15a-c83d-46f7-9bc3-ead7923733f4".parse::<Uuid>().unwrap().into_bytes();
        LogKey { group, name: "worker-1".into() }
    }

    #[test]
    fn keys_are_as_documented() {
        let keys = layout().log(&worker());
        let log = "9c19b15a-c83d-46f7-9bc3-ead7923733f4:worker-1";
        assert_eq!(keys.head, format!("emet:{{s939}}:h:{log}"));
        assert_eq!(keys.marks, "emet:{s939}:u");
        assert_eq!(parse_log(keys.log.as_bytes()), Some(worker()));
        assert_eq!(
            layout().space("timers{s3}"),
            ["emet:{s3}:k:timers{s3}", "emet:{s3}:v:timers{s3}"]
        );
        assert_eq!(layout().space("")[0], "emet:{-}:k:");
        assert_eq!(parse_order(b"0000000000000007:a:b"), Some((7, "a:b".into())));
    }

    #[test]
    fn tags() {
        for (space, wanted) in
            [("a", "a"), ("a{b}c", "b"), ("{b}{c}", "b"), ("a{}", "a{}"), ("a{b", "a{b"), ("", "")]
        {
            assert_eq!(tag(space), wanted, "{space}");
        }
    }

    #[test]
    fn summaries_round_trip_and_short_ones_are_none() {
        let summary = Summary { index: 7, data: Bytes::from("state") };
        assert_eq!(decode_summary(encode_summary(&summary).into()), Some(summary));
        assert_eq!(decode_summary(Bytes::from("short")), None);
    }
}
