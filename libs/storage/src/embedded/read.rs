//! Reading logs from the database. Whatever takes several steps reads one snapshot.

use super::layout::{self, HeadRow};
use super::segment;
use super::tables::Tables;
use crate::log::{Head, LogError, LogKey, Record, Summary};
use bytes::Bytes;
use fjall::{Readable, Snapshot};

/// A failed read of the database, as an error of one log: damaged blocks are damage of that log.
pub(super) fn store_error(key: &LogKey, index: u64, error: &fjall::Error) -> LogError {
    use fjall::{Error, LsmError};
    match error {
        Error::Io(_) | Error::Storage(LsmError::Io(_)) => LogError::Io(error.to_string()),
        Error::Storage(_) | Error::Decompress(_) => corrupt(key, index, error.to_string()),
        _ => LogError::Io(error.to_string()),
    }
}

fn corrupt(key: &LogKey, index: u64, reason: impl Into<String>) -> LogError {
    LogError::Corrupt { key: key.clone(), index, reason: reason.into() }
}

pub(super) fn decode_head(key: &LogKey, row: Option<Bytes>) -> Result<Option<HeadRow>, LogError> {
    row.map(HeadRow::decode).transpose().map_err(|reason| corrupt(key, 0, reason))
}

fn head_row(at: &Snapshot, tables: &Tables, key: &LogKey) -> Result<Option<HeadRow>, LogError> {
    let row = at.get(&tables.heads, layout::head_key(key));
    decode_head(key, row.map_err(|error| store_error(key, 0, &error))?.map(Bytes::from))
}

/// Index of the last record, found at the end of the stored records.
pub(super) fn last_index(
    at: &Snapshot,
    tables: &Tables,
    key: &LogKey,
    row: &HeadRow,
) -> Result<u64, LogError> {
    let all = layout::record_key(row.sequence, 0)..=layout::record_key(row.sequence, u64::MAX);
    let Some(guard) = at.range(&tables.records, all).next_back() else { return Ok(row.floor) };
    let (first, run) = unpack(key, row.floor, guard)?;
    let last = first.saturating_add(run.len() as u64).saturating_sub(1);
    Ok(last.max(row.floor))
}

/// First index and records of a stored run. `index` is where trouble is reported if the run does
/// not even tell its place.
fn unpack(key: &LogKey, index: u64, guard: fjall::Guard) -> Result<(u64, Vec<Bytes>), LogError> {
    let (at, value) = guard.into_inner().map_err(|error| store_error(key, index, &error))?;
    let first =
        layout::first_index(&at).ok_or_else(|| corrupt(key, index, "malformed record key"))?;
    let run = segment::unpack(&at, value.into()).map_err(|reason| corrupt(key, first, reason))?;
    Ok((first, run))
}

/// The keys of all runs of a log, in order.
pub(super) fn record_keys(
    tables: &Tables,
    key: &LogKey,
    sequence: u64,
) -> Result<Vec<Vec<u8>>, LogError> {
    let rows = tables.records.prefix(sequence.to_be_bytes());
    rows.map(|guard| guard.key().map(|row| row.to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|error| store_error(key, 0, &error))
}

pub(super) fn head(at: &Snapshot, tables: &Tables, key: &LogKey) -> Result<Option<Head>, LogError> {
    let Some(row) = head_row(at, tables, key)? else { return Ok(None) };
    let last = last_index(at, tables, key, &row)?;
    let summary = if row.summary { summary(at, tables, key, row.sequence)? } else { None };
    let HeadRow { sequence, epoch, unfinished, .. } = row;
    Ok(Some(Head { last, epoch, unfinished, sequence, summary }))
}

/// The cached summary. A damaged one counts as none: it can be folded again from the records.
fn summary(
    at: &Snapshot,
    tables: &Tables,
    key: &LogKey,
    sequence: u64,
) -> Result<Option<Summary>, LogError> {
    let row = at.get(&tables.heads, layout::summary_key(sequence));
    let Some(row) = row.map_err(|error| store_error(key, 0, &error))? else { return Ok(None) };
    let decoded = layout::decode_summary(row.into());
    Ok(decoded
        .inspect_err(|reason| tracing::warn!(log = %key.name, reason, "summary dropped"))
        .ok())
}

/// Records from `from` on. Runs must follow each other without a gap.
pub(super) fn records(
    tables: &Tables,
    key: &LogKey,
    from: u64,
    max: usize,
) -> Result<Vec<Record>, LogError> {
    let at = tables.db.snapshot();
    let Some(row) = head_row(&at, tables, key)? else { return Ok(Vec::new()) };
    let from = from.max(row.floor.saturating_add(1));
    let start = run_holding(&at, tables, key, row.sequence, from)?;
    let end = layout::record_key(row.sequence, u64::MAX);
    let mut next = start.unwrap_or(from);
    let mut records = Vec::new();
    for guard in at.range(&tables.records, layout::record_key(row.sequence, next)..=end) {
        if records.len() >= max {
            break;
        }
        let (first, run) = unpack(key, next, guard)?;
        if first != next {
            return Err(corrupt(key, next.max(from), "records are missing"));
        }
        for data in run {
            if next >= from && records.len() < max {
                records.push(Record { index: next, data });
            }
            next = next.saturating_add(1);
        }
    }
    Ok(records)
}

/// First index of the run that holds `index`, if it is stored.
fn run_holding(
    at: &Snapshot,
    tables: &Tables,
    key: &LogKey,
    sequence: u64,
    index: u64,
) -> Result<Option<u64>, LogError> {
    let before = layout::record_key(sequence, 0)..=layout::record_key(sequence, index);
    let Some(guard) = at.range(&tables.records, before).next_back() else { return Ok(None) };
    let row = guard.key().map_err(|error| store_error(key, index, &error))?;
    Ok(layout::first_index(&row))
}

/// A page of a group, in creation order. A log with a damaged head is left out and reported in
/// the journal of the process: it must not hide the others.
pub(super) fn list(
    tables: &Tables,
    group: [u8; 16],
    after: u64,
    limit: usize,
) -> Result<Vec<(LogKey, Head)>, LogError> {
    let io = |error: fjall::Error| LogError::Io(error.to_string());
    let at = tables.db.snapshot();
    let Some(start) = after.checked_add(1) else { return Ok(Vec::new()) };
    let rows = layout::order_key(&group, start)..=layout::order_key(&group, u64::MAX);
    let mut page = Vec::new();
    for guard in at.range(&tables.heads, rows) {
        if page.len() >= limit {
            break;
        }
        let name = guard.value().map_err(io)?;
        let key = LogKey { group, name: String::from_utf8_lossy(&name).into_owned() };
        match head(&at, tables, &key) {
            Ok(Some(head)) => page.push((key, head)),
            Ok(None) => tracing::error!(log = %key.name, "a listed log has no head"),
            Err(LogError::Corrupt { reason, .. }) => {
                tracing::error!(log = %key.name, reason, "a damaged log is not listed");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(page)
}

pub(super) fn unfinished(tables: &Tables) -> Result<Vec<LogKey>, LogError> {
    let mut found = Vec::new();
    for guard in tables.heads.prefix(layout::UNFINISHED_PREFIX) {
        let row = guard.key().map_err(|error| LogError::Io(error.to_string()))?;
        match layout::parse_named(&row) {
            Some(key) => found.push(key),
            None => tracing::error!("a malformed unfinished mark is ignored"),
        }
    }
    Ok(found)
}
