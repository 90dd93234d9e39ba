//! The actors of the workers: how they are found, made, asked and forgotten.

use crate::actor::{Actor, Command, Reply, Visible};
use crate::checkpoints::Checkpoints;
use crate::executor::Shared;
use crate::metadata;
use emet_api::Caller;
use emet_model::{WorkerError, WorkerId, WorkerMetadata, WorkerStatus};
use emet_oplog::{Create, EntryKind, WorkerState};
use emet_runtime::log::{OplogWriter, Payloads, log_failure, log_key};
use emet_shard_map::Epoch;
use futures::future::BoxFuture;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OnceCell, mpsc, oneshot};

pub(crate) type Slot = Arc<OnceCell<Handle>>;

/// The way to an actor.
#[derive(Clone)]
pub(crate) struct Handle {
    sender: mpsc::UnboundedSender<Command>,
    pub(crate) writer: Arc<OplogWriter>,
    pub(crate) visible: Arc<Visible>,
    /// When it was used last, in ticks of the executor.
    pub(crate) used: Arc<AtomicU64>,
}

/// How long a recovery waits for one worker before it turns to the next.
const SETTLE_STEPS: u32 = 400;
const SETTLE_STEP: Duration = Duration::from_millis(5);

/// What a missing worker is made with.
#[derive(Clone, Default)]
pub(crate) struct Making {
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) parent: Option<WorkerId>,
}

pub(crate) fn gone() -> WorkerError {
    WorkerError::unknown(
        "the worker stopped before it answered; try again with the same idempotency key",
    )
}

impl Handle {
    /// Sends a command; false: the actor has ended.
    pub(crate) fn send(&self, command: Command) -> bool {
        self.sender.send(command).is_ok()
    }

    /// The worker.
    pub(crate) fn worker(&self) -> &WorkerId {
        &self.writer.worker
    }

    /// Waits until the worker is in memory, has turned out not to need it, or has had its time:
    /// this only spreads the work of a recovery.
    pub(crate) async fn settled(&self) {
        for _ in 0..SETTLE_STEPS {
            if self.sender.is_closed() || self.visible.loaded.load(Ordering::SeqCst) {
                return;
            }
            tokio::time::sleep(SETTLE_STEP).await;
        }
    }

    /// The log's view, with what it cannot show yet: a job that runs.
    pub(crate) fn metadata(&self) -> WorkerMetadata {
        let busy = self.visible.busy.load(Ordering::SeqCst);
        let mut metadata = self.writer.with_state(|s| metadata::metadata(&self.writer.worker, s));
        if busy
            && matches!(
                metadata.status,
                WorkerStatus::Suspended | WorkerStatus::Interrupted | WorkerStatus::Retrying
            )
        {
            metadata.status = WorkerStatus::Running;
        }
        metadata
    }
}

/// Whether the actor that writes with this is the one that is found.
fn is_present(actors: &HashMap<WorkerId, Slot>, writer: &Arc<OplogWriter>) -> bool {
    let found = actors.get(&writer.worker).and_then(|slot| slot.get());
    found.is_some_and(|handle| Arc::ptr_eq(&handle.writer, writer))
}

impl Making {
    pub(crate) fn plain() -> Self {
        Self::default()
    }

    pub(crate) fn by(caller: Option<&Caller>) -> Self {
        match caller {
            None => Self::plain(),
            Some(c) => {
                Self { args: c.args.clone(), env: c.env.clone(), parent: Some(c.worker_id.clone()) }
            }
        }
    }
}

impl Shared {
    /// Removes an actor that has ended.
    pub(crate) fn forget(&self, writer: &Arc<OplogWriter>) {
        let mut actors = self.actors.lock();
        if is_present(&actors, writer) {
            actors.remove(&writer.worker);
        }
    }

    /// Removes an actor, if nobody has asked it anything.
    pub(crate) fn forget_if_empty(
        &self,
        writer: &Arc<OplogWriter>,
        mailbox: &mpsc::UnboundedReceiver<Command>,
    ) -> bool {
        let mut actors = self.actors.lock();
        let empty = mailbox.is_empty();
        if empty && is_present(&actors, writer) {
            actors.remove(&writer.worker);
        }
        empty
    }

    /// Forgets the actors of some workers.
    pub(crate) fn take_actors(&self, which: impl Fn(&WorkerId) -> bool) -> Vec<Handle> {
        let taken: Vec<_> = self.actors.lock().extract_if(|worker, _| which(worker)).collect();
        taken.into_iter().filter_map(|(_, slot)| slot.get().cloned()).collect()
    }

    /// Why a worker's actor did not answer.
    fn no_answer(&self, worker: &WorkerId) -> WorkerError {
        self.ownership.epoch(worker).err().unwrap_or_else(gone)
    }

    fn arc(&self) -> Result<Arc<Self>, WorkerError> {
        self.this.upgrade().ok_or_else(gone)
    }

    /// The actor of an existing worker.
    pub(crate) async fn find(&self, worker: &WorkerId) -> Result<Handle, WorkerError> {
        self.open(worker, None)
            .await?
            .ok_or_else(|| WorkerError::WorkerNotFound { worker_id: worker.clone() })
    }

    /// The actor of a worker, which is made if it is missing and `making` says how.
    async fn open(
        &self,
        worker: &WorkerId,
        making: Option<Making>,
    ) -> Result<Option<Handle>, WorkerError> {
        let epoch = self.ownership.epoch(worker)?;
        let slot = self.actors.lock().entry(worker.clone()).or_default().clone();
        let opened = slot.get_or_try_init(|| self.make(worker, epoch, making)).await;
        match opened {
            // The shard was let go while the actor was made, and nobody has seen it yet; or the node
            // stops, and nobody waits for an actor that is made late.
            Ok(handle)
                if !self.ownership.is_under(worker, epoch)
                    || self.node.stopping.load(Ordering::SeqCst) =>
            {
                let (done, _) = oneshot::channel();
                handle.send(Command::Shutdown(done));
                Err(self.no_answer(worker))
            }
            Ok(handle) => {
                handle.used.store(self.ticks.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
                Ok(Some(handle.clone()))
            }
            Err(error) => {
                let mut actors = self.actors.lock();
                if actors.get(worker).is_some_and(|s| s.get().is_none() && Arc::ptr_eq(s, &slot)) {
                    actors.remove(worker);
                }
                match error {
                    WorkerError::WorkerNotFound { .. } => Ok(None),
                    other => Err(other),
                }
            }
        }
    }

    async fn make(
        &self,
        worker: &WorkerId,
        epoch: Epoch,
        making: Option<Making>,
    ) -> Result<Handle, WorkerError> {
        // Earlier owners were fenced off when the shard was taken, so what is read is all there is.
        let head = self.log.head(&log_key(worker)).await.map_err(|e| log_failure(&e))?;
        let state = match &head {
            Some(_) => self.logs.state_at(worker, head.as_ref()).await?,
            None => WorkerState::default(),
        };
        let exists = head.as_ref().is_some_and(|h| h.last > 0);
        let making = match (exists, making) {
            (true, _) => None,
            (false, Some(making)) => Some(making),
            (false, None) => return Err(WorkerError::WorkerNotFound { worker_id: worker.clone() }),
        };
        let component = match &making {
            Some(_) => Some(self.latest(worker.component_id).await?),
            None => None,
        };
        let payloads = Payloads::new(self.node.blobs.clone(), worker);
        let writer = Arc::new(OplogWriter::new(
            worker.clone(),
            self.logs.clone(),
            payloads,
            epoch,
            state,
            head.as_ref(),
        ));
        let fresh = making.is_some();
        if let (Some(making), Some(component)) = (making, component) {
            writer.add(EntryKind::Create(Box::new(Create {
                worker_id: worker.clone(),
                component_version: component.versioned_component_id.version,
                args: making.args,
                env: making.env,
                parent: making.parent,
                component_size: component.component_size,
                initial_memory: component.initial_memory(),
            })));
        }
        let (sender, mailbox) = mpsc::unbounded_channel();
        let visible = Arc::new(Visible::default());
        let checkpoints = Checkpoints::new(self.mode, self.checkpoints.clone());
        let actor =
            Actor::new(self.arc()?, writer.clone(), visible.clone(), mailbox, checkpoints, fresh);
        tokio::spawn(actor.run());
        Ok(Handle { sender, writer, visible, used: Arc::default() })
    }

    /// Asks the actor of a worker; one that ends at that moment is made again.
    pub(crate) async fn ask<T>(
        &self,
        worker: &WorkerId,
        making: impl Fn() -> Option<Making>,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, WorkerError> {
        self.ask_or(worker, making, command, |lost| lost).await
    }

    /// As [`Self::ask`], for what must not be repeated: where the worker moved after its actor had begun,
    /// whether it was done is unknown, and not refused.
    pub(crate) async fn ask_once<T>(
        &self,
        worker: &WorkerId,
        making: impl Fn() -> Option<Making>,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, WorkerError> {
        self.ask_or(worker, making, command, |lost| match lost {
            WorkerError::InvalidShardId { .. } | WorkerError::ShardingNotReady => {
                let details = format!("{worker} moved before it answered");
                WorkerError::ConnectionLost { details }
            }
            other => other,
        })
        .await
    }

    /// Asks the actor of a worker; `lost` says what it means that it had begun and did not answer.
    async fn ask_or<T>(
        &self,
        worker: &WorkerId,
        making: impl Fn() -> Option<Making>,
        command: impl FnOnce(Reply<T>) -> Command,
        lost: impl FnOnce(WorkerError) -> WorkerError,
    ) -> Result<T, WorkerError> {
        let (reply, answer) = oneshot::channel();
        match self.tell(worker, making, command(reply)).await {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(lost(self.no_answer(worker)))),
            Err((error, _)) => Err(error),
        }
    }

    /// Hands a command to the actor of a worker; gives it back where there is none.
    async fn tell(
        &self,
        worker: &WorkerId,
        making: impl Fn() -> Option<Making>,
        mut command: Command,
    ) -> Result<(), (WorkerError, Command)> {
        loop {
            let handle = match self.open(worker, making()).await {
                Ok(Some(handle)) => handle,
                Ok(None) => {
                    return Err((
                        WorkerError::WorkerNotFound { worker_id: worker.clone() },
                        command,
                    ));
                }
                Err(error) => return Err((error, command)),
            };
            // Under the lock an actor cannot leave between being found and being asked.
            let sent = {
                let actors = self.actors.lock();
                if is_present(&actors, &handle.writer) {
                    handle.sender.send(command)
                } else {
                    Err(mpsc::error::SendError(command))
                }
            };
            match sent {
                Ok(()) => return Ok(()),
                Err(mpsc::error::SendError(back)) => command = back,
            }
            tokio::task::yield_now().await;
        }
    }

    /// Hands over a command that an actor was sent while it ended: it was not carried out, so the
    /// worker's next actor does it (law L10).
    pub(crate) fn again(&self, worker: &WorkerId, command: Command) {
        let Ok(this) = self.arc() else { return command.refuse(gone()) };
        let worker = worker.clone();
        // Boxed, since actors are made by what they call here.
        let told: BoxFuture<'static, ()> = Box::pin(async move {
            let making = command.making();
            if let Err((error, command)) = this.tell(&worker, || making.clone(), command).await {
                command.refuse(error);
            }
        });
        tokio::spawn(told);
    }
}
