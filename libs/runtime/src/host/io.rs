//! `wasi:io`: readiness is recorded, so that a guest which branches on it replays the same; the
//! streams of stdout and stderr go to the log.

use super::{functions, wasi};
use crate::WorkerCtx;
use crate::log::{HostFn, HostFnInfo};
use crate::stop::Stop;
use emet_oplog::LogLevel;
use std::time::{Duration, SystemTime};
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::io::poll::{Host as _, HostPollable as _};
use wasmtime_wasi::p2::bindings::io::streams::{
    Host as _, HostInputStream as _, HostOutputStream as _, StreamError as WitError,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, StreamError};

const POLL: HostFn<u64, Vec<u32>> = HostFn::read_order("golem io::poll::poll");
const READY: HostFn<(), bool> = HostFn::read_order("golem io::poll::ready");

pub(super) const FUNCTIONS: &[&dyn HostFnInfo] = &[&POLL, &READY];

/// Most bytes of one splice: what a blocking write takes.
const MAX_SPLICED: u64 = 4096;
/// Most pollables of one call (docs/limits.md).
const MAX_POLLABLES: usize = 10_000;

type Wit<T> = Result<T, WitError>;
type Streamed<T> = Result<T, StreamError>;

impl WorkerCtx {
    async fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        wasmtime::ensure!(!pollables.is_empty(), "empty poll list");
        wasmtime::ensure!(
            pollables.len() <= MAX_POLLABLES,
            "more than {MAX_POLLABLES} pollables in one poll"
        );
        let count = pollables.len() as u64;
        if let Some(ready) = self.journal.replay(&POLL).await? {
            return Ok(ready);
        }
        self.suspend_if_long(&pollables)?;
        self.before_waiting().await?;
        let ready = self.wait_for(pollables).await?;
        self.journal.record(&POLL, count, &ready).await?;
        Ok(ready)
    }

    /// Gives the instance up where everything that is waited for is a time that is far away
    /// (guest spec 3.5). An ephemeral worker could not be rebuilt: it waits in memory.
    fn suspend_if_long(&self, pollables: &[Resource<DynPollable>]) -> wasmtime::Result<()> {
        let deadlines: Option<Vec<Option<SystemTime>>> =
            pollables.iter().map(|p| self.deadlines.get(&p.rep()).copied()).collect();
        let Some(deadlines) = deadlines else { return Ok(()) };
        let first = deadlines.into_iter().flatten().min();
        let left = first
            .map_or(Duration::MAX, |t| t.duration_since(SystemTime::now()).unwrap_or_default());
        if left >= self.node.suspend_after && self.can_suspend() {
            return Err(Stop::Suspend { until: first }.into());
        }
        Ok(())
    }

    /// Waits in memory; but where everything that is waited for are times and other workers, the
    /// instance is given up when others need the room, or after the same time as for a timer.
    async fn wait_for(
        &mut self,
        pollables: Vec<Resource<DynPollable>>,
    ) -> wasmtime::Result<Vec<u32>> {
        self.rpc_send_dormant();
        let places: Vec<u32> = pollables.iter().map(Resource::rep).collect();
        let others =
            places.iter().any(|p| !self.calls.contains_key(p) && !self.deadlines.contains_key(p));
        if let Some(calls) = self.calls_of(&places)?
            && !calls.is_empty()
            && !others
        {
            let deadline =
                places.iter().filter_map(|p| self.deadlines.get(p).copied().flatten()).min();
            self.until_any_ended(calls, deadline).await?;
        }
        self.table.poll(pollables).await
    }

    async fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        if let Some(ready) = self.journal.replay(&READY).await? {
            return Ok(ready);
        }
        self.resume_exchanges();
        self.rpc_send_dormant();
        let ready = self.table.ready(pollable).await?;
        self.journal.record(&READY, (), &ready).await?;
        Ok(ready)
    }

    /// Waiting takes time: what was done before must not be lost meanwhile.
    pub(crate) async fn before_waiting(&mut self) -> wasmtime::Result<()> {
        self.resume_exchanges();
        self.journal.flush().await
    }

    fn wit<T>(&mut self, result: Streamed<T>) -> wasmtime::Result<(Wit<T>,)> {
        match result {
            Ok(value) => Ok((Ok(value),)),
            Err(error) => Ok((Err(self.table.convert_stream_error(error)?),)),
        }
    }

    /// Reads from a stream that is executed every time (a file): always waits for data, since how
    /// much of it is there at once depends on the machine.
    async fn read(
        &mut self,
        stream: Resource<DynInputStream>,
        length: u64,
        blocking: bool,
    ) -> Streamed<Vec<u8>> {
        if self.is_body(&stream) {
            return self.read_body(stream, length, blocking).await;
        }
        if self.is_connection_input(&stream) {
            return self.read_connection(stream, length, blocking).await;
        }
        self.table.blocking_read(stream, length).await
    }

    async fn skip(
        &mut self,
        stream: Resource<DynInputStream>,
        length: u64,
        blocking: bool,
    ) -> Streamed<u64> {
        if self.is_body(&stream) {
            return self.skip_body(stream, length, blocking).await;
        }
        if self.is_connection_input(&stream) {
            return self.skip_connection(stream, length, blocking).await;
        }
        self.table.blocking_skip(stream, length).await
    }

    async fn write(
        &mut self,
        stream: Resource<DynOutputStream>,
        bytes: Vec<u8>,
        flush: bool,
    ) -> Streamed<()> {
        if self.is_connection_output(&stream) {
            return self.write_connection(stream, bytes, flush).await;
        }
        match self.log_streams.get(&stream.rep()).copied() {
            Some(level) => self.write_log(level, &bytes).await,
            None if flush => self.table.blocking_write_and_flush(stream, bytes).await,
            None => self.table.write(stream, bytes),
        }
    }

    async fn write_log(&mut self, level: LogLevel, bytes: &[u8]) -> Streamed<()> {
        self.log(level, "", &String::from_utf8_lossy(bytes)).await.map_err(StreamError::Trap)
    }

    async fn check_write(&mut self, stream: Resource<DynOutputStream>) -> Streamed<u64> {
        if self.log_streams.contains_key(&stream.rep()) {
            return Ok(1 << 20);
        }
        if self.is_connection_output(&stream) {
            return self.check_connection(stream).await;
        }
        // How much a stream takes at once depends on the machine as well.
        let inner = self.table.get_mut(&stream).map_err(StreamError::from)?;
        inner.ready().await;
        self.table.check_write(stream)
    }

    async fn write_zeroes(
        &mut self,
        stream: Resource<DynOutputStream>,
        count: u64,
        flush: bool,
    ) -> Streamed<()> {
        if self.log_streams.contains_key(&stream.rep()) || self.is_connection_output(&stream) {
            let zeroes =
                usize::try_from(count.min(1 << 20)).map_or_else(|_| vec![], |n| vec![0; n]);
            return self.write(stream, zeroes, flush).await;
        }
        match flush {
            true => self.table.blocking_write_zeroes_and_flush(stream, count).await,
            false => self.table.write_zeroes(stream, count),
        }
    }

    async fn flush(&mut self, stream: Resource<DynOutputStream>, blocking: bool) -> Streamed<()> {
        match blocking {
            _ if self.is_connection_output(&stream) => {
                self.flush_connection(stream, blocking).await
            }
            true => self.table.blocking_flush(stream).await,
            false => self.table.flush(stream),
        }
    }

    /// Files are executed every time, so they are waited for in any case.
    async fn splice(
        &mut self,
        to: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        length: u64,
        blocking: bool,
    ) -> Streamed<u64> {
        if blocking && self.is_connection_output(&to) {
            self.flush(Resource::new_borrow(to.rep()), true).await?;
        }
        let permit = self.check_write(Resource::new_borrow(to.rep())).await?;
        let bytes = self.read(from, length.min(permit).min(MAX_SPLICED), blocking).await?;
        let count = bytes.len() as u64;
        if count > 0 {
            self.write(to, bytes, true).await?;
        }
        Ok(count)
    }
}

pub(super) fn add(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    add_poll(linker)?;
    add_input(linker)?;
    add_output(linker)
}

fn add_poll(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, &wasi("io/poll"), {
        "poll" => |ctx, pollables: Vec<Resource<DynPollable>>| Ok((ctx.poll(pollables).await?,));
        "[method]pollable.ready" => |ctx, pollable: Resource<DynPollable>| Ok((ctx.ready(pollable).await?,));
        "[method]pollable.block" => |ctx, pollable: Resource<DynPollable>| ctx.poll(vec![pollable]).await.map(|_| ());
    });
    linker.instance(&wasi("io/poll"))?.resource(
        "pollable",
        ResourceType::host::<DynPollable>(),
        |mut store, rep| {
            let ctx = store.data_mut();
            ctx.deadlines.remove(&rep);
            ctx.calls.remove(&rep);
            wasmtime_wasi::p2::bindings::io::poll::HostPollable::drop(
                &mut ctx.table,
                Resource::<DynPollable>::new_own(rep),
            )
        },
    )
}

fn add_input(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, &wasi("io/streams"), {
        "[method]input-stream.read" => |ctx, stream: Resource<DynInputStream>, length: u64| {
            let read = ctx.read(stream, length, false).await;
            ctx.wit(read)
        };
        "[method]input-stream.blocking-read" => |ctx, stream: Resource<DynInputStream>, length: u64| {
            let read = ctx.read(stream, length, true).await;
            ctx.wit(read)
        };
        "[method]input-stream.skip" => |ctx, stream: Resource<DynInputStream>, length: u64| {
            let skipped = ctx.skip(stream, length, false).await;
            ctx.wit(skipped)
        };
        "[method]input-stream.blocking-skip" => |ctx, stream: Resource<DynInputStream>, length: u64| {
            let skipped = ctx.skip(stream, length, true).await;
            ctx.wit(skipped)
        };
    });
    linker.instance(&wasi("io/streams"))?.resource_async(
        "input-stream",
        ResourceType::host::<DynInputStream>(),
        |mut store, rep| {
            Box::new(async move {
                let ctx = store.data_mut();
                ctx.checkpoint.stdin.remove(&rep);
                ctx.forget_connection_input(rep);
                ctx.body_stream_dropped(rep).await?;
                wasmtime_wasi::p2::bindings::io::streams::HostInputStream::drop(
                    &mut ctx.table,
                    Resource::<DynInputStream>::new_own(rep),
                )
                .await
            })
        },
    )
}

fn add_output(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, &wasi("io/streams"), {
        "[method]output-stream.check-write" => |ctx, stream: Resource<DynOutputStream>| {
            let permit = ctx.check_write(stream).await;
            ctx.wit(permit)
        };
        "[method]output-stream.write" => |ctx, stream: Resource<DynOutputStream>, bytes: Vec<u8>| {
            let written = ctx.write(stream, bytes, false).await;
            ctx.wit(written)
        };
        "[method]output-stream.blocking-write-and-flush" => |ctx, stream: Resource<DynOutputStream>, bytes: Vec<u8>| {
            let written = ctx.write(stream, bytes, true).await;
            ctx.wit(written)
        };
        "[method]output-stream.flush" => |ctx, stream: Resource<DynOutputStream>| {
            let flushed = ctx.flush(stream, false).await;
            ctx.wit(flushed)
        };
        "[method]output-stream.blocking-flush" => |ctx, stream: Resource<DynOutputStream>| {
            let flushed = ctx.flush(stream, true).await;
            ctx.wit(flushed)
        };
        "[method]output-stream.write-zeroes" => |ctx, stream: Resource<DynOutputStream>, count: u64| {
            let written = ctx.write_zeroes(stream, count, false).await;
            ctx.wit(written)
        };
        "[method]output-stream.blocking-write-zeroes-and-flush" => |ctx, stream: Resource<DynOutputStream>, count: u64| {
            let written = ctx.write_zeroes(stream, count, true).await;
            ctx.wit(written)
        };
        "[method]output-stream.splice" => |ctx, to: Resource<DynOutputStream>, from: Resource<DynInputStream>, length: u64| {
            let spliced = ctx.splice(to, from, length, false).await;
            ctx.wit(spliced)
        };
        "[method]output-stream.blocking-splice" => |ctx, to: Resource<DynOutputStream>, from: Resource<DynInputStream>, length: u64| {
            let spliced = ctx.splice(to, from, length, true).await;
            ctx.wit(spliced)
        };
    });
    linker.instance(&wasi("io/streams"))?.resource_async(
        "output-stream",
        ResourceType::host::<DynOutputStream>(),
        |mut store, rep| {
            Box::new(async move {
                let ctx = store.data_mut();
                ctx.log_streams.remove(&rep);
                ctx.forget_connection_output(rep);
                wasmtime_wasi::p2::bindings::io::streams::HostOutputStream::drop(
                    &mut ctx.table,
                    Resource::<DynOutputStream>::new_own(rep),
                )
                .await
            })
        },
    )
}
