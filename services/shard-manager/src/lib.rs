//! The shard manager: a replicated state machine that says which executor owns which shard.
