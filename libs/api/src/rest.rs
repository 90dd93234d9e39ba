//! Bodies of the REST API v1 that are not types of `emet-model` (services spec 1).

use crate::{Cursor, FileNode};
use emet_model::{
    ComponentVersion, DynamicLinkedInstance, FilePermissions, OplogIndex, Timestamp, UpdateMode,
    WorkerError, WorkerFilter, WorkerId,
};
use emet_values::TypedValue;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// `POST …/workers`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerCreationRequest {
    /// Name of the worker.
    pub name: String,
    /// Command line arguments.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
}

/// Answer to `POST …/workers`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerCreationResponse {
    /// The worker.
    pub worker_id: WorkerId,
    /// Its component version.
    pub component_version: ComponentVersion,
}

/// Body of the invoke endpoints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InvokeBody {
    /// All with a `typ`, or none.
    pub params: Vec<InvokeParameter>,
}

/// One parameter.
#[derive(Clone, Debug, Serialize)]
pub struct InvokeParameter {
    /// The type the caller believes it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typ: Option<emet_values::Type>,
    /// The value.
    pub value: serde_json::Value,
}

/// By hand, because a derived implementation also takes an array of the fields' values, and a
/// caller that forgot the object around a list would be misunderstood instead of refused.
impl<'de> Deserialize<'de> for InvokeParameter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InvokeParameterVisitor)
    }
}

struct InvokeParameterVisitor;

impl<'de> Visitor<'de> for InvokeParameterVisitor {
    type Value = InvokeParameter;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object {\"typ\": …, \"value\": …} or {\"value\": …}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<InvokeParameter, A::Error> {
        let (mut typ, mut value) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "typ" => typ = map.next_value()?,
                "value" => value = Some(map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let value = value.ok_or_else(|| serde::de::Error::missing_field("value"))?;
        Ok(InvokeParameter { typ, value })
    }
}

/// Answer to invoke-and-await.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InvokeResult {
    /// A tuple (or record) of the function's results.
    pub result: TypedValue,
}

/// `POST …/workers/find`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WorkersMetadataRequest {
    /// Condition.
    pub filter: Option<WorkerFilter>,
    /// Where to go on.
    pub cursor: Option<Cursor>,
    /// Page size, 50 by default.
    pub count: Option<u64>,
    /// Compute from the oplog rather than from the cached status.
    pub precise: Option<bool>,
}

/// `POST …/complete`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompleteParameters {
    /// Index part of the promise id.
    pub oplog_idx: OplogIndex,
    /// The result, as numbers.
    pub data: Vec<u8>,
}

/// `POST …/update`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateWorkerRequest {
    /// How.
    pub mode: UpdateMode,
    /// To which version.
    pub target_version: ComponentVersion,
}

/// `POST …/fork`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForkWorkerRequest {
    /// Name of the new worker, of the same component.
    pub target_worker_name: String,
    /// The last index of the history that it takes over.
    pub oplog_index_cut_off: OplogIndex,
}

/// Part `filesPermissions` of an upload.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FilesPermissions {
    /// Permissions of single paths of the archive.
    pub values: Vec<FilePermission>,
}

/// The permissions of one initial file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FilePermission {
    /// Path in the worker.
    pub path: String,
    /// What the worker may do with it.
    pub permissions: FilePermissions,
}

/// Part `dynamicLinking` of an upload.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DynamicLinking {
    /// Imported interface to how it is linked.
    pub dynamic_linking: BTreeMap<String, DynamicLinkedInstance>,
}

/// Answer to `DELETE …/invocations/{key}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CancelResponse {
    /// Whether it was cancelled.
    pub canceled: bool,
}

/// Answer to `GET …/files/{path}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FilesResponse {
    /// Entries of the directory.
    pub nodes: Vec<FileNode>,
}

/// What a token allows (docs/operations/security.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Looking at components and workers.
    Read,
    /// Letting workers work.
    Invoke,
    /// Everything.
    Admin,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Invoke => "invoke",
            Self::Admin => "admin",
        })
    }
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Read, Self::Invoke, Self::Admin];
        let found = all.into_iter().find(|scope| scope.to_string() == text);
        found.ok_or_else(|| format!("'{text}' is not a scope: read, invoke or admin"))
    }
}

/// `POST /v1/tokens`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewToken {
    /// What it is for.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// How long it is valid; for ever if not given.
    pub expires_in_seconds: Option<u64>,
}

/// A token, without its secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenInfo {
    /// Its id, part of the token.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends to be valid, if ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Answer to `POST /v1/tokens`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreatedToken {
    /// What is known of it.
    #[serde(flatten)]
    pub info: TokenInfo,
    /// The token itself, which cannot be seen again.
    pub token: String,
}

/// Bodies of errors (services spec 1.2).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ErrorBody {
    /// 400.
    Errors {
        /// Every reason.
        errors: Vec<String>,
    },
    /// 401, 403, 404, 409, and 500 of the component endpoints.
    Error {
        /// The reason.
        error: String,
    },
    /// 500 of the worker endpoints.
    #[serde(rename_all = "camelCase")]
    Worker {
        /// The error union.
        golem_error: WorkerError,
        /// The same in words, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
}
