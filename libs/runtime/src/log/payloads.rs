//! Payloads beside the oplog: what is too large for an entry (guest spec 2.5).

use bytes::Bytes;
use emet_model::{WorkerError, WorkerId, form_encode};
use emet_oplog::{MAX_INLINE_PAYLOAD, Payload};
use emet_storage::BlobStore;
use emet_values::{Value, binary};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Stores and loads the payloads of one worker. They are named by content below the worker's own
/// prefix, so equal ones are stored once and all go when the worker is deleted.
#[derive(Clone)]
pub struct Payloads {
    blobs: Arc<dyn BlobStore>,
    prefix: String,
}

impl Payloads {
    /// The payloads of a worker.
    pub fn new(blobs: Arc<dyn BlobStore>, worker: &WorkerId) -> Self {
        // Names of workers may contain anything, a slash too: one worker's prefix is never another's.
        let name = form_encode(&worker.worker_name);
        Self { blobs, prefix: format!("payloads/{}/{name}/", worker.component_id) }
    }

    /// Everything stored for the worker starts with this.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Encodes a value; a large one is durable in the blob store when this returns.
    pub async fn store(&self, value: &Value) -> Result<Payload, WorkerError> {
        self.store_bytes(binary::encode(value).into()).await
    }

    /// As [`Self::store`], of bytes.
    pub async fn store_bytes(&self, bytes: Bytes) -> Result<Payload, WorkerError> {
        if bytes.len() <= MAX_INLINE_PAYLOAD {
            return Ok(Payload::Inline(bytes));
        }
        let sha256: [u8; 32] = Sha256::digest(&bytes).into();
        let size = bytes.len() as u64;
        self.blobs
            .put_if_absent(&self.key(&sha256), bytes)
            .await
            .map_err(|e| WorkerError::unknown(format!("cannot store a payload: {e}")))?;
        Ok(Payload::External { sha256, size })
    }

    /// Loads and decodes a value.
    pub async fn load(&self, payload: &Payload) -> Result<Value, WorkerError> {
        let bytes = self.load_bytes(payload).await?;
        binary::decode(&bytes)
            .map_err(|e| WorkerError::unknown(format!("a recorded payload cannot be read: {e}")))
    }

    /// Loads bytes and checks that they are the ones that were stored.
    pub async fn load_bytes(&self, payload: &Payload) -> Result<Bytes, WorkerError> {
        match payload {
            Payload::Inline(bytes) => Ok(bytes.clone()),
            Payload::External { sha256, .. } => {
                let key = self.key(sha256);
                let found =
                    self.blobs.get(&key).await.map_err(|e| {
                        WorkerError::unknown(format!("cannot read payload {key}: {e}"))
                    })?;
                match found {
                    Some(bytes) if Sha256::digest(&bytes).as_slice() == sha256 => Ok(bytes),
                    Some(_) => Err(WorkerError::unknown(format!("payload {key} is damaged"))),
                    None => Err(WorkerError::unknown(format!("payload {key} is missing"))),
                }
            }
        }
    }

    fn key(&self, sha256: &[u8; 32]) -> String {
        let hex: String = sha256.iter().map(|b| format!("{b:02x}")).collect();
        format!("{}{hex}", self.prefix)
    }
}
