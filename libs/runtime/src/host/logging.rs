//! `wasi:logging`: goes to the oplog. The package has no version in the 1.0 and 1.1 lines; later
//! guests import the same interface as a draft.

use super::functions;
use crate::WorkerCtx;
use emet_oplog::LogLevel;
use wasmtime::component::{ComponentType, Lift, Linker};

#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "values are made by lifting from the guest")]
enum Level {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
    #[component(name = "critical")]
    Critical,
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::Trace,
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
            Level::Critical => Self::Critical,
        }
    }
}

pub(super) fn add(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    for interface in ["wasi:logging/logging", "wasi:logging/logging@0.1.0-draft"] {
        functions!(linker, interface, {
            "log" => |ctx, level: Level, context: String, message: String| {
                ctx.log(level.into(), &context, &message).await
            };
        });
    }
    Ok(())
}
