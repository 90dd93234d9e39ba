//! The scripts, and commands that run them.

use redis::{Cmd, ToRedisArgs};
use std::sync::LazyLock;

/// A script and the digest that servers know it by.
pub(super) struct Script {
    source: &'static str,
    digest: String,
}

impl Script {
    fn new(source: &'static str) -> Self {
        Self { source, digest: redis::Script::new(source).get_hash().to_owned() }
    }

    /// A call with these keys. Arguments are added to it.
    pub(super) fn call(&self, keys: &[impl ToRedisArgs]) -> Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(&self.digest).arg(keys.len()).arg(keys);
        cmd
    }
}

/// A script with flags for the server: without `allow-oom` a server that has no memory left
/// refuses it before its first write.
macro_rules! script {
    ($flags:literal, $file:literal) => {
        LazyLock::new(|| {
            Script::new(concat!("#!lua", $flags, "\n", include_str!(concat!("scripts/", $file))))
        })
    };
}

pub(super) static APPEND: LazyLock<Script> = script!("", "append.lua");
pub(super) static FENCE: LazyLock<Script> = script!("", "fence.lua");
pub(super) static FENCE_SHARD: LazyLock<Script> = script!("", "fence_shard.lua");
pub(super) static RESERVE: LazyLock<Script> = script!("", "reserve.lua");
pub(super) static APPLY: LazyLock<Script> = script!("", "apply.lua");
/// For batches that only delete.
pub(super) static RELIEVE: LazyLock<Script> = script!(" flags=allow-oom", "apply.lua");
pub(super) static DELETE: LazyLock<Script> = script!(" flags=allow-oom", "delete.lua");
pub(super) static TRIM: LazyLock<Script> = script!(" flags=allow-oom", "trim.lua");
pub(super) static HEAD: LazyLock<Script> = script!(" flags=no-writes,allow-oom", "head.lua");
pub(super) static READ: LazyLock<Script> = script!(" flags=no-writes,allow-oom", "read.lua");
pub(super) static SCAN: LazyLock<Script> = script!(" flags=no-writes,allow-oom", "scan.lua");

/// Commands that make every script known to a server.
pub(super) fn load_all() -> impl Iterator<Item = Cmd> {
    let logs = [&APPEND, &FENCE, &FENCE_SHARD, &RESERVE, &DELETE, &TRIM, &HEAD, &READ];
    let all = logs.into_iter().chain([&APPLY, &RELIEVE, &SCAN]);
    all.map(|script| {
        let mut cmd = redis::cmd("SCRIPT");
        cmd.arg("LOAD").arg(script.source);
        cmd
    })
}
