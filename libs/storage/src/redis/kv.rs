//! [`RedisKv`]: the key-value port in Redis.

use super::Shared;
use super::layout;
use super::reply;
use super::router::Repeat;
use super::scripts;
use super::slot::slot;
use crate::kv::{self, Batch, KvError, KvOp, KvStore};
use async_trait::async_trait;
use bytes::Bytes;
use redis::{Cmd, Value};
use std::sync::Arc;

/// Keys asked for at a time.
const PAGE: usize = 1000;

/// Keys in a [`super::Redis`].
pub struct RedisKv {
    shared: Arc<Shared>,
}

impl RedisKv {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    async fn read_space(
        &self,
        space: &str,
        command: impl Fn(&[String; 2]) -> Cmd + Send + Sync,
    ) -> Result<Value, KvError> {
        let keys = self.shared.layout.space(space);
        let slot = slot(keys[0].as_bytes());
        Ok(self.shared.router.read(slot, || command(&keys)).await?)
    }
}

#[async_trait]
impl KvStore for RedisKv {
    async fn get(&self, space: &str, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        kv::check_key(space, key)?;
        let get = |keys: &[String; 2]| redis::cmd("HGET").arg(&keys[1]).arg(key).take();
        Ok(reply::bytes(self.read_space(space, get).await?))
    }

    async fn get_many(&self, space: &str, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, KvError> {
        for key in keys {
            kv::check_key(space, key)?;
        }
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let get = |names: &[String; 2]| redis::cmd("HMGET").arg(&names[1]).arg(keys).take();
        let values = reply::array(self.read_space(space, get).await?)?;
        Ok(values.into_iter().map(reply::bytes).collect())
    }

    async fn apply(&self, batch: Batch) -> Result<bool, KvError> {
        kv::check_batch(&batch)?;
        let spaces = Spaces::of(&batch)?;
        let Some(first) = spaces.0.first() else { return Ok(true) };
        let names: Vec<String> =
            spaces.0.iter().flat_map(|space| self.shared.layout.space(space)).collect();
        let slot = slot(self.shared.layout.space(first)[0].as_bytes());
        let relieves = batch.ops.iter().all(|op| matches!(op, KvOp::Delete { .. }));
        let script = if relieves { &scripts::RELIEVE } else { &scripts::APPLY };
        let command = || {
            let mut cmd = script.call(&names);
            spaces.add_batch(&mut cmd, &batch);
            cmd
        };
        // A repeated condition would be judged on the outcome of the first try.
        let repeat = if batch.conditions.is_empty() { Repeat::Always } else { Repeat::IfNotDone };
        let answer = self.shared.router.write(slot, repeat, command).await?;
        match answer.value {
            Value::Int(applied) => Ok(applied == 1),
            other => Err(reply::unexpected(&other).into()),
        }
    }

    async fn scan(
        &self,
        space: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Bytes)>, KvError> {
        kv::check_key(space, prefix)?;
        let max = after_prefix(prefix);
        let mut min = match after {
            Some(after) if after >= prefix => [b"(", after].concat(),
            _ => [b"[", prefix].concat(),
        };
        let mut found = Vec::new();
        while found.len() < limit {
            let count = (limit - found.len()).min(PAGE);
            let scan =
                |keys: &[String; 2]| scripts::SCAN.call(keys).arg(&min).arg(&max).arg(count).take();
            let mut parts = reply::array(self.read_space(space, scan).await?)?;
            let Some(values) = parts.pop() else { break };
            let keys = reply::array(parts.pop().unwrap_or_default())?;
            let full = keys.len() == count;
            for (key, value) in keys.into_iter().zip(reply::array(values)?) {
                if let (Some(key), Some(value)) = (reply::bytes(key), reply::bytes(value)) {
                    found.push((key.to_vec(), value));
                }
            }
            match found.last() {
                Some((last, _)) if full => min = [b"(", last.as_slice()].concat(),
                _ => break,
            }
        }
        Ok(found)
    }
}

/// The end of the keys with a prefix, as Redis writes it: the first key behind all of them.
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return [b"(", end.as_slice()].concat();
        }
    }
    b"+".to_vec()
}

/// The spaces of a batch, without repetition. A script numbers them from 1.
struct Spaces<'a>(Vec<&'a str>);

impl<'a> Spaces<'a> {
    fn of(batch: &'a Batch) -> Result<Self, KvError> {
        let conditions = batch.conditions.iter().map(|condition| condition.space.as_str());
        let ops = batch.ops.iter().map(|op| match op {
            KvOp::Put { space, .. } | KvOp::Delete { space, .. } => space.as_str(),
        });
        let mut spaces: Vec<&str> = Vec::new();
        for space in conditions.chain(ops) {
            if let Some(first) = spaces.first()
                && layout::tag(first) != layout::tag(space)
            {
                return Err(KvError::Invalid(format!(
                    "a batch spans the spaces {first:?} and {space:?}, which may lie on different servers"
                )));
            }
            if !spaces.contains(&space) {
                spaces.push(space);
            }
        }
        Ok(Self(spaces))
    }

    fn number(&self, space: &str) -> usize {
        self.0.iter().position(|known| *known == space).map_or(0, |at| at.saturating_add(1))
    }

    fn add_batch(&self, cmd: &mut Cmd, batch: &Batch) {
        cmd.arg(batch.conditions.len());
        for condition in &batch.conditions {
            cmd.arg(self.number(&condition.space)).arg(&condition.key);
            match &condition.expect {
                Some(value) => cmd.arg("1").arg(value.as_ref()),
                None => cmd.arg("0").arg(""),
            };
        }
        for op in &batch.ops {
            match op {
                KvOp::Put { space, key, value } => {
                    cmd.arg(self.number(space)).arg(key).arg("p").arg(value.as_ref());
                }
                KvOp::Delete { space, key } => {
                    cmd.arg(self.number(space)).arg(key).arg("d").arg("");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(after_prefix(b"a"), b"(b");
        assert_eq!(after_prefix(b"a\xff\xff"), b"(b");
        assert_eq!(after_prefix(b"\xff"), b"+");
        assert_eq!(after_prefix(b""), b"+");
    }

    #[test]
    fn a_batch_has_one_tag() {
        let one = Batch::new().put("a{x}", "k", "").delete("b{x}", "k").if_absent("a{x}", "k");
        assert_eq!(Spaces::of(&one).ok().map(|s| s.0), Some(vec!["a{x}", "b{x}"]));
        let two = Batch::new().put("a", "k", "").put("b", "k", "");
        assert!(matches!(Spaces::of(&two), Err(KvError::Invalid(_))));
    }
}
