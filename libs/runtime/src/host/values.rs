//! What `wasi:keyvalue` and `wasi:blobstore` share: values that guests fill and read, and recorded
//! access to a store.

use crate::WorkerCtx;
use crate::log::HostFn;
use crate::stop::Stop;
use bytes::Bytes;
use emet_model::WorkerError;
use emet_storage::{BlobError, KvError};
use emet_values::Wit;
use parking_lot::Mutex;
use std::sync::Arc;
use wasmtime::component::{Linker, LinkerInstance, Resource, ResourceType};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, OutputStream, Pollable, StreamError};

/// Most bytes that a stream into a value takes at once.
const MAX_PERMIT: usize = 1 << 20;

/// A value that came from a store; what was read is gone from it.
pub(super) struct IncomingValue(Bytes);

impl IncomingValue {
    pub(super) fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }
}

/// A value that a guest fills. Its bytes are written every time the guest runs, also during replay.
pub(super) struct OutgoingValue {
    buffer: Buffer,
    /// The vacant key of the cache that it is for, and its time to live.
    pub(super) vacancy: Option<(String, Option<u32>)>,
}

impl OutgoingValue {
    /// An empty value that takes so many bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { buffer: Buffer { bytes: Arc::default(), limit }, vacancy: None }
    }

    /// What was written so far.
    pub(super) fn bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.buffer.bytes.lock())
    }

    /// Number of bytes written so far.
    pub(super) fn len(&self) -> usize {
        self.buffer.bytes.lock().len()
    }

    /// Appends to the value.
    pub(super) fn append(&self, bytes: &[u8]) -> Result<(), String> {
        self.buffer.append(bytes)
    }
}

/// Bytes that a value and the streams into it share.
#[derive(Clone)]
struct Buffer {
    bytes: Arc<Mutex<Vec<u8>>>,
    limit: usize,
}

impl Buffer {
    fn full(&self) -> String {
        format!("the value is larger than {} bytes", self.limit)
    }

    fn append(&self, more: &[u8]) -> Result<(), String> {
        let mut bytes = self.bytes.lock();
        if more.len() > self.limit.saturating_sub(bytes.len()) {
            return Err(self.full());
        }
        bytes.extend_from_slice(more);
        Ok(())
    }
}

#[async_trait]
impl Pollable for Buffer {
    async fn ready(&mut self) {}
}

impl OutputStream for Buffer {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.append(&bytes)
            .map_err(|full| StreamError::LastOperationFailed(wasmtime::Error::msg(full)))
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        match self.limit.saturating_sub(self.bytes.lock().len()) {
            0 => Err(StreamError::LastOperationFailed(wasmtime::Error::msg(self.full()))),
            left => Ok(left.min(MAX_PERMIT)),
        }
    }
}

/// How access to a store failed.
pub(super) enum Failure {
    /// The guest is told, and told again on replay.
    Guest(String),
    /// The worker stops: the node must recover first.
    Node(String),
}

/// The outcome of access to a store.
pub(super) type Stored<T> = Result<T, Failure>;

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Guest(text)
    }
}

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        Self::Guest(text.to_owned())
    }
}

impl From<KvError> for Failure {
    fn from(error: KvError) -> Self {
        match error {
            KvError::Full(_) | KvError::Io(_) | KvError::Invalid(_) => {
                Self::Guest(error.to_string())
            }
            KvError::Poisoned(_) => Self::Node(error.to_string()),
        }
    }
}

impl From<BlobError> for Failure {
    fn from(error: BlobError) -> Self {
        Self::Guest(error.to_string())
    }
}

fn told<T>(outcome: Stored<T>) -> wasmtime::Result<Result<T, String>> {
    match outcome {
        Ok(value) => Ok(Ok(value)),
        Err(Failure::Guest(text)) => Ok(Err(text)),
        Err(Failure::Node(text)) => Err(Stop::from(WorkerError::unknown(text)).into()),
    }
}

impl WorkerCtx {
    /// Reads from a store, unless the outcome is recorded.
    pub(super) async fn stored_read<Req: Wit + Send, T: Wit + Clone + Send + Sync>(
        &mut self,
        function: &HostFn<Req, Result<T, String>>,
        request: Req,
        act: impl Future<Output = Stored<T>> + Send,
    ) -> wasmtime::Result<Result<T, String>> {
        if let Some(outcome) = self.journal.replay(function).await? {
            return Ok(outcome);
        }
        let outcome = told(act.await)?;
        self.journal.record(function, request, &outcome).await?;
        Ok(outcome)
    }

    /// Writes to a store, unless the outcome is recorded.
    pub(super) async fn stored_write<Req: Wit + Send, T: Wit + Clone + Send + Sync>(
        &mut self,
        function: &HostFn<Req, Result<T, String>>,
        request: Req,
        act: impl Future<Output = Stored<T>> + Send,
    ) -> wasmtime::Result<Result<T, String>> {
        let begin = self.journal.before_remote_write().await?;
        let outcome = self.stored_read(function, request, act).await?;
        self.journal.after_remote_write(begin).await?;
        Ok(outcome)
    }

    /// The bytes that are left of a value; none are left then.
    pub(super) fn consume_value(
        &mut self,
        value: &Resource<IncomingValue>,
    ) -> wasmtime::Result<Bytes> {
        Ok(std::mem::take(&mut self.table.get_mut(value)?.0))
    }

    /// A stream over the bytes that are left of a value; it is closed after the last one.
    pub(super) fn stream_value(
        &mut self,
        value: &Resource<IncomingValue>,
    ) -> wasmtime::Result<Resource<DynInputStream>> {
        let stream: DynInputStream = Box::new(MemoryInputPipe::new(self.consume_value(value)?));
        Ok(self.table.push(stream)?)
    }

    /// Number of bytes that are left of a value.
    pub(super) fn value_size(&self, value: &Resource<IncomingValue>) -> wasmtime::Result<u64> {
        Ok(self.table.get(value)?.0.len() as u64)
    }

    /// A stream that appends to a value.
    pub(super) fn value_body(
        &mut self,
        value: &Resource<OutgoingValue>,
    ) -> wasmtime::Result<Resource<DynOutputStream>> {
        let stream: DynOutputStream = Box::new(self.table.get(value)?.buffer.clone());
        Ok(self.table.push(stream)?)
    }
}

/// Defines a resource that is nothing but its entry in the table.
pub(super) fn add_resource<T: Send + 'static>(
    linker: &mut Linker<WorkerCtx>,
    interface: &str,
    name: &str,
) -> wasmtime::Result<()> {
    define_resource::<T>(&mut linker.instance(interface)?, name)
}

/// As [`add_resource`], in an instance that is being defined.
pub(super) fn define_resource<T: Send + 'static>(
    instance: &mut LinkerInstance<'_, WorkerCtx>,
    name: &str,
) -> wasmtime::Result<()> {
    instance.resource(name, ResourceType::host::<T>(), |mut store, rep| {
        store.data_mut().table.delete(Resource::<T>::new_own(rep))?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_takes_bytes_from_both_ways_up_to_its_limit() {
        let value = OutgoingValue::new(8);
        let mut stream = value.buffer.clone();
        value.append(b"abc").unwrap();
        stream.write(Bytes::from_static(b"def")).unwrap();
        assert_eq!(stream.check_write().unwrap(), 2);
        assert!(value.append(b"ghi").is_err());
        value.append(b"gh").unwrap();
        assert!(matches!(stream.check_write(), Err(StreamError::LastOperationFailed(_))));
        assert_eq!(value.bytes().as_ref(), b"abcdefgh");
    }
}
