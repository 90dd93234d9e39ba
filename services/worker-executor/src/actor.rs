//! The actor of a worker: its mailbox is the only way in. What to do next is decided by pure
//! functions over the folded log (`emet-engine`); the actor carries it out.

use crate::calls::check_call;
use crate::checkpoints::Checkpoints;
use crate::executor::Shared;
use crate::files::{self, FileAnswer, FileRequest};
use crate::job::{Ended, Job, Loaded, Scene};
use crate::metadata;
use bytes::Bytes;
use emet_api::{InvokeParameters, RevertTarget, Verification};
use emet_engine::{Admission, Next, admit, after_failure, check_update, next};
use emet_model::{
    ComponentVersion, IdempotencyKey, Timestamp, UpdateMode, VersionedComponentId, WorkerError, WorkerStatus,
};
use emet_oplog::{EntryKind, Failure, FailureKind, Invocation, Outcome, QueuedWork};
use emet_runtime::log::OplogWriter;
use emet_values::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};

pub(crate) type Reply<T> = oneshot::Sender<Result<T, WorkerError>>;

/// An invocation that arrives.
pub(crate) struct Arrival {
    pub(crate) key: IdempotencyKey,
    pub(crate) function: String,
    pub(crate) parameters: InvokeParameters,
    pub(crate) trace: Vec<(String, String)>,
    pub(crate) reply: ReplyTo,
}

/// When the sender of an invocation is answered.
pub(crate) enum ReplyTo {
    /// When it is done.
    Result(Reply<Value>),
    /// When it is durable.
    Accepted(Reply<()>),
}

/// What can be asked of a worker.
pub(crate) enum Command {
    Invoke(Arrival),
    /// A timer or a promise that the worker may wait for.
    Wake(Reply<()>),
    Interrupt { recover_immediately: bool, reply: Reply<()> },
    Resume(Reply<()>),
    Update { mode: UpdateMode, target: ComponentVersion, reply: Reply<()> },
    Revert(RevertTarget, Reply<()>),
    Cancel(IdempotencyKey, Reply<bool>),
    Files(FileRequest, Reply<FileAnswer>),
    /// Loads the worker, for an explicit creation.
    Load(Reply<()>),
    Delete(Reply<()>),
    /// Compares the worker with a replay of its whole log.
    Verify(Reply<Verification>),
    /// Gives up the memory if the worker is idle.
    Evict,
    /// Stops without a trace in the log: the node shuts down.
    Shutdown(oneshot::Sender<()>),
}

/// Seen by others without asking the actor.
#[derive(Default)]
pub(crate) struct Visible {
    /// Whether a job runs, which the log may not show yet.
    pub(crate) busy: AtomicBool,
    /// Whether an instance is in memory.
    pub(crate) loaded: AtomicBool,
}

pub(crate) struct Actor {
    shared: Arc<Shared>,
    writer: Arc<OplogWriter>,
    visible: Arc<Visible>,
    mailbox: mpsc::UnboundedReceiver<Command>,
    loaded: Option<Loaded>,
    waiters: HashMap<IdempotencyKey, Vec<Reply<Value>>>,
    /// An awaited invocation that starts at once: its caller waits, so it needs no entry before.
    direct: Option<Invocation>,
    files: Vec<(FileRequest, Reply<FileAnswer>)>,
    loads: Vec<Reply<()>>,
    verifications: Vec<Reply<Verification>>,
    checkpoints: Checkpoints,
    retry_at: Option<Instant>,
    finished: bool,
}

/// Whether a running job goes on after a command.
enum Then {
    GoOn,
    Stop(Stopped),
}

/// Why a running job was stopped.
enum Stopped {
    Interrupt,
    Restart,
    Quietly,
}

impl Actor {
    pub(crate) fn new(
        shared: Arc<Shared>,
        writer: Arc<OplogWriter>,
        visible: Arc<Visible>,
        mailbox: mpsc::UnboundedReceiver<Command>,
        checkpoints: Checkpoints,
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
            loads: Vec::new(),
            verifications: Vec::new(),
            checkpoints,
            retry_at: None,
            finished: false,
        }
    }

    pub(crate) async fn run(mut self) {
        while !self.finished {
            if let Some(at) = self.retry_at {
                self.wait_for_retry(at).await;
            } else if let Some(job) = self.next_job() {
                self.work(job).await;
            } else if self.serve_loaded() {
                // What waited for the instance was answered.
            } else {
                self.rest().await;
            }
        }
        self.shared.forget(&self.writer);
    }

    /// What is to be done now, if anything.
    fn next_job(&mut self) -> Option<Job> {
        let needs_load = self.loaded.is_none();
        let (status, update, executing, next) = self
            .writer
            .with_state(|s| (s.status(), !s.pending_updates.is_empty(), s.current.is_some(), next(s)));
        if status == WorkerStatus::Exited {
            return None;
        }
        let wanted = update || (executing && matches!(status, WorkerStatus::Running | WorkerStatus::Retrying));
        if needs_load && wanted {
            return Some(Job::Load);
        }
        if matches!(status, WorkerStatus::Failed | WorkerStatus::Interrupted | WorkerStatus::Suspended) {
            return None;
        }
        let has_work = self.direct.is_some() || next != Next::Wait || !self.files.is_empty() || !self.loads.is_empty() || !self.verifications.is_empty();
        if needs_load {
            return has_work.then_some(Job::Load);
        }
        if let Some(invocation) = self.direct.take() {
            return Some(Job::Call(invocation));
        }
        match next {
            Next::Start(QueuedWork::Invocation(invocation)) => Some(Job::Call(invocation)),
            Next::Start(QueuedWork::ManualUpdate(_)) => Some(Job::Snapshot),
            Next::Wait => self.verifications.pop().map(Job::Verify),
        }
    }

    /// Answers what needed the worker in memory and idle.
    fn serve_loaded(&mut self) -> bool {
        let refused = self.loaded.is_none() && !self.verifications.is_empty();
        if self.files.is_empty() && self.loads.is_empty() && !refused {
            return false;
        }
        let Some(loaded) = &self.loaded else {
            let error = self.refusal();
            self.loads.drain(..).for_each(|reply| drop(reply.send(Err(error.clone()))));
            self.files.drain(..).for_each(|(_, reply)| drop(reply.send(Err(error.clone()))));
            self.verifications.drain(..).for_each(|reply| drop(reply.send(Err(error.clone()))));
            return true;
        };
        self.loads.drain(..).for_each(|reply| drop(reply.send(Ok(()))));
        for (request, reply) in self.files.drain(..) {
            let ctx = loaded.instance.ctx_ref();
            drop(reply.send(files::answer(&ctx.files, &request)));
        }
        true
    }

    /// Why a worker that cannot be loaded refuses.
    fn refusal(&self) -> WorkerError {
        self.writer.with_state(|s| match s.status() {
            WorkerStatus::Exited => WorkerError::PreviousInvocationExited,
            WorkerStatus::Interrupted => WorkerError::Interrupted { recover_immediately: false },
            WorkerStatus::Suspended => WorkerError::invalid("the worker is suspended"),
            _ => {
                let details = s.last_error.as_ref().map(|e| e.failure.message.clone()).unwrap_or_default();
                WorkerError::PreviousInvocationFailed { details }
            }
        })
    }

    async fn rest(&mut self) {
        self.visible.busy.store(false, Ordering::Release);
        match self.mailbox.recv().await {
            Some(command) => drop(self.handle(command, false).await),
            None => self.finished = true,
        }
    }

    async fn wait_for_retry(&mut self, at: Instant) {
        tokio::select! {
            () = tokio::time::sleep_until(at.into()) => self.retry_at = None,
            command = self.mailbox.recv() => match command {
                Some(command) => drop(self.handle(command, false).await),
                None => self.finished = true,
            },
        }
    }

    /// Runs a job, serving commands meanwhile.
    async fn work(&mut self, job: Job) {
        self.visible.busy.store(true, Ordering::Release);
        let saving = matches!(job, Job::Snapshot);
        let (answers, mut answered) = mpsc::unbounded_channel();
        let checkpoint = if matches!(job, Job::Load) { self.checkpoints.for_load(&self.writer).await } else { None };
        let started = Instant::now();
        let scene = Scene { shared: self.shared.clone(), writer: self.writer.clone(), answers, checkpoint };
        let mut running = Box::pin(scene.run(self.loaded.take(), job));
        let stopped = loop {
            tokio::select! {
                biased;
                (loaded, ended) = &mut running => {
                    drop(running);
                    while let Ok((key, value)) = answered.try_recv() {
                        self.answer(&key, &Ok(value));
                    }
                    self.loaded = loaded;
                    self.visible.loaded.store(self.loaded.is_some(), Ordering::Release);
                    self.after(ended, saving).await;
                    self.checkpoints.ran(started.elapsed());
                    self.checkpoint(false).await;
                    return;
                }
                Some((key, value)) = answered.recv() => self.answer(&key, &Ok(value)),
                command = self.mailbox.recv() => {
                    let then = match command {
                        Some(command) => self.handle(command, true).await,
                        None => Then::Stop(Stopped::Quietly),
                    };
                    if let Then::Stop(stopped) = then {
                        break stopped;
                    }
                }
            }
        };
        // Dropping the job drops the guest wherever it is, also inside a host call.
        drop(running);
        self.visible.loaded.store(false, Ordering::Release);
        while let Ok((key, value)) = answered.try_recv() {
            self.answer(&key, &Ok(value));
        }
        match stopped {
            Stopped::Interrupt => self.record_interrupt().await,
            Stopped::Restart => self.unload(),
            Stopped::Quietly => {
                self.commit().await;
                self.finished = true;
            }
        }
    }

    /// Takes a checkpoint of the worker if one is due.
    async fn checkpoint(&mut self, leaving: bool) {
        let Some(loaded) = self.loaded.as_mut().filter(|_| self.checkpoints.is_due(&self.writer, leaving)) else { return };
        match self.checkpoints.take(&self.shared, &self.writer, loaded).await {
            Ok(taken) if taken && self.checkpoints.unloads() => self.unload(),
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(worker = %self.writer.worker, %error, "a checkpoint failed; the worker is loaded anew");
                self.unload();
            }
        }
        if leaving {
            self.checkpoints.settle().await;
        }
    }

    async fn record_interrupt(&mut self) {
        self.unload();
        self.writer.add(EntryKind::Interrupted);
        if self.commit().await {
            self.answer_all(&WorkerError::Interrupted { recover_immediately: false });
        }
    }

    /// Acts on how a job ended.
    async fn after(&mut self, ended: Ended, saving: bool) {
        match ended {
            Ended::Ready | Ended::Restart | Ended::Verified => {}
            Ended::Snapshot(result) => self.after_snapshot(result).await,
            Ended::NotLoaded(error) => self.after_refusal(error).await,
            Ended::Suspended(until) => self.suspend(until).await,
            Ended::Exited => {
                self.writer.add(EntryKind::Exited);
                if self.commit().await {
                    self.answer_all(&WorkerError::runtime("Process exited"));
                }
            }
            Ended::Failed(_, message) if saving => self.after_snapshot(Err(message)).await,
            Ended::Failed(kind, message) => self.fail(kind, message).await,
            Ended::LogFailed(error) => self.give_up(&error),
        }
    }

    /// An update that the failed load was to apply, if it did not get through.
    async fn update_failed(&mut self, reason: &str) -> bool {
        let pending = self.writer.with_state(|s| s.pending_updates.front().map(|u| (u.target, u.snapshot.is_some())));
        let Some((target, manual)) = pending else { return false };
        let details = if manual { reason.to_owned() } else { format!("Automatic update failed: {reason}") };
        self.unload();
        self.writer.add(EntryKind::FailedUpdate { target, details: Some(details) });
        self.commit().await;
        true
    }

    async fn after_snapshot(&mut self, result: Result<Vec<u8>, String>) {
        let target = self.writer.with_state(|s| match s.pending.front().map(|p| &p.work) {
            Some(QueuedWork::ManualUpdate(target)) => Some(*target),
            _ => None,
        });
        let Some(target) = target else { return };
        let stored = match result {
            Ok(bytes) => self.writer.payloads.store_bytes(bytes.into()).await.map_err(|e| e.to_string()),
            Err(reason) => Err(reason),
        };
        let entry = match stored {
            Ok(payload) => EntryKind::PendingUpdate { target, snapshot: Some(payload) },
            Err(reason) => {
                let details = Some(format!("failed to get a snapshot for manual update: {reason}"));
                EntryKind::FailedUpdate { target, details }
            }
        };
        self.unload();
        self.writer.add(entry);
        self.commit().await;
    }

    /// The worker cannot be made ready. Everybody who waits is told; the queue stays in the log.
    async fn after_refusal(&mut self, error: WorkerError) {
        if self.update_failed(&error.to_string()).await {
            return;
        }
        let resume = WorkerError::FailedToResumeWorker { worker_id: self.writer.worker.clone(), reason: Box::new(error.clone()) };
        self.loads.drain(..).for_each(|reply| drop(reply.send(Err(error.clone()))));
        self.verifications.drain(..).for_each(|reply| drop(reply.send(Err(error.clone()))));
        self.files.drain(..).for_each(|(_, reply)| drop(reply.send(Err(resume.clone()))));
        self.answer_all(&resume);
        self.finished = true;
    }

    async fn suspend(&mut self, until: Option<SystemTime>) {
        self.unload();
        self.writer.add(EntryKind::Suspend);
        if !self.commit().await {
            return;
        }
        if let Some(until) = until {
            let at = until.duration_since(UNIX_EPOCH).unwrap_or_default();
            let at = Timestamp(u64::try_from(at.as_millis()).unwrap_or(u64::MAX).saturating_add(1));
            if let Err(error) = self.shared.schedule_wake(&self.writer.worker, at).await {
                self.give_up(&error);
            }
        }
    }

    async fn fail(&mut self, kind: FailureKind, message: String) {
        if self.update_failed(&message).await {
            return;
        }
        let random = rand::random::<f64>();
        let decision = self.writer.with_state(|s| after_failure(s, kind, message, &self.shared.node.retry_policy, random));
        self.unload();
        let failure = decision.failure.clone();
        self.writer.add(EntryKind::Error(decision.failure));
        if !self.commit().await {
            return;
        }
        match decision.retry_in {
            Some(delay) => self.retry_at = Some(Instant::now() + delay),
            None => {
                let error = failure_error(&failure);
                self.loads.drain(..).for_each(|reply| drop(reply.send(Err(error.clone()))));
                self.answer_all(&error);
            }
        }
    }

    /// The log failed: this actor cannot go on, and the next request reads the log anew (law L8).
    fn give_up(&mut self, error: &WorkerError) {
        tracing::error!(worker = %self.writer.worker, %error, "the worker stops: its oplog failed");
        self.unload();
        self.loads.drain(..).for_each(|reply| drop(reply.send(Err(error.clone()))));
        self.files.drain(..).for_each(|(_, reply)| drop(reply.send(Err(error.clone()))));
        self.answer_all(error);
        self.finished = true;
    }

    fn unload(&mut self) {
        self.loaded = None;
        self.visible.loaded.store(false, Ordering::Release);
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

    fn answer(&mut self, key: &IdempotencyKey, result: &Result<Value, WorkerError>) {
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

    async fn handle(&mut self, command: Command, running: bool) -> Then {
        match command {
            Command::Invoke(arrival) => self.arrive(arrival, running).await,
            Command::Wake(reply) => {
                let woken = self.wake().await;
                drop(reply.send(woken));
            }
            Command::Interrupt { recover_immediately, reply } => {
                let then = self.interrupt(recover_immediately, running).await;
                drop(reply.send(Ok(())));
                return then;
            }
            Command::Resume(reply) => {
                let resumed = self.resume(running).await;
                drop(reply.send(resumed));
            }
            Command::Update { mode, target, reply } => {
                let (accepted, then) = self.update(mode, target, running).await;
                drop(reply.send(accepted));
                return then;
            }
            Command::Revert(target, reply) => {
                let reverted = self.revert(target).await;
                let stop = reverted.is_ok() && running;
                drop(reply.send(reverted));
                if stop {
                    return Then::Stop(Stopped::Restart);
                }
            }
            Command::Cancel(key, reply) => {
                let cancelled = self.cancel(&key).await;
                drop(reply.send(cancelled));
            }
            Command::Files(request, reply) => self.files.push((request, reply)),
            Command::Load(reply) => self.loads.push(reply),
            Command::Verify(reply) => self.verifications.push(reply),
            Command::Delete(reply) => {
                let deleted = self.delete().await;
                drop(reply.send(deleted));
                return Then::Stop(Stopped::Quietly);
            }
            Command::Evict if !running => self.evict().await,
            Command::Evict => {}
            Command::Shutdown(done) => {
                self.checkpoint(true).await;
                self.unload();
                if !running {
                    self.commit().await;
                }
                self.finished = true;
                drop(done.send(()));
                return Then::Stop(Stopped::Quietly);
            }
        }
        Then::GoOn
    }

    async fn arrive(&mut self, arrival: Arrival, running: bool) {
        let Arrival { key, function, parameters, trace, reply } = arrival;
        if let Err(error) = self.checkpoints.recall(&self.writer, &key).await {
            return reply.refuse(error);
        }
        match self.writer.with_state(|s| admit(s, &key)) {
            Admission::Answer(outcome) => self.reply_outcome(outcome, reply).await,
            Admission::Refuse(error) => reply.refuse(error),
            Admission::Join => self.join(key, reply).await,
            Admission::Enqueue if self.is_direct(&key) => self.join(key, reply).await,
            Admission::Enqueue => match self.invocation(&key, function, parameters, trace).await {
                Ok(invocation) => self.enqueue(invocation, reply, running).await,
                Err(error) => reply.refuse(error),
            },
        }
    }

    fn is_direct(&self, key: &IdempotencyKey) -> bool {
        self.direct.as_ref().is_some_and(|d| d.key == *key)
    }

    async fn join(&mut self, key: IdempotencyKey, reply: ReplyTo) {
        match reply {
            ReplyTo::Result(reply) => self.waiters.entry(key).or_default().push(reply),
            ReplyTo::Accepted(reply) => {
                let committed = self.writer.commit().await;
                drop(reply.send(committed));
            }
        }
    }

    /// Checks a call against the worker's component version, so that a request that makes no sense
    /// leaves no trace.
    async fn invocation(
        &mut self,
        key: &IdempotencyKey,
        function: String,
        parameters: InvokeParameters,
        trace: Vec<(String, String)>,
    ) -> Result<Invocation, WorkerError> {
        let version = self.writer.with_state(|s| s.version);
        let id = VersionedComponentId { component_id: self.writer.worker.component_id, version };
        let component = self.shared.component(id).await?;
        let parameters = check_call(&component, &function, parameters)?;
        let parameters = self.writer.payloads.store(&parameters).await?;
        Ok(Invocation { key: key.clone(), function, parameters, trace })
    }

    async fn enqueue(&mut self, invocation: Invocation, reply: ReplyTo, running: bool) {
        let status = self.writer.with_state(|s| s.status());
        let idle = !running
            && self.direct.is_none()
            && self.retry_at.is_none()
            && status == WorkerStatus::Idle
            && self.writer.with_state(|s| s.pending.is_empty() && s.pending_updates.is_empty());
        match reply {
            ReplyTo::Result(reply) => {
                self.waiters.entry(invocation.key.clone()).or_default().push(reply);
                if idle {
                    self.direct = Some(invocation);
                } else {
                    self.writer.add(EntryKind::PendingInvocation(invocation));
                }
            }
            ReplyTo::Accepted(reply) => {
                self.writer.add(EntryKind::PendingInvocation(invocation));
                let committed = self.writer.commit().await;
                drop(reply.send(committed));
            }
        }
        if status == WorkerStatus::Interrupted {
            self.writer.add(EntryKind::Resume);
            self.commit().await;
        }
    }

    async fn reply_outcome(&mut self, outcome: Outcome, reply: ReplyTo) {
        match reply {
            ReplyTo::Accepted(reply) => drop(reply.send(Ok(()))),
            ReplyTo::Result(reply) => {
                let result = self.read_outcome(outcome).await;
                drop(reply.send(result));
            }
        }
    }

    async fn read_outcome(&mut self, outcome: Outcome) -> Result<Value, WorkerError> {
        let (Outcome::Completed(index) | Outcome::Failed(index) | Outcome::Exited(index)) = outcome;
        match self.writer.read_one(index).await?.kind {
            EntryKind::Completed { response, .. } => self.writer.payloads.load(&response).await,
            EntryKind::Error(failure) => Err(failure_error(&failure)),
            EntryKind::Exited => Err(WorkerError::runtime("Process exited")),
            other => Err(WorkerError::unknown(format!("oplog entry {index} holds no result: {other:?}"))),
        }
    }

    /// A time or a promise has come that the worker may wait for.
    async fn wake(&mut self) -> Result<(), WorkerError> {
        let status = self.writer.with_state(|s| s.status());
        if matches!(status, WorkerStatus::Suspended | WorkerStatus::Interrupted) {
            self.writer.add(EntryKind::Resume);
            self.writer.commit().await?;
        }
        Ok(())
    }

    async fn interrupt(&mut self, recover_immediately: bool, running: bool) -> Then {
        let status = self.writer.with_state(|s| s.status());
        if running {
            return Then::Stop(if recover_immediately { Stopped::Restart } else { Stopped::Interrupt });
        }
        if matches!(status, WorkerStatus::Suspended | WorkerStatus::Retrying | WorkerStatus::Running) {
            self.retry_at = None;
            self.record_interrupt().await;
        }
        Then::GoOn
    }

    async fn resume(&mut self, running: bool) -> Result<(), WorkerError> {
        let status = self.writer.with_state(|s| s.status());
        match status {
            WorkerStatus::Suspended | WorkerStatus::Interrupted => {
                self.writer.add(EntryKind::Resume);
                self.writer.commit().await
            }
            WorkerStatus::Idle if !running => Ok(()),
            WorkerStatus::Failed | WorkerStatus::Exited => Err(self.refusal()),
            other => Err(WorkerError::invalid(format!(
                "Worker {} is not suspended, interrupted or idle: it is {other}",
                self.writer.worker
            ))),
        }
    }

    async fn update(&mut self, mode: UpdateMode, target: ComponentVersion, running: bool) -> (Result<(), WorkerError>, Then) {
        if let Err(error) = self.check_update(mode, target).await {
            return (Err(error), Then::GoOn);
        }
        if self.writer.with_state(|s| s.status()) == WorkerStatus::Exited {
            tracing::warn!(worker = %self.writer.worker, "an update of an exited worker is ignored");
            return (Ok(()), Then::GoOn);
        }
        match mode {
            UpdateMode::Automatic => {
                self.writer.add(EntryKind::PendingUpdate { target, snapshot: None });
                self.retry_at = None;
                let committed = self.writer.commit().await;
                if !running {
                    self.unload();
                }
                (committed, if running { Then::Stop(Stopped::Restart) } else { Then::GoOn })
            }
            UpdateMode::Manual => {
                self.writer.add(EntryKind::PendingManualUpdate { target });
                (self.writer.commit().await, Then::GoOn)
            }
        }
    }

    async fn check_update(&mut self, mode: UpdateMode, target: ComponentVersion) -> Result<(), WorkerError> {
        let id = VersionedComponentId { component_id: self.writer.worker.component_id, version: target };
        let known = self.shared.component(id).await;
        let component = known.map_err(|_| WorkerError::invalid(format!("there is no version {target} of the component")))?;
        self.writer.with_state(|s| check_update(s, mode, target, component.component_type))
    }

    async fn revert(&mut self, target: RevertTarget) -> Result<(), WorkerError> {
        let last = match target {
            RevertTarget::RevertToOplogIndex { last_oplog_index } => last_oplog_index,
            RevertTarget::RevertLastInvocations { number_of_invocations } => self.before_last(number_of_invocations).await?,
        };
        let (end, skipped) = self.writer.with_state(|s| (s.index, s.skipped.contains(last + 1) && s.skipped.contains(last)));
        if last == 0 || last >= end {
            return Err(WorkerError::invalid(format!("cannot revert to index {last}: the oplog has {end} entries")));
        }
        if skipped {
            return Err(WorkerError::invalid(format!("cannot revert to index {last}: it lies in a deleted region")));
        }
        self.unload();
        self.retry_at = None;
        self.answer_all(&WorkerError::invalid("the worker was reverted"));
        self.writer.add(EntryKind::Revert { start: last + 1, end });
        self.writer.commit().await?;
        self.writer.refold().await
    }

    /// The index before the n-th last invocation that has not been taken back.
    async fn before_last(&mut self, count: u64) -> Result<u64, WorkerError> {
        let not_found = || WorkerError::invalid(format!("Could not find {count} invocations to revert"));
        let skipped = self.writer.with_state(|s| s.skipped.clone());
        let (mut starts, mut from) = (Vec::new(), 1);
        loop {
            let entries = self.writer.read(from, 2048).await?;
            let Some((last, _)) = entries.last() else { break };
            from = last + 1;
            let invoked = entries.iter().filter(|(i, e)| matches!(e.kind, EntryKind::Invoked(_)) && !skipped.contains(*i));
            starts.extend(invoked.map(|(index, _)| *index));
        }
        let at = usize::try_from(count).ok().and_then(|n| starts.len().checked_sub(n)).filter(|_| count > 0);
        at.and_then(|at| starts.get(at)).map(|index| index - 1).ok_or_else(not_found)
    }

    async fn cancel(&mut self, key: &IdempotencyKey) -> Result<bool, WorkerError> {
        self.checkpoints.recall(&self.writer, key).await?;
        let (queued, done) = self.writer.with_state(|s| {
            let queued = s.pending.iter().any(|p| matches!(&p.work, QueuedWork::Invocation(i) if i.key == *key));
            (queued, s.results.contains_key(key))
        });
        if queued {
            self.writer.add(EntryKind::CancelInvocation(key.clone()));
            self.writer.commit().await?;
            self.answer(key, &Err(WorkerError::invalid("the invocation was cancelled")));
            return Ok(true);
        }
        if done { Ok(false) } else { Err(WorkerError::invalid("Invocation not found")) }
    }

    async fn delete(&mut self) -> Result<(), WorkerError> {
        self.unload();
        self.checkpoints.settle().await;
        let deleted = self.shared.delete_stored(&self.writer.worker).await;
        self.answer_all(&WorkerError::WorkerNotFound { worker_id: self.writer.worker.clone() });
        self.finished = true;
        deleted
    }

    /// Gives the memory up, leaving a summary that shows the worker without reading its log.
    async fn evict(&mut self) {
        let idle = self.direct.is_none() && self.retry_at.is_none() && self.waiters.is_empty();
        if !idle || self.writer.with_state(|s| s.is_unfinished()) {
            return;
        }
        self.checkpoint(true).await;
        self.unload();
        let summary: Bytes = self.writer.with_state(|s| metadata::summary(&self.writer.worker, s));
        if let Err(error) = self.writer.commit_with_summary(summary).await {
            self.give_up(&error);
        }
        // Commands that arrived meanwhile are served: only an empty mailbox ends the actor.
        self.finished = self.finished || self.shared.forget_if_empty(&self.writer, &self.mailbox);
    }
}

impl ReplyTo {
    fn refuse(self, error: WorkerError) {
        match self {
            Self::Result(reply) => drop(reply.send(Err(error))),
            Self::Accepted(reply) => drop(reply.send(Err(error))),
        }
    }
}

/// A recorded failure as its callers see it.
fn failure_error(failure: &Failure) -> WorkerError {
    match failure.kind {
        FailureKind::InvalidRequest => WorkerError::invalid(failure.message.clone()),
        _ => WorkerError::runtime(failure.message.clone()),
    }
}

/// Longest time that shutting a worker down may take.
pub(crate) const SHUTDOWN: Duration = Duration::from_secs(10);
