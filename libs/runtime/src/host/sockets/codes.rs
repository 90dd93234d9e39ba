//! Error codes of `wasi:sockets` and their texts, which are recorded.

use wasmtime_wasi::p2::SocketResult;
use wasmtime_wasi::p2::StreamError;
use wasmtime_wasi::p2::bindings::sockets::network::ErrorCode;

/// The outcome of a call as it is recorded: an error is the name of its code.
pub(super) type Outcome<T> = Result<T, String>;

macro_rules! codes {
    ($($text:literal => $code:ident,)*) => {
        /// The text that is recorded for a code.
        pub(super) fn text_of(code: ErrorCode) -> &'static str {
            match code {
                $(ErrorCode::$code => $text,)*
            }
        }

        /// The code that a text was recorded for.
        pub(super) fn code_of(text: &str) -> ErrorCode {
            match text {
                $($text => ErrorCode::$code,)*
                _ => ErrorCode::Unknown,
            }
        }

        #[cfg(test)]
        const ALL: &[ErrorCode] = &[$(ErrorCode::$code),*];
    };
}

codes! {
    "unknown" => Unknown,
    "access-denied" => AccessDenied,
    "not-supported" => NotSupported,
    "invalid-argument" => InvalidArgument,
    "out-of-memory" => OutOfMemory,
    "timeout" => Timeout,
    "concurrency-conflict" => ConcurrencyConflict,
    "not-in-progress" => NotInProgress,
    "would-block" => WouldBlock,
    "invalid-state" => InvalidState,
    "new-socket-limit" => NewSocketLimit,
    "address-not-bindable" => AddressNotBindable,
    "address-in-use" => AddressInUse,
    "remote-unreachable" => RemoteUnreachable,
    "connection-refused" => ConnectionRefused,
    "connection-reset" => ConnectionReset,
    "connection-aborted" => ConnectionAborted,
    "datagram-too-large" => DatagramTooLarge,
    "name-unresolvable" => NameUnresolvable,
    "temporary-resolver-failure" => TemporaryResolverFailure,
    "permanent-resolver-failure" => PermanentResolverFailure,
}

/// What is recorded of a result. An error without a code is a trap.
pub(super) fn recordable<T>(result: SocketResult<T>) -> wasmtime::Result<Outcome<T>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) => Ok(Err(text_of(error.downcast()?).to_owned())),
    }
}

/// What the guest gets of what was recorded.
pub(super) fn given<T>(outcome: Outcome<T>) -> Result<T, ErrorCode> {
    outcome.map_err(|text| code_of(&text))
}

/// The code of an error of a stream; none for errors of other streams.
pub(super) fn code_of_error(error: &wasmtime::Error) -> Option<ErrorCode> {
    if let Some(code) = error.downcast_ref::<ErrorCode>() {
        return Some(*code);
    }
    if let Some(code) = error.downcast_ref::<wasmtime_wasi::sockets::ErrorCode>() {
        return Some((*code).into());
    }
    error.downcast_ref::<std::io::Error>().map(ErrorCode::from)
}

/// What a stream gives whose connection was lost with the worker's earlier life.
pub(super) fn reset() -> StreamError {
    StreamError::LastOperationFailed(ErrorCode::ConnectionReset.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_again_by_its_text() {
        assert_eq!(ALL.len(), 21);
        for code in ALL {
            assert_eq!(text_of(code_of(text_of(*code))), text_of(*code));
        }
    }
}
