//! The one mechanism of durable host calls: replay what was recorded, or act and record.

use super::{HostFn, OplogWriter, now, observe};
use crate::stop::Stop;
use emet_engine::{AfterAnnouncement, after_announcement};
use emet_model::{IdempotencyKey, OplogIndex, RetryPolicy, Timestamp, WorkerError};
use emet_oplog::{
    CallKind, Entry, EntryKind, HostCall, LogLevel, OpenWrite, Payload, PersistenceLevel,
    ReplayCursor, Step,
};
use emet_telemetry::metrics::list::REPLAYED_ENTRIES;
use emet_values::{Value, Wit};
use std::borrow::Cow;
use std::sync::Arc;
use tracing::Span;

/// Entries fetched at a time during replay.
const REPLAY_CHUNK: usize = 1024;
/// A batch of buffered entries is committed when it is larger, so that a crash loses little work.
const MAX_BUFFERED: usize = 512;

/// A worker's place in its log, as its host functions see it.
pub struct Journal {
    /// The log.
    pub writer: Arc<OplogWriter>,
    cursor: ReplayCursor,
    level: PersistenceLevel,
    /// Whether remote writes may be repeated (guest spec 2.10).
    pub idempotent: bool,
    /// Off while snapshot functions run: nothing is read or recorded.
    recording: bool,
    /// Remote writes that had not ended when the log was loaded.
    open_writes: Vec<OpenWrite>,
    /// Atomic regions that had not ended when the log was loaded.
    open_regions: Vec<OplogIndex>,
    /// Key of the current invocation.
    pub current_key: Option<IdempotencyKey>,
    /// Trace context that the current invocation came with.
    pub current_trace: Vec<(String, String)>,
    /// Policy that the guest has set, as far as it has come.
    pub retry_policy: Option<RetryPolicy>,
    /// Added when the replay ends: what it proves.
    at_end: Option<EntryKind>,
    /// Whether the guest has done anything yet that is recorded or replayed.
    touched: bool,
    /// The live call that is not recorded yet, for its trace.
    call_span: Span,
}

type Result<T> = std::result::Result<T, wasmtime::Error>;

fn node(error: WorkerError) -> wasmtime::Error {
    wasmtime::Error::from(Stop::Node(error))
}

impl Journal {
    /// Starts at the cursor's place.
    pub fn new(writer: Arc<OplogWriter>, cursor: ReplayCursor) -> Self {
        let (open_writes, open_regions) =
            writer.with_state(|s| (s.open_writes.clone(), s.open_regions.clone()));
        Self {
            writer,
            cursor,
            level: PersistenceLevel::Smart,
            idempotent: true,
            recording: true,
            open_writes,
            open_regions,
            current_key: None,
            current_trace: Vec::new(),
            retry_policy: None,
            at_end: None,
            touched: false,
            call_span: Span::none(),
        }
    }

    /// Whether everything recorded was consumed, so that host functions act.
    pub fn is_live(&self) -> bool {
        self.cursor.is_live()
    }

    /// Whether the guest has done anything yet that is recorded or replayed.
    pub fn is_touched(&self) -> bool {
        self.touched
    }

    /// Takes entries from index 2 on that the log does not have any more, for the initialisation.
    pub fn begin_with(&mut self, entries: Vec<Entry>) {
        self.cursor.feed((2..).zip(entries));
    }

    /// Goes on after an index, as if everything up to it had been replayed.
    pub fn resume_after(
        &mut self,
        index: OplogIndex,
        last_effect: OplogIndex,
        level: PersistenceLevel,
    ) {
        self.cursor = ReplayCursor::resume(
            index,
            last_effect,
            self.cursor.target(),
            self.cursor.skipped().clone(),
        );
        self.level = level;
    }

    /// The present persistence level.
    pub fn level(&self) -> PersistenceLevel {
        self.level
    }

    /// An entry to add when the whole log has been replayed: an update has succeeded then.
    pub fn at_end(&mut self, kind: EntryKind) {
        self.at_end = Some(kind);
    }

    /// Switches recording off or on (snapshot functions, guest spec 6.3).
    pub fn set_recording(&mut self, on: bool) {
        self.recording = on;
    }

    /// Whether calls of this function are recorded now (guest spec 2.11): with `persist-nothing` none
    /// is, with `persist-remote-side-effects` only those that concern the outside.
    fn records<Req, Resp>(&self, function: &HostFn<Req, Resp>) -> bool {
        // Local writes (promises) are seen by others: only reads of local state concern nobody else.
        let local = function.kind == CallKind::ReadLocal && !function.tells_order;
        match self.level {
            _ if !self.recording => false,
            PersistenceLevel::Nothing => false,
            PersistenceLevel::RemoteSideEffects => !local,
            PersistenceLevel::Smart => true,
        }
    }

    /// Whether anything at all is recorded now.
    pub fn is_persisting(&self) -> bool {
        self.recording && self.level != PersistenceLevel::Nothing
    }

    /// The recorded response of this call; none: it is to be executed, then given to
    /// [`Self::record`].
    pub async fn replay<Req: Wit, Resp: Wit>(
        &mut self,
        function: &HostFn<Req, Resp>,
    ) -> Result<Option<Resp>> {
        self.touched = true;
        if !self.records(function) {
            return Ok(None);
        }
        let Some((index, entry)) = self.next().await? else {
            self.call_span = observe::live_call(function.name, function.kind);
            return Ok(None);
        };
        observe::replayed_call(function.kind);
        match entry.kind {
            EntryKind::HostCall(call) if call.function == function.name => {
                let value = self.writer.payloads.load(&call.response).await.map_err(node)?;
                let response = Resp::from_value(value)
                    .map_err(|e| self.diverged(function.name, &format!("{e}"), index))?;
                Ok(Some(response))
            }
            EntryKind::HostCall(call) => Err(self.diverged(function.name, &call.function, index)),
            _ => Err(self.diverged(function.name, entry.name(), index)),
        }
    }

    /// Records a call that was just executed. Remote writes are durable when this returns.
    pub async fn record<Req: Wit + Send, Resp: Wit + Clone + Sync>(
        &mut self,
        function: &HostFn<Req, Resp>,
        request: Req,
        response: &Resp,
    ) -> Result<()> {
        self.record_in(function, None, request, response).await
    }

    /// As [`Self::record`], for a call of an announced write.
    pub async fn record_in<Req: Wit + Send, Resp: Wit + Clone + Sync>(
        &mut self,
        function: &HostFn<Req, Resp>,
        begin: Option<OplogIndex>,
        request: Req,
        response: &Resp,
    ) -> Result<()> {
        if !self.records(function) {
            return Ok(());
        }
        let _ends_now = std::mem::replace(&mut self.call_span, Span::none());
        let name = Cow::Borrowed(function.name);
        let (request, response) = (request.into_value(), response.clone().into_value());
        self.add_call(name, function.kind, begin, &request, &response).await?;
        if function.same_again { self.keep_small().await } else { self.after(function.kind).await }
    }

    /// Records a call that has no description of its own: libraries of guests make such.
    pub async fn record_call(
        &mut self,
        function: Cow<'static, str>,
        kind: CallKind,
        begin: Option<OplogIndex>,
        request: &Value,
        response: &Value,
    ) -> Result<()> {
        self.add_call(function, kind, begin, request, response).await?;
        self.after(kind).await
    }

    async fn add_call(
        &mut self,
        function: Cow<'static, str>,
        kind: CallKind,
        begin: Option<OplogIndex>,
        request: &Value,
        response: &Value,
    ) -> Result<()> {
        let request = self.payload(request).await?;
        let response = self.payload(response).await?;
        self.add(EntryKind::HostCall(HostCall { function, kind, begin, request, response }));
        Ok(())
    }

    /// What a call of this kind has done is durable before the guest goes on, if others see it.
    async fn after(&self, kind: CallKind) -> Result<()> {
        match kind {
            CallKind::WriteRemote | CallKind::WriteRemoteBatched => self.commit().await,
            _ => self.keep_small().await,
        }
    }

    async fn keep_small(&self) -> Result<()> {
        if self.writer.buffered() > MAX_BUFFERED { self.commit().await } else { Ok(()) }
    }

    async fn payload(&self, value: &Value) -> Result<Payload> {
        self.writer.payloads.store(value).await.map_err(node)
    }

    /// To be called before a remote effect: what it depends on must be durable first (law L2).
    /// With idempotence off the write is announced, and a write that was announced before and
    /// did not end is refused.
    pub async fn before_remote_write(&mut self) -> Result<Option<OplogIndex>> {
        if !self.idempotent {
            self.announce().await.map(Some)
        } else {
            self.flush().await.map(|()| None)
        }
    }

    /// Ends what [`Self::before_remote_write`] announced.
    pub async fn after_remote_write(&mut self, begin: Option<OplogIndex>) -> Result<()> {
        match begin {
            Some(begin) => self.end_write(begin).await,
            None => Ok(()),
        }
    }

    /// Announces a remote write, or replays its announcement (guest spec 2.10).
    pub async fn announce(&mut self) -> Result<OplogIndex> {
        self.touched = true;
        if !self.is_persisting() {
            return Ok(0);
        }
        match self.next().await? {
            None => {
                let index = self.add(EntryKind::BeginRemoteWrite);
                self.commit().await?;
                Ok(index)
            }
            Some((index, Entry { kind: EntryKind::BeginRemoteWrite, .. })) => {
                if self.open_write(index) == AfterAnnouncement::Refuse {
                    self.cursor.go_live();
                    return Err(wasmtime::format_err!(
                        "Non-idempotent remote write operation was not completed, cannot retry"
                    ));
                }
                Ok(index)
            }
            Some((index, entry)) => Err(self.diverged("BeginRemoteWrite", entry.name(), index)),
        }
    }

    /// What became of the write announced at this index.
    pub fn open_write(&self, begin: OplogIndex) -> AfterAnnouncement {
        after_announcement(&self.open_writes, begin, self.idempotent)
    }

    /// Ends an announced write.
    pub async fn end_write(&mut self, begin: OplogIndex) -> Result<()> {
        if begin == 0 || !self.recording {
            return Ok(());
        }
        match self.next().await? {
            None => {
                self.add(EntryKind::EndRemoteWrite { begin });
                self.commit().await
            }
            Some((_, Entry { kind: EntryKind::EndRemoteWrite { .. }, .. })) => Ok(()),
            Some((index, entry)) => Err(self.diverged("EndRemoteWrite", entry.name(), index)),
        }
    }

    /// Adds a marker, or consumes the recorded one; gives its index.
    pub async fn marker(&mut self, kind: EntryKind) -> Result<OplogIndex> {
        self.marker_at(kind).await.map(|(index, _)| index)
    }

    /// As [`Self::marker`]; gives also the time at which it was first added.
    pub async fn marker_at(&mut self, kind: EntryKind) -> Result<(OplogIndex, Timestamp)> {
        self.touched = true;
        let present = now();
        if !self.recording {
            return Ok((self.writer.last_index(), present));
        }
        match self.next().await? {
            None => Ok((self.writer.add_at(present, kind), present)),
            Some((index, entry))
                if std::mem::discriminant(&entry.kind) == std::mem::discriminant(&kind) =>
            {
                Ok((index, entry.timestamp))
            }
            Some((index, entry)) => {
                let expected = Entry { timestamp: entry.timestamp, kind };
                Err(self.diverged(expected.name(), entry.name(), index))
            }
        }
    }

    /// Starts an atomic region; one that did not end before a failure is repeated from its start
    /// (guest spec 2.9).
    pub async fn begin_region(&mut self) -> Result<OplogIndex> {
        let begin = self.marker(EntryKind::BeginAtomicRegion).await?;
        if !self.is_live() && self.open_regions.contains(&begin) {
            self.forget_after(begin).await?;
        }
        Ok(begin)
    }

    /// Leaves out everything recorded after an index, and goes live.
    async fn forget_after(&mut self, index: OplogIndex) -> Result<()> {
        self.cursor.go_live();
        let end = self.writer.last_index() + 1;
        self.add(EntryKind::Jump { start: index + 1, end });
        self.commit().await?;
        self.writer.refold().await.map_err(node)?;
        self.open_writes.clear();
        Ok(())
    }

    /// Sets the persistence level; live, everything before is durable first.
    pub async fn set_level(&mut self, level: PersistenceLevel) -> Result<()> {
        self.settle().await?;
        if self.is_live() && self.recording {
            self.add(EntryKind::ChangePersistenceLevel(level));
            self.commit().await?;
        }
        self.level = level;
        Ok(())
    }

    /// The index that a derived key depends on: of the last entry added, or replayed.
    pub fn position(&self) -> OplogIndex {
        if self.is_live() { self.last_effect() } else { self.cursor.position() }
    }

    /// Hints may be added at any time by requests from outside, so keys are not derived from them.
    fn last_effect(&self) -> OplogIndex {
        self.writer.with_state(|s| s.last_effect)
    }

    /// Output of the guest: recorded when live, unless it was recorded before a crash.
    pub fn log(&mut self, level: LogLevel, context: &str, message: &str) {
        self.touched = true;
        if !self.is_live() || self.cursor.was_logged(level, context, message) {
            return;
        }
        self.add(EntryKind::Log {
            level,
            context: context.to_owned(),
            message: message.to_owned(),
        });
    }

    /// Adds an entry.
    pub fn add(&mut self, kind: EntryKind) -> OplogIndex {
        self.writer.add(kind)
    }

    /// Makes everything added durable.
    pub async fn commit(&self) -> Result<()> {
        self.writer.commit().await.map_err(node)
    }

    /// As [`Self::commit`], unless everything is durable already; nothing during replay.
    pub async fn flush(&self) -> Result<()> {
        if self.is_live() && !self.writer.is_durable() { self.commit().await } else { Ok(()) }
    }

    /// The next recorded entry that is no hint; none: live.
    pub async fn next(&mut self) -> Result<Option<(OplogIndex, Entry)>> {
        loop {
            match self.cursor.next() {
                Step::Live => {
                    if let Some(kind) = self.at_end.take() {
                        self.add(kind);
                        self.commit().await?;
                    }
                    return Ok(None);
                }
                Step::Read(from) => self.feed(from).await?,
                Step::Entry(index, entry) => {
                    REPLAYED_ENTRIES.inc();
                    while let Some(from) = self.cursor.settle() {
                        self.feed(from).await?;
                    }
                    return Ok(Some((index, entry)));
                }
            }
        }
    }

    /// Consumes hints in front of the next entry, so that [`Self::is_live`] tells the truth.
    pub async fn settle(&mut self) -> Result<()> {
        while let Some(from) = self.cursor.settle() {
            self.feed(from).await?;
        }
        Ok(())
    }

    async fn feed(&mut self, from: OplogIndex) -> Result<()> {
        let entries = self.writer.read(from, REPLAY_CHUNK).await.map_err(node)?;
        if entries.first().is_none_or(|(index, _)| *index != from) {
            return Err(node(WorkerError::unknown(format!("oplog entry {from} is missing"))));
        }
        self.cursor.feed(entries);
        Ok(())
    }

    /// A divergence, as a trap.
    pub fn diverged(&self, expected: &str, got: &str, index: OplogIndex) -> wasmtime::Error {
        wasmtime::Error::from(Stop::Diverged {
            expected: expected.to_owned(),
            got: got.to_owned(),
            index,
        })
    }
}
