//! Errors as the API shows them: a status out of the documented set and a JSON body
//! (docs/errors, services spec 1.2).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use emet_api::ComponentError;
use emet_api::rest::ErrorBody;
use emet_model::WorkerError;
use serde::Serialize;

/// An answer other than 200. Boxed, because every handler's result holds one.
#[derive(Debug)]
pub(crate) struct ApiError(Box<(StatusCode, ErrorBody)>);

/// Seconds after which a request that could not be taken may be sent again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

impl ApiError {
    /// 400 with every reason.
    pub(crate) fn invalid_all(errors: Vec<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorBody::Errors { errors })
    }

    /// 400 with one reason.
    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::invalid_all(vec![reason.into()])
    }

    /// 404.
    pub(crate) fn not_found(reason: impl Into<String>) -> Self {
        Self::plain(StatusCode::NOT_FOUND, reason)
    }

    /// Any status whose body is `{"error":…}`.
    pub(crate) fn plain(status: StatusCode, reason: impl Into<String>) -> Self {
        Self::new(status, ErrorBody::Error { error: reason.into() })
    }

    fn new(status: StatusCode, body: ErrorBody) -> Self {
        Self(Box::new((status, body)))
    }
}

impl From<WorkerError> for ApiError {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::WorkerNotFound { .. } => Self::not_found(error.to_string()),
            WorkerError::Unavailable { .. }
            | WorkerError::ShardingNotReady
            | WorkerError::InvalidShardId { .. } => {
                Self::plain(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            golem_error => {
                let message = Some(golem_error.to_string());
                let body = ErrorBody::Worker { golem_error, message };
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, body)
            }
        }
    }
}

impl From<ComponentError> for ApiError {
    fn from(error: ComponentError) -> Self {
        match error {
            ComponentError::Invalid(errors) => Self::invalid_all(errors),
            ComponentError::LimitExceeded(reason) => Self::plain(StatusCode::FORBIDDEN, reason),
            ComponentError::NotFound(reason) => Self::not_found(reason),
            ComponentError::AlreadyExists(_) => {
                Self::plain(StatusCode::CONFLICT, error.to_string())
            }
            ComponentError::Internal(reason) => {
                Self::plain(StatusCode::INTERNAL_SERVER_ERROR, reason)
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, body) = *self.0;
        let mut response = (status, Json(body)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            // It was not executed, and can be sent again as it is.
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}

/// A JSON body with the content type of the API.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response(),
            Err(error) => unserialisable(&error),
        }
    }
}

const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// A value without a JSON form: reported as the union's catch-all, which cannot fail again.
fn unserialisable(error: &serde_json::Error) -> Response {
    let details = format!("The result has no JSON form: {error}");
    let body = serde_json::json!({"golemError": {"type": "Unknown", "details": details}});
    let content_type = [(header::CONTENT_TYPE, CONTENT_TYPE)];
    (StatusCode::INTERNAL_SERVER_ERROR, content_type, body.to_string()).into_response()
}

/// `{}`, the answer of everything that has nothing to say.
#[derive(Serialize)]
pub(crate) struct Empty {}

/// What handlers return.
pub(crate) type Answer<T> = Result<Json<T>, ApiError>;

/// 200 `{}`.
pub(crate) fn done() -> Answer<Empty> {
    Ok(Json(Empty {}))
}
