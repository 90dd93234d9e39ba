//! Spans and metrics of what workers do. What is done stands elsewhere; here is how it is seen.

use crate::executor::Executor;
use crate::job::{Ended, Job, Loaded, Scene};
use emet_oplog::{Invocation, QueuedWork, WorkerState};
use emet_runtime::log::OplogWriter;
use emet_telemetry::metrics::list::{
    INVOCATION_SECONDS, INVOCATIONS, LOAD_SECONDS, LOADS, MEMORY_LIMIT, MEMORY_USED, QUEUED,
    WORKERS_ACTIVE, WORKERS_LOADED,
};
use emet_telemetry::{span, trace};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, UNIX_EPOCH};
use tracing::Span;

/// Runs a job, and counts how it ends. One that is dropped half-way was interrupted.
pub(crate) async fn job(scene: Scene, loaded: Option<Loaded>, job: Job) -> (Option<Loaded>, Ended) {
    let mut attempt = Attempt::new(&scene.writer, &job);
    let (loaded, ended) = scene.run(loaded, job).await;
    attempt.outcome = outcome(&ended);
    (loaded, ended)
}

/// An attempt to load a worker, to execute an invocation, or both at once.
struct Attempt {
    loads: bool,
    invokes: bool,
    started: Instant,
    outcome: &'static str,
}

impl Attempt {
    fn new(writer: &OplogWriter, job: &Job) -> Self {
        let loads = matches!(job, Job::Load);
        // A worker that was executing something goes on with it when it has been loaded.
        let resumes = loads && writer.with_state(|s| s.current.is_some());
        let invokes = resumes || matches!(job, Job::Call(_));
        Self { loads, invokes, started: Instant::now(), outcome: "interrupted" }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        if self.loads {
            LOADS.with([self.outcome]).inc();
            LOAD_SECONDS.record(elapsed);
        }
        if self.invokes {
            INVOCATIONS.with([self.outcome]).inc();
            if self.outcome == "completed" {
                INVOCATION_SECONDS.record(elapsed);
            }
        }
    }
}

fn outcome(ended: &Ended) -> &'static str {
    match ended {
        Ended::Ready | Ended::Snapshot(_) | Ended::Verified | Ended::Rebased(_) => "completed",
        Ended::Suspended(..) => "suspended",
        Ended::Restart => "restarted",
        Ended::Exited => "exited",
        Ended::NotLoaded(_) | Ended::Failed(..) | Ended::LogFailed(_) => "failed",
    }
}

/// The invocation that waits first.
fn waiting(state: &WorkerState) -> Option<&Invocation> {
    match &state.pending.front()?.work {
        QueuedWork::Invocation(invocation) => Some(invocation),
        QueuedWork::ManualUpdate(_) => None,
    }
}

/// The span of a job. Loading belongs to the trace of the invocation that it is for: `direct`,
/// which starts at once, or the first of the queue.
pub(crate) fn span(job: &Job, writer: &OplogWriter, direct: Option<&Invocation>) -> Span {
    if !trace::is_on() {
        return Span::none();
    }
    match job {
        Job::Load => {
            let span = span!("load", worker = %writer.worker);
            match direct {
                Some(invocation) => trace::adopt(&span, &invocation.trace),
                None => writer
                    .with_state(|s| waiting(s).iter().for_each(|i| trace::adopt(&span, &i.trace))),
            }
            span
        }
        Job::Call(invocation) => {
            waited(writer, invocation);
            Span::none()
        }
        Job::Snapshot => span!("snapshot", worker = %writer.worker),
        Job::Verify(_) => span!("verify", worker = %writer.worker),
        Job::Rebase => span!("rebase", worker = %writer.worker),
    }
}

/// Records how long an invocation was in the queue, if it was.
fn waited(writer: &OplogWriter, invocation: &Invocation) {
    let since = writer.with_state(|s| {
        let first = waiting(s)?;
        (first.key == invocation.key).then_some(s.pending.front()?.timestamp)
    });
    if let Some(since) = since {
        let start = UNIX_EPOCH + Duration::from_millis(since.0);
        trace::passed("queued", start, &invocation.trace, &writer.worker);
    }
}

/// The span of an invocation that is executed now; `replay`: its beginning is in the log already.
/// One whose end is there, too, has none: it is a part of the replay.
pub(crate) fn invocation(writer: &OplogWriter, invocation: &Invocation, replay: bool) -> Span {
    let unfinished =
        || writer.with_state(|s| s.current.as_ref().is_some_and(|c| c.key == invocation.key));
    if !trace::is_on() || (replay && !unfinished()) {
        return Span::none();
    }
    let span = span!(
        "invoke",
        worker = %writer.worker,
        function = %invocation.function,
        idempotency_key = %invocation.key.0,
        emet.replay = replay,
    );
    trace::adopt(&span, &invocation.trace);
    span
}

impl Executor {
    /// Sets the gauges that are looked up rather than kept. To be called before metrics are read.
    pub fn observe(&self) {
        let (mut loaded, mut queued) = (0, 0);
        let handles = self.handles();
        for handle in &handles {
            loaded += u64::from(handle.visible.loaded.load(Ordering::SeqCst));
            queued += handle.writer.with_state(|s| s.pending.len() as u64);
        }
        WORKERS_ACTIVE.set(handles.len() as u64);
        WORKERS_LOADED.set(loaded);
        QUEUED.set(queued);
        MEMORY_USED.set(self.shared.node.memory.used());
        MEMORY_LIMIT.set(self.shared.node.memory.limit());
    }
}
