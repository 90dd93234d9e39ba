//! Path, query, header and body of a request. Each failure is a 400 with the documented JSON.

use crate::body;
use crate::errors::ApiError;
use crate::state::App;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use emet_api::Target;
use emet_model::{ComponentId, ComponentVersion, IdempotencyKey, WorkerId, form_decode};
use serde::de::DeserializeOwned;
use std::str::FromStr;

/// The decoded segments of the path.
pub(crate) struct Segments(RawPathParams);

impl Segments {
    /// The segment with a name of the route's template.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// A segment that the template is known to have.
    pub(crate) fn text(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).ok_or_else(|| ApiError::invalid(format!("Missing path segment: {name}")))
    }

    /// `{component_id}`.
    pub(crate) fn component(&self) -> Result<ComponentId, ApiError> {
        let text = self.text("component_id")?;
        text.parse()
            .map_err(|error| ApiError::invalid(format!("Invalid component id: {text}: {error}")))
    }

    /// `{version}`.
    pub(crate) fn version(&self) -> Result<ComponentVersion, ApiError> {
        self.text("version")?.parse().map_err(|_| ApiError::invalid("Invalid version"))
    }

    /// `{component_id}` and `{worker_name}`. The one route without the latter that needs it is
    /// that of a worker called like the enumeration, `find`.
    pub(crate) fn worker(&self) -> Result<WorkerId, ApiError> {
        let name = self.get("worker_name").unwrap_or("find");
        valid_name(name)?;
        Ok(WorkerId::new(self.component()?, name))
    }
}

/// Refuses names that workers cannot have.
pub(crate) fn valid_name(name: &str) -> Result<(), ApiError> {
    WorkerId::validate_name(name)
        .map_err(|error| ApiError::invalid(format!("Invalid worker name: {error}")))
}

impl<S: Send + Sync> FromRequestParts<S> for Segments {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        RawPathParams::from_request_parts(parts, state)
            .await
            .map(Self)
            .map_err(|error| ApiError::invalid(format!("Invalid path: {}", error.body_text())))
    }
}

/// `C`: the component of the path.
pub(crate) struct ComponentPath(pub(crate) ComponentId);

impl<S: Send + Sync> FromRequestParts<S> for ComponentPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Segments::from_request_parts(parts, state).await?.component().map(Self)
    }
}

/// `W`: the worker of the path, with a valid name.
pub(crate) struct WorkerPath(pub(crate) WorkerId);

impl<S: Send + Sync> FromRequestParts<S> for WorkerPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Segments::from_request_parts(parts, state).await?.worker().map(Self)
    }
}

/// `W` or `C`: whom an invocation goes to.
pub(crate) struct TargetPath(pub(crate) Target);

impl<S: Send + Sync> FromRequestParts<S> for TargetPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let segments = Segments::from_request_parts(parts, state).await?;
        let worker_name = segments.get("worker_name").map(str::to_owned);
        worker_name.as_deref().map_or(Ok(()), valid_name)?;
        Ok(Self(Target { component_id: segments.component()?, worker_name }))
    }
}

/// The decoded query, in order; a key may repeat.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str) -> Option<Self> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((form_decode(key)?, form_decode(value)?))
        });
        pairs.collect::<Option<Vec<_>>>().map(Self)
    }

    /// The first value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Every value of a key.
    pub(crate) fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(name, _)| name == key).map(|(_, value)| value.clone()).collect()
    }

    /// The value of a key that must be there.
    pub(crate) fn required(&self, key: &str) -> Result<&str, ApiError> {
        self.get(key).ok_or_else(|| ApiError::invalid(format!("Missing query parameter: {key}")))
    }

    /// The value of a key as something else than text.
    pub(crate) fn parsed<T: FromStr>(&self, key: &str) -> Result<Option<T>, ApiError> {
        let Some(text) = self.get(key) else { return Ok(None) };
        let value = text
            .parse()
            .map_err(|_| ApiError::invalid(format!("Invalid query parameter: {key}={text}")))?;
        Ok(Some(value))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::parse(parts.uri.query().unwrap_or_default()).ok_or_else(|| {
            ApiError::invalid("The query string is not correctly percent-encoded UTF-8")
        })
    }
}

/// A JSON body.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &App) -> Result<Self, ApiError> {
        check_content_type(request.headers())?;
        let bytes =
            body::read(request.into_body(), "request body", state.limits.json_bytes).await?;
        parse_json(&bytes).map(Self).map_err(ApiError::invalid)
    }
}

/// Bodies of another type are refused: a web page can make a browser send those anywhere
/// without asking first, and this API has no other guard against that.
fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let media = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let subtype = media.split_once('/').map_or("", |(_, subtype)| subtype);
    if subtype.eq_ignore_ascii_case("json") || subtype.to_ascii_lowercase().ends_with("+json") {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "Content type {media} is not JSON: send the header 'Content-Type: application/json'"
    )))
}

/// Parses JSON text, with a reason that tells bad text from bad structure.
pub(crate) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| format!("The request body is not valid UTF-8: {error}"))?;
    serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => format!("Unexpected request body: {error}"),
        _ => format!("The request body is not valid JSON: {error}"),
    })
}

/// The `Idempotency-Key` header.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes())
        .map_err(|_| ApiError::invalid("The Idempotency-Key header is not valid UTF-8"))?;
    if text.is_empty() {
        return Err(ApiError::invalid("The Idempotency-Key header is empty"));
    }
    Ok(Some(IdempotencyKey(text.to_owned())))
}

/// The W3C trace context that an invocation carries: of this request's span, where traces are
/// collected, else the caller's as it came.
pub(crate) fn trace(headers: &HeaderMap) -> Vec<(String, String)> {
    let given = ["traceparent", "tracestate"]
        .into_iter()
        .filter_map(|name| {
            let value = headers.get(name)?.to_str().ok()?;
            Some((name.to_owned(), value.to_owned()))
        })
        .collect();
    emet_telemetry::trace::current(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_keep_repeated_keys_and_decode_both_sides() {
        let query = Query::parse("filter=a+%3D+b&filter=c&&x%20y=1&flag").unwrap();
        assert_eq!(query.all("filter"), ["a = b", "c"]);
        assert_eq!(query.get("x y"), Some("1"));
        assert_eq!(query.get("flag"), Some(""));
        assert!(Query::parse("a=%zz").is_none());
        assert!(Query::parse("a=%ff").is_none());
    }
}
