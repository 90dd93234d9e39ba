//! Results whose entries were dropped. The place of a result is found as before
//! ([`CheckpointStore::result`]); what the entries there held is in a record of its own.

use super::store::{BATCH, CheckpointStore, ResultKeys, failed};
use bytes::Bytes;
use emet_model::{IdempotencyKey, OplogIndex, Timestamp, WorkerError, WorkerId};
use emet_oplog::{Entry, codec};
use emet_storage::Batch;
use prost::Message;

/// Space of the records.
pub(super) const KEPT: &str = "kept-results";

/// What there is to tell of an invocation without its entries.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptResult {
    /// The function that was called.
    pub function: String,
    /// Index of the entry that holds the result.
    pub index: OplogIndex,
    /// That entry.
    pub entry: Entry,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    #[prost(string, tag = "1")]
    function: String,
    /// The entry as the log stored it.
    #[prost(bytes = "bytes", tag = "2")]
    entry: Bytes,
    #[prost(uint64, tag = "3")]
    index: u64,
}

impl CheckpointStore {
    /// Stores results; to be durable before their entries are dropped.
    pub async fn keep_results(
        &self,
        worker: &WorkerId,
        created_at: Timestamp,
        results: Vec<(IdempotencyKey, KeptResult)>,
    ) -> Result<(), WorkerError> {
        let keys = ResultKeys::new(worker, created_at);
        for chunk in results.chunks(BATCH) {
            let batch = chunk.iter().fold(Batch::new(), |batch, (key, kept)| {
                let (function, entry) = (kept.function.clone(), codec::encode(&kept.entry));
                let stored = Stored { function, entry, index: kept.index }.encode_to_vec();
                batch.put(KEPT, keys.of(key), stored)
            });
            self.kv.apply(batch).await.map_err(failed)?;
        }
        Ok(())
    }

    /// The result of a key, if its entries were dropped.
    pub async fn kept_result(
        &self,
        worker: &WorkerId,
        created_at: Timestamp,
        key: &IdempotencyKey,
    ) -> Result<Option<KeptResult>, WorkerError> {
        let at = ResultKeys::new(worker, created_at).of(key);
        let found = self.kv.get(KEPT, &at).await.map_err(failed)?;
        let Some(found) = found else { return Ok(None) };
        let Stored { function, entry, index } = Stored::decode(found).map_err(failed)?;
        Ok(Some(KeptResult { function, index, entry: codec::decode(entry).map_err(failed)? }))
    }
}
