//! Idempotency keys and their derivation.

use crate::OplogIndex;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// Names one invocation of one worker: an invocation with a given key takes effect once (law L6).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdempotencyKey(pub String);

/// Root of the derivation for keys that are not UUIDs; fixed by the guest interface.
const ROOT: Uuid = Uuid::from_u128(0x9C19_B15A_C83D_46F7_9BC3_EAD7_9237_33F4);

impl IdempotencyKey {
    /// A random key for callers that gave none.
    pub fn random() -> Self {
        Self(Uuid::new_v4().to_string())
    }

    /// The key derived for an effect of the invocation with this key at an oplog index
    /// (guest spec 4.7): equal on every replay of the same history.
    pub fn derive(&self, index: OplogIndex) -> Uuid {
        let namespace =
            Uuid::parse_str(&self.0).unwrap_or_else(|_| Uuid::new_v5(&ROOT, self.0.as_bytes()));
        Uuid::new_v5(&namespace, format!("oplog-index-{index}").as_bytes())
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivation_depends_on_key_and_index_only() {
        let key = IdempotencyKey("order-1".into());
        assert_eq!(key.derive(5), key.derive(5));
        assert_ne!(key.derive(5), key.derive(6));
        assert_ne!(key.derive(5), IdempotencyKey("order-2".into()).derive(5));
    }

    #[test]
    fn a_uuid_key_is_its_own_namespace() {
        let uuid = Uuid::from_u128(42);
        let expected = Uuid::new_v5(&uuid, b"oplog-index-9");
        assert_eq!(IdempotencyKey(uuid.to_string()).derive(9), expected);
    }
}
