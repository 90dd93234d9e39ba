//! Errors of the S3 client, as errors of the port.

use crate::blob::BlobError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use std::error::Error;

/// What an answer means to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// There is no such object.
    Missing,
    /// The condition of the request does not hold.
    Exists,
    /// Another request on the object is under way.
    Busy,
    /// The range lies behind the end of the object.
    Behind,
    /// Anything else.
    Failure,
}

pub(super) fn meaning<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Meaning {
    let status = error.raw_response().map(|response| response.status().as_u16());
    match (status, error.code()) {
        // All objects look missing without their bucket.
        (_, Some("NoSuchBucket")) => Meaning::Failure,
        (Some(404), _) => Meaning::Missing,
        (Some(412), _) => Meaning::Exists,
        (Some(409), _) => Meaning::Busy,
        (Some(416), _) => Meaning::Behind,
        _ => Meaning::Failure,
    }
}

pub(super) fn blob_error<E>(error: SdkError<E, HttpResponse>) -> BlobError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let text = match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        _ => DisplayErrorContext(&error).to_string(),
    };
    match (status, error.code()) {
        (Some(507), _)
        | (_, Some("QuotaExceeded" | "XMinioStorageFull" | "InsufficientStorage")) => {
            BlobError::Full(text)
        }
        (_, Some("KeyTooLongError")) => BlobError::Invalid(text),
        _ => BlobError::Io(text),
    }
}
