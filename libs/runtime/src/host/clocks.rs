//! `wasi:clocks`. The monotonic clock *is* the wall clock in nanoseconds, so that instants which a
//! guest keeps stay meaningful after a restart or on another machine (guest spec 3.5).

use super::{functions, wasi};
use crate::WorkerCtx;
use crate::log::{HostFn, HostFnInfo};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

const MONOTONIC_NOW: HostFn<(), u64> = HostFn::read_local("monotonic_clock::now");
const MONOTONIC_RESOLUTION: HostFn<(), u64> = HostFn::read_local("monotonic_clock::resolution");
const WALL_NOW: HostFn<(), (u64, u32)> = HostFn::read_local("wall_clock::now");
const WALL_RESOLUTION: HostFn<(), (u64, u32)> = HostFn::read_local("wall_clock::resolution");

pub(super) const FUNCTIONS: &[&dyn HostFnInfo] =
    &[&MONOTONIC_NOW, &MONOTONIC_RESOLUTION, &WALL_NOW, &WALL_RESOLUTION];

/// Becomes ready at a wall-clock time.
pub(crate) struct Deadline(Option<SystemTime>);

#[wasmtime_wasi::async_trait]
impl Pollable for Deadline {
    async fn ready(&mut self) {
        match self.0 {
            // A duration too large to be represented never ends.
            None => std::future::pending().await,
            Some(time) => {
                while let Ok(left) = time.duration_since(SystemTime::now()) {
                    if left.is_zero() {
                        return;
                    }
                    // In steps, so that a change of the system clock is noticed.
                    tokio::time::sleep(left.min(Duration::from_secs(1))).await;
                }
            }
        }
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl WorkerCtx {
    async fn monotonic_now(&mut self) -> wasmtime::Result<u64> {
        if let Some(now) = self.journal.replay(&MONOTONIC_NOW).await? {
            return Ok(now);
        }
        let now = u64::try_from(since_epoch().as_nanos()).unwrap_or(u64::MAX);
        self.journal.record(&MONOTONIC_NOW, (), &now).await?;
        Ok(now)
    }

    async fn monotonic_resolution(&mut self) -> wasmtime::Result<u64> {
        if let Some(resolution) = self.journal.replay(&MONOTONIC_RESOLUTION).await? {
            return Ok(resolution);
        }
        self.journal.record(&MONOTONIC_RESOLUTION, (), &1).await?;
        Ok(1)
    }

    async fn wall(
        &mut self,
        function: &HostFn<(), (u64, u32)>,
        now: Duration,
    ) -> wasmtime::Result<Datetime> {
        let (seconds, nanoseconds) = match self.journal.replay(function).await? {
            Some(recorded) => recorded,
            None => {
                let now = (now.as_secs(), now.subsec_nanos());
                self.journal.record(function, (), &now).await?;
                now
            }
        };
        Ok(Datetime { seconds, nanoseconds })
    }

    fn timer(&mut self, instant: Option<u64>) -> wasmtime::Result<Resource<DynPollable>> {
        let time = instant.and_then(|ns| UNIX_EPOCH.checked_add(Duration::from_nanos(ns)));
        let deadline = self.table.push(Deadline(time))?;
        let pollable = subscribe(&mut self.table, deadline)?;
        self.deadlines.insert(pollable.rep(), time);
        Ok(pollable)
    }
}

pub(super) fn add(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, &wasi("clocks/monotonic-clock"), {
        "now" => |ctx| Ok((ctx.monotonic_now().await?,));
        "resolution" => |ctx| Ok((ctx.monotonic_resolution().await?,));
        "subscribe-instant" => |ctx, instant: u64| Ok((ctx.timer(Some(instant))?,));
        "subscribe-duration" => |ctx, duration: u64| {
            let now = ctx.monotonic_now().await?;
            Ok((ctx.timer(now.checked_add(duration))?,))
        };
    });
    functions!(linker, &wasi("clocks/wall-clock"), {
        "now" => |ctx| Ok((ctx.wall(&WALL_NOW, since_epoch()).await?,));
        "resolution" => |ctx| Ok((ctx.wall(&WALL_RESOLUTION, Duration::from_nanos(1)).await?,));
    });
    Ok(())
}
