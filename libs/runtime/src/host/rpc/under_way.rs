//! Calls under way. They belong to the worker, not to the instance that has sent them: when that is
//! given up they go on, and the next one finds them by their keys.

use super::calls::Recorded;
use emet_api::Awaited;
use emet_model::IdempotencyKey;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// A call that was sent. It is given up when nobody holds it any more.
#[derive(Clone)]
pub(crate) struct Call(Arc<Sent>);

struct Sent {
    /// The worker that is called, and the key of the call.
    of: Awaited,
    answer: watch::Receiver<Option<Recorded>>,
    /// Set instead of an answer if there can be none.
    refused: OnceLock<Recorded>,
    task: AbortHandle,
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lost() -> Recorded {
    Err((3, "the call was lost".into()))
}

impl Call {
    pub(super) fn start(
        of: Awaited,
        call: impl Future<Output = Recorded> + Send + 'static,
    ) -> Self {
        let (tell, answer) = watch::channel(None);
        // Whoever waited for the answer may have gone meanwhile.
        let task = tokio::spawn(async move { drop(tell.send(Some(call.await))) });
        Self(Arc::new(Sent { of, answer, refused: OnceLock::new(), task: task.abort_handle() }))
    }

    pub(super) fn of(&self) -> &Awaited {
        &self.0.of
    }

    /// The answer, once it is there.
    pub(super) fn answer(&self) -> Option<Recorded> {
        if let Some(refused) = self.0.refused.get() {
            return Some(refused.clone());
        }
        // Asked first: what is sent last is seen then.
        let closed = self.0.answer.has_changed().is_err();
        let answer = self.0.answer.borrow().clone();
        answer.or_else(|| closed.then(lost))
    }

    /// Waits for the answer.
    pub(super) async fn ended(&self) {
        let mut answer = self.0.answer.clone();
        // An error says that no answer comes any more, which ends the call as well.
        drop(answer.wait_for(Option::is_some).await);
    }

    /// Ends the call with an error.
    pub(super) fn refuse(&self, text: String) {
        // One that is refused already stays so.
        let _ = self.0.refused.set(Err((3, text)));
        self.0.task.abort();
    }
}

/// The calls of a worker that are under way, by their keys.
#[derive(Clone, Default)]
pub struct UnderWay(HashMap<IdempotencyKey, Call>);

impl UnderWay {
    pub(super) fn find(&self, key: &IdempotencyKey) -> Option<Call> {
        self.0.get(key).cloned()
    }

    pub(super) fn insert(&mut self, call: Call) -> Call {
        self.0.insert(call.of().key.clone(), call.clone());
        call
    }

    /// Forgets a call: its answer was taken, or nobody is going to ask for it.
    pub(super) fn remove(&mut self, call: &Call) {
        self.0.remove(&call.of().key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emet_model::{ComponentId, WorkerId};

    fn of() -> Awaited {
        let component = ComponentId(uuid::Uuid::from_u128(1));
        Awaited { worker: WorkerId::new(component, "w"), key: IdempotencyKey("k".into()) }
    }

    #[tokio::test]
    async fn a_call_ends_with_its_answer_a_refusal_or_its_loss() {
        let call = Call::start(of(), async { Ok(vec![7]) });
        call.ended().await;
        assert_eq!(call.answer(), Some(Ok(vec![7])));
        let never = Call::start(of(), std::future::pending());
        assert_eq!(never.answer(), None);
        never.refuse("a cycle".into());
        never.ended().await;
        assert_eq!(never.answer(), Some(Err((3, "a cycle".into()))));
        let gone = Call::start(of(), std::future::pending());
        gone.0.task.abort();
        gone.ended().await;
        assert_eq!(gone.answer(), Some(lost()));
    }

    #[tokio::test]
    async fn a_call_lives_as_long_as_anybody_holds_it() {
        let (tell, told) = tokio::sync::oneshot::channel::<()>();
        let mut under_way = UnderWay::default();
        let call = under_way.insert(Call::start(of(), async move {
            let _held = tell;
            std::future::pending().await
        }));
        under_way.remove(&call);
        drop(call);
        assert!(told.await.is_err(), "it was given up");
    }
}
