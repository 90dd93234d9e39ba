//! [`RedisLog`]: the log port in Redis.

use super::Shared;
use super::failure::Failure;
use super::layout::{self, LogKeys, MAX_NUMBER};
use super::reply::{self, Verdict};
use super::router::Repeat;
use super::scripts;
use super::slot::slot;
use crate::log::{self, Append, Head, LogError, LogKey, LogStore, Record, Trim};
use crate::shards::Shards;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use redis::{Cmd, Value};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// Records asked for at a time.
const READ_PAGE: usize = 1000;
/// Logs listed at a time.
const LIST_PAGE: usize = 256;
/// Questions about different keys that are under way at once.
const PARALLEL: usize = 64;
/// An entry of an order without a log is removed when it is this old. Long after a creation with
/// its sequence is refused.
const ORPHAN_AGE: Duration = Duration::from_secs(2 * 3600);

/// Logs in a [`super::Redis`].
pub struct RedisLog {
    shared: Arc<Shared>,
    /// What the tokens of this process start with, and how many it has given out.
    process: [u8; 8],
    tokens: AtomicU64,
}

impl RedisLog {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let process = Uuid::new_v4().as_u64_pair().0.to_be_bytes();
        Self { shared, process, tokens: AtomicU64::new(0) }
    }

    /// A token that no other append has.
    fn token(&self) -> [u8; 16] {
        let count = self.tokens.fetch_add(1, Ordering::Relaxed);
        let token = u128::from(u64::from_be_bytes(self.process)) << 64 | u128::from(count);
        token.to_be_bytes()
    }

    /// Draws the sequence of a new log, in the order of its component.
    async fn reserve(&self, key: &LogKey) -> Result<u64, Failure> {
        let order = self.shared.layout.order(key.group);
        let command = || scripts::RESERVE.call(&[&order]).arg(&key.name).take();
        // Carried out twice it leaves an entry without a log.
        let answer = self.shared.router.write(slot(order.as_bytes()), Repeat::Always, command);
        reply::number(&answer.await?.value)
    }

    /// Removes an entry from the order of a component. Nothing depends on it.
    async fn unlist(&self, key: &LogKey, sequence: u64) {
        let order = self.shared.layout.order(key.group);
        let entry = format!("{}:{}", layout::sequence_text(sequence), key.name);
        let command = || redis::cmd("ZREM").arg(&order).arg(&entry).take();
        let removed = self.shared.router.write(slot(order.as_bytes()), Repeat::Always, command);
        if let Err(failure) = removed.await {
            tracing::warn!(log = %key.name, reason = failure.text(), "an entry without a log stays listed");
        }
    }

    /// Carries out a change that may create the log: `command` gets the sequence for that, or
    /// an empty text as long as none is drawn.
    async fn change(
        &self,
        key: &LogKey,
        head: &str,
        epoch: u64,
        expected: u64,
        command: impl Fn(&str) -> Cmd + Send + Sync,
    ) -> Result<(), LogError> {
        let slot = slot(head.as_bytes());
        let mut drawn = None;
        // A drawn sequence can be too old when it arrives; but not again and again.
        for _ in 0..4 {
            let sequence = drawn.map(layout::sequence_text).unwrap_or_default();
            let made = || command(&sequence);
            let answer = self.shared.router.write(slot, Repeat::Always, made).await?;
            match reply::verdict(answer, epoch, expected) {
                Ok(Verdict::Created) => return Ok(()),
                Ok(Verdict::Done) => {
                    self.settle(key, drawn).await;
                    return Ok(());
                }
                Ok(Verdict::Create) => drawn = Some(self.reserve(key).await?),
                Err(error) => {
                    self.settle(key, drawn).await;
                    return Err(error);
                }
            }
        }
        Err(LogError::Io("the creation of the log takes too long".into()))
    }

    /// After a drawn sequence: if another creation of the log won, it is not needed.
    async fn settle(&self, key: &LogKey, drawn: Option<u64>) {
        if let Some(sequence) = drawn
            && let Ok(head) = self.head(key).await
            && head.is_none_or(|head| head.sequence != sequence)
        {
            self.unlist(key, sequence).await;
        }
    }

    /// One page of an order: entries from `start` on.
    async fn order_page(
        &self,
        group: [u8; 16],
        start: u64,
        limit: usize,
    ) -> Result<Vec<(u64, String)>, LogError> {
        let order = self.shared.layout.order(group);
        let command = || {
            let mut cmd = redis::cmd("ZRANGE");
            cmd.arg(&order).arg(format!("[{}", layout::sequence_text(start))).arg("+");
            cmd.arg("BYLEX").arg("LIMIT").arg(0).arg(limit).take()
        };
        let page = reply::array(self.shared.router.read(slot(order.as_bytes()), command).await?)?;
        let parse = |entry: Value| {
            let entry = reply::bytes(entry).unwrap_or_default();
            layout::parse_order(&entry)
                .ok_or_else(|| LogError::Io(format!("malformed entry in {order}")))
        };
        page.into_iter().map(parse).collect()
    }

    /// The log of an entry, if there is one.
    async fn listed(
        &self,
        group: [u8; 16],
        sequence: u64,
        name: String,
    ) -> Result<Option<(LogKey, Head)>, LogError> {
        let key = LogKey { group, name };
        match self.head(&key).await? {
            Some(head) if head.sequence == sequence => Ok(Some((key, head))),
            _ => {
                if age(sequence) > ORPHAN_AGE {
                    self.unlist(&key, sequence).await;
                }
                Ok(None)
            }
        }
    }

    async fn marks(&self, shard: u32) -> Result<Vec<LogKey>, LogError> {
        let set = self.shared.layout.marks(shard);
        let command = || redis::cmd("SMEMBERS").arg(&set).take();
        let members = reply::array(self.shared.router.read(slot(set.as_bytes()), command).await?)?;
        let parse = |member: Value| {
            let key = layout::parse_log(&reply::bytes(member).unwrap_or_default());
            if key.is_none() {
                tracing::error!(%set, "a malformed unfinished mark is ignored");
            }
            key
        };
        Ok(members.into_iter().filter_map(parse).collect())
    }
}

/// How long ago a sequence was drawn, by the clock of this machine.
fn age(sequence: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_micros(sequence))
}

fn append_command(keys: &LogKeys, append: &Append, token: &[u8], sequence: &str) -> Cmd {
    let mut cmd =
        scripts::APPEND.call(&[&keys.fence, &keys.head, &keys.records, &keys.summary, &keys.marks]);
    cmd.arg(&keys.log).arg(layout::epoch_text(append.epoch)).arg(append.expected);
    cmd.arg(token).arg(sequence);
    cmd.arg(match append.unfinished {
        None => "",
        Some(false) => "0",
        Some(true) => "1",
    });
    cmd.arg(append.summary.as_ref().map(layout::encode_summary).unwrap_or_default());
    for record in &append.records {
        cmd.arg(record.as_ref());
    }
    cmd
}

#[async_trait]
impl LogStore for RedisLog {
    async fn append(&self, append: Append) -> Result<(), LogError> {
        log::check_name(&append.key)?;
        log::check_sizes(&append)?;
        let keys = self.shared.layout.log(&append.key);
        let token = self.token();
        let command = |sequence: &str| append_command(&keys, &append, &token, sequence);
        self.change(&append.key, &keys.head, append.epoch, append.expected, command).await
    }

    async fn read(&self, key: &LogKey, from: u64, max: usize) -> Result<Vec<Record>, LogError> {
        let keys = self.shared.layout.log(key);
        let mut next = from.max(1);
        let mut records = Vec::new();
        while records.len() < max && next < MAX_NUMBER {
            let count = (max - records.len()).min(READ_PAGE);
            let command =
                || scripts::READ.call(&[&keys.head, &keys.records]).arg(next).arg(count).take();
            let answer = self.shared.router.read(slot(keys.head.as_bytes()), command).await?;
            let Some(page) = Page::parse(answer)? else { break };
            if page.floor >= next {
                // What was read before is trimmed by now.
                records.clear();
                next = page.floor.saturating_add(1);
            }
            let full = page.entries.len() == count;
            for (index, data) in page.entries {
                if index != next {
                    return Err(missing(key, next));
                }
                records.push(Record { index, data });
                next = next.saturating_add(1);
            }
            if !full {
                if next <= page.last {
                    return Err(missing(key, next));
                }
                break;
            }
        }
        Ok(records)
    }

    async fn head(&self, key: &LogKey) -> Result<Option<Head>, LogError> {
        let keys = self.shared.layout.log(key);
        let command = || scripts::HEAD.call(&[&keys.head, &keys.summary]);
        let answer = self.shared.router.read(slot(keys.head.as_bytes()), command).await?;
        let mut parts = reply::array(answer)?;
        let Some(summary) = parts.pop() else { return Ok(None) };
        let [last, epoch, sequence, unfinished] = parts.as_slice() else {
            return Err(reply::unexpected(&Value::Array(parts)).into());
        };
        Ok(Some(Head {
            last: reply::number(last)?,
            epoch: reply::number(epoch)?,
            unfinished: reply::number(unfinished)? == 1,
            sequence: reply::number(sequence)?,
            summary: reply::bytes(summary).and_then(layout::decode_summary),
        }))
    }

    async fn fence(&self, key: &LogKey, epoch: u64) -> Result<(), LogError> {
        log::check_name(key)?;
        let keys = self.shared.layout.log(key);
        let text = layout::epoch_text(epoch);
        let command = |sequence: &str| {
            scripts::FENCE.call(&[&keys.fence, &keys.head]).arg(&text).arg(sequence).take()
        };
        self.change(key, &keys.head, epoch, 0, command).await
    }

    async fn fence_shard(&self, shard: u32, total: u32, epoch: u64) -> Result<(), LogError> {
        let all = self.shared.layout.shards;
        if total != all || shard >= all {
            return Err(LogError::Invalid(format!("no shard {shard} of {total}: there are {all}")));
        }
        let fence = self.shared.layout.fence(shard);
        let command = || scripts::FENCE_SHARD.call(&[&fence]).arg(layout::epoch_text(epoch)).take();
        let slot = slot(fence.as_bytes());
        let answer = self.shared.router.write(slot, Repeat::Always, command).await?;
        reply::verdict(answer, epoch, 0).map(drop)
    }

    async fn delete(&self, key: &LogKey, epoch: u64) -> Result<(), LogError> {
        let Some(Head { sequence, .. }) = self.head(key).await? else { return Ok(()) };
        let keys = self.shared.layout.log(key);
        let command = || {
            let mut cmd = scripts::DELETE.call(&[
                &keys.fence,
                &keys.head,
                &keys.records,
                &keys.summary,
                &keys.marks,
            ]);
            cmd.arg(&keys.log).arg(layout::epoch_text(epoch));
            cmd.arg(layout::sequence_text(sequence)).take()
        };
        let slot = slot(keys.head.as_bytes());
        reply::verdict(self.shared.router.write(slot, Repeat::Always, command).await?, epoch, 0)?;
        self.unlist(key, sequence).await;
        Ok(())
    }

    async fn list(
        &self,
        group: [u8; 16],
        after: u64,
        limit: usize,
    ) -> Result<Vec<(LogKey, Head)>, LogError> {
        let mut found = Vec::new();
        let mut start = after.saturating_add(1);
        while found.len() < limit && start < MAX_NUMBER {
            let count = (limit - found.len()).min(LIST_PAGE);
            let page = self.order_page(group, start, count).await?;
            let Some((highest, _)) = page.last() else { break };
            start = highest.saturating_add(1);
            let heads = page.into_iter().map(|(sequence, name)| self.listed(group, sequence, name));
            let logs: Vec<_> = stream::iter(heads).buffered(PARALLEL).try_collect().await?;
            found.extend(logs.into_iter().flatten());
        }
        Ok(found)
    }

    async fn unfinished(&self, shards: &Shards) -> Result<Vec<LogKey>, LogError> {
        let all = self.shared.layout.shards;
        let asked: BTreeSet<u32> = match shards {
            Shards::Of { total, numbers } if *total == all => numbers.clone(),
            _ => (0..all).collect(),
        };
        let sets = asked.into_iter().map(|shard| self.marks(shard));
        let found: Vec<_> = stream::iter(sets).buffer_unordered(PARALLEL).try_collect().await?;
        let mut found: Vec<LogKey> = found.into_iter().flatten().collect();
        found.retain(|key| shards.contains(key));
        found.sort();
        Ok(found)
    }

    async fn trim(&self, trim: Trim) -> Result<(), LogError> {
        let keys = self.shared.layout.log(&trim.key);
        let command = || {
            let mut cmd = scripts::TRIM.call(&[&keys.fence, &keys.head, &keys.records]);
            cmd.arg(layout::epoch_text(trim.epoch)).arg(layout::sequence_text(trim.sequence));
            cmd.arg(trim.through.min(MAX_NUMBER)).take()
        };
        let slot = slot(keys.head.as_bytes());
        let answer = self.shared.router.write(slot, Repeat::Always, command).await?;
        reply::verdict(answer, trim.epoch, 0).map(drop)
    }
}

/// A page of records and the bounds it must lie in.
struct Page {
    last: u64,
    floor: u64,
    entries: Vec<(u64, Bytes)>,
}

impl Page {
    /// `None`: there is no such log.
    fn parse(answer: Value) -> Result<Option<Self>, Failure> {
        let mut parts = reply::array(answer)?;
        let Some(entries) = parts.pop() else { return Ok(None) };
        let [last, floor] = parts.as_slice() else { return Err(reply::unexpected(&entries)) };
        let entries = reply::array(entries)?.into_iter().map(parse_entry);
        let (last, floor) = (reply::number(last)?, reply::number(floor)?);
        Ok(Some(Self { last, floor, entries: entries.collect::<Result<_, _>>()? }))
    }
}

/// `[<index>-0, [d, <bytes>]]`
fn parse_entry(entry: Value) -> Result<(u64, Bytes), Failure> {
    let mut parts = reply::array(entry)?;
    let fields = parts.pop().unwrap_or_default();
    let data = reply::array(fields)?.pop().and_then(reply::bytes);
    let id = parts.pop().and_then(reply::bytes).unwrap_or_default();
    let index = std::str::from_utf8(&id).ok().and_then(|id| id.strip_suffix("-0")?.parse().ok());
    match (index, data) {
        (Some(index), Some(data)) => Ok((index, data)),
        _ => Err(Failure::Refused(format!(
            "malformed stream entry {:?}",
            String::from_utf8_lossy(&id)
        ))),
    }
}

fn missing(key: &LogKey, index: u64) -> LogError {
    LogError::Corrupt { key: key.clone(), index, reason: "records are missing".into() }
}
