//! Making an instance from a checkpoint.

use super::capture::level_of;
use super::files;
use super::format::{Body, Checkpoint, GuestResource};
use crate::Instance;
use crate::component::Prepared;
use crate::ctx::WorkerCtx;
use crate::resources::IndexKey;
use std::sync::Arc;

impl Instance {
    /// Makes an instance with the state of a checkpoint, which was taken of the same component
    /// version; the context is of the same worker, at the start of its log. Its directory is empty;
    /// if the worker has a fresh instance of its own, it has the initial files. It goes on after the
    /// checkpoint's index.
    ///
    /// # Errors
    ///
    /// Any error means that the checkpoint does not fit; the log is to be replayed instead.
    pub async fn restore(
        prepared: Arc<Prepared>,
        ctx: WorkerCtx,
        checkpoint: &Checkpoint,
    ) -> wasmtime::Result<Self> {
        let body = checkpoint.body().map_err(wasmtime::Error::msg)?;
        let mut instance = Self::new(prepared.clone(), ctx).await?;
        let fresh = instance.fresh.clone().map_err(wasmtime::Error::msg)?;
        let Some(plan) = &prepared.plan else {
            wasmtime::bail!("the component does not support checkpoints")
        };
        let same = fresh.fingerprint == checkpoint.binding.fresh
            && fresh.own == checkpoint.binding.own_fresh;
        wasmtime::ensure!(same, "the fresh instance is another one");
        let handles: Option<Vec<_>> = body.parts.iter().map(|part| part.handles.as_ref()).collect();
        let handles = handles.ok_or_else(|| wasmtime::format_err!("it has no handles"))?;
        instance.restore_files(&body).await?;
        let mut access = instance.access();
        access.fill_handles(plan, &handles).await?;
        access.write(plan, &fresh, &body.parts).await?;
        instance.restore_resources(&body).await?;
        instance.restore_journal(checkpoint, &body)?;
        Ok(instance)
    }

    /// Replaces the files, which are as the initialisation has left them.
    async fn restore_files(&mut self, body: &Body) -> wasmtime::Result<()> {
        let (prepared, node) = (self.prepared.clone(), self.ctx_ref().node.clone());
        if self.fresh.as_ref().is_ok_and(|fresh| fresh.own) {
            self.ctx().files.clear()?;
        }
        // To make a directory costs as much as all the rest, and most workers use none.
        if body.files.is_empty() {
            return Ok(());
        }
        let (initial, root) = (&prepared.metadata.files, self.ctx_ref().files.path());
        let written = files::write(root, &body.files, initial, node.blobs.as_ref()).await;
        self.ctx().read_only = written.map_err(wasmtime::Error::msg)?;
        Ok(())
    }

    async fn restore_resources(&mut self, body: &Body) -> wasmtime::Result<()> {
        let mut live = Vec::new();
        for GuestResource { id, origin } in &body.resources {
            let origin = origin
                .as_ref()
                .ok_or_else(|| wasmtime::format_err!("resource {id} is of an unknown origin"))?;
            live.push((*id, self.access().guest_resource(origin).await?));
        }
        let indexed = body.indexed.iter().map(|r| {
            (IndexKey { resource: r.resource.clone(), parameters: r.parameters.clone() }, r.id)
        });
        self.resources.restore(body.next_resource, live, indexed);
        Ok(())
    }

    fn restore_journal(&mut self, checkpoint: &Checkpoint, body: &Body) -> wasmtime::Result<()> {
        let settings =
            body.settings.as_ref().ok_or_else(|| wasmtime::format_err!("it has no settings"))?;
        let level = level_of(settings.level)
            .ok_or_else(|| wasmtime::format_err!("its persistence level is unknown"))?;
        let journal = &mut self.ctx().journal;
        journal.resume_after(checkpoint.binding.index, checkpoint.state.last_effect, level);
        journal.idempotent = settings.idempotent;
        journal.retry_policy =
            checkpoint.state.retry_policy.clone().filter(|_| settings.retry_policy);
        journal.set_recording(true);
        Ok(())
    }
}
