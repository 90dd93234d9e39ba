//! Keys and small rows of the database. Drawn in `docs/format/embedded-store.md`.

use crate::log::{LogKey, Summary};
use bytes::{Buf, BufMut, Bytes};

/// Version of everything in this file and in `segment.rs`.
pub(super) const FORMAT: u32 = 1;
/// Row holding [`FORMAT`].
pub(super) const FORMAT_KEY: &[u8] = b"mformat";
/// Row holding the sequence through which numbers have been handed out.
pub(super) const SEQUENCE_KEY: &[u8] = b"msequence";
/// What every epoch of a shard starts with.
pub(super) const FENCE_PREFIX: &[u8] = b"f";
/// What every unfinished mark starts with.
pub(super) const UNFINISHED_PREFIX: &[u8] = b"u";

const HEAD_BYTES: usize = 30;
const UNFINISHED: u8 = 1;
const SUMMARY: u8 = 2;

/// The row of one log: what cannot be seen from its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeadRow {
    /// Creation order; also the number the log's records are stored under.
    pub(super) sequence: u64,
    pub(super) epoch: u64,
    /// Index through which records were trimmed.
    pub(super) floor: u64,
    pub(super) unfinished: bool,
    /// Whether there is a summary row.
    pub(super) summary: bool,
}

impl HeadRow {
    pub(super) fn encode(&self) -> Bytes {
        let mut body = Vec::with_capacity(HEAD_BYTES);
        body.put_u8(1);
        body.put_u8(u8::from(self.unfinished) * UNFINISHED + u8::from(self.summary) * SUMMARY);
        body.put_u64_le(self.sequence);
        body.put_u64_le(self.epoch);
        body.put_u64_le(self.floor);
        with_crc(&body)
    }

    pub(super) fn decode(row: Bytes) -> Result<Self, String> {
        let mut body = check_crc(row)?;
        if body.len() != HEAD_BYTES - 4 || body.get_u8() != 1 {
            return Err("the head row is not of a known format".into());
        }
        let flags = body.get_u8();
        Ok(Self {
            sequence: body.get_u64_le(),
            epoch: body.get_u64_le(),
            floor: body.get_u64_le(),
            unfinished: flags & UNFINISHED != 0,
            summary: flags & SUMMARY != 0,
        })
    }
}

/// `h group name`
pub(super) fn head_key(key: &LogKey) -> Vec<u8> {
    named(b'h', key)
}

/// `u group name`
pub(super) fn unfinished_key(key: &LogKey) -> Vec<u8> {
    named(b'u', key)
}

/// `o group sequence`
pub(super) fn order_key(group: &[u8; 16], sequence: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(25);
    out.put_u8(b'o');
    out.put_slice(group);
    out.put_u64(sequence);
    out
}

/// `s sequence`
pub(super) fn summary_key(sequence: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(9);
    out.put_u8(b's');
    out.put_u64(sequence);
    out
}

/// `f total shard`
pub(super) fn fence_key(shard: u32, total: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(9);
    out.put_slice(FENCE_PREFIX);
    out.put_u32(total);
    out.put_u32(shard);
    out
}

/// Shard, number of shards and epoch of a row made with [`fence_key`].
pub(super) fn parse_fence(mut key: &[u8], mut row: &[u8]) -> Option<(u32, u32, u64)> {
    key.try_get_u8().ok()?;
    let total = key.try_get_u32().ok()?;
    let shard = key.try_get_u32().ok()?;
    Some((shard, total, row.try_get_u64_le().ok()?))
}

/// `sequence first-index`: a packed run of records.
pub(super) fn record_key(sequence: u64, first: u64) -> [u8; 16] {
    (u128::from(sequence) << 64 | u128::from(first)).to_be_bytes()
}

/// The first index in a record key.
pub(super) fn first_index(mut key: &[u8]) -> Option<u64> {
    key.try_get_u64().ok()?;
    key.try_get_u64().ok()
}

/// Group and name of a key made by [`unfinished_key`].
pub(super) fn parse_named(mut key: &[u8]) -> Option<LogKey> {
    let mut group = [0; 16];
    key.try_get_u8().ok()?;
    key.try_copy_to_slice(&mut group).ok()?;
    Some(LogKey { group, name: String::from_utf8(key.to_vec()).ok()? })
}

/// `space NUL key`
pub(super) fn kv_key(space: &str, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(space.len() + 1 + key.len());
    out.put_slice(space.as_bytes());
    out.put_u8(0);
    out.put_slice(key);
    out
}

pub(super) fn encode_summary(summary: &Summary) -> Bytes {
    let mut body = Vec::with_capacity(8 + summary.data.len());
    body.put_u64_le(summary.index);
    body.put_slice(&summary.data);
    with_crc(&body)
}

pub(super) fn decode_summary(row: Bytes) -> Result<Summary, String> {
    let mut body = check_crc(row)?;
    let index = body.try_get_u64_le().map_err(|e| e.to_string())?;
    Ok(Summary { index, data: body })
}

fn named(tag: u8, key: &LogKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(17 + key.name.len());
    out.put_u8(tag);
    out.put_slice(&key.group);
    out.put_slice(key.name.as_bytes());
    out
}

fn with_crc(body: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(4 + body.len());
    out.put_u32_le(crc32fast::hash(body));
    out.put_slice(body);
    out.into()
}

fn check_crc(mut row: Bytes) -> Result<Bytes, String> {
    let stored = row.try_get_u32_le().map_err(|_| "a row is cut short".to_owned())?;
    if stored != crc32fast::hash(&row) {
        return Err("the checksum of a row does not match".into());
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_row_has_the_documented_bytes() {
        let row =
            HeadRow { sequence: 7, epoch: 2, floor: 3, unfinished: true, summary: false }.encode();
        assert_eq!(&row[4..6], [1, 1]);
        assert_eq!(&row[6..14], 7u64.to_le_bytes());
        assert_eq!(&row[14..22], 2u64.to_le_bytes());
        assert_eq!(&row[22..30], 3u64.to_le_bytes());
        assert_eq!(HeadRow::decode(row).unwrap().epoch, 2);
    }

    #[test]
    fn damaged_rows_are_errors() {
        let good =
            HeadRow { sequence: 7, epoch: 2, floor: 3, unfinished: true, summary: true }.encode();
        for at in 0..good.len() {
            let mut bad = good.to_vec();
            bad[at] ^= 0x10;
            assert!(HeadRow::decode(bad.into()).is_err());
            assert!(HeadRow::decode(good.slice(..at)).is_err());
        }
    }
}
