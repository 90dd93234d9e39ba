//! Reading: directly from the database, beside the committer.

use super::Known;
use super::layout::{Spaces, decode_head, failed, kv_key, log_key, parse_log_key, record_key, row_index, sequence_key, unpack};
use crate::{LogError, LogKey, Record};
use bytes::Bytes;

/// A log that is not in memory: its last index is found at the end of its records.
pub(super) fn load_known(spaces: &Spaces, key: &LogKey) -> Result<Option<Known>, LogError> {
    let Some(row) = spaces.heads.get(log_key(key)).map_err(failed)? else { return Ok(None) };
    let (mut head, first) = decode_head(&Bytes::copy_from_slice(&row))
        .ok_or_else(|| LogError::Corrupt { key: key.clone(), index: 0, reason: "its head cannot be read".into() })?;
    let end = record_key(head.sequence, u64::MAX);
    head.last = match spaces.records.range(record_key(head.sequence, 0)..=end).next_back() {
        None => first.saturating_sub(1),
        Some(guard) => {
            let (row_key, value) = guard.into_inner().map_err(failed)?;
            let start = row_index(&row_key).unwrap_or(0);
            let count = rows(key, start, &Bytes::copy_from_slice(&value))?.len() as u64;
            start + count - 1
        }
    };
    Ok(Some(Known { head, first }))
}

fn rows(key: &LogKey, index: u64, value: &Bytes) -> Result<Vec<Bytes>, LogError> {
    unpack(value).map_err(|reason| LogError::Corrupt { key: key.clone(), index, reason })
}

pub(super) fn read(spaces: &Spaces, key: &LogKey, known: &Known, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
    let from = from.max(known.first);
    let last = known.head.last.min(from.saturating_add(max as u64).saturating_sub(1));
    let mut out = Vec::new();
    if from > last {
        return Ok(out);
    }
    let sequence = known.head.sequence;
    // The row that holds `from` may start before it.
    let before = spaces.records.range(record_key(sequence, 0)..=record_key(sequence, from)).next_back();
    let start = match before {
        Some(guard) => guard.key().map_err(failed)?.to_vec(),
        None => record_key(sequence, from),
    };
    for guard in spaces.records.range(start..=record_key(sequence, last)) {
        let (row_key, value) = guard.into_inner().map_err(failed)?;
        let first = row_index(&row_key).unwrap_or(0);
        let records = rows(key, first, &Bytes::copy_from_slice(&value))?;
        let numbered = (first..).zip(records).filter(|(index, _)| (from..=last).contains(index));
        out.extend(numbered.map(|(index, data)| Record { index, data }));
    }
    let gap = out.iter().zip(from..).find(|(record, index)| record.index != *index).map(|(_, index)| index);
    let missing = gap.or_else(|| (out.len() as u64 != last - from + 1).then_some(from + out.len() as u64));
    match missing {
        Some(index) => Err(LogError::Corrupt { key: key.clone(), index, reason: "the record is missing".into() }),
        None => Ok(out),
    }
}

pub(super) fn list(spaces: &Spaces, group: [u8; 16], after: u64, limit: usize) -> Result<Vec<LogKey>, LogError> {
    let from = sequence_key(group, after.saturating_add(1));
    let rows = spaces.sequence.range(from..=sequence_key(group, u64::MAX)).take(limit);
    rows.map(|guard| {
        let name = guard.value().map_err(failed)?;
        Ok(LogKey { group, name: String::from_utf8_lossy(&name).into_owned() })
    })
    .collect()
}

pub(super) fn unfinished(spaces: &Spaces) -> Result<Vec<LogKey>, LogError> {
    let keys = spaces.unfinished.iter().map(|guard| guard.key().map_err(failed));
    keys.filter_map(|key| key.map(|k| parse_log_key(&k)).transpose()).collect()
}

pub(super) fn get(spaces: &Spaces, space: &str, key: &[u8]) -> Result<Option<Bytes>, LogError> {
    let value = spaces.kv.get(kv_key(space, key)).map_err(failed)?;
    Ok(value.map(|v| Bytes::copy_from_slice(&v)))
}

pub(super) fn scan(
    spaces: &Spaces,
    space: &str,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<(Vec<u8>, Bytes)>, LogError> {
    let full = kv_key(space, prefix);
    let skip = space.len() + 1;
    let start = after.map_or_else(|| full.clone(), |after| [kv_key(space, after).as_slice(), &[0]].concat());
    let mut out = Vec::new();
    for guard in spaces.kv.range(start.max(full.clone())..) {
        let (key, value) = guard.into_inner().map_err(failed)?;
        if !key.starts_with(&full) || out.len() >= limit {
            break;
        }
        out.push((key.get(skip..).unwrap_or_default().to_vec(), Bytes::copy_from_slice(&value)));
    }
    Ok(out)
}
