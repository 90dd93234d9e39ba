//! Who may do what: bearer tokens with scopes, checked before a handler runs
//! (docs/operations/security.md).

mod endpoints;
mod table;
mod tokens;

pub(crate) use endpoints::endpoints;
pub(crate) use table::{Access, access};
pub use tokens::Tokens;

use crate::errors::ApiError;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use emet_api::rest::Scope;
use emet_telemetry::metrics::list::AUTH_REFUSALS;
use std::sync::Arc;
use tokens::Holder;

/// Whether requests need a token, and where tokens are.
#[derive(Clone)]
pub struct Auth {
    tokens: Option<Arc<Tokens>>,
    required: bool,
    private_metrics: bool,
}

impl Auth {
    /// Nobody needs a token, and there are none.
    pub fn off() -> Self {
        Self { tokens: None, required: false, private_metrics: false }
    }

    /// Nobody needs a token, but they can be made, for the time when they are needed.
    pub fn optional(tokens: Arc<Tokens>) -> Self {
        Self { tokens: Some(tokens), required: false, private_metrics: false }
    }

    /// Requests need a token with the scope that the table names.
    pub fn required(tokens: Arc<Tokens>) -> Self {
        Self { tokens: Some(tokens), required: true, private_metrics: false }
    }

    /// Metrics have an address of their own: here they need the scope `read`.
    #[must_use]
    pub fn with_private_metrics(mut self, private: bool) -> Self {
        self.private_metrics = private;
        self
    }

    /// Whether the layer has anything to do.
    pub(crate) fn is_required(&self) -> bool {
        self.required
    }

    pub(crate) fn tokens(&self) -> Option<&Tokens> {
        self.tokens.as_deref()
    }

    fn access(&self, method: &str, route: &str) -> Access {
        match access(method, route) {
            Access::Open if self.private_metrics && route == "/metrics" => {
                Access::Needs(Scope::Read)
            }
            access => access,
        }
    }

    async fn admit(&self, headers: &HeaderMap, scope: Scope) -> Result<(), Response> {
        let Some(token) = bearer(headers) else { return Err(unauthorized(headers)) };
        let tokens = self.tokens().ok_or_else(|| unauthorized(headers))?;
        match tokens.holder(token).await {
            Ok(Some(holder)) if holder.may(scope) => Ok(()),
            Ok(Some(holder)) => Err(forbidden(&holder, scope)),
            Ok(None) => Err(unauthorized(headers)),
            Err(error) => {
                tracing::error!(%error, "a token cannot be checked");
                Err(ApiError::from(error).into_response())
            }
        }
    }
}

/// The layer: refuses requests without a sufficient token. Paths that are no endpoint pass; there
/// is nothing behind them.
pub(crate) async fn check(State(auth): State<Auth>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let access = route.map_or(Access::Open, |route| auth.access(request.method().as_str(), route));
    if let Access::Needs(scope) = access
        && let Err(refusal) = auth.admit(request.headers(), scope).await
    {
        return refusal;
    }
    next.run(request).await
}

/// The token of `Authorization: Bearer TOKEN`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthorized(headers: &HeaderMap) -> Response {
    let (reason, text, challenge) = if headers.contains_key(header::AUTHORIZATION) {
        let text = "The token is not valid: it is wrong, has expired, or was revoked \
                    (docs/errors/unauthorized.md)";
        ("bad", text, "Bearer realm=\"emet\", error=\"invalid_token\"")
    } else {
        let text = "This server needs a token: send the header 'Authorization: Bearer TOKEN' \
                    (docs/errors/unauthorized.md)";
        ("missing", text, "Bearer realm=\"emet\"")
    };
    AUTH_REFUSALS.with([reason]).inc();
    let mut response = ApiError::plain(StatusCode::UNAUTHORIZED, text).into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

fn forbidden(holder: &Holder, scope: Scope) -> Response {
    AUTH_REFUSALS.with(["insufficient"]).inc();
    let text = format!(
        "The token '{}' does not have the scope '{scope}' (docs/errors/forbidden.md)",
        holder.name
    );
    ApiError::plain(StatusCode::FORBIDDEN, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::table::TABLE;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_names_exactly_the_endpoints_of_the_router() {
        let listed: BTreeSet<(&str, &str)> = TABLE.iter().map(|(m, path, _)| (*m, *path)).collect();
        assert_eq!(listed.len(), TABLE.len(), "no endpoint is listed twice");
        let mut served: BTreeSet<(&str, &str)> =
            crate::endpoints().iter().map(|e| (e.method, e.path)).collect();
        served.extend(crate::ALIASES);
        assert_eq!(listed, served);
    }
}
