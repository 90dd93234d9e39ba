//! Making an instance from a checkpoint.

use super::capture::level_of;
use super::format::{Body, Checkpoint, GuestResource};
use crate::component::Prepared;
use crate::ctx::WorkerCtx;
use crate::resources::IndexKey;
use crate::{Instance, files::WorkerFiles};
use emet_model::InitialFile;
use emet_storage::BlobStore;
use std::collections::HashSet;
use std::sync::Arc;

impl WorkerFiles {
    /// Places the files of a checkpoint; answers device and inode of the read-only ones.
    pub async fn restore(
        &self,
        checkpoint: &Checkpoint,
        initial: &[InitialFile],
        blobs: &dyn BlobStore,
    ) -> Result<HashSet<(u64, u64)>, String> {
        super::files::write(self.path(), &checkpoint.body()?.files, initial, blobs).await
    }
}

impl Instance {
    /// Makes an instance with the state of a checkpoint, which was taken of the same component
    /// version; the context is of the same worker, at the start of its log, and has the files of
    /// the checkpoint. It goes on after the checkpoint's index.
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
        let (Some(plan), Some(base)) = (&prepared.plan, prepared.base()) else {
            wasmtime::bail!("the component does not support checkpoints")
        };
        wasmtime::ensure!(
            base.fingerprint == checkpoint.binding.base,
            "the fresh instance is another one"
        );
        let handles: Option<Vec<_>> = body.parts.iter().map(|part| part.handles.as_ref()).collect();
        let handles = handles.ok_or_else(|| wasmtime::format_err!("it has no handles"))?;
        let mut access = instance.access();
        access.fill_handles(plan, &handles).await?;
        access.write(plan, base, &body.parts).await?;
        instance.restore_resources(&body).await?;
        instance.restore_journal(checkpoint, &body)?;
        Ok(instance)
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
