//! What a worker does, for those who watch it live (guest spec 8.7).

use emet_api::WorkerEvent;
use parking_lot::Mutex;
use std::collections::VecDeque;
use tokio::sync::broadcast;

/// Past events kept for late listeners.
const HISTORY: usize = 128;
/// Events a listener may lag behind before it is told of a gap.
const CAPACITY: usize = 1024;

/// Hands events to any number of listeners; a listener first gets the past ones.
#[derive(Debug)]
pub struct EventHub {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    history: VecDeque<WorkerEvent>,
    sender: Option<broadcast::Sender<WorkerEvent>>,
}

impl Default for EventHub {
    fn default() -> Self {
        Self { inner: Mutex::new(Inner { history: VecDeque::new(), sender: None }) }
    }
}

impl EventHub {
    /// Publishes an event.
    pub fn publish(&self, event: WorkerEvent) {
        let mut inner = self.inner.lock();
        if inner.history.len() == HISTORY {
            inner.history.pop_front();
        }
        if let Some(sender) = &inner.sender
            && sender.send(event.clone()).is_err()
        {
            // The last listener is gone: without one there is nothing to keep a channel for.
            inner.sender = None;
        }
        inner.history.push_back(event);
    }

    /// The past events, and a receiver of the events after them.
    pub fn subscribe(&self) -> (Vec<WorkerEvent>, broadcast::Receiver<WorkerEvent>) {
        let mut inner = self.inner.lock();
        let receiver =
            inner.sender.get_or_insert_with(|| broadcast::channel(CAPACITY).0).subscribe();
        (inner.history.iter().cloned().collect(), receiver)
    }

    /// Ends all present streams: the instance that they watched is gone. Later listeners still get
    /// the past events.
    pub fn close(&self) {
        if let Some(sender) = self.inner.lock().sender.take() {
            // Nobody listening is nobody to tell.
            drop(sender.send(WorkerEvent::Close));
        }
    }

    /// Whether anybody listens.
    pub fn is_watched(&self) -> bool {
        self.inner.lock().sender.as_ref().is_some_and(|s| s.receiver_count() > 0)
    }

    /// What was written to stderr since the latest start of an invocation.
    pub fn recent_stderr(&self) -> String {
        let inner = self.inner.lock();
        let mut chunks: Vec<&[u8]> = inner
            .history
            .iter()
            .rev()
            .take_while(|e| !matches!(e, WorkerEvent::InvocationStart { .. }))
            .filter_map(|e| match e {
                WorkerEvent::StdErr { bytes, .. } => Some(bytes.as_slice()),
                _ => None,
            })
            .collect();
        chunks.reverse();
        String::from_utf8_lossy(&chunks.concat()).into_owned()
    }
}
