//! Between the messages of `emet.shards.v1` and the types of `emet-shard-map`.

use super::proto::shards as wire;
use super::status::malformed;
use emet_shard_map::{Assignment, ExecutorId, Held, Member, RoutingTable};
use tonic::Status;
use tonic::metadata::MetadataMap;

/// Trailer of a refusal by a follower: the leader's address.
pub const LEADER: &str = "emet-leader";

/// The leader's address in the refusal of a follower.
pub fn leader_of(metadata: &MetadataMap) -> Option<String> {
    metadata.get(LEADER).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// Parses an executor's id.
pub fn executor_id(text: &str) -> Result<ExecutorId, Status> {
    text.parse().map(ExecutorId).map_err(malformed)
}

/// Shards with epochs, to be sent.
pub fn held(shards: &[Held]) -> Vec<wire::Held> {
    shards.iter().map(|h| wire::Held { shard: h.shard, epoch: h.epoch }).collect()
}

/// Shards with epochs, as they arrived.
pub fn parse_held(shards: &[wire::Held]) -> Vec<Held> {
    shards.iter().map(|h| Held { shard: h.shard, epoch: h.epoch }).collect()
}

/// An assignment, to be sent.
pub fn assignment(assignment: &Assignment, shard_count: u32) -> wire::Assignment {
    wire::Assignment {
        version: assignment.version,
        hold: held(&assignment.hold),
        release: held(&assignment.release),
        shard_count,
    }
}

/// An assignment, as it arrived.
pub fn parse_assignment(wire: &wire::Assignment) -> Assignment {
    Assignment {
        version: wire.version,
        hold: parse_held(&wire.hold),
        release: parse_held(&wire.release),
    }
}

/// A routing table, to be sent.
pub fn routing(table: &RoutingTable) -> wire::RoutingTable {
    let member = |m: &Member| wire::Member {
        executor_id: m.executor.to_string(),
        address: m.address.clone(),
    };
    wire::RoutingTable {
        version: table.version,
        members: table.members.iter().map(member).collect(),
        owners: table.owners.iter().map(|owner| owner.map_or(0, |(place, _)| place + 1)).collect(),
        epochs: table.owners.iter().map(|owner| owner.map_or(0, |(_, epoch)| epoch)).collect(),
    }
}

/// A routing table, as it arrived.
///
/// # Errors
/// A member's id is no UUID, or the lists do not fit together.
pub fn parse_routing(wire: wire::RoutingTable) -> Result<RoutingTable, Status> {
    let members = wire
        .members
        .into_iter()
        .map(|m| Ok(Member { executor: executor_id(&m.executor_id)?, address: m.address }));
    let members = members.collect::<Result<Vec<_>, Status>>()?;
    if wire.owners.len() != wire.epochs.len() {
        return Err(malformed("a routing table with unequal lists"));
    }
    let owners = wire
        .owners
        .iter()
        .zip(&wire.epochs)
        .map(|(owner, epoch)| owner.checked_sub(1).map(|place| (place, *epoch)));
    Ok(RoutingTable { version: wire.version, members, owners: owners.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn routing_tables_round_trip() {
        let member =
            |n| Member { executor: ExecutorId(Uuid::from_u128(n)), address: format!("http://{n}") };
        let table = RoutingTable {
            version: 9,
            members: vec![member(1), member(2)],
            owners: vec![None, Some((1, 7)), Some((0, 1))],
        };
        assert_eq!(parse_routing(routing(&table)).unwrap(), table);
        assert_eq!(table.owner(1).map(|m| m.address.as_str()), Some("http://2"));
        assert_eq!(table.owner(0), None);
    }
}
