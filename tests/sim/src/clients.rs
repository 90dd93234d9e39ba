//! Clients, one for the worker of each shard: they call by a routing table that may be old, follow
//! the worker when it moves, and repeat a call under its number until it is answered.

use crate::executor::{Pending, Reaction, append};
use crate::world::{Event, SHARDS, World};
use emet_shard_map::ExecutorId;

/// How long a client waits for an answer before it asks again, in milliseconds.
const ATTEMPT: u64 = 300;
/// Pause before the next call, or before a refused one is repeated.
const PAUSE: u64 = 20;

/// A client.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Client {
    /// Calls that were answered; the next one has the number after it.
    pub(crate) answered: u64,
    /// Counts attempts, so that only the timer of the last one counts.
    attempt: u64,
}

impl World {
    /// Lets the client of every shard begin.
    pub(crate) fn start_clients(&mut self) {
        for shard in 0..SHARDS {
            self.clients.push(Client::default());
            self.at(PAUSE, Event::Attempt(shard, 0));
        }
    }

    /// Calls that were answered, of the client of a shard.
    pub fn answered(&self, shard: u32) -> u64 {
        self.client(shard).answered
    }

    fn client(&self, shard: u32) -> Client {
        self.clients.get(shard as usize).copied().unwrap_or_default()
    }

    fn change(&mut self, shard: u32, to: Client) {
        self.clients.iter_mut().skip(shard as usize).take(1).for_each(|client| *client = to);
    }

    /// The timer of an attempt: the call is sent to the owner that the table names.
    pub(crate) fn attempt(&mut self, shard: u32, attempt: u64) {
        let client = self.client(shard);
        if client.attempt != attempt {
            return;
        }
        let attempt = attempt + 1;
        self.change(shard, Client { attempt, ..client });
        if let Some(Some(owner)) = self.table.get(shard as usize).copied() {
            self.send(Event::Call(owner, shard, client.answered + 1));
        }
        self.at(ATTEMPT, Event::Attempt(shard, attempt));
    }

    /// A call arrives at an executor.
    pub(crate) fn call(&mut self, to: ExecutorId, shard: u32, number: u64) {
        let now = self.now;
        let Some(executor) = self.awake(to, &Event::Call(to, shard, number)) else { return };
        match executor.call(shard, number, now) {
            Reaction::Refuse => self.send(Event::Answer(shard, number, None)),
            Reaction::Answer(count) => self.send(Event::Answer(shard, number, Some(count))),
            Reaction::Append(what) => self.send(Event::Append(to, shard, what)),
            Reaction::Wait => {}
        }
    }

    /// An append arrives at the store.
    pub(crate) fn append(&mut self, from: ExecutorId, shard: u32, what: Pending) {
        let accepted = append(&self.log, shard, SHARDS, what).is_ok();
        self.refused += u64::from(!accepted);
        self.send(Event::Appended(from, shard, what, accepted));
    }

    /// The store's word on an append arrives at the executor, which answers its caller.
    pub(crate) fn appended(&mut self, to: ExecutorId, shard: u32, what: Pending, accepted: bool) {
        let log = self.log.clone();
        let Some(executor) = self.awake(to, &Event::Appended(to, shard, what, accepted)) else {
            return;
        };
        if let Some(result) = executor.appended(shard, what, accepted, &log, SHARDS) {
            self.send(Event::Answer(shard, what.call, result.ok()));
        }
    }

    /// An answer arrives: how many calls have had their effect, this one included.
    pub(crate) fn answer(
        &mut self,
        shard: u32,
        number: u64,
        count: Option<u64>,
    ) -> Result<(), String> {
        let mut client = self.client(shard);
        if number != client.answered + 1 {
            // Of an earlier attempt of a call that has its answer.
            return Ok(());
        }
        match count {
            Some(count) if count != number => {
                return Err(format!("call {number} of shard {shard} was answered {count}"));
            }
            Some(_) => client.answered += 1,
            None => {}
        }
        client.attempt += 1;
        self.change(shard, client);
        self.at(PAUSE, Event::Attempt(shard, client.attempt));
        Ok(())
    }
}
