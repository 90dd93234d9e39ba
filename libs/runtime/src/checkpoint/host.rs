//! The resources of the host that can be made again, and what the host keeps for checkpoints.

use super::format::Origin;
use crate::WorkerCtx;
use crate::host::Rpc;
use emet_checkpoint::Remade;
use emet_oplog::LogLevel;
use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use wasmtime::Store;
use wasmtime::component::{Resource, ResourceAny};
use wasmtime_wasi::filesystem::{Descriptor, OpenMode};
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

/// What the host keeps for checkpoints.
#[derive(Default)]
pub(crate) struct HostState {
    /// Standard input streams, by their place in the table.
    pub(crate) stdin: HashSet<u32>,
}

/// The place of a resource in the host's table, and the resource again.
pub(super) fn place(
    store: &mut Store<WorkerCtx>,
    label: &str,
    resource: ResourceAny,
) -> wasmtime::Result<(u32, ResourceAny)> {
    fn place_of<T: 'static>(
        store: &mut Store<WorkerCtx>,
        resource: ResourceAny,
    ) -> wasmtime::Result<(u32, ResourceAny)> {
        let resource = resource.try_into_resource::<T>(&mut *store)?;
        Ok((resource.rep(), resource.try_into_resource_any(store)?))
    }
    match label {
        INPUT => place_of::<DynInputStream>(store, resource),
        OUTPUT => place_of::<DynOutputStream>(store, resource),
        DESCRIPTOR => place_of::<Descriptor>(store, resource),
        RPC => place_of::<Rpc>(store, resource),
        other => Err(wasmtime::format_err!("no resource has the label {other}")),
    }
}

/// Makes a resource again.
pub(super) fn remake(
    store: &mut Store<WorkerCtx>,
    origin: &Origin,
) -> wasmtime::Result<ResourceAny> {
    let ctx = store.data_mut();
    match origin {
        Origin::Stdout(_) => ctx.output(LogLevel::Stdout)?.try_into_resource_any(store),
        Origin::Stderr(_) => ctx.output(LogLevel::Stderr)?.try_into_resource_any(store),
        Origin::Stdin(_) => ctx.input()?.try_into_resource_any(store),
        Origin::Root(_) => ctx.root_descriptor()?.try_into_resource_any(store),
        Origin::Rpc(rpc) => {
            let place = ctx.rpc_again(&rpc.component, rpc.name.clone())?;
            Resource::<Rpc>::new_own(place).try_into_resource_any(store)
        }
        Origin::Guest(_) => Err(wasmtime::format_err!("the component makes its own resources")),
    }
}

impl WorkerCtx {
    /// Where a resource comes from, if it can be made again.
    pub(super) fn origin_of(&mut self, label: &str, place: u32) -> Option<Origin> {
        match label {
            OUTPUT => match self.log_streams.get(&place)? {
                LogLevel::Stdout => Some(Origin::Stdout(true)),
                LogLevel::Stderr => Some(Origin::Stderr(true)),
                _ => None,
            },
            INPUT => self.checkpoint.stdin.contains(&place).then_some(Origin::Stdin(true)),
            DESCRIPTOR => self.is_root(place).then_some(Origin::Root(true)),
            RPC => self
                .rpc_target(place)
                .map(|(component, name)| Origin::Rpc(super::format::Rpc { component, name })),
            _ => None,
        }
    }

    /// Whether a descriptor is the worker's directory, as every guest gets it.
    fn is_root(&mut self, place: u32) -> bool {
        let Some(root) = self.files.used() else { return false };
        let root = std::fs::metadata(root);
        let Ok(Descriptor::Dir(dir)) = self.table.get(&Resource::<Descriptor>::new_borrow(place))
        else {
            return false;
        };
        let here = dir.dir.metadata();
        let same = root
            .and_then(|root| Ok((root, here?)))
            .is_ok_and(|(root, here)| (root.dev(), root.ino()) == (here.dev(), here.ino()));
        same && dir.open_mode == OpenMode::READ | OpenMode::WRITE
    }

    fn root_descriptor(&mut self) -> wasmtime::Result<Resource<Descriptor>> {
        use wasmtime_wasi::filesystem::WasiFilesystemView;
        use wasmtime_wasi::p2::bindings::filesystem::preopens::Host as _;
        self.preopen()?;
        let mut preopens = self.filesystem().get_directories()?;
        let root = preopens.pop().ok_or_else(|| wasmtime::format_err!("there is no directory"))?.0;
        for (other, _) in preopens {
            self.table.delete(other)?;
        }
        Ok(root)
    }
}
