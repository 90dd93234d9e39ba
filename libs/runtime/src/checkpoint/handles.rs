//! The handle table of a component: what is in it, and making the same table again, with the same
//! present and the same future indexes.
//!
//! A table gives the index that was freed last, or else the next. The ledger of the rewritten
//! component knows the kind of each entry; the free indexes are found by taking and giving back
//! fillers. An entry that one of them knows and the other does not means: no checkpoint.

use super::access::Access;
use super::format::{Entry, Handles, Origin};
use crate::WorkerCtx;
use emet_checkpoint::{Kind, Plan};
use emet_oplog::LogLevel;
use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::{Descriptor, OpenMode};

/// Highest index of a table that is saved (docs/limits.md).
const MAX_INDEX: u32 = 4096;

/// The handle table, or why it cannot be saved now.
pub(crate) type Held = Result<Handles, String>;

impl Access<'_> {
    /// Reads the handle table.
    pub(crate) async fn handles(&mut self, plan: &Plan) -> wasmtime::Result<Held> {
        let (highest,): (u32,) = self.invoke("highest", ()).await?;
        if highest > MAX_INDEX {
            return Ok(Err(format!("more than {MAX_INDEX} handles were held")));
        }
        let Some(free) = self.free_indexes(highest).await? else {
            return Ok(Err("handles of an unknown kind are held".into()));
        };
        let known: HashSet<u32> = free.iter().copied().collect();
        let kind_at = self.func::<(u32,), (u32,)>("kind")?;
        let (mut entries, mut of_host) = (Vec::new(), 0);
        for index in 1..=highest {
            let (number,) = self.call(&kind_at, (index,)).await?;
            let kind = number.checked_sub(1).and_then(|n| plan.kinds.get(usize::try_from(n).ok()?));
            match (kind, known.contains(&index)) {
                (None, true) => {}
                (Some(kind), false) => match self.origin(number, kind, index).await? {
                    Ok(origin) => {
                        of_host += usize::from(kind.interface.is_some());
                        entries.push(Entry { index, kind: number, origin: Some(origin) });
                    }
                    Err(reason) => return Ok(Err(reason)),
                },
                _ => return Ok(Err("handles of an unknown kind are held".into())),
            }
        }
        // What the host keeps beside them belongs to something that cannot be made again.
        if self.store.data_mut().table.iter_mut().count() != of_host {
            return Ok(Err("a resource of the host is in use".into()));
        }
        Ok(Ok(Handles { highest, entries, free }))
    }

    /// Free indexes up to the highest, the one to be given next first; none if there are others.
    async fn free_indexes(&mut self, highest: u32) -> wasmtime::Result<Option<Vec<u32>>> {
        let fill = self.func::<(), (u32,)>("fill")?;
        let unfill = self.func::<(u32,), ()>("unfill")?;
        let mut taken = Vec::new();
        let last = loop {
            let (index,) = self.call(&fill, ()).await?;
            taken.push(index);
            if index > highest {
                break index;
            }
        };
        for index in taken.iter().rev() {
            self.call(&unfill, (*index,)).await?;
        }
        taken.pop();
        Ok((last == highest + 1).then_some(taken))
    }

    /// What an entry is, so that it can be made again; or what it is that cannot.
    async fn origin(
        &mut self,
        number: u32,
        kind: &Kind,
        index: u32,
    ) -> wasmtime::Result<Result<Origin, String>> {
        if kind.interface.is_none() {
            let (rep,): (u32,) = self.invoke("rep", (number, index)).await?;
            return Ok(Ok(Origin::Own(rep)));
        }
        let held = || {
            format!(
                "a resource is held: {} of {}",
                kind.name,
                kind.interface.as_deref().unwrap_or_default()
            )
        };
        let Some(label) = &kind.label else { return Ok(Err(held())) };
        let () = self.invoke("show", (number, index)).await?;
        let ctx = self.store.data_mut();
        let rep = ctx
            .checkpoint
            .shown
            .take()
            .ok_or_else(|| wasmtime::format_err!("handle {index} was not shown"))?;
        Ok(ctx.origin_of(label, rep).ok_or_else(held))
    }

    /// Makes the table again in a fresh instance.
    pub(crate) async fn fill_handles(
        &mut self,
        plan: &Plan,
        handles: &Handles,
    ) -> wasmtime::Result<()> {
        let fill = self.func::<(), (u32,)>("fill")?;
        let unfill = self.func::<(u32,), ()>("unfill")?;
        let mut entries = handles.entries.iter().peekable();
        for index in 1..=handles.highest {
            let made = match entries.next_if(|entry| entry.index == index) {
                Some(entry) => self.make(plan, entry).await?,
                None => self.call(&fill, ()).await?.0,
            };
            wasmtime::ensure!(made == index, "handle {index} was made as {made}");
        }
        wasmtime::ensure!(entries.next().is_none(), "there are handles beyond the highest");
        for index in handles.free.iter().rev() {
            self.call(&unfill, (*index,)).await?;
        }
        self.invoke("raise", (handles.highest,)).await
    }

    async fn make(&mut self, plan: &Plan, entry: &Entry) -> wasmtime::Result<u32> {
        let kind = entry.kind.checked_sub(1).and_then(|n| plan.kinds.get(usize::try_from(n).ok()?));
        let kind = kind.ok_or_else(|| wasmtime::format_err!("there is no kind {}", entry.kind))?;
        let origin = entry.origin.as_ref().ok_or_else(|| {
            wasmtime::format_err!("handle {} is of an unknown origin", entry.index)
        })?;
        if let Origin::Own(rep) = origin {
            wasmtime::ensure!(
                kind.interface.is_none(),
                "handle {} is of another kind",
                entry.index
            );
            let (index,): (u32,) = self.invoke("new", (entry.kind, *rep)).await?;
            return Ok(index);
        }
        let rep = self.store.data_mut().remake(origin)?;
        self.store.data_mut().checkpoint.giving = Some(rep);
        let (index,): (u32,) = self.invoke("give", (entry.kind,)).await?;
        let () = self.invoke("show", (entry.kind, index)).await?;
        let shown = self.store.data_mut().checkpoint.shown.take();
        wasmtime::ensure!(shown == Some(rep), "handle {index} is not what was given");
        Ok(index)
    }
}

impl WorkerCtx {
    /// Where a resource comes from, if it can be made again.
    fn origin_of(&mut self, label: &str, rep: u32) -> Option<Origin> {
        match label {
            "output-stream" => match self.log_streams.get(&rep)? {
                LogLevel::Stdout => Some(Origin::Stdout(true)),
                LogLevel::Stderr => Some(Origin::Stderr(true)),
                _ => None,
            },
            "input-stream" => self.checkpoint.stdin.contains(&rep).then_some(Origin::Stdin(true)),
            "descriptor" => self.is_root(rep).then_some(Origin::Root(true)),
            "wasm-rpc" => self
                .rpc_target(rep)
                .map(|(component, name)| Origin::Rpc(super::format::Rpc { component, name })),
            _ => None,
        }
    }

    /// Whether a descriptor is the worker's directory, as every guest gets it.
    fn is_root(&mut self, rep: u32) -> bool {
        let root = std::fs::metadata(self.files.path());
        let Ok(Descriptor::Dir(dir)) = self.table.get(&Resource::<Descriptor>::new_borrow(rep))
        else {
            return false;
        };
        let here = dir.dir.metadata();
        let same = root
            .and_then(|root| Ok((root, here?)))
            .is_ok_and(|(root, here)| (root.dev(), root.ino()) == (here.dev(), here.ino()));
        same && dir.open_mode == OpenMode::READ | OpenMode::WRITE
    }

    /// Makes a resource again; gives its place in the table.
    fn remake(&mut self, origin: &Origin) -> wasmtime::Result<u32> {
        match origin {
            Origin::Stdout(_) => Ok(self.output(LogLevel::Stdout)?.rep()),
            Origin::Stderr(_) => Ok(self.output(LogLevel::Stderr)?.rep()),
            Origin::Stdin(_) => Ok(self.input()?.rep()),
            Origin::Root(_) => self.root_descriptor(),
            Origin::Rpc(rpc) => self.rpc_again(&rpc.component, rpc.name.clone()),
            Origin::Own(_) => Err(wasmtime::format_err!("the component makes its own resources")),
        }
    }

    fn root_descriptor(&mut self) -> wasmtime::Result<u32> {
        use wasmtime_wasi::filesystem::WasiFilesystemView;
        use wasmtime_wasi::p2::bindings::filesystem::preopens::Host as _;
        self.preopen()?;
        let mut preopens = self.filesystem().get_directories()?;
        let root = preopens.pop().ok_or_else(|| wasmtime::format_err!("there is no directory"))?.0;
        for (other, _) in preopens {
            self.table.delete(other)?;
        }
        Ok(root.rep())
    }
}
