//! A chunk of records, and the names of everything in the archive. Drawn in
//! `docs/format/archive.md`.

use crate::log::LogKey;
use bytes::{Buf, BufMut, Bytes};
use sha2::{Digest, Sha256};

const VERSION: u8 = 1;
const HEADER: usize = 25;
/// A chunk is closed when it holds this many records ...
pub(super) const MAX_RECORDS: usize = 1024;
/// ... or this many bytes of them.
pub(super) const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Records are text-like and read seldom; higher levels gain little.
const LEVEL: i32 = 3;

/// Decoded records of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) first: u64,
    pub(super) records: Vec<Bytes>,
}

impl Chunk {
    /// Index of the last record.
    pub(super) fn last(&self) -> u64 {
        self.first.saturating_add(self.records.len() as u64).saturating_sub(1)
    }

    pub(super) fn name(&self, base: &str) -> String {
        format!("{base}{:020}-{:020}", self.last(), self.first)
    }

    pub(super) fn encode(&self, name: &str) -> Result<Bytes, String> {
        let mut plain = Vec::new();
        for record in &self.records {
            plain.put_u32_le(u32::try_from(record.len()).map_err(|e| e.to_string())?);
            plain.put_slice(record);
        }
        let packed = zstd::bulk::compress(&plain, LEVEL).map_err(|e| e.to_string())?;
        let mut body = Vec::with_capacity(HEADER.saturating_add(packed.len()));
        body.put_u8(VERSION);
        body.put_u64_le(self.first);
        body.put_u32_le(u32::try_from(self.records.len()).map_err(|e| e.to_string())?);
        body.put_u64_le(plain.len() as u64);
        body.put_slice(&packed);
        Ok(with_crc(name, &body))
    }

    pub(super) fn decode(name: &str, stored: Bytes) -> Result<Self, String> {
        let mut body = check_crc(name, stored)?;
        let short = |_| "the chunk is cut short".to_owned();
        if body.try_get_u8().map_err(short)? != VERSION {
            return Err("the chunk is not of a known version".into());
        }
        let first = body.try_get_u64_le().map_err(short)?;
        let count = body.try_get_u32_le().map_err(short)?;
        let length = body.try_get_u64_le().map_err(short)?;
        let length = usize::try_from(length).map_err(|e| e.to_string())?;
        let plain = zstd::bulk::decompress(&body, length).map_err(|e| e.to_string())?;
        let mut plain = Bytes::from(plain);
        let mut records = Vec::new();
        for _ in 0..count {
            let length = plain.try_get_u32_le().map_err(short)?;
            let length = usize::try_from(length).map_err(|e| e.to_string())?;
            if plain.len() < length {
                return Err("the chunk is cut short".into());
            }
            records.push(plain.split_to(length));
        }
        Ok(Self { first, records })
    }
}

/// What the names of everything start with that is archived of a log.
pub(super) fn log_prefix(key: &LogKey) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    format!("archive/{}/{}/", hex(&key.group), hex(&Sha256::digest(key.name.as_bytes())))
}

/// The same, of one creation of the log.
pub(super) fn base(key: &LogKey, sequence: u64) -> String {
    format!("{}{sequence:020}/", log_prefix(key))
}

/// The creation that a name belongs to.
pub(super) fn sequence_of(prefix: &str, name: &str) -> Option<u64> {
    name.strip_prefix(prefix)?.split_once('/')?.0.parse().ok()
}

/// Name behind which the chunk that holds `index` is listed.
pub(super) fn before(base: &str, index: u64) -> String {
    // A chunk that ends one earlier, with the highest possible start.
    format!("{base}{:020}-~", index.saturating_sub(1))
}

/// First and last index of the chunk with this name; `None` for a floor.
pub(super) fn range_of(base: &str, name: &str) -> Option<(u64, u64)> {
    let (last, first) = name.strip_prefix(base)?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

pub(super) fn floor_name(base: &str) -> String {
    format!("{base}floor")
}

pub(super) fn encode_floor(name: &str, floor: u64) -> Bytes {
    with_crc(name, &floor.to_le_bytes())
}

pub(super) fn decode_floor(name: &str, stored: Bytes) -> Result<u64, String> {
    check_crc(name, stored)?.try_get_u64_le().map_err(|_| "the floor is cut short".into())
}

fn checksum(name: &str, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(name.as_bytes());
    hasher.update(body);
    hasher.finalize()
}

fn with_crc(name: &str, body: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(body.len().saturating_add(4));
    out.put_u32_le(checksum(name, body));
    out.put_slice(body);
    out.into()
}

fn check_crc(name: &str, mut stored: Bytes) -> Result<Bytes, String> {
    let crc = stored.try_get_u32_le().map_err(|_| "an object is cut short".to_owned())?;
    if crc != checksum(name, &stored) {
        return Err("the checksum of an object does not match".into());
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk() -> Chunk {
        Chunk { first: 7, records: vec![Bytes::from("one"), Bytes::new(), Bytes::from("three")] }
    }

    #[test]
    fn chunks_round_trip_with_the_documented_header() {
        let name = chunk().name("base/");
        assert_eq!(name, "base/00000000000000000009-00000000000000000007");
        assert_eq!(range_of("base/", &name), Some((7, 9)));
        let stored = chunk().encode(&name).unwrap();
        assert_eq!(stored[4], 1);
        assert_eq!(stored[5..13], 7u64.to_le_bytes());
        assert_eq!(stored[13..17], 3u32.to_le_bytes());
        assert_eq!(stored[17..25], 20u64.to_le_bytes());
        assert_eq!(Chunk::decode(&name, stored), Ok(chunk()));
    }

    #[test]
    fn damaged_and_misplaced_chunks_are_errors() {
        let stored = chunk().encode("name").unwrap();
        assert!(Chunk::decode("other", stored.clone()).is_err());
        for at in 0..stored.len() {
            let mut bad = stored.to_vec();
            bad[at] ^= 0x10;
            assert!(Chunk::decode("name", bad.into()).is_err());
            assert!(Chunk::decode("name", stored.slice(..at)).is_err());
        }
    }

    #[test]
    fn the_chunk_of_an_index_is_listed_first() {
        let ending = |last: u64, first: u64| format!("b/{last:020}-{first:020}");
        assert!(ending(9, 1) < before("b/", 10));
        assert!(ending(10, 1) > before("b/", 10));
        assert!(floor_name("b/") > ending(u64::MAX, 1));
    }
}
