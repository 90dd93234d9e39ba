//! Time, messages, failures, and the shard managers.

use crate::clients::Client;
use crate::executor::{Executor, Pending, records};
use emet_shard_map::invariants::check_step;
use emet_shard_map::{Command, ExecutorId, Held, Leases, ShardMap};
use emet_storage::memory::MemoryLog;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;
use uuid::Uuid;

/// Shards, few so that every one is contended.
pub(crate) const SHARDS: u32 = 12;
/// Lease, in milliseconds.
const LEASE: u64 = 1000;
/// Pause between heartbeats.
const BEAT: u64 = 200;
/// Pause between looks of the leader at its clock.
const TICK: u64 = 50;
/// Pause between looks of the clients at the map.
const TABLE: u64 = 100;
/// How much faster or slower a clock may run.
const DRIFT: f64 = 0.04;

/// How unkind the world is.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Share of messages that are lost.
    pub loss: f64,
    /// Longest way of a message, in milliseconds.
    pub delay: u64,
    /// Mean time between failures of processes, in milliseconds; 0: none.
    pub failure_every: u64,
}

impl Faults {
    /// A hard life.
    pub fn many() -> Self {
        Self { loss: 0.1, delay: 150, failure_every: 700 }
    }

    /// None.
    pub fn none() -> Self {
        Self { loss: 0.0, delay: 20, failure_every: 0 }
    }
}

/// What happens at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// An executor's timer: it sends a heartbeat, looks at its lease, lets its workers write.
    Beat(ExecutorId),
    /// A heartbeat arrives, with the sender's clock when it was sent, in microseconds.
    Heartbeat(ExecutorId, u64),
    /// The leader's word arrives.
    Told(ExecutorId, Told),
    /// An executor's word that it let shards go arrives.
    HandedOver(ExecutorId, Vec<(u32, u64)>),
    /// The leader looks at its clock.
    Tick,
    /// Something fails.
    Failure,
    /// The clients get a newer routing table.
    Table,
    /// The client of a shard sends its call, if this attempt is its last one.
    Attempt(u32, u64),
    /// The call with a number arrives.
    Call(ExecutorId, u32, u64),
    /// An append arrives at the store, from an executor.
    Append(ExecutorId, u32, Pending),
    /// Whether it was accepted arrives at the executor.
    Appended(ExecutorId, u32, Pending, bool),
    /// The answer to a call arrives: how many have had their effect; none was refused.
    Answer(u32, u64, Option<u64>),
}

/// What the leader tells an executor. Its messages come in the order of one stream, so a lease never
/// comes before the assignment that it was granted under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Told {
    version: u64,
    hold: Vec<(u32, u64)>,
    release: Vec<(u32, u64)>,
    /// When the lease ends by the executor's clock, in microseconds.
    lease: Option<u64>,
}

/// Everything there is.
pub struct World {
    /// The time, in milliseconds.
    pub now: u64,
    /// The agreed map.
    pub map: ShardMap,
    /// The executors that run, stopped ones included.
    pub executors: Vec<Executor>,
    /// Where workers write.
    pub log: MemoryLog,
    /// Appends that the store refused.
    pub refused: u64,
    /// What may happen.
    pub faults: Faults,
    pub(crate) clients: Vec<Client>,
    /// The owners of all shards, as the clients know them.
    pub(crate) table: Vec<Option<ExecutorId>>,
    leases: Option<Leases>,
    random: StdRng,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
    next_id: u128,
}

fn pairs(held: &[Held]) -> Vec<(u32, u64)> {
    held.iter().map(|h| (h.shard, h.epoch)).collect()
}

fn shards(pairs: &[(u32, u64)]) -> Vec<Held> {
    pairs.iter().map(|(shard, epoch)| Held { shard: *shard, epoch: *epoch }).collect()
}

impl World {
    /// A world with some executors that are about to join.
    pub fn new(seed: u64, executors: usize, faults: Faults) -> Self {
        let mut world = Self {
            now: 0,
            map: ShardMap::new(SHARDS),
            executors: Vec::new(),
            log: MemoryLog::default(),
            refused: 0,
            faults,
            clients: Vec::new(),
            table: Vec::new(),
            leases: None,
            random: StdRng::seed_from_u64(seed),
            events: BinaryHeap::new(),
            sequence: 0,
            next_id: 1,
        };
        for _ in 0..executors {
            world.start();
        }
        world.at(0, Event::Tick);
        world.at(1, Event::Failure);
        world.at(TABLE, Event::Table);
        world.start_clients();
        world
    }

    /// Runs until a time, checking after every event.
    pub fn run(
        &mut self,
        until: u64,
        check: impl Fn(&Self) -> Result<(), String>,
    ) -> Result<(), String> {
        while let Some(Reverse((time, _, event))) = self.events.pop() {
            if time > until {
                self.events.push(Reverse((time, self.sequence, event)));
                break;
            }
            self.now = time;
            self.happen(event)?;
            check(self).map_err(|why| format!("at {time} ms: {why}"))?;
        }
        self.now = until;
        Ok(())
    }

    pub(crate) fn at(&mut self, after: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((self.now + after, self.sequence, event)));
    }

    /// Sends a message: it may be slow, or lost.
    pub(crate) fn send(&mut self, event: Event) {
        if self.random.random::<f64>() >= self.faults.loss {
            let delay = self.random.random_range(1..=self.faults.delay);
            self.at(delay, event);
        }
    }

    fn start(&mut self) {
        let id = ExecutorId(Uuid::from_u128(self.next_id));
        self.next_id += 1;
        let speed = 1.0 + self.random.random_range(-DRIFT..DRIFT);
        self.executors.push(Executor::new(id, speed));
        self.at(1, Event::Beat(id));
    }

    /// Applies a command; every step has to keep the invariants of the map.
    fn command(&mut self, command: &Command) -> Result<(), String> {
        let before = self.map.clone();
        self.map.apply(command);
        check_step(&before, command, &self.map).map_err(|broken| broken.to_string())?;
        for id in self.map.executors().keys().copied().collect::<Vec<_>>() {
            self.tell(id, None);
        }
        Ok(())
    }

    /// The leader tells an executor what it is to hold, and for how long it may be sure of that.
    fn tell(&mut self, id: ExecutorId, lease: Option<u64>) {
        if let Some(wanted) = self.map.assignment(id) {
            let (hold, release) = (pairs(&wanted.hold), pairs(&wanted.release));
            let version = wanted.version;
            self.send(Event::Told(id, Told { version, hold, release, lease }));
        }
    }

    /// An executor hears the leader.
    fn told(&mut self, id: ExecutorId, told: &Told, event: &Event) {
        let (now, log) = (self.now, self.log.clone());
        let Some(executor) = self.awake(id, event) else { return };
        let news = told.version >= executor.version;
        if news {
            executor.version = told.version;
            executor.held.retain(|shard, own| told.hold.contains(&(*shard, own.epoch)));
        }
        if let Some(end) = told.lease {
            executor.lease_end = executor.lease_end.max(end as f64 / 1000.0);
        }
        if news && executor.is_sure(now) {
            executor.take(&shards(&told.hold), &log, SHARDS);
        }
        if news && !told.release.is_empty() {
            self.send(Event::HandedOver(id, told.release.clone()));
        }
    }

    /// The executor, if it runs; what comes while it is stopped comes again when it goes on.
    pub(crate) fn awake(&mut self, id: ExecutorId, event: &Event) -> Option<&mut Executor> {
        let place = self.executors.iter().position(|e| e.id == id)?;
        let until = self.executors.get(place)?.stopped_until;
        if until > self.now {
            // In any order: a message may be read before the timer that would have stopped all.
            let late = self.random.random_range(0..3);
            self.at(until - self.now + late, event.clone());
            return None;
        }
        self.executors.get_mut(place)
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match &event {
            Event::Beat(id) => self.beat(*id, &event),
            Event::Heartbeat(id, sent) => return self.heartbeat(*id, *sent),
            Event::Told(id, told) => self.told(*id, told, &event),
            Event::HandedOver(executor, handed) => {
                if self.leases.is_some() {
                    let command =
                        Command::HandedOver { executor: *executor, shards: shards(handed) };
                    return self.command(&command);
                }
            }
            Event::Tick => return self.tick(),
            Event::Failure => self.failure(),
            Event::Table => self.look_at_table(),
            Event::Attempt(shard, attempt) => self.attempt(*shard, *attempt),
            Event::Call(executor, shard, number) => self.call(*executor, *shard, *number),
            Event::Append(executor, shard, what) => self.append(*executor, *shard, *what),
            Event::Appended(executor, shard, what, accepted) => {
                self.appended(*executor, *shard, *what, *accepted);
            }
            Event::Answer(shard, number, count) => return self.answer(*shard, *number, *count),
        }
        Ok(())
    }

    fn beat(&mut self, id: ExecutorId, event: &Event) {
        let (now, log) = (self.now, self.log.clone());
        let Some(executor) = self.awake(id, event) else { return };
        let sent = (executor.clock(now) * 1000.0) as u64;
        // Workers of one that was stopped may write before it notices that its lease has ended.
        let mut refused = 0;
        for shard in executor.held.keys().copied().collect::<Vec<_>>() {
            refused += u64::from(executor.write(shard, &log, SHARDS).is_err());
        }
        if !executor.is_sure(now) {
            executor.held.clear();
        }
        let overdue = executor.overdue(now);
        overdue.into_iter().for_each(|(shard, what)| self.send(Event::Append(id, shard, what)));
        self.refused += refused;
        self.send(Event::Heartbeat(id, sent));
        self.at(BEAT, Event::Beat(id));
    }

    /// The leader hears a heartbeat: of a member, or of one that registers with it.
    fn heartbeat(&mut self, id: ExecutorId, sent: u64) -> Result<(), String> {
        let now = Duration::from_millis(self.now);
        if self.leases.is_none() {
            return Ok(());
        }
        if !self.map.executors().contains_key(&id) {
            self.command(&Command::Register { executor: id, address: String::new() })?;
            if let Some(leases) = &mut self.leases {
                leases.meet(id, now);
            }
        }
        if self.leases.as_mut().is_some_and(|leases| leases.renew(id, now)) {
            self.tell(id, Some(sent + LEASE * 1000));
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), String> {
        self.at(TICK, Event::Tick);
        let now = Duration::from_millis(self.now);
        let members: Vec<ExecutorId> = self.map.executors().keys().copied().collect();
        let lease = Duration::from_millis(LEASE);
        let leases =
            self.leases.get_or_insert_with(|| Leases::elected(lease, members.clone(), now));
        members.iter().for_each(|id| leases.meet(*id, now));
        for executor in leases.ended(now) {
            if let Some(leases) = &mut self.leases {
                leases.forget(executor);
            }
            self.command(&Command::LeaseEnded { executor })?;
        }
        if self.map.is_uneven() {
            self.command(&Command::Rebalance)?;
        }
        Ok(())
    }

    /// An executor is stopped or killed, a new one comes, or the leader is lost: the next tick of
    /// its successor finds no lease clock.
    fn failure(&mut self) {
        if self.faults.failure_every == 0 {
            return;
        }
        let pause = self.random.random_range(1..=2 * self.faults.failure_every);
        self.at(pause, Event::Failure);
        let chosen = self.random.random_range(0..self.executors.len().max(1));
        match self.random.random_range(0..5) {
            0 => self.leases = None,
            1 | 2 => {
                let until = self.now + self.random.random_range(1..4 * LEASE);
                if let Some(executor) = self.executors.get_mut(chosen) {
                    executor.stopped_until = until;
                }
            }
            3 if self.executors.len() > 1 => drop(self.executors.remove(chosen)),
            _ if self.executors.len() < 5 => self.start(),
            _ => {}
        }
    }

    /// The clients hear of the map, later than others or not at all.
    fn look_at_table(&mut self) {
        self.at(TABLE, Event::Table);
        if self.random.random::<f64>() >= self.faults.loss * 3.0 {
            self.table = self.map.shards().map(|(_, state)| state.owner).collect();
        }
    }

    /// The epochs that the entries of a shard's log name, in order.
    pub fn epochs_in_log(&self, shard: u32) -> Vec<u64> {
        records(&self.log, shard, SHARDS).into_iter().map(|(epoch, _)| epoch).collect()
    }

    /// The numbers of the calls that a shard's log records, in order.
    pub fn calls_in_log(&self, shard: u32) -> Vec<u64> {
        let calls = records(&self.log, shard, SHARDS).into_iter().map(|(_, call)| call);
        calls.filter(|call| *call > 0).collect()
    }
}
