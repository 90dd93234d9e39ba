//! The actor of a worker: its mailbox is the only way in. What to do next is decided by pure
//! functions over the folded log (`emet-engine`); the actor carries it out.
//!
//! [`command`]: what can be asked. [`requests`]: invocations that arrive. [`control`]: interrupt,
//! resume, update, delete. [`history`]: revert and cancel. [`ending`]: what follows a job.

mod command;
mod control;
mod ending;
mod history;
mod requests;

pub(crate) use command::{Arrival, Command, Done, Reply, ReplyTo, Subscription, Visible};

use crate::checkpoints::Checkpoints;
use crate::executor::Shared;
use crate::files::{self, FileAnswer, FileRequest};
use crate::job::{Answer, Job, Loaded, Scene};
use crate::observe;
use crate::retention::Dropping;
use emet_api::Verification;
use emet_engine::{Next, next};
use emet_model::{
    Component, ComponentType, ComponentVersion, IdempotencyKey, OplogIndex, VersionedComponentId,
    WorkerError, WorkerStatus,
};
use emet_oplog::{EntryKind, Invocation, QueuedWork, WorkerState};
use emet_runtime::UnderWay;
use emet_runtime::log::OplogWriter;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tracing::Instrument;

/// Longest time that shutting a worker down may take.
pub(crate) const SHUTDOWN: Duration = Duration::from_secs(10);

pub(crate) struct Actor {
    shared: Arc<Shared>,
    writer: Arc<OplogWriter>,
    visible: Arc<Visible>,
    mailbox: mpsc::UnboundedReceiver<Command>,
    loaded: Option<Loaded>,
    waiters: HashMap<IdempotencyKey, Vec<Reply<Done>>>,
    /// An awaited invocation that starts at once: its caller waits, so it needs no entry before.
    direct: Option<Invocation>,
    files: Vec<(FileRequest, Reply<FileAnswer>)>,
    /// Explicit creations that wait for the worker to be loaded.
    creations: Vec<Reply<ComponentVersion>>,
    /// Comparisons that wait for the worker to be loaded and idle.
    verifications: Vec<Reply<Verification>>,
    checkpoints: Checkpoints,
    /// When old entries are dropped, of a worker that does not keep them.
    history: Option<Dropping>,
    retry_at: Option<Instant>,
    /// Calls that are under way while the worker is suspended.
    calls: UnderWay,
    /// Whatever wakes it when they have ended.
    watch: Option<AbortHandle>,
    /// Woken while a job ran that may be about to wait for just that.
    woken: bool,
    /// Whether nothing was asked yet of a worker that was just made.
    fresh: bool,
    /// Whether anything was done, so that the actor may leave.
    served: bool,
    /// Whether every invocation starts from the initial state.
    ephemeral: bool,
    finished: bool,
    /// Whether commands that come too late are not to be sent to a successor.
    last: bool,
}

/// Whether a running job goes on after a command.
enum Then {
    GoOn,
    Stop(Stopped),
}

/// Why a worker is stopped in whatever it does.
enum Stopped {
    Interrupt(Reply<()>),
    /// It is rebuilt from its log at once.
    Restart,
    Delete(Reply<()>),
    /// The node shuts down.
    Leave(Option<oneshot::Sender<()>>),
}

impl Actor {
    pub(crate) fn new(
        shared: Arc<Shared>,
        writer: Arc<OplogWriter>,
        visible: Arc<Visible>,
        mailbox: mpsc::UnboundedReceiver<Command>,
        checkpoints: Checkpoints,
        fresh: bool,
    ) -> Self {
        Self {
            shared,
            writer,
            visible,
            mailbox,
            loaded: None,
            waiters: HashMap::new(),
            direct: None,
            files: Vec::new(),
            creations: Vec::new(),
            verifications: Vec::new(),
            checkpoints,
            history: None,
            retry_at: None,
            calls: UnderWay::default(),
            watch: None,
            woken: false,
            fresh,
            served: false,
            ephemeral: false,
            finished: false,
            last: false,
        }
    }

    pub(crate) async fn run(mut self) {
        if let Some(component) = self.component().await {
            self.ephemeral = component.component_type == ComponentType::Ephemeral;
            self.history = self.retention(&component).await;
        }
        if self.writer.with_state(WorkerState::awaits_calls) {
            // Its calls were lost with the node that it was on: it makes them again.
            self.writer.add(EntryKind::Resume);
        }
        while !self.finished {
            if let Some(at) = self.retry_at {
                self.wait_for_retry(at).await;
            } else if let Some(job) = self.next_job() {
                self.work(job).await;
            } else if self.serve_loaded().await {
                // What waited for the instance was answered.
            } else {
                self.rest().await;
            }
        }
        self.shared.forget(&self.writer);
        // Whatever came too late finds the worker's next actor.
        while let Ok(command) = self.mailbox.try_recv() {
            if !self.last {
                self.shared.again(&self.writer.worker, command);
            }
        }
    }

    /// The worker's present component version; where it cannot be found out, loading the worker
    /// fails with the reason.
    async fn component(&mut self) -> Option<Arc<Component>> {
        let version = self.writer.with_state(|s| s.version);
        let id = VersionedComponentId { component_id: self.writer.worker.component_id, version };
        self.shared.component(id).await.ok()
    }

    /// The type of that version.
    async fn component_type(&mut self) -> ComponentType {
        self.component().await.map(|c| c.component_type).unwrap_or_default()
    }

    /// What holds for the worker's history; where that cannot be found out, it stays.
    async fn retention(&mut self, component: &Component) -> Option<Dropping> {
        if self.ephemeral || self.checkpoints.are_off() {
            return None;
        }
        let mut history = self.shared.retention.of(component)?;
        if history.concerns(self.writer.last_index()) {
            history.begins_at(self.writer.first_index().await.ok()?);
        }
        Some(history)
    }

    /// Whether the worker's history is to be dropped before anything else is done, or else now that
    /// there is nothing else.
    fn drops_history(&self, now: impl FnOnce(&Dropping, OplogIndex) -> bool) -> bool {
        let Some(history) = &self.history else { return false };
        self.writer.with_state(|s| {
            let idle = s.status() == WorkerStatus::Idle && s.pending_updates.is_empty();
            idle && now(history, s.index)
        })
    }

    fn rebase(&mut self) -> Job {
        let last = self.writer.last_index();
        self.history.iter_mut().for_each(|history| history.tried(last));
        Job::Rebase
    }

    /// What is to be done now, if anything.
    fn next_job(&mut self) -> Option<Job> {
        let needs_load = self.loaded.is_none();
        let (status, update, executing, next) = self.writer.with_state(|s| {
            (s.status(), !s.pending_updates.is_empty(), s.current.is_some(), next(s))
        });
        if status == WorkerStatus::Exited {
            return None;
        }
        let wanted = update
            || (executing && matches!(status, WorkerStatus::Running | WorkerStatus::Retrying));
        if needs_load && wanted {
            return Some(Job::Load);
        }
        if matches!(
            status,
            WorkerStatus::Failed | WorkerStatus::Interrupted | WorkerStatus::Suspended
        ) {
            return None;
        }
        let has_work = self.direct.is_some()
            || next != Next::Wait
            || !self.files.is_empty()
            || !self.creations.is_empty()
            || !self.verifications.is_empty();
        if needs_load {
            return has_work.then_some(Job::Load);
        }
        if self.drops_history(Dropping::is_overdue) {
            return Some(self.rebase());
        }
        if let Some(invocation) = self.direct.take() {
            return Some(Job::Call(invocation));
        }
        match next {
            Next::Start(QueuedWork::Invocation(invocation)) => Some(Job::Call(invocation)),
            Next::Start(QueuedWork::ManualUpdate(_)) => Some(Job::Snapshot),
            Next::Wait => match self.verifications.pop() {
                Some(reply) => Some(Job::Verify(reply)),
                None => self.drops_history(Dropping::is_due).then(|| self.rebase()),
            },
        }
    }

    /// Answers what needed the worker in memory and idle.
    async fn serve_loaded(&mut self) -> bool {
        let refused = self.loaded.is_none() && !self.verifications.is_empty();
        if self.files.is_empty() && self.creations.is_empty() && !refused {
            return false;
        }
        // A worker that was made exists when that is answered (law L1).
        if !self.creations.is_empty() && !self.commit().await {
            return true;
        }
        let Some(loaded) = &self.loaded else {
            // A worker that waits goes on by itself, and is looked into when it is idle.
            if self.writer.with_state(|s| s.status()) == WorkerStatus::Suspended {
                return false;
            }
            let error = self.refusal();
            self.refuse_loading(&error, &error);
            return true;
        };
        for (request, reply) in self.files.drain(..) {
            let ctx = loaded.instance.ctx_ref();
            drop(reply.send(files::answer(&ctx.files, &request)));
        }
        self.tell_creators();
        true
    }

    /// Answers those who made the worker, which is durable.
    fn tell_creators(&mut self) {
        let version = self.writer.with_state(|s| s.version);
        self.creations.drain(..).for_each(|reply| drop(reply.send(Ok(version))));
    }

    /// Why a worker that cannot be loaded refuses.
    fn refusal(&self) -> WorkerError {
        self.writer.with_state(|s| match s.status() {
            WorkerStatus::Exited => WorkerError::PreviousInvocationExited,
            WorkerStatus::Interrupted => WorkerError::Interrupted { recover_immediately: false },
            _ => {
                let details =
                    s.last_error.as_ref().map(|e| e.failure.message.clone()).unwrap_or_default();
                WorkerError::PreviousInvocationFailed { details }
            }
        })
    }

    /// Tells those who need the worker in memory that it cannot be.
    fn refuse_loading(&mut self, creation: &WorkerError, access: &WorkerError) {
        self.creations.drain(..).for_each(|reply| drop(reply.send(Err(creation.clone()))));
        self.files.drain(..).for_each(|(_, reply)| drop(reply.send(Err(access.clone()))));
        self.verifications.drain(..).for_each(|reply| drop(reply.send(Err(access.clone()))));
    }

    async fn rest(&mut self) {
        self.visible.busy.store(false, Ordering::SeqCst);
        if self.ephemeral {
            self.unload();
        } else if self.loaded.is_some() && self.shared.is_room_wanted() {
            self.evict().await;
        }
        if !self.finished {
            self.leave().await;
        }
        if self.finished {
            return;
        }
        let command = self.mailbox.recv().await;
        self.obey(command).await;
    }

    async fn wait_for_retry(&mut self, at: Instant) {
        self.visible.busy.store(false, Ordering::SeqCst);
        tokio::select! {
            () = tokio::time::sleep_until(at.into()) => self.retry_at = None,
            command = self.mailbox.recv() => self.obey(command).await,
        }
    }

    /// Carries a command out while no job runs.
    async fn obey(&mut self, command: Option<Command>) {
        let Some(command) = command else {
            self.finished = true;
            return;
        };
        if let Then::Stop(stopped) = self.handle(command, false).await {
            self.stop(stopped).await;
        }
    }

    /// Runs a job, serving commands meanwhile.
    async fn work(&mut self, job: Job) {
        self.visible.busy.store(true, Ordering::SeqCst);
        (self.served, self.woken) = (true, false);
        let saving = matches!(job, Job::Snapshot);
        let calling = matches!(job, Job::Call(_));
        let loading = matches!(job, Job::Load) && !self.ephemeral;
        let checkpoint = if loading { self.checkpoints.for_load(&self.writer).await } else { None };
        self.stop_watching();
        let (answers, mut answered) = mpsc::unbounded_channel();
        let scene = Scene {
            shared: self.shared.clone(),
            writer: self.writer.clone(),
            ephemeral: self.ephemeral,
            answers,
            checkpoint,
            calls: std::mem::take(&mut self.calls),
        };
        let span = observe::span(&job, &self.writer, self.direct.as_ref());
        let mut running = Box::pin(observe::job(scene, self.loaded.take(), job).instrument(span));
        let stopped = loop {
            tokio::select! {
                biased;
                (loaded, ended) = &mut running => {
                    drop(running);
                    self.answer_completed(&mut answered);
                    self.loaded = loaded.filter(|_| !(self.ephemeral && calling));
                    self.visible.loaded.store(self.loaded.is_some(), Ordering::SeqCst);
                    self.after(ended, saving).await;
                    self.checkpoints.worked();
                    self.checkpoint(false).await;
                    return;
                }
                Some(answer) = answered.recv() => self.answer(answer),
                command = self.mailbox.recv() => {
                    let then = match command {
                        Some(command) => self.handle(command, true).await,
                        None => Then::Stop(Stopped::Leave(None)),
                    };
                    if let Then::Stop(stopped) = then {
                        break stopped;
                    }
                }
            }
        };
        // Dropping the job drops the guest wherever it is, also inside a host call.
        drop(running);
        self.unload();
        self.answer_completed(&mut answered);
        self.stop(stopped).await;
    }

    /// Takes a checkpoint of the worker if one is due.
    async fn checkpoint(&mut self, leaving: bool) {
        let Some(loaded) = self.loaded.as_mut().filter(|_| !self.ephemeral) else { return };
        if !self.checkpoints.is_due(&self.writer, loaded.instance.ran(), leaving) {
            return;
        }
        match self.checkpoints.take(&self.shared, &self.writer, loaded).await {
            Ok(true) if self.checkpoints.unloads() && !self.drops_history(Dropping::is_due) => {
                self.unload()
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(worker = %self.writer.worker, %error, "a checkpoint failed; the worker is loaded anew");
                self.unload();
            }
        }
        if leaving || self.checkpoints.unloads() {
            self.checkpoints.settle().await;
        }
    }

    fn answer_completed(&mut self, answered: &mut mpsc::UnboundedReceiver<Answer>) {
        while let Ok(answer) = answered.try_recv() {
            self.answer(answer);
        }
    }

    fn unload(&mut self) {
        // Before its place is free: whoever wants the next one must not ask this worker for it.
        self.visible.loaded.store(false, Ordering::SeqCst);
        self.loaded = None;
    }

    /// Makes what was added durable; false: the actor has given up.
    async fn commit(&mut self) -> bool {
        match self.writer.commit().await {
            Ok(()) => true,
            Err(error) => {
                self.give_up(&error);
                false
            }
        }
    }

    fn answer(&mut self, answer: Answer) {
        let version = self.writer.with_state(|s| s.version);
        let done = Done { function: answer.function, version, value: answer.value };
        self.answer_with(&answer.key, &Ok(done));
    }

    fn answer_with(&mut self, key: &IdempotencyKey, result: &Result<Done, WorkerError>) {
        for reply in self.waiters.remove(key).unwrap_or_default() {
            drop(reply.send(result.clone()));
        }
    }

    fn answer_all(&mut self, error: &WorkerError) {
        self.direct = None;
        for reply in self.waiters.drain().flat_map(|(_, replies)| replies) {
            drop(reply.send(Err(error.clone())));
        }
    }
}
