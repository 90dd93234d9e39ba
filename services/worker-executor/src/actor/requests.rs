//! Commands, and the invocations among them.

use super::ending::failure_error;
use super::{Actor, Arrival, Command, Done, ReplyTo, Stopped, Then};
use crate::calls::check_call;
use emet_api::InvokeParameters;
use emet_engine::{Admission, admit};
use emet_model::{
    ComponentVersion, IdempotencyKey, VersionedComponentId, WorkerError, WorkerStatus,
};
use emet_oplog::{EntryKind, Finished, Invocation};
use emet_runtime::checkpoint::KeptResult;

impl Actor {
    pub(super) async fn handle(&mut self, command: Command, running: bool) -> Then {
        let fresh = std::mem::take(&mut self.fresh);
        self.served = true;
        match command {
            Command::Invoke(arrival) => self.arrive(arrival, running).await,
            Command::Wake(cause, reply) => {
                let woken = self.wake(cause, running).await;
                drop(reply.send(woken));
            }
            Command::Interrupt { recover_immediately, reply } => {
                return self.interrupt(recover_immediately, reply);
            }
            Command::Resume(reply) => {
                let resumed = self.resume().await;
                drop(reply.send(resumed));
            }
            Command::Update { mode, target, reply } => {
                let (accepted, then) = self.update(mode, target, running).await;
                drop(reply.send(accepted));
                return then;
            }
            Command::Revert(target, reply) => {
                let reverted = self.revert(target).await;
                let stop = reverted.is_ok();
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
            Command::Create(_, reply) if fresh => self.creations.push(reply),
            Command::Create(_, reply) => {
                drop(reply.send(Err(WorkerError::WorkerAlreadyExists {
                    worker_id: self.writer.worker.clone(),
                })));
            }
            Command::Connect(reply) => {
                let subscribed = self.connect();
                drop(reply.send(subscribed));
            }
            Command::Verify(reply) => self.verifications.push(reply),
            Command::Delete(reply) => return Then::Stop(Stopped::Delete(reply)),
            Command::Evict if running => {}
            Command::Evict => self.evict().await,
            Command::Shutdown(done) => return Then::Stop(Stopped::Leave(Some(done))),
        }
        Then::GoOn
    }

    async fn arrive(&mut self, arrival: Arrival, running: bool) {
        let Arrival { key, key_is_new, function, parameters, trace, reply, .. } = arrival;
        if !key_is_new && let Err(error) = self.checkpoints.recall(&self.writer, &key).await {
            return reply.refuse(error);
        }
        match self.writer.with_state(|s| admit(s, &key, self.ephemeral)) {
            Admission::Answer(finished) => self.reply_finished(&key, finished, reply).await,
            Admission::Refuse(error) => reply.refuse(error),
            Admission::Join => self.join(key, reply).await,
            Admission::Enqueue if self.is_direct(&key) => self.join(key, reply).await,
            Admission::Enqueue => match self.invocation(&key, function, parameters, trace).await {
                Ok(invocation) => self.enqueue(invocation, reply, running).await,
                Err(error) => {
                    // The worker stays if the request made it, though the request makes no sense.
                    self.commit().await;
                    reply.refuse(error);
                }
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
            ReplyTo::Result(reply) if idle => {
                self.waiters.entry(invocation.key.clone()).or_default().push(reply);
                self.direct = Some(invocation);
            }
            ReplyTo::Result(reply) => {
                self.waiters.entry(invocation.key.clone()).or_default().push(reply);
                self.add_to_queue(invocation, status);
                self.commit().await;
            }
            ReplyTo::Accepted(reply) => {
                self.add_to_queue(invocation, status);
                let committed = self.writer.commit().await;
                if let Err(error) = &committed {
                    self.give_up(error);
                }
                drop(reply.send(committed));
            }
        }
    }

    /// Queues an invocation. A worker that was interrupted finishes what it was doing first; an
    /// ephemeral one that failed starts afresh.
    fn add_to_queue(&mut self, invocation: Invocation, status: WorkerStatus) {
        if matches!(status, WorkerStatus::Failed | WorkerStatus::Exited) {
            self.writer.add(EntryKind::Restart);
        }
        self.writer.add(EntryKind::PendingInvocation(invocation));
        if status == WorkerStatus::Interrupted {
            self.writer.add(EntryKind::Resume);
        }
    }

    async fn reply_finished(&mut self, key: &IdempotencyKey, finished: Finished, reply: ReplyTo) {
        match reply {
            ReplyTo::Accepted(reply) => drop(reply.send(Ok(()))),
            ReplyTo::Result(reply) => {
                let result = self.read_result(key, finished).await;
                drop(reply.send(result));
            }
        }
    }

    async fn read_result(
        &mut self,
        key: &IdempotencyKey,
        finished: Finished,
    ) -> Result<Done, WorkerError> {
        // The fold shows results before they are durable; nobody else may see them (law L1).
        self.writer.commit().await?;
        let KeptResult { function, entry, .. } = self.recorded(key, finished).await?;
        match entry.kind {
            EntryKind::Completed { response, .. } => {
                let value = self.writer.payloads.load(&response).await?;
                // The type is that of the function in the present version: updates that change it
                // cannot keep its old form.
                let version: ComponentVersion = self.writer.with_state(|s| s.version);
                Ok(Done { function, version, value })
            }
            EntryKind::Error(failure) => Err(failure_error(&self.writer.worker, &failure)),
            EntryKind::Exited => Err(WorkerError::runtime("Process exited")),
            other => {
                let index = finished.outcome.index();
                Err(WorkerError::unknown(format!("oplog entry {index} holds no result: {other:?}")))
            }
        }
    }

    /// What is recorded of a finished invocation: in the log, or apart if it was dropped there.
    async fn recorded(
        &mut self,
        key: &IdempotencyKey,
        finished: Finished,
    ) -> Result<KeptResult, WorkerError> {
        let (start, end) = (finished.start, finished.outcome.index());
        let begun = self.writer.read(start, 1).await?.pop().filter(|(index, _)| *index == start);
        let Some((_, begun)) = begun else {
            let kept = self.checkpoints.kept(&self.writer, key).await?;
            // One of another index is left over from a life that was taken back.
            return kept.filter(|kept| kept.index == end).ok_or_else(|| {
                WorkerError::unknown(format!("oplog entries {start} and {end} are missing"))
            });
        };
        let EntryKind::Invoked(invocation) = begun.kind else {
            return Err(WorkerError::unknown(format!("oplog entry {start} starts no invocation")));
        };
        let entry = self.writer.read_one(end).await?;
        Ok(KeptResult { function: invocation.function, index: end, entry })
    }
}
