//! The endpoints about tokens.

use crate::request::segment;
use crate::{Client, ClientError};
use emet_api::rest::{CreatedToken, NewToken, TokenInfo};

impl Client {
    /// `GET /v1/tokens`
    pub async fn tokens(&self) -> Result<Vec<TokenInfo>, ClientError> {
        self.json(self.get("/v1/tokens")).await
    }

    /// `POST /v1/tokens`
    pub async fn create_token(&self, new: &NewToken) -> Result<CreatedToken, ClientError> {
        self.json(self.post("/v1/tokens").json(new)).await
    }

    /// `DELETE /v1/tokens/{id}`
    pub async fn revoke_token(&self, id: &str) -> Result<(), ClientError> {
        self.done(self.delete(&format!("/v1/tokens/{}", segment(id)))).await
    }
}
