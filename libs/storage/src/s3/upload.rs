//! Writing objects: in one request, or in parts when they are large.

use super::S3Blob;
use super::failure::{self, Meaning, blob_error};
use crate::blob::BlobError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use std::time::Duration;
use uuid::Uuid;

/// Parts of one object that are sent at the same time.
const PARALLEL_PARTS: usize = 4;
/// S3 takes this many parts.
const MAX_PARTS: usize = 10_000;
/// Names the request that wrote an object, so that a repeated request recognises its own work.
const WRITER: &str = "emet-writer";
/// How often a write waits for another request that is in its way.
const BUSY_TRIES: u32 = 20;

/// What became of a write.
enum Outcome {
    Written,
    Exists,
    Busy,
}

impl S3Blob {
    /// Writes an object, whatever is there.
    pub(super) async fn write(&self, name: &str, data: Bytes) -> Result<(), BlobError> {
        self.settle(name, &data, None).await.map(drop)
    }

    /// Writes an object unless there is one; `false` if there was.
    pub(super) async fn write_new(&self, name: &str, data: Bytes) -> Result<bool, BlobError> {
        let writer = Uuid::new_v4().to_string();
        match self.settle(name, &data, Some(&writer)).await? {
            true => Ok(true),
            false => self.is_by(name, &writer).await,
        }
    }

    /// Writes until no other request is in the way; `false` if there is an object that must not
    /// be replaced.
    async fn settle(
        &self,
        name: &str,
        data: &Bytes,
        writer: Option<&str>,
    ) -> Result<bool, BlobError> {
        for attempt in 0..BUSY_TRIES {
            match self.try_write(name, data, writer).await? {
                Outcome::Written => return Ok(true),
                Outcome::Exists => return Ok(false),
                Outcome::Busy => {
                    tokio::time::sleep(Duration::from_millis(10 << attempt.min(5))).await;
                }
            }
        }
        Err(BlobError::Io("other writers of the object do not come to an end".into()))
    }

    /// Whether an object was written by this request: an earlier try whose answer was lost.
    async fn is_by(&self, name: &str, writer: &str) -> Result<bool, BlobError> {
        let request = self.client.head_object().bucket(&self.bucket).key(name);
        match request.send().await {
            Ok(head) => {
                Ok(head.metadata().and_then(|meta| meta.get(WRITER)).is_some_and(|w| w == writer))
            }
            Err(error) if failure::meaning(&error) == Meaning::Missing => Ok(false),
            Err(error) => Err(blob_error(error)),
        }
    }

    /// With a `writer` only if there is no object.
    async fn try_write(
        &self,
        name: &str,
        data: &Bytes,
        writer: Option<&str>,
    ) -> Result<Outcome, BlobError> {
        if data.len() > self.part_bytes {
            return self.in_parts(name, data, writer).await;
        }
        let mut request = self.client.put_object().bucket(&self.bucket).key(name);
        if let Some(writer) = writer {
            request = request.if_none_match("*").metadata(WRITER, writer);
        }
        match request.body(ByteStream::from(data.clone())).send().await {
            Ok(_) => Ok(Outcome::Written),
            Err(error) => {
                outcome(failure::meaning(&error), writer).map_or_else(|| Err(blob_error(error)), Ok)
            }
        }
    }

    /// A failed upload is given up, so that its parts do not stay.
    async fn in_parts(
        &self,
        name: &str,
        data: &Bytes,
        writer: Option<&str>,
    ) -> Result<Outcome, BlobError> {
        // The client sends this sum of every part, and the server compares.
        let mut request = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(name)
            .checksum_algorithm(ChecksumAlgorithm::Crc32);
        if let Some(writer) = writer {
            request = request.metadata(WRITER, writer);
        }
        let created = request.send().await.map_err(blob_error)?;
        let upload = created
            .upload_id()
            .ok_or_else(|| BlobError::Io("the server names no multipart upload".into()))?;
        let result = self.send_parts(name, data, upload, writer).await;
        if !matches!(result, Ok(Outcome::Written)) {
            let abort = self.client.abort_multipart_upload().bucket(&self.bucket).key(name);
            if let Err(error) = abort.upload_id(upload).send().await {
                tracing::warn!(name, reason = %blob_error(error), "parts of a failed upload may stay");
            }
        }
        result
    }

    async fn send_parts(
        &self,
        name: &str,
        data: &Bytes,
        upload: &str,
        writer: Option<&str>,
    ) -> Result<Outcome, BlobError> {
        let size = self.part_bytes.max(data.len().div_ceil(MAX_PARTS));
        let starts = (0..data.len()).step_by(size);
        let parts = (1..).zip(starts).map(|(number, start)| {
            let part = data.slice(start..start.saturating_add(size).min(data.len()));
            self.send_part(name, upload, number, part)
        });
        let parts = stream::iter(parts).buffered(PARALLEL_PARTS).try_collect().await?;
        let all = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let mut request = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(name)
            .upload_id(upload);
        if writer.is_some() {
            request = request.if_none_match("*");
        }
        match request.multipart_upload(all).send().await {
            Ok(_) => Ok(Outcome::Written),
            Err(error) => {
                outcome(failure::meaning(&error), writer).map_or_else(|| Err(blob_error(error)), Ok)
            }
        }
    }

    async fn send_part(
        &self,
        name: &str,
        upload: &str,
        number: i32,
        part: Bytes,
    ) -> Result<CompletedPart, BlobError> {
        let request = self.client.upload_part().bucket(&self.bucket).key(name).upload_id(upload);
        let sent = request.part_number(number).body(ByteStream::from(part)).send().await;
        let sent = sent.map_err(blob_error)?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag().map(str::to_owned))
            .set_checksum_crc32(sent.checksum_crc32().map(str::to_owned))
            .build())
    }
}

/// What a refusal of a write means; `None` for a failure.
fn outcome(meaning: Meaning, writer: Option<&str>) -> Option<Outcome> {
    match meaning {
        Meaning::Exists if writer.is_some() => Some(Outcome::Exists),
        Meaning::Busy => Some(Outcome::Busy),
        _ => None,
    }
}
