//! What can be asked of a worker's actor, and how it answers.

use crate::actors::Making;
use crate::files::{FileAnswer, FileRequest};
use emet_api::{Caller, InvokeParameters, RevertTarget, Verification, WorkerEvent};
use emet_engine::Cause;
use emet_model::{ComponentVersion, IdempotencyKey, UpdateMode, WorkerError};
use emet_values::Value;
use std::sync::atomic::AtomicBool;
use tokio::sync::{broadcast, oneshot};

pub(crate) type Reply<T> = oneshot::Sender<Result<T, WorkerError>>;

/// An invocation that arrives.
pub(crate) struct Arrival {
    pub(crate) key: IdempotencyKey,
    /// Whether nothing can have been done with the key yet.
    pub(crate) key_is_new: bool,
    pub(crate) function: String,
    pub(crate) parameters: InvokeParameters,
    pub(crate) trace: Vec<(String, String)>,
    /// The worker that calls; one that is made by the call inherits from it.
    pub(crate) caller: Option<Caller>,
    pub(crate) reply: ReplyTo,
}

/// When the sender of an invocation is answered.
pub(crate) enum ReplyTo {
    /// When it is done.
    Result(Reply<Done>),
    /// When it is durable.
    Accepted(Reply<()>),
}

/// The result of an invocation, and what its type depends on: whoever asks with a known key gets
/// the result of the function that was called with it first.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) function: String,
    pub(crate) version: ComponentVersion,
    pub(crate) value: Value,
}

/// Past events of a worker, and the channel of those to come.
pub(crate) type Subscription = (Vec<WorkerEvent>, broadcast::Receiver<WorkerEvent>);

/// What can be asked of a worker.
pub(crate) enum Command {
    Invoke(Arrival),
    /// A timer or a promise that the worker may wait for.
    Wake(Cause, Reply<()>),
    Interrupt {
        recover_immediately: bool,
        reply: Reply<()>,
    },
    Resume(Reply<()>),
    Update {
        mode: UpdateMode,
        target: ComponentVersion,
        reply: Reply<()>,
    },
    Revert(RevertTarget, Reply<()>),
    Cancel(IdempotencyKey, Reply<bool>),
    Files(FileRequest, Reply<FileAnswer>),
    /// An explicit creation, which fails if the worker exists; answered when it is loaded.
    Create(Making, Reply<ComponentVersion>),
    Connect(Reply<Subscription>),
    /// Compares the worker with a replay of its log.
    Verify(Reply<Verification>),
    Delete(Reply<()>),
    /// Gives up the memory if the worker is idle.
    Evict,
    /// Stops without a trace in the log: the node shuts down.
    Shutdown(oneshot::Sender<()>),
}

impl Command {
    /// What a missing worker is made with, if the command makes it.
    pub(crate) fn making(&self) -> Option<Making> {
        match self {
            Self::Invoke(arrival) => Some(Making::by(arrival.caller.as_ref())),
            Self::Files(..) => Some(Making::plain()),
            Self::Create(making, _) => Some(making.clone()),
            _ => None,
        }
    }

    /// Answers with an error instead of doing it.
    pub(crate) fn refuse(self, error: WorkerError) {
        match self {
            Self::Invoke(arrival) => arrival.reply.refuse(error),
            Self::Wake(_, reply)
            | Self::Interrupt { reply, .. }
            | Self::Resume(reply)
            | Self::Update { reply, .. }
            | Self::Revert(_, reply)
            | Self::Delete(reply) => drop(reply.send(Err(error))),
            Self::Cancel(_, reply) => drop(reply.send(Err(error))),
            Self::Files(_, reply) => drop(reply.send(Err(error))),
            Self::Create(_, reply) => drop(reply.send(Err(error))),
            Self::Connect(reply) => drop(reply.send(Err(error))),
            Self::Verify(reply) => drop(reply.send(Err(error))),
            Self::Evict | Self::Shutdown(_) => {}
        }
    }
}

impl ReplyTo {
    pub(crate) fn refuse(self, error: WorkerError) {
        match self {
            Self::Result(reply) => drop(reply.send(Err(error))),
            Self::Accepted(reply) => drop(reply.send(Err(error))),
        }
    }
}

/// Seen by others without asking the actor. In one order with the want of room (`SeqCst`): a worker
/// that finds none when it becomes idle is seen to be idle by whoever wants some from then on.
#[derive(Default)]
pub(crate) struct Visible {
    /// Whether a job runs, which the log may not show yet.
    pub(crate) busy: AtomicBool,
    /// Whether an instance is in memory.
    pub(crate) loaded: AtomicBool,
}
