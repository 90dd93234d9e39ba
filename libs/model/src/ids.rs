//! Identities of components, workers and promises.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// Version of a component: consecutive from 0.
pub type ComponentVersion = u64;
/// Position in a worker's oplog: dense from 1, 0 means "none".
pub type OplogIndex = u64;

/// Identity of a component, stable over its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ComponentId(pub Uuid);

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ComponentId {
    type Err = uuid::Error;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Ok(Self(Uuid::parse_str(s)?))
    }
}

/// Identity of a worker: its component and a name unique within the component.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerId {
    /// The component the worker is an instance of.
    pub component_id: ComponentId,
    /// The name, unique within the component.
    pub worker_name: String,
}

/// Why a name cannot be used for a worker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkerNameError {
    /// Empty or longer than 100 bytes.
    #[error("Worker name must be between 1 and 100 bytes long")]
    Length,
    /// Names starting with a dash would look like options on a command line.
    #[error("Worker name must not start with a dash")]
    Dash,
    /// Names with spaces cannot be written in filters.
    #[error("Worker name must not contain spaces")]
    Space,
    /// Anything but letters, digits, `_` and `-`.
    #[error("Worker name must contain only alphanumeric characters, underscores, and dashes")]
    Character,
}

impl WorkerId {
    /// A worker id from its parts, without checking the name.
    pub fn new(component_id: ComponentId, worker_name: impl Into<String>) -> Self {
        Self { component_id, worker_name: worker_name.into() }
    }

    /// Checks a name given through the REST API (services spec 1.1).
    pub fn validate_name(name: &str) -> Result<(), WorkerNameError> {
        if name.is_empty() || name.len() > 100 {
            return Err(WorkerNameError::Length);
        }
        if name.chars().any(char::is_whitespace) {
            return Err(WorkerNameError::Space);
        }
        if name.starts_with('-') {
            return Err(WorkerNameError::Dash);
        }
        if !name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-') {
            return Err(WorkerNameError::Character);
        }
        Ok(())
    }

    /// `urn:worker:<component>/<form-url-encoded name>`.
    pub fn urn(&self) -> String {
        format!("urn:worker:{}/{}", self.component_id, form_encode(&self.worker_name))
    }

    /// Parses `urn:worker:<component>` or `urn:worker:<component>/<encoded name>`; further
    /// segments are refused (guest spec 5.3).
    pub fn parse_urn(text: &str) -> Option<(ComponentId, Option<String>)> {
        let rest = text.strip_prefix("urn:worker:")?;
        let mut parts = rest.split('/');
        let component = parts.next()?.parse().ok()?;
        let name = match parts.next() {
            None => None,
            Some("") => return None,
            Some(name) => Some(form_decode(name)?),
        };
        parts.next().is_none().then_some((component, name))
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.component_id, self.worker_name)
    }
}

/// `application/x-www-form-urlencoded` of one segment: space becomes `+`.
pub fn form_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => {
                out.push(char::from(byte))
            }
            b' ' => out.push('+'),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// The inverse of [`form_encode`]; none if an escape is malformed or the text is not UTF-8.
pub fn form_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                out.push(u8::from_str_radix(digits, 16).ok()?);
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok()
}

/// Identity of a promise: the worker that made it and the oplog index at which it did.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromiseId {
    /// The worker that created the promise.
    pub worker_id: WorkerId,
    /// Index of the entry that created it.
    pub oplog_idx: OplogIndex,
}

impl fmt::Display for PromiseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.worker_id, self.oplog_idx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn form_encoding_round_trips(name in ".*") {
            prop_assert_eq!(form_decode(&form_encode(&name)), Some(name));
        }

        #[test]
        fn urns_round_trip(name in ".+") {
            let id = WorkerId::new(ComponentId(Uuid::from_u128(7)), name);
            prop_assert_eq!(WorkerId::parse_urn(&id.urn()), Some((id.component_id, Some(id.worker_name))));
        }
    }

    #[test]
    fn form_encoding_matches_the_documented_examples() {
        assert_eq!(form_encode("my:worker/1"), "my%3Aworker%2F1");
        assert_eq!(form_encode("a b"), "a+b");
    }

    #[test]
    fn a_third_segment_is_refused() {
        assert_eq!(
            WorkerId::parse_urn("urn:worker:00000000-0000-0000-0000-000000000007/a/b"),
            None
        );
    }

    #[test]
    fn odd_names_are_refused_with_the_reason() {
        assert_eq!(WorkerId::validate_name("-x"), Err(WorkerNameError::Dash));
        assert_eq!(WorkerId::validate_name(""), Err(WorkerNameError::Length));
        assert_eq!(WorkerId::validate_name(&"x".repeat(101)), Err(WorkerNameError::Length));
        assert_eq!(WorkerId::validate_name("a b"), Err(WorkerNameError::Space));
        assert_eq!(WorkerId::validate_name("a/b"), Err(WorkerNameError::Character));
        assert_eq!(WorkerId::validate_name("größe_1-b"), Ok(()));
    }
}
