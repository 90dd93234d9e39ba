//! What a gRPC status means for the caller.

use emet_config::is_skew;
use emet_model::WorkerError;
use tonic::{Code, Status};

/// Whether a request cannot have reached the service.
fn never_sent(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// A call of a worker that got no reply.
pub(super) fn worker_error(status: &Status) -> WorkerError {
    if is_skew(status) {
        return WorkerError::Unavailable { details: status.message().to_owned() };
    }
    let details = format!("{:?}: {}", status.code(), status.message());
    match status.code() {
        // The message limits: docs/limits.md.
        Code::OutOfRange | Code::InvalidArgument => WorkerError::invalid(status.message()),
        Code::Unimplemented | Code::Unauthenticated | Code::PermissionDenied => {
            WorkerError::unknown(details)
        }
        Code::ResourceExhausted => WorkerError::Unavailable { details },
        _ if never_sent(status) => WorkerError::Unavailable { details },
        _ => WorkerError::ConnectionLost { details },
    }
}

/// A message that the other side should not have sent.
pub(super) fn malformed(what: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("malformed message: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_was_refused_for_its_release_was_not_executed() {
        let mut status = Status::failed_precondition("VersionSkew: too far");
        assert!(matches!(worker_error(&status), WorkerError::ConnectionLost { .. }));
        status.metadata_mut().insert(emet_config::REFUSED_BY, "0.1.0".parse().unwrap());
        let error = worker_error(&status);
        assert!(
            matches!(&error, WorkerError::Unavailable { details } if details.contains("VersionSkew"))
        );
    }
}
