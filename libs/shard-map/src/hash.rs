//! The shard of a worker: a fixed function of its component and its name.

use uuid::Uuid;

/// How many shards an installation has unless it was set up with another number.
pub const DEFAULT_SHARDS: u32 = 1024;

/// The shard, below `shards`, of a worker. The same for every release: stored data depends on it.
///
/// Each half of the component id, read as a signed number and written in decimal, is hashed with
/// the polynomial of 31; the lower half together with the worker's name. With 0 shards: 0.
#[must_use]
pub fn shard_of(component: Uuid, name: &str, shards: u32) -> u32 {
    let (high, low) = component.as_u64_pair();
    let high = polynomial(0, high.cast_signed().to_string().as_bytes());
    let low = polynomial(polynomial(0, low.cast_signed().to_string().as_bytes()), name.as_bytes());
    let hash = (u64::from(high) << 32 | u64::from(low)).cast_signed();
    let shard = hash.unsigned_abs().checked_rem(u64::from(shards)).unwrap_or(0);
    u32::try_from(shard).unwrap_or(0)
}

/// Continues a hash with more bytes.
fn polynomial(hash: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(hash, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn documented_vectors() {
        let vectors = [
            ("00000000-0000-0000-0000-000000000000", "w", 583),
            ("9c19b15a-c83d-46f7-9bc3-ead7923733f4", "worker-1", 939),
            ("9c19b15a-c83d-46f7-9bc3-ead7923733f4", "worker-2", 940),
            ("ffffffff-ffff-ffff-ffff-ffffffffffff", "x", 852),
        ];
        for (component, name, shard) in vectors {
            assert_eq!(shard_of(component.parse().unwrap(), name, 1024), shard, "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_worker_has_a_shard(id: u128, name: String, shards in 0u32..5000) {
            let shard = shard_of(Uuid::from_u128(id), &name, shards);
            prop_assert!(shard < shards.max(1));
        }
    }
}
