//! Calls of the functions that the rewriting has added to a component.

use crate::WorkerCtx;
use emet_checkpoint::export_name;
use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, Instance, Lift, Lower, ResourceType, TypedFunc};

/// A way to the state of one part of an instance.
pub(crate) struct Access<'a> {
    pub(crate) store: &'a mut Store<WorkerCtx>,
    pub(crate) instance: Instance,
    /// Number of the part in the plan.
    pub(crate) part: usize,
}

impl Access<'_> {
    /// The same for another part.
    pub(crate) fn of(&mut self, part: usize) -> Access<'_> {
        Access { store: &mut *self.store, instance: self.instance, part }
    }

    /// One of the added functions, by its name in the part.
    pub(crate) fn func<P, R>(&mut self, name: &str) -> wasmtime::Result<TypedFunc<P, R>>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let name = export_name(self.part, name);
        self.instance.get_typed_func(&mut *self.store, name.as_str())
    }

    /// The type of a kind of resources.
    pub(crate) fn resource_type(&mut self, kind: u32) -> wasmtime::Result<ResourceType> {
        let name = export_name(self.part, &format!("resource-{kind}"));
        self.instance
            .get_resource(&mut *self.store, name.as_str())
            .ok_or_else(|| wasmtime::format_err!("{name} is not exported"))
    }

    /// Calls a function.
    pub(crate) async fn call<P, R>(
        &mut self,
        func: &TypedFunc<P, R>,
        params: P,
    ) -> wasmtime::Result<R>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        func.call_async(&mut *self.store, params).await
    }

    /// Finds a function and calls it.
    pub(crate) async fn invoke<P, R>(&mut self, name: &str, params: P) -> wasmtime::Result<R>
    where
        P: ComponentNamedList + Lower + Send + Sync,
        R: ComponentNamedList + Lift + Send + Sync + 'static,
    {
        let func = self.func(name)?;
        self.call(&func, params).await
    }
}
