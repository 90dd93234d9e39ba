//! Error codes of `wasi:http` as recorded text. What carries details becomes an internal error
//! with its text, live and on replay alike.

use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

macro_rules! codes {
    ($($name:ident),* $(,)?) => {
        /// The text that is recorded for a code.
        pub(super) fn text_of_code(code: &ErrorCode) -> String {
            match code {
                $(ErrorCode::$name => stringify!($name).to_owned(),)*
                ErrorCode::InternalError(Some(text)) => text.clone(),
                other => format!("{other:?}"),
            }
        }

        /// The code for a recorded text.
        pub(super) fn code_from_text(text: &str) -> ErrorCode {
            match text {
                $(stringify!($name) => ErrorCode::$name,)*
                other => ErrorCode::InternalError(Some(other.to_owned())),
            }
        }
    };
}

codes!(
    DnsTimeout,
    DestinationNotFound,
    DestinationUnavailable,
    DestinationIpProhibited,
    DestinationIpUnroutable,
    ConnectionRefused,
    ConnectionTerminated,
    ConnectionTimeout,
    ConnectionReadTimeout,
    ConnectionWriteTimeout,
    ConnectionLimitReached,
    TlsProtocolError,
    TlsCertificateError,
    HttpRequestDenied,
    HttpRequestLengthRequired,
    HttpRequestMethodInvalid,
    HttpRequestUriInvalid,
    HttpRequestUriTooLong,
    HttpResponseIncomplete,
    HttpResponseTimeout,
    HttpUpgradeFailed,
    HttpProtocolError,
    LoopDetected,
    ConfigurationError,
);
