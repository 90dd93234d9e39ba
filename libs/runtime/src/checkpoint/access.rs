//! Calls of the functions that the rewriting has added to a component.

use crate::WorkerCtx;
use emet_checkpoint::PREFIX;
use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, Instance, Lift, Lower, TypedFunc};

/// A way to the state of an instance.
pub(crate) struct Access<'a> {
    pub(crate) store: &'a mut Store<WorkerCtx>,
    pub(crate) instance: Instance,
}

impl Access<'_> {
    /// One of the added functions, by its name without the prefix.
    pub(crate) fn func<P, R>(&mut self, name: &str) -> wasmtime::Result<TypedFunc<P, R>>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        self.instance.get_typed_func(&mut *self.store, format!("{PREFIX}{name}").as_str())
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
