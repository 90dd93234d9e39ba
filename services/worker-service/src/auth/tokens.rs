//! Tokens: random, known by their digest only.
//!
//! A token is `emet_ID_SECRET`. The id finds the record; the secret is 256 random bits. The store
//! holds SHA-256 of the secret: passwords need a slow hash because they can be guessed, and 256
//! random bits cannot, however fast the hash is. Digests are compared in constant time.

use bytes::Bytes;
use emet_api::rest::{CreatedToken, NewToken, Scope, TokenInfo};
use emet_model::Timestamp;
use emet_storage::{Batch, KvError, KvStore};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SPACE: &str = "tokens";
/// How long a record is used without looking at the store: a token that is revoked through
/// another process is refused here after this time at the latest.
const FRESH: Duration = Duration::from_secs(5);
/// Most records kept in memory.
const MAX_CACHED: usize = 10_000;
/// Most tokens (docs/limits.md).
pub(super) const MAX_TOKENS: usize = 10_000;
/// Longest name of a token, in bytes.
pub(super) const MAX_NAME: usize = 100;

/// The tokens of a store.
pub struct Tokens {
    kv: Arc<dyn KvStore>,
    /// Digest of the token that allows everything and is in no store.
    bootstrap: Option<[u8; 32]>,
    cache: Mutex<HashMap<String, (Instant, Arc<Record>)>>,
}

/// What the store holds of a token.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    name: String,
    scopes: Vec<Scope>,
    /// SHA-256 of the secret.
    digest: [u8; 32],
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
}

/// Whom a valid token belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) name: String,
    pub(crate) scopes: Vec<Scope>,
}

impl Holder {
    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|own| *own == scope || *own == Scope::Admin)
    }
}

/// Why a token was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("{0}")]
    Invalid(String),
    #[error("there are {MAX_TOKENS} tokens already: revoke some")]
    TooMany,
    #[error("tokens: {0}")]
    Store(#[from] KvError),
    #[error("the record of token {0} is damaged")]
    Damaged(String),
}

fn now() -> Timestamp {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Tokens {
    /// The tokens in a store, and one that is not: with it the first ones are made.
    pub fn new(kv: Arc<dyn KvStore>, bootstrap: Option<&emet_config::Secret>) -> Self {
        let bootstrap = bootstrap.map(|secret| emet_config::digest(secret.expose()));
        Self { kv, bootstrap, cache: Mutex::new(HashMap::new()) }
    }

    /// Makes a token. What is answered cannot be seen again.
    pub(crate) async fn create(&self, new: NewToken) -> Result<CreatedToken, TokenError> {
        check(&new)?;
        if self.kv.scan(SPACE, &[], None, MAX_TOKENS).await?.len() >= MAX_TOKENS {
            return Err(TokenError::TooMany);
        }
        let (id, secret) = (hex(&rand::random::<[u8; 8]>()), hex(&rand::random::<[u8; 32]>()));
        let created_at = now();
        let lifetime = new.expires_in_seconds.map(|seconds| seconds.saturating_mul(1000));
        let record = Record {
            name: new.name,
            scopes: new.scopes,
            digest: emet_config::digest(&secret),
            created_at,
            expires_at: lifetime.map(|millis| Timestamp(created_at.0.saturating_add(millis))),
        };
        let damaged = |_| TokenError::Damaged(id.clone());
        let bytes: Bytes = serde_json::to_vec(&record).map_err(damaged)?.into();
        let batch = Batch::new().if_absent(SPACE, id.as_bytes()).put(SPACE, id.as_bytes(), bytes);
        if !self.kv.apply(batch).await? {
            return Err(TokenError::Invalid("the random id was taken: try again".to_owned()));
        }
        let token = format!("emet_{id}_{secret}");
        Ok(CreatedToken { info: info(id, &record), token })
    }

    /// All tokens in the store, by id.
    pub(crate) async fn list(&self) -> Result<Vec<TokenInfo>, TokenError> {
        let records = self.kv.scan(SPACE, &[], None, MAX_TOKENS).await?.into_iter();
        let tokens = records.map(|(key, bytes)| {
            let id = String::from_utf8_lossy(&key).into_owned();
            let record: Record =
                serde_json::from_slice(&bytes).map_err(|_| TokenError::Damaged(id.clone()))?;
            Ok(info(id, &record))
        });
        tokens.collect()
    }

    /// Removes a token; false if there is none with this id.
    pub(crate) async fn revoke(&self, id: &str) -> Result<bool, TokenError> {
        let known = self.kv.get(SPACE, id.as_bytes()).await?.is_some();
        self.kv.apply(Batch::new().delete(SPACE, id.as_bytes())).await?;
        self.cache.lock().remove(id);
        Ok(known)
    }

    /// Whom a token belongs to; none if it is not valid, or no longer.
    pub(crate) async fn holder(&self, token: &str) -> Result<Option<Holder>, TokenError> {
        if let Some(bootstrap) = &self.bootstrap
            && emet_config::same(bootstrap, &emet_config::digest(token))
        {
            return Ok(Some(Holder { name: "bootstrap".to_owned(), scopes: vec![Scope::Admin] }));
        }
        let parts = token.strip_prefix("emet_").and_then(|rest| rest.split_once('_'));
        let Some((id, secret)) = parts else { return Ok(None) };
        let Some(record) = self.record(id).await? else { return Ok(None) };
        let right = emet_config::same(&record.digest, &emet_config::digest(secret));
        let expired = record.expires_at.is_some_and(|at| at <= now());
        Ok((right && !expired)
            .then(|| Holder { name: record.name.clone(), scopes: record.scopes.clone() }))
    }

    async fn record(&self, id: &str) -> Result<Option<Arc<Record>>, TokenError> {
        let cached = self.cache.lock().get(id).cloned();
        if let Some((read, record)) = cached
            && read.elapsed() < FRESH
        {
            return Ok(Some(record));
        }
        let read = Instant::now();
        let Some(bytes) = self.kv.get(SPACE, id.as_bytes()).await? else {
            self.cache.lock().remove(id);
            return Ok(None);
        };
        let record: Record =
            serde_json::from_slice(&bytes).map_err(|_| TokenError::Damaged(id.to_owned()))?;
        let record = Arc::new(record);
        let mut cache = self.cache.lock();
        if cache.len() >= MAX_CACHED {
            cache.clear();
        }
        cache.insert(id.to_owned(), (read, record.clone()));
        Ok(Some(record))
    }
}

fn check(new: &NewToken) -> Result<(), TokenError> {
    let invalid = |reason: &str| Err(TokenError::Invalid(reason.to_owned()));
    if new.name.is_empty() || new.name.len() > MAX_NAME || new.name.chars().any(char::is_control) {
        return invalid("The name of a token has 1 to 100 bytes and no control characters");
    }
    if new.scopes.is_empty() {
        return invalid("A token needs at least one scope: read, invoke or admin");
    }
    if new.expires_in_seconds == Some(0) {
        return invalid("A token cannot expire at once");
    }
    Ok(())
}

fn info(id: String, record: &Record) -> TokenInfo {
    TokenInfo {
        id,
        name: record.name.clone(),
        scopes: record.scopes.clone(),
        created_at: record.created_at,
        expires_at: record.expires_at,
    }
}
