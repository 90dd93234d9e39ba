//! The imports of a rewritten component, and the resources that can be made again.

use super::image::{self, Shown};
use crate::WorkerCtx;
use crate::host::Rpc;
use emet_checkpoint::{MAX_ALIKE, Remade, SAVE_IMPORT, give_import, show_import};
use std::collections::HashSet;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, WasmList};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

const INPUT: &str = "input-stream";
const OUTPUT: &str = "output-stream";
const DESCRIPTOR: &str = "descriptor";
const RPC: &str = "wasm-rpc";

/// The resource types of which the host can make a resource again, if it is of a known origin.
pub(crate) const REMADE: &[Remade] = &[
    Remade { interface: "wasi:io/streams", resource: "input-stream", label: INPUT },
    Remade { interface: "wasi:io/streams", resource: "output-stream", label: OUTPUT },
    Remade { interface: "wasi:filesystem/types", resource: "descriptor", label: DESCRIPTOR },
    Remade { interface: "golem:rpc/types", resource: "wasm-rpc", label: RPC },
];

/// What passes between the host and the added parts of a component.
#[derive(Default)]
pub(crate) struct HostState {
    /// Memory that is shown.
    pub(super) shown_memory: Shown,
    /// The resource that was shown.
    pub(super) shown: Option<u32>,
    /// The resource that is to be given.
    pub(super) giving: Option<u32>,
    /// Epochs in which the guest was found executing.
    pub(crate) ticks: u32,
    /// Standard input streams, by their place in the table.
    pub(crate) stdin: HashSet<u32>,
}

/// Defines what rewritten components import.
pub(crate) fn add_to_linker(linker: &mut Linker<WorkerCtx>) -> wasmtime::Result<()> {
    linker.root().func_wrap(
        SAVE_IMPORT,
        |store: StoreContextMut<'_, WorkerCtx>, (offset, bytes): (u32, WasmList<u8>)| {
            image::show(store, offset, &bytes);
            Ok(())
        },
    )?;
    for alike in 0..MAX_ALIKE {
        add_resource::<DynInputStream>(linker, INPUT, alike)?;
        add_resource::<DynOutputStream>(linker, OUTPUT, alike)?;
        add_resource::<Descriptor>(linker, DESCRIPTOR, alike)?;
        add_resource::<Rpc>(linker, RPC, alike)?;
    }
    Ok(())
}

fn add_resource<T: Send + 'static>(
    linker: &mut Linker<WorkerCtx>,
    label: &str,
    alike: usize,
) -> wasmtime::Result<()> {
    let mut root = linker.root();
    root.func_wrap(
        &give_import(label, alike),
        |mut store: StoreContextMut<'_, WorkerCtx>, (): ()| {
            let rep = store.data_mut().checkpoint.giving.take();
            let rep = rep.ok_or_else(|| wasmtime::format_err!("no resource is to be given"))?;
            Ok((Resource::<T>::new_own(rep),))
        },
    )?;
    root.func_wrap(
        &show_import(label, alike),
        |mut store: StoreContextMut<'_, WorkerCtx>, (shown,): (Resource<T>,)| {
            store.data_mut().checkpoint.shown = Some(shown.rep());
            Ok(())
        },
    )
}
