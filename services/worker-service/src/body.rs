//! Reading bodies within a limit.

use crate::errors::ApiError;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;

/// What is read and thrown away of a body beyond its limit, as a multiple of the limit, before
/// the connection is given up: a client that gets its answer only after sending everything
/// would otherwise see a broken connection instead of the reason.
const PATIENCE: usize = 8;

/// Collects chunks up to a limit. The first chunk is kept as it is: most bodies are one chunk.
pub(crate) struct Collector {
    what: &'static str,
    limit: usize,
    seen: usize,
    first: Bytes,
    rest: BytesMut,
}

impl Collector {
    pub(crate) fn new(what: &'static str, limit: usize) -> Self {
        Self { what, limit, seen: 0, first: Bytes::new(), rest: BytesMut::new() }
    }

    /// Takes a chunk; false when nothing more is worth reading.
    pub(crate) fn push(&mut self, chunk: Bytes) -> bool {
        self.seen = self.seen.saturating_add(chunk.len());
        if self.seen > self.limit {
            self.first = Bytes::new();
            self.rest = BytesMut::new();
            return self.seen < self.limit.saturating_mul(PATIENCE);
        }
        if self.first.is_empty() {
            self.first = chunk;
        } else {
            if self.rest.is_empty() {
                self.rest.extend_from_slice(&self.first);
            }
            self.rest.extend_from_slice(&chunk);
        }
        true
    }

    /// Everything, or the reason why not.
    pub(crate) fn finish(self) -> Result<Bytes, String> {
        if self.seen > self.limit {
            return Err(format!(
                "The {} is too large: more than {} bytes (docs/limits.md)",
                self.what, self.limit
            ));
        }
        Ok(if self.rest.is_empty() { self.first } else { self.rest.freeze() })
    }
}

/// Reads a whole body.
pub(crate) async fn read(body: Body, what: &'static str, limit: usize) -> Result<Bytes, ApiError> {
    let mut stream = body.into_data_stream();
    let mut collector = Collector::new(what, limit);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk
            .map_err(|error| ApiError::invalid(format!("The request body broke off: {error}")))?;
        if !collector.push(chunk) {
            break;
        }
    }
    collector.finish().map_err(ApiError::invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined_in_order() {
        let mut collector = Collector::new("body", 6);
        for chunk in ["ab", "", "cd", "ef"] {
            assert!(collector.push(Bytes::from_static(chunk.as_bytes())));
        }
        assert_eq!(collector.finish().unwrap(), "abcdef");
    }

    #[test]
    fn beyond_the_limit_nothing_is_kept_and_reading_ends_at_last() {
        let mut collector = Collector::new("body", 4);
        assert!(collector.push(Bytes::from_static(b"1234")));
        assert!(collector.push(Bytes::from_static(b"5")));
        assert!(collector.first.is_empty() && collector.rest.is_empty());
        assert!(!collector.push(Bytes::from(vec![0; 40])));
        assert!(collector.finish().unwrap_err().contains("body is too large"));
    }
}
