//! The endpoints that make, list and revoke tokens.

use super::tokens::{TokenError, Tokens};
use crate::endpoint::{Endpoint, delete, get, post};
use crate::errors::{Answer, ApiError, Empty, Json, done};
use crate::extract::{JsonBody, Segments};
use crate::state::App;
use axum::extract::State;
use axum::http::StatusCode;
use emet_api::rest::{CreatedToken, NewToken, TokenInfo};

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        get("/v1/tokens", list)
            .named("listTokens", "The tokens, without their secrets.")
            .answers("[TokenInfo]"),
        post("/v1/tokens", create)
            .named("createToken", "Makes a token; its secret is in this answer only.")
            .body("NewToken")
            .answers("CreatedToken"),
        delete("/v1/tokens/{token_id}", revoke)
            .named("revokeToken", "Revokes a token; other servers follow within seconds.")
            .answers("{}"),
    ]
}

fn tokens(app: &App) -> Result<&Tokens, ApiError> {
    app.auth.tokens().ok_or_else(|| ApiError::not_found("This server keeps no tokens"))
}

async fn list(State(app): State<App>) -> Answer<Vec<TokenInfo>> {
    Ok(Json(tokens(&app)?.list().await?))
}

async fn create(State(app): State<App>, JsonBody(new): JsonBody<NewToken>) -> Answer<CreatedToken> {
    Ok(Json(tokens(&app)?.create(new).await?))
}

async fn revoke(State(app): State<App>, segments: Segments) -> Answer<Empty> {
    let id = segments.text("token_id")?;
    if tokens(&app)?.revoke(id).await? {
        return done();
    }
    Err(ApiError::not_found(format!("No such token: {id}")))
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        match &error {
            TokenError::Invalid(reason) => Self::invalid(reason),
            TokenError::TooMany => Self::plain(StatusCode::FORBIDDEN, error.to_string()),
            TokenError::Store(_) | TokenError::Damaged(_) => {
                Self::plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            }
        }
    }
}
