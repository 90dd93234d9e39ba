//! A packed run of records: the value of one row, checked by one checksum.
//!
//! Most appends are one row. A large one is cut, so that reading one record of it stays cheap.

use super::layout;
use bytes::{Buf, BufMut, Bytes};

/// A run is closed when it holds this many records ...
const MAX_RECORDS: usize = 1024;
/// ... or at least this many bytes.
const MAX_BYTES: usize = 256 * 1024;

/// A row ready to be stored.
pub(super) struct Packed {
    pub(super) key: [u8; 16],
    pub(super) value: Bytes,
}

/// Packs records that start at index `first` into as few rows as the limits allow.
pub(super) fn pack(sequence: u64, first: u64, records: &[Bytes]) -> Vec<Packed> {
    let mut rows = Vec::with_capacity(1);
    let mut first = first;
    let mut rest = records;
    while !rest.is_empty() {
        let (run, tail) = rest.split_at(run_length(rest));
        let key = layout::record_key(sequence, first);
        rows.push(Packed { key, value: encode(&key, run) });
        first = first.saturating_add(run.len() as u64);
        rest = tail;
    }
    rows
}

/// Number of records in front that form one run; at least one.
fn run_length(records: &[Bytes]) -> usize {
    let mut bytes = 0usize;
    let fits = records.iter().take(MAX_RECORDS).take_while(|record| {
        let room = bytes < MAX_BYTES;
        bytes = bytes.saturating_add(record.len());
        room
    });
    fits.count()
}

fn encode(key: &[u8; 16], run: &[Bytes]) -> Bytes {
    let bytes: usize = run.iter().map(|record| 4 + record.len()).sum();
    let mut out = Vec::with_capacity(9 + bytes);
    out.put_u32_le(0);
    out.put_u8(1);
    out.put_u32_le(u32::try_from(run.len()).unwrap_or(u32::MAX));
    for record in run {
        out.put_u32_le(u32::try_from(record.len()).unwrap_or(u32::MAX));
    }
    for record in run {
        out.put_slice(record);
    }
    let crc = out.get(4..).map_or(0, |body| checksum(key, body));
    if let Some(head) = out.first_chunk_mut::<4>() {
        *head = crc.to_le_bytes();
    }
    out.into()
}

/// The checksum covers the key too, so that a row that turns up in a wrong place is noticed.
fn checksum(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

/// Unpacks a row, in order. The records share the row's memory.
pub(super) fn unpack(key: &[u8], mut row: Bytes) -> Result<Vec<Bytes>, String> {
    let short = |_| "a run of records is cut short".to_owned();
    let stored = row.try_get_u32_le().map_err(short)?;
    if stored != checksum(key, &row) {
        return Err("the checksum of a run of records does not match".into());
    }
    let version = row.try_get_u8().map_err(short)?;
    if version != 1 {
        return Err(format!("a run of records has unknown version {version}"));
    }
    let count = row.try_get_u32_le().map_err(short)? as usize;
    if count == 0 || count > MAX_RECORDS || row.len() < count * 4 {
        return Err(format!("a run of records states {count} records"));
    }
    let mut lengths = row.split_to(count * 4);
    let mut records = Vec::with_capacity(count);
    while let Ok(length) = lengths.try_get_u32_le() {
        let length = length as usize;
        if row.len() < length {
            return Err("a record is cut short".into());
        }
        records.push(row.split_to(length));
    }
    if !row.is_empty() {
        return Err("a run of records has bytes left over".into());
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_as_documented() {
        let rows = pack(1, 5, &[Bytes::from_static(b"ab"), Bytes::from_static(b"c")]);
        assert_eq!(rows.len(), 1);
        assert_eq!(&rows[0].value[4..], b"\x01\x02\0\0\0\x02\0\0\0\x01\0\0\0abc");
        assert_eq!(layout::first_index(&rows[0].key), Some(5));
        let back = unpack(&rows[0].key, rows[0].value.clone()).unwrap();
        assert_eq!(back, [&b"ab"[..], b"c"]);
    }

    #[test]
    fn large_appends_are_cut_into_dense_runs() {
        for (count, size) in [(5000, 1), (20, 100_000), (3, 1_000_000), (1, 0)] {
            let records = vec![Bytes::from(vec![7; size]); count];
            let mut next = 9;
            for row in pack(3, 9, &records) {
                assert_eq!(layout::first_index(&row.key), Some(next));
                next += unpack(&row.key, row.value).unwrap().len() as u64;
            }
            assert_eq!(next, 9 + count as u64);
        }
    }

    #[test]
    fn every_flipped_bit_and_cut_is_noticed() {
        let row = pack(1, 1, &[Bytes::from_static(b"hello")]).remove(0);
        for at in 0..row.value.len() {
            for bit in 0..8 {
                let mut bad = row.value.to_vec();
                bad[at] ^= 1 << bit;
                assert!(unpack(&row.key, bad.into()).is_err());
            }
            assert!(unpack(&row.key, row.value.slice(..at)).is_err());
        }
        assert!(unpack(&layout::record_key(1, 2), row.value).is_err(), "a misplaced row");
    }
}
