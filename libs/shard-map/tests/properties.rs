//! The invariants of the shard map under any sequence of commands, in and out of order.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use consistent_hash::{DefaultHash, Node, StaticHashRing};
use emet_shard_map::invariants::{check_step, shares_are_even};
use emet_shard_map::{Command, ExecutorId, Held, ShardMap};
use proptest::prelude::*;
use std::collections::HashMap;
use uuid::Uuid;

const SHARDS: u32 = 64;

fn id(n: u8) -> ExecutorId {
    ExecutorId(Uuid::from_u128(u128::from(n) * 7919))
}

/// One step of a run: what happens, and to which executor.
#[derive(Clone, Debug)]
enum Step {
    Register(u8),
    Rebalance,
    Leave(u8),
    LeaseEnded(u8),
    /// The executor acknowledges what it is asked for now: all, or every other one.
    HandOver(u8, bool),
    /// An acknowledgement from an earlier time arrives late.
    Late(u8, Vec<(u32, u64)>),
}

fn step() -> impl Strategy<Value = Step> {
    let executor = 0u8..6;
    prop_oneof![
        3 => executor.clone().prop_map(Step::Register),
        3 => Just(Step::Rebalance),
        1 => executor.clone().prop_map(Step::Leave),
        2 => executor.clone().prop_map(Step::LeaseEnded),
        4 => (executor.clone(), any::<bool>()).prop_map(|(e, all)| Step::HandOver(e, all)),
        1 => (executor, prop::collection::vec((0..SHARDS, 0u64..6), 1..8)).prop_map(|(e, s)| Step::Late(e, s)),
    ]
}

fn command(map: &ShardMap, step: Step) -> Command {
    match step {
        Step::Register(e) => Command::Register { executor: id(e), address: format!("http://{e}") },
        Step::Rebalance => Command::Rebalance,
        Step::Leave(e) => Command::Leave { executor: id(e) },
        Step::LeaseEnded(e) => Command::LeaseEnded { executor: id(e) },
        Step::HandOver(e, all) => {
            let release = map.assignment(id(e)).unwrap_or_default().release;
            let shards = release.into_iter().filter(|h| all || h.shard % 2 == 0).collect();
            Command::HandedOver { executor: id(e), shards }
        }
        Step::Late(e, shards) => {
            let shards = shards.into_iter().map(|(shard, epoch)| Held { shard, epoch }).collect();
            Command::HandedOver { executor: id(e), shards }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn every_step_keeps_every_invariant(steps in prop::collection::vec(step(), 1..60)) {
        let mut map = ShardMap::new(SHARDS);
        for step in steps {
            let command = command(&map, step);
            let before = map.clone();
            map.apply(&command);
            prop_assert_eq!(check_step(&before, &command, &map), Ok(()));
        }
    }

    #[test]
    fn replicas_agree(steps in prop::collection::vec(step(), 1..40)) {
        let (mut one, mut other) = (ShardMap::new(SHARDS), ShardMap::new(SHARDS));
        for step in steps {
            let command = command(&one, step);
            prop_assert_eq!(one.apply(&command), other.apply(&command));
        }
        prop_assert_eq!(one, other);
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// No plan can move fewer: a leaver's shards must move, a joiner's share must move.
    #[test]
    fn as_few_shards_move_as_evenness_allows(executors in 1u8..9, leaver in any::<prop::sample::Index>()) {
        let mut map = settled(executors, 1024);
        let before = map.clone();
        join(&mut map, executors);
        settle(&mut map);
        let share = 1024 / (usize::from(executors) + 1);
        prop_assert!(moved(&before, &map) <= share + 1, "a joining executor moved {}", moved(&before, &map));
        let gone = id(u8::try_from(leaver.index(usize::from(executors) + 1)).unwrap());
        let before = map.clone();
        map.apply(&Command::LeaseEnded { executor: gone });
        let had = before.assignment(gone).unwrap().hold.len();
        prop_assert_eq!(moved(&before, &map), had);
        prop_assert_eq!(shares_are_even(&map), Ok(()));
    }
}

fn join(map: &mut ShardMap, executor: u8) {
    map.apply(&Command::Register { executor: id(executor), address: String::new() });
    map.apply(&Command::Rebalance);
}

/// Everybody hands over what is asked.
fn settle(map: &mut ShardMap) {
    for executor in map.executors().keys().copied().collect::<Vec<_>>() {
        let shards = map.assignment(executor).unwrap().release;
        map.apply(&Command::HandedOver { executor, shards });
    }
}

fn settled(executors: u8, shards: u32) -> ShardMap {
    let mut map = ShardMap::new(shards);
    for executor in 0..executors {
        join(&mut map, executor);
        settle(&mut map);
    }
    map
}

fn moved(before: &ShardMap, after: &ShardMap) -> usize {
    before.shards().zip(after.shards()).filter(|((_, a), (_, b))| a.owner != b.owner).count()
}

/// The reason for not using a ring: at the same number of executors it is less even, and evening
/// it out with a bound on the load moves more.
#[test]
fn a_ring_is_less_even_and_moves_more() {
    let mut ring_moves = 0;
    let mut our_moves = 0;
    for executors in 2..8u8 {
        let before = bounded_ring(executors, 1024);
        let after = bounded_ring(executors + 1, 1024);
        ring_moves += before.iter().zip(&after).filter(|(a, b)| a != b).count();
        let map = settled(executors, 1024);
        let mut grown = map.clone();
        join(&mut grown, executors);
        settle(&mut grown);
        our_moves += moved(&map, &grown);
    }
    assert!(
        our_moves < ring_moves,
        "fewest moves: {our_moves}, ring with bounded load: {ring_moves}"
    );
}

/// Consistent hashing with a load bound of 1.1: the first candidate with room takes the shard.
fn bounded_ring(executors: u8, shards: u32) -> Vec<u8> {
    let nodes = (0..executors).map(|e| Node::new(e).quantity(100));
    let ring = StaticHashRing::new(DefaultHash, nodes);
    let bound = (f64::from(shards) / f64::from(executors) * 1.1).ceil() as usize;
    let mut load: HashMap<u8, usize> = HashMap::new();
    (0..shards)
        .map(|shard| {
            let chosen = ring
                .calc_candidates(&shard)
                .find(|n| load.get(&n.key).copied().unwrap_or(0) < bound)
                .unwrap()
                .key;
            *load.entry(chosen).or_default() += 1;
            chosen
        })
        .collect()
}

#[test]
fn a_late_acknowledgement_does_not_give_away_a_shard_that_stays() {
    let mut map = settled(1, 4);
    join(&mut map, 1);
    let asked = map.assignment(id(0)).unwrap().release;
    assert_eq!(asked.len(), 2);
    // The newcomer dies before the shards were handed over, and another comes.
    map.apply(&Command::LeaseEnded { executor: id(1) });
    join(&mut map, 2);
    let before = map.clone();
    map.apply(&Command::HandedOver { executor: id(0), shards: asked });
    assert!(before.shards().eq(map.shards()), "the acknowledgement was for an earlier epoch");
}

#[test]
fn a_leaving_executor_goes_when_it_has_handed_everything_over() {
    let mut map = settled(2, 8);
    map.apply(&Command::Leave { executor: id(0) });
    assert!(map.executors().contains_key(&id(0)), "it still owns shards");
    settle(&mut map);
    assert!(!map.executors().contains_key(&id(0)));
    assert_eq!(map.assignment(id(1)).unwrap().hold.len(), 8);
}

#[test]
fn the_last_executor_may_leave_although_nobody_takes_its_shards() {
    let mut map = settled(1, 8);
    map.apply(&Command::Leave { executor: id(0) });
    assert_eq!(map.assignment(id(0)).unwrap().hold.len(), 8);
    map.apply(&Command::LeaseEnded { executor: id(0) });
    assert_eq!(map.executors().len(), 0);
    join(&mut map, 1);
    assert!(map.shards().all(|(_, s)| s.owner == Some(id(1)) && s.epoch == 2));
}
