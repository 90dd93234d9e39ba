//! `wasi:cli`: environment, arguments, exit, and the streams, which go to the oplog.

use super::{functions, wasi};
use crate::WorkerCtx;
use crate::log::{HostFn, HostFnInfo};
use crate::stop::Stop;
use bytes::Bytes;
use emet_oplog::LogLevel;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable, StreamError, StreamResult,
};

type Environment = Vec<(String, String)>;

const ENVIRONMENT: HostFn<(), Environment> =
    HostFn::read_local("golem_environment::get_environment");
const ARGUMENTS: HostFn<(), Vec<String>> = HostFn::read_local("golem_environment::get_arguments");
const INITIAL_CWD: HostFn<(), Option<String>> =
    HostFn::read_local("golem_environment::initial_cwd");

pub(super) const FUNCTIONS: &[&dyn HostFnInfo] = &[&ENVIRONMENT, &ARGUMENTS, &INITIAL_CWD];

/// Variables that the host sets; given ones of the same names are left out.
const HOST_VARIABLES: [&str; 3] =
    ["GOLEM_WORKER_NAME", "GOLEM_COMPONENT_ID", "GOLEM_COMPONENT_VERSION"];

impl WorkerCtx {
    /// What the guest sees: the worker's environment, then the host's variables.
    pub(crate) fn full_environment(&self) -> Environment {
        let given =
            self.env.iter().filter(|(name, _)| !HOST_VARIABLES.contains(&name.as_str())).cloned();
        let host = [
            self.worker.worker_name.clone(),
            self.worker.component_id.to_string(),
            self.component_version.to_string(),
        ];
        given.chain(HOST_VARIABLES.map(str::to_owned).into_iter().zip(host)).collect()
    }

    pub(crate) async fn get_environment(&mut self) -> wasmtime::Result<Environment> {
        if let Some(environment) = self.journal.replay(&ENVIRONMENT).await? {
            return Ok(environment);
        }
        let environment = self.full_environment();
        self.journal.record(&ENVIRONMENT, (), &environment).await?;
        Ok(environment)
    }

    pub(crate) async fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        if let Some(arguments) = self.journal.replay(&ARGUMENTS).await? {
            return Ok(arguments);
        }
        let arguments = self.args.clone();
        self.journal.record(&ARGUMENTS, (), &arguments).await?;
        Ok(arguments)
    }

    async fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        if let Some(cwd) = self.journal.replay(&INITIAL_CWD).await? {
            return Ok(cwd);
        }
        self.journal.record(&INITIAL_CWD, (), &None).await?;
        Ok(None)
    }

    /// A stream whose writes become log entries: `wasi:io/streams` knows it by its place in the
    /// side table.
    pub(crate) fn output(
        &mut self,
        level: LogLevel,
    ) -> wasmtime::Result<Resource<DynOutputStream>> {
        let stream: DynOutputStream = Box::new(Sink);
        let stream = self.table.push(stream)?;
        self.log_streams.insert(stream.rep(), level);
        Ok(stream)
    }

    /// The stream of standard input, which is empty.
    pub(crate) fn input(&mut self) -> wasmtime::Result<Resource<DynInputStream>> {
        let stream: DynInputStream = Box::new(NoInput);
        let stream = self.table.push(stream)?;
        self.checkpoint.stdin.insert(stream.rep());
        Ok(stream)
    }
}

struct Sink;

#[wasmtime_wasi::async_trait]
impl Pollable for Sink {
    async fn ready(&mut self) {}
}

impl OutputStream for Sink {
    fn write(&mut self, _bytes: Bytes) -> StreamResult<()> {
        Ok(())
    }
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(1 << 20)
    }
}

struct NoInput;

#[wasmtime_wasi::async_trait]
impl Pollable for NoInput {
    async fn ready(&mut self) {}
}

impl InputStream for NoInput {
    fn read(&mut self, _size: usize) -> StreamResult<Bytes> {
        Err(StreamError::Trap(wasmtime::format_err!("standard input is disabled")))
    }
}

pub(super) fn add(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    functions!(linker, &wasi("cli/environment"), {
        "get-environment" => |ctx| Ok((ctx.get_environment().await?,));
        "get-arguments" => |ctx| Ok((ctx.get_arguments().await?,));
        "initial-cwd" => |ctx| Ok((ctx.initial_cwd().await?,));
    });
    functions!(linker, &wasi("cli/exit"), {
        "exit" => |_ctx, _status: Result<(), ()>| Err::<(), _>(wasmtime::Error::from(Stop::Exit));
        "exit-with-code" => |_ctx, _code: u8| Err::<(), _>(wasmtime::Error::from(Stop::Exit));
    });
    functions!(linker, &wasi("cli/stdin"), {
        "get-stdin" => |ctx| Ok((ctx.input()?,));
    });
    functions!(linker, &wasi("cli/stdout"), {
        "get-stdout" => |ctx| Ok((ctx.output(LogLevel::Stdout)?,));
    });
    functions!(linker, &wasi("cli/stderr"), {
        "get-stderr" => |ctx| Ok((ctx.output(LogLevel::Stderr)?,));
    });
    Ok(())
}
