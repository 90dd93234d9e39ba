//! The replicated state: executors, the owner and epoch of every shard, and pending moves.

use crate::assign;
use crate::routing::{Assignment, Held, Member, RoutingTable};
use crate::{Epoch, ShardId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Identity of one run of an executor: a process that starts again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExecutorId(pub Uuid);

impl std::fmt::Display for ExecutorId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What the map knows of an executor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executor {
    /// Where others reach it, such as `http://10.0.0.7:9000`.
    pub address: String,
    /// Whether it takes shards.
    pub state: ExecutorState,
}

/// Whether an executor takes shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecutorState {
    /// It does.
    Active,
    /// It hands its shards on and goes.
    Leaving,
}

/// One shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Who runs its workers; nobody while there is no executor.
    pub owner: Option<ExecutorId>,
    /// Under which epoch; of the last owner while there is none, 0 before the first.
    pub epoch: Epoch,
    /// Who gets it as soon as the owner has handed it over.
    pub target: Option<ExecutorId>,
}

/// A change of the map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// An executor offers itself, or says again that it is there. It gets shards with the next
    /// [`Command::Rebalance`], so that several that start together cause one move, not several.
    Register {
        /// Which.
        executor: ExecutorId,
        /// Where it is reached.
        address: String,
    },
    /// Spreads the shards over the executors there are.
    Rebalance,
    /// An executor wants to go: its shards are moved, then it is forgotten.
    Leave {
        /// Which.
        executor: ExecutorId,
    },
    /// The lease of an executor has ended: its shards are given away at once.
    LeaseEnded {
        /// Which.
        executor: ExecutorId,
    },
    /// An executor has stopped the workers of shards that it was asked to hand over.
    HandedOver {
        /// Which.
        executor: ExecutorId,
        /// The shards, with the epochs it held them under.
        shards: Vec<Held>,
    },
}

/// What a command brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It was applied; whether anything changed.
    Applied {
        /// False: the state is as it was.
        changed: bool,
    },
    /// It makes no sense in this state, which is as it was.
    Refused(Refusal),
}

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The executor is not (or no longer) a member: it has to register again.
    #[error("executor {0} is not a member: its lease ended or it was never registered")]
    Unknown(ExecutorId),
}

/// The map. All replicas that applied the same commands hold equal maps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardMap {
    /// Rises with every change.
    version: u64,
    executors: BTreeMap<ExecutorId, Executor>,
    shards: Vec<Shard>,
}

impl ShardMap {
    /// A map of shards that nobody owns.
    pub fn new(shards: u32) -> Self {
        Self {
            version: 0,
            executors: BTreeMap::new(),
            shards: vec![Shard::default(); shards as usize],
        }
    }

    /// Rises with every change of the map.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The executors.
    pub fn executors(&self) -> &BTreeMap<ExecutorId, Executor> {
        &self.executors
    }

    /// The shards, by number.
    pub fn shards(&self) -> impl Iterator<Item = (ShardId, &Shard)> {
        (0..).zip(&self.shards)
    }

    /// How many shards there are.
    pub fn shard_count(&self) -> u32 {
        u32::try_from(self.shards.len()).unwrap_or(u32::MAX)
    }

    /// Applies a command: the only way in which a map changes.
    pub fn apply(&mut self, command: &Command) -> Answer {
        let before = (self.executors.clone(), self.shards.clone());
        if let Err(refusal) = self.change(command) {
            return Answer::Refused(refusal);
        }
        let changed = before != (self.executors.clone(), self.shards.clone());
        self.version += u64::from(changed);
        Answer::Applied { changed }
    }

    fn change(&mut self, command: &Command) -> Result<(), Refusal> {
        match command {
            Command::Register { executor, address } => {
                self.register(*executor, address);
                Ok(())
            }
            Command::Rebalance => {
                self.rebalance();
                Ok(())
            }
            Command::Leave { executor } => {
                let known = self.executors.get_mut(executor).ok_or(Refusal::Unknown(*executor))?;
                known.state = ExecutorState::Leaving;
                self.rebalance();
                Ok(())
            }
            Command::LeaseEnded { executor } => {
                self.executors.remove(executor).ok_or(Refusal::Unknown(*executor))?;
                self.rebalance();
                Ok(())
            }
            Command::HandedOver { executor, shards } => self.handed_over(*executor, shards),
        }
    }

    fn register(&mut self, id: ExecutorId, address: &str) {
        // One that is leaving may only have lost its stream.
        let state = self.executors.get(&id).map_or(ExecutorState::Active, |known| known.state);
        self.executors.insert(id, Executor { address: address.to_owned(), state });
    }

    fn handed_over(&mut self, executor: ExecutorId, handed: &[Held]) -> Result<(), Refusal> {
        if !self.executors.contains_key(&executor) {
            return Err(Refusal::Unknown(executor));
        }
        for held in handed {
            // An acknowledgement that was overtaken names an epoch that has passed, or a shard
            // that stays: it says nothing about the present.
            if let Some(shard) = self.shards.get_mut(held.shard as usize)
                && shard.owner == Some(executor)
                && shard.epoch == held.epoch
                && shard.target.is_some()
            {
                *shard = Shard { owner: shard.target, epoch: shard.epoch + 1, target: None };
            }
        }
        self.forget_left();
        Ok(())
    }

    /// Brings every shard on the way to where [`assign::plan`] wants it.
    fn rebalance(&mut self) {
        let active: Vec<ExecutorId> = self
            .executors
            .iter()
            .filter(|(_, e)| e.state == ExecutorState::Active)
            .map(|(id, _)| *id)
            .collect();
        // A shard on its way counts where it goes to.
        let present: Vec<Option<ExecutorId>> =
            self.shards.iter().map(|s| s.target.or(s.owner)).collect();
        let planned = assign::plan(&active, &present);
        for (shard, wanted) in self.shards.iter_mut().zip(planned) {
            let alive = shard.owner.filter(|owner| self.executors.contains_key(owner));
            *shard = shard.towards(alive, wanted);
        }
        self.forget_left();
    }

    /// Forgets executors that wanted to leave and own nothing any more.
    fn forget_left(&mut self) {
        let shards = &self.shards;
        self.executors.retain(|id, executor| {
            executor.state == ExecutorState::Active || shards.iter().any(|s| s.owner == Some(*id))
        });
    }

    /// What an executor is to hold and to hand over; none if it is not a member.
    pub fn assignment(&self, executor: ExecutorId) -> Option<Assignment> {
        self.executors.get(&executor)?;
        let mut assignment = Assignment { version: self.version, ..Assignment::default() };
        for (id, shard) in self.shards().filter(|(_, s)| s.owner == Some(executor)) {
            let held = Held { shard: id, epoch: shard.epoch };
            match shard.target {
                None => assignment.hold.push(held),
                Some(_) => assignment.release.push(held),
            }
        }
        Some(assignment)
    }

    /// Where the workers of every shard are reached.
    pub fn routing(&self) -> RoutingTable {
        let members = self
            .executors
            .iter()
            .map(|(id, e)| Member { executor: *id, address: e.address.clone() });
        let members: Vec<Member> = members.collect();
        let position = |owner: ExecutorId| members.iter().position(|m| m.executor == owner);
        let owners = self.shards.iter().map(|s| {
            let place = s.owner.and_then(position).and_then(|p| u32::try_from(p).ok());
            place.map(|place| (place, s.epoch))
        });
        let owners = owners.collect();
        RoutingTable { version: self.version, members, owners }
    }

    /// Whether [`Command::Rebalance`] would change anything.
    pub fn is_uneven(&self) -> bool {
        let mut even = self.clone();
        even.apply(&Command::Rebalance) == Answer::Applied { changed: true }
    }

    /// How many shards wait for their owner to hand them over.
    pub fn moves(&self) -> usize {
        self.shards.iter().filter(|s| s.target.is_some()).count()
    }
}

impl Shard {
    /// The shard after a plan wants it at `wanted`, where `alive` is its owner if that lives.
    fn towards(self, alive: Option<ExecutorId>, wanted: Option<ExecutorId>) -> Self {
        match (alive, wanted) {
            // Nobody holds it: it can be given away at once.
            (None, Some(_)) => Self { owner: wanted, epoch: self.epoch + 1, target: None },
            (None, None) => Self { owner: None, epoch: self.epoch, target: None },
            // It stays. If it was on its way, the owner may have let it go already: it takes it
            // anew, under a new epoch, so that an acknowledgement still under way means nothing.
            (Some(owner), Some(to)) if owner == to => {
                let epoch = self.epoch + u64::from(self.target.is_some());
                Self { owner: alive, epoch, target: None }
            }
            (Some(_), Some(_)) => Self { owner: alive, epoch: self.epoch, target: wanted },
            // Nobody could take it: it stays, with somebody who wants to leave.
            (Some(_), None) => {
                let epoch = self.epoch + u64::from(self.target.is_some());
                Self { owner: alive, epoch, target: None }
            }
        }
    }
}
