//! The interfaces that a guest can import, one module per WIT package.
//!
//! Most of WASI is taken from wasmtime-wasi; the modules here define the functions again whose
//! effects must be recorded. What a module records is in its `FUNCTIONS`.

mod blobstore;
mod cli;
mod clocks;
#[cfg(test)]
mod complete;
mod filesystem;
pub(crate) mod golem;
pub(crate) mod http;
mod io;
mod keyvalue;
mod logging;
mod random;
pub(crate) mod rpc;
pub(crate) mod sockets;
mod values;

pub(crate) use rpc::Rpc;

use crate::WorkerCtx;
use crate::log::HostFnInfo;
use emet_model::Component as Metadata;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};
use wasmtime_wasi::p2::bindings::LinkOptions;

/// The version of WASI that wasmtime-wasi defines. Guests that import an earlier 0.2.x are linked
/// with it by the rules of semantic versions.
const WASI_VERSION: &str = "0.2.12";

/// The full name of an interface of WASI.
fn wasi(interface: &str) -> String {
    format!("wasi:{interface}@{WASI_VERSION}")
}

/// Defines functions of an interface; each gets the worker's context and its parameters, and gives
/// a tuple of its results.
macro_rules! functions {
    ($linker:expr, $interface:expr, { $($name:literal => |$ctx:ident $(, $arg:ident : $ty:ty)*| $body:expr;)* }) => {{
        let mut interface = $linker.instance($interface)?;
        $(interface.func_wrap_async(
            $name,
            |mut store: wasmtime::StoreContextMut<'_, $crate::WorkerCtx>, ($($arg,)*): ($($ty,)*)| {
                Box::new(async move {
                    let $ctx = store.data_mut();
                    $body
                })
            },
        )?;)*
    }};
}
use functions;

/// A linker with everything that guests can import.
pub fn linker(engine: &Engine) -> wasmtime::Result<Linker<WorkerCtx>> {
    let mut linker = Linker::new(engine);
    linker.allow_shadowing(true);
    let mut options = LinkOptions::default();
    // Guests of this line may import what WASI still marks as unstable (guest spec 1.3).
    options.network_error_code(true);
    wasmtime_wasi::p2::add_to_linker_with_options_async(&mut linker, &options)?;
    io::add(&mut linker)?;
    clocks::add(&mut linker)?;
    random::add(&mut linker)?;
    cli::add(&mut linker)?;
    filesystem::add(&mut linker)?;
    logging::add(&mut linker)?;
    http::add(&mut linker)?;
    golem::add(&mut linker)?;
    keyvalue::add(&mut linker)?;
    blobstore::add(&mut linker)?;
    sockets::add(&mut linker)?;
    rpc::add(&mut linker)?;
    Ok(linker)
}

/// The linker of one component: what it imports from other components is added.
pub(crate) fn link_component(
    linker: &Linker<WorkerCtx>,
    component: &Component,
    metadata: &Metadata,
) -> wasmtime::Result<Linker<WorkerCtx>> {
    let mut linker = linker.clone();
    rpc::link(&mut linker, component, metadata)?;
    Ok(linker)
}

/// Describes a recorded host function.
pub fn describe(name: &str) -> Option<&'static dyn HostFnInfo> {
    let modules = [
        blobstore::FUNCTIONS,
        cli::FUNCTIONS,
        clocks::FUNCTIONS,
        filesystem::FUNCTIONS,
        http::FUNCTIONS,
        io::FUNCTIONS,
        keyvalue::FUNCTIONS,
        random::FUNCTIONS,
        rpc::FUNCTIONS,
    ];
    modules
        .into_iter()
        .flatten()
        .chain(golem::recorded())
        .chain(sockets::recorded())
        .find(|f| f.name() == name)
        .copied()
}
