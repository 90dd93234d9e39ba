//! The handle tables of a component: what is in them, and making the same tables again, with the
//! same present and the same future indexes.
//!
//! A table gives the index that was freed last, or else the next. The ledger of each part knows the
//! kind of each entry; the free indexes are found by taking and giving back fillers. An entry that
//! one of them knows and the other does not means: no checkpoint.
//!
//! To be looked at, a resource is taken out of its table and given back at once, to the same index.
//!
//! What the initialisation of a fresh instance has put into its tables is dropped before others are
//! filled in.

use super::access::Access;
use super::format::{Entry, GuestOrigin, Handles, Origin};
use super::host;
use emet_checkpoint::{Kind, Part, Plan};
use std::collections::HashSet;
use wasmtime::component::{ResourceAny, ResourceType};

/// Highest index of a table that is saved (docs/limits.md).
const MAX_INDEX: u32 = 4096;

/// The resource types that the parts of an instance define.
pub(super) struct GuestTypes(Vec<GuestType>);

struct GuestType {
    part: usize,
    kind: u32,
    ty: ResourceType,
}

impl GuestTypes {
    fn find(&self, ty: ResourceType) -> Option<(usize, u32)> {
        self.0.iter().find(|known| known.ty == ty).map(|known| (known.part, known.kind))
    }
}

/// What makes a handle impossible to save now.
type NotNow = String;

impl Access<'_> {
    /// The resource types that the parts define.
    pub(super) fn guest_types(&mut self, plan: &Plan) -> wasmtime::Result<GuestTypes> {
        let mut types = Vec::new();
        for (part, kinds) in plan.parts.iter().map(|part| &part.kinds).enumerate() {
            let own = (1u32..).zip(kinds).filter(|(_, kind)| kind.interface.is_none());
            for (kind, _) in own {
                types.push(GuestType { part, kind, ty: self.of(part).resource_type(kind)? });
            }
        }
        Ok(GuestTypes(types))
    }

    /// How one of the component's own resources is made again; none if no part defines it.
    pub(super) async fn guest_origin(
        &mut self,
        types: &GuestTypes,
        resource: ResourceAny,
    ) -> wasmtime::Result<Option<GuestOrigin>> {
        let Some((part, kind)) = types.find(resource.ty()) else { return Ok(None) };
        let (rep,): (u32,) = self.of(part).invoke(&format!("borrow-{kind}"), (resource,)).await?;
        Ok(Some(GuestOrigin { part: u32::try_from(part)?, kind, rep }))
    }

    /// Makes one of the component's own resources again.
    pub(super) async fn guest_resource(
        &mut self,
        origin: &GuestOrigin,
    ) -> wasmtime::Result<ResourceAny> {
        let mut part = self.of(usize::try_from(origin.part)?);
        let (resource,): (ResourceAny,) =
            part.invoke(&format!("own-{}", origin.kind), (origin.rep,)).await?;
        Ok(resource)
    }

    /// Whether no part has ever had a handle.
    pub(crate) async fn holds_nothing(&mut self, plan: &Plan) -> wasmtime::Result<bool> {
        for part in 0..plan.parts.len() {
            let (highest,): (u32,) = self.of(part).invoke("highest", ()).await?;
            if highest > 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads the handle tables of all parts.
    pub(super) async fn handles(
        &mut self,
        plan: &Plan,
        types: &GuestTypes,
    ) -> wasmtime::Result<Result<Vec<Handles>, NotNow>> {
        let mut tables = Vec::new();
        for (number, part) in plan.parts.iter().enumerate() {
            match self.of(number).table(part, types).await? {
                Ok(table) => tables.push(table),
                Err(reason) => return Ok(Err(reason)),
            }
        }
        let entries = tables.iter().flat_map(|table| &table.entries);
        let of_host = entries.filter(|e| !matches!(e.origin, Some(Origin::Guest(_)))).count();
        // What the host keeps beside them belongs to something that cannot be made again.
        if self.store.data_mut().table.iter_mut().count() != of_host {
            return Ok(Err("a resource of the host is in use".into()));
        }
        Ok(Ok(tables))
    }

    async fn table(
        &mut self,
        part: &Part,
        types: &GuestTypes,
    ) -> wasmtime::Result<Result<Handles, NotNow>> {
        let (highest,): (u32,) = self.invoke("highest", ()).await?;
        if highest > MAX_INDEX {
            return Ok(Err(format!("more than {MAX_INDEX} handles were held")));
        }
        let Some(free) = self.free_indexes(highest).await? else {
            return Ok(Err("handles of an unknown kind are held".into()));
        };
        let known: HashSet<u32> = free.iter().copied().collect();
        let kind_at = self.func::<(u32,), (u32,)>("kind")?;
        let mut entries = Vec::new();
        for index in 1..=highest {
            let (number,) = self.call(&kind_at, (index,)).await?;
            let kind = number.checked_sub(1).and_then(|n| part.kinds.get(usize::try_from(n).ok()?));
            match (kind, known.contains(&index)) {
                (None, true) => {}
                (Some(kind), false) => match self.origin(types, number, kind, index).await? {
                    Some(origin) => {
                        entries.push(Entry { index, kind: number, origin: Some(origin) });
                    }
                    None => return Ok(Err(held(kind))),
                },
                _ => return Ok(Err("handles of an unknown kind are held".into())),
            }
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

    /// What an entry is, so that it can be made again; none: it cannot.
    async fn origin(
        &mut self,
        types: &GuestTypes,
        number: u32,
        kind: &Kind,
        index: u32,
    ) -> wasmtime::Result<Option<Origin>> {
        let of_guest = types.find(self.resource_type(number)?).is_some();
        if !of_guest && kind.label.is_none() {
            return Ok(None);
        }
        let (shown,): (ResourceAny,) = self.invoke(&format!("show-{number}"), (index,)).await?;
        let (origin, shown) = match kind.label.as_deref().filter(|_| !of_guest) {
            Some(label) => {
                let (place, shown) = host::place(self.store, label, shown)?;
                (self.store.data_mut().origin_of(label, place), shown)
            }
            None => (self.guest_origin(types, shown).await?.map(Origin::Guest), shown),
        };
        self.give(number, index, shown).await?;
        Ok(origin)
    }

    /// Puts a resource into the table, which must give it this index.
    async fn give(
        &mut self,
        number: u32,
        index: u32,
        resource: ResourceAny,
    ) -> wasmtime::Result<()> {
        let (given,): (u32,) = self.invoke(&format!("give-{number}"), (number, resource)).await?;
        wasmtime::ensure!(given == index, "handle {index} was given as {given}");
        Ok(())
    }

    /// Makes the tables again in a fresh instance.
    pub(crate) async fn fill_handles(
        &mut self,
        plan: &Plan,
        tables: &[&Handles],
    ) -> wasmtime::Result<()> {
        for ((number, part), handles) in plan.parts.iter().enumerate().zip(tables) {
            self.of(number).fill_table(part, handles).await?;
        }
        Ok(())
    }

    async fn fill_table(&mut self, part: &Part, handles: &Handles) -> wasmtime::Result<()> {
        let before = self.empty_table().await?;
        wasmtime::ensure!(before <= handles.highest, "more handles were held at the start");
        let fill = self.func::<(), (u32,)>("fill")?;
        let unfill = self.func::<(u32,), ()>("unfill")?;
        let mut entries = handles.entries.iter().peekable();
        for index in 1..=handles.highest {
            match entries.next_if(|entry| entry.index == index) {
                Some(entry) => self.make(part, entry).await?,
                None => {
                    let (made,) = self.call(&fill, ()).await?;
                    wasmtime::ensure!(made == index, "handle {index} was made as {made}");
                }
            }
        }
        wasmtime::ensure!(entries.next().is_none(), "there are handles beyond the highest");
        for index in handles.free.iter().rev() {
            self.call(&unfill, (*index,)).await?;
        }
        self.invoke("raise", (handles.highest,)).await
    }

    /// Drops what is in the table of a fresh instance, and frees its indexes so that they are given
    /// again from the first on; answers the highest.
    async fn empty_table(&mut self) -> wasmtime::Result<u32> {
        let (highest,): (u32,) = self.invoke("highest", ()).await?;
        wasmtime::ensure!(highest <= MAX_INDEX, "more than {MAX_INDEX} handles were held");
        let kind_at = self.func::<(u32,), (u32,)>("kind")?;
        for index in 1..=highest {
            let (number,) = self.call(&kind_at, (index,)).await?;
            if number > 0 {
                let (held,): (ResourceAny,) =
                    self.invoke(&format!("show-{number}"), (index,)).await?;
                self.invoke::<_, ()>("remove", (index,)).await?;
                held.resource_drop_async(&mut *self.store).await?;
            }
        }
        let (fill, unfill) = (self.func::<(), (u32,)>("fill")?, self.func::<(u32,), ()>("unfill")?);
        for _ in 1..=highest {
            let (index,) = self.call(&fill, ()).await?;
            wasmtime::ensure!(index <= highest, "there are handles of an unknown kind");
        }
        for index in (1..=highest).rev() {
            self.call(&unfill, (index,)).await?;
        }
        Ok(highest)
    }

    async fn make(&mut self, part: &Part, entry: &Entry) -> wasmtime::Result<()> {
        let kind = entry.kind.checked_sub(1).and_then(|n| part.kinds.get(usize::try_from(n).ok()?));
        wasmtime::ensure!(kind.is_some(), "there is no kind {}", entry.kind);
        let resource = match &entry.origin {
            Some(Origin::Guest(origin)) => self.guest_resource(origin).await?,
            Some(origin) => host::remake(self.store, origin)?,
            None => wasmtime::bail!("handle {} is of an unknown origin", entry.index),
        };
        self.give(entry.kind, entry.index, resource).await
    }
}

fn held(kind: &Kind) -> NotNow {
    format!(
        "a resource is held: {} of {}",
        kind.name,
        kind.interface.as_deref().unwrap_or("the component")
    )
}
