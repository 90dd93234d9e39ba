//! Reading what servers and scripts answer.

use super::failure::Failure;
use super::router::Answer;
use crate::log::LogError;
use bytes::Bytes;
use redis::Value;

/// What a script decided about a log.
pub(super) enum Verdict {
    /// It is done, maybe by an earlier try.
    Done,
    /// It is done, and the log is new.
    Created,
    /// The log is missing, and its creation needs a sequence.
    Create,
}

/// An answer that no version of the scripts gives.
pub(super) fn unexpected(value: &Value) -> Failure {
    Failure::Refused(format!("unexpected answer from Redis: {value:?}"))
}

/// The bytes of an answer; `None` for anything else.
pub(super) fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::BulkString(bytes) => Some(bytes.into()),
        Value::VerbatimString { text, .. } | Value::SimpleString(text) => Some(text.into()),
        _ => None,
    }
}

/// The elements of an answer.
pub(super) fn array(value: Value) -> Result<Vec<Value>, Failure> {
    match value {
        Value::Array(values) => Ok(values),
        other => Err(unexpected(&other)),
    }
}

/// A number in decimal.
pub(super) fn number(value: &Value) -> Result<u64, Failure> {
    let text = match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    };
    text.and_then(|text| text.parse().ok()).ok_or_else(|| unexpected(value))
}

/// Reads the verdict on a change under `epoch` that expects the index `expected`.
///
/// After a try with unknown outcome a refusal does not say that nothing was written: the refused
/// one may be the second.
pub(super) fn verdict(answer: Answer, epoch: u64, expected: u64) -> Result<Verdict, LogError> {
    let parts = array(answer.value)?;
    let word = match parts.first() {
        Some(Value::BulkString(word)) => word.as_slice(),
        _ => &[],
    };
    let detail = parts.get(1).map(number);
    match (word, detail) {
        (b"done", None) => Ok(Verdict::Done),
        (b"created", None) => Ok(Verdict::Created),
        (b"create", None) => Ok(Verdict::Create),
        (b"fenced", Some(current)) => {
            let current = current?;
            if answer.repeated {
                return Err(LogError::Io(format!(
                    "the connection broke, and now the log is owned under epoch {current}"
                )));
            }
            Err(LogError::Fenced { epoch, current })
        }
        (b"conflict", Some(found)) => {
            let found = found?;
            if answer.repeated && found > expected {
                return Err(LogError::Io(format!(
                    "the connection broke, and now the next index of the log is {found}"
                )));
            }
            Err(LogError::Conflict { expected, found })
        }
        _ => Err(unexpected(&Value::Array(parts)).into()),
    }
}
