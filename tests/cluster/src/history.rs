//! A record of every call that clients made, and what it says.
//!
//! Every client has a counter worker of its own, and adds known numbers one after the other under
//! keys of their own. So the answer to every call is known beforehand: the sum so far. An effect that
//! was lost or doubled shows in the first answer after it.

use std::time::Duration;

/// How a call ended, after all its attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer.
    Sum(u64),
    /// No attempt was answered in time.
    GaveUp(String),
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which client, and so which worker.
    pub client: usize,
    /// Its number in the client's calls, from 1; also what it adds.
    pub number: u64,
    /// When it was first sent, since the load began.
    pub sent: Duration,
    /// When it was answered, since the load began.
    pub answered: Duration,
    /// How often it was sent.
    pub attempts: u32,
    /// How it ended.
    pub outcome: Outcome,
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { client, number, sent, attempts, .. } = self;
        let took = self.took();
        write!(
            f,
            "call {number} of client {client}, sent at {sent:.1?}, took {took:.1?} and {attempts} attempts"
        )
    }
}

impl Call {
    /// How long the client waited.
    pub fn took(&self) -> Duration {
        self.answered.saturating_sub(self.sent)
    }
}

/// Every call of a load.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The calls, of each client in order.
    pub calls: Vec<Call>,
}

/// What is reported of some calls.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// How many.
    pub calls: usize,
    /// Median.
    pub p50: Duration,
    /// 99th percentile.
    pub p99: Duration,
    /// The slowest.
    pub longest: Duration,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} calls, p50 {:.1?}, p99 {:.1?}, longest {:.1?}",
            self.calls, self.p50, self.p99, self.longest
        )
    }
}

/// A failure, and the time in which it is looked at.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The clients whose workers it hit.
    pub clients: Vec<usize>,
    /// When it began, since the load did.
    pub from: Duration,
    /// Calls that were sent later have nothing to do with it.
    pub until: Duration,
}

/// What a failure meant.
#[derive(Clone, Copy, Debug)]
pub struct Effect {
    /// All calls before it.
    pub before: Figures,
    /// Calls to other workers.
    pub survivors: Figures,
    /// Calls to the workers that were hit.
    pub moved: Figures,
    /// From the failure until the last call that it held up was answered.
    pub answered_again: Duration,
}

impl std::fmt::Display for Effect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "before: {}", self.before)?;
        writeln!(f, "workers of survivors: {}", self.survivors)?;
        writeln!(f, "workers that were hit: {}", self.moved)?;
        write!(f, "last call of these answered {:.1?} after the failure", self.answered_again)
    }
}

impl History {
    /// Every violation of what was promised: a call that was not answered, or whose answer is not
    /// the sum of just the calls before it.
    pub fn violations(&self) -> Vec<String> {
        self.calls.iter().filter_map(violation).collect()
    }

    /// What a failure meant to the callers of the workers that it hit, and to the others.
    pub fn effect(&self, failure: &Failed) -> Option<Effect> {
        let hit = |c: &Call| failure.clients.contains(&c.client);
        let during = |c: &Call| c.answered >= failure.from && c.sent <= failure.until;
        let moved = self.figures(|c| during(c) && hit(c))?;
        // Of each client the call that waited longest is the one that the failure held up.
        let held_up = failure.clients.iter().filter_map(|client| {
            let calls = self.calls.iter().filter(|c| c.client == *client && during(c));
            calls.max_by_key(|c| c.took()).map(|c| c.answered.saturating_sub(failure.from))
        });
        let answered_again = held_up.max()?;
        let before = self.figures(|c| c.answered < failure.from)?;
        let survivors = self.figures(|c| during(c) && !hit(c))?;
        Some(Effect { before, survivors, moved, answered_again })
    }

    /// Figures of the calls that fit; none if there are none.
    pub fn figures(&self, which: impl Fn(&Call) -> bool) -> Option<Figures> {
        let mut times: Vec<Duration> =
            self.calls.iter().filter(|c| which(c)).map(Call::took).collect();
        times.sort_unstable();
        let at =
            |share: f64| times.get(((times.len() as f64 - 1.0) * share).round() as usize).copied();
        Some(Figures { calls: times.len(), p50: at(0.5)?, p99: at(0.99)?, longest: *times.last()? })
    }
}

fn violation(call: &Call) -> Option<String> {
    let expected = call.number * (call.number + 1) / 2;
    match &call.outcome {
        Outcome::Sum(sum) if *sum == expected => None,
        Outcome::Sum(sum) => {
            let what = if *sum < expected { "lost" } else { "doubled" };
            Some(format!(
                "an effect was {what}: client {} call {} answered {sum}, not {expected}",
                call.client, call.number
            ))
        }
        Outcome::GaveUp(why) => {
            Some(format!("client {} call {} was never answered: {why}", call.client, call.number))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn call(number: u64, outcome: Outcome) -> Call {
        Call {
            client: 0,
            number,
            sent: Duration::ZERO,
            answered: Duration::from_millis(number),
            attempts: 1,
            outcome,
        }
    }

    #[test]
    fn the_checker_sees_lost_doubled_and_hanging_calls() {
        let sound = History {
            calls: vec![
                call(1, Outcome::Sum(1)),
                call(2, Outcome::Sum(3)),
                call(3, Outcome::Sum(6)),
            ],
        };
        assert_eq!(sound.violations(), Vec::<String>::new());
        for (outcome, word) in [
            (Outcome::Sum(2), "lost"),
            (Outcome::Sum(5), "doubled"),
            (Outcome::GaveUp("x".into()), "never"),
        ] {
            let broken = History { calls: vec![call(1, Outcome::Sum(1)), call(2, outcome)] };
            let violations = broken.violations();
            assert!(
                violations.len() == 1 && violations.first().unwrap().contains(word),
                "{violations:?}"
            );
        }
    }

    #[test]
    fn figures_are_of_the_calls_that_fit() {
        let history = History { calls: (1..=100).map(|n| call(n, Outcome::Sum(0))).collect() };
        let figures = history.figures(|c| c.number <= 50).unwrap();
        assert_eq!((figures.calls, figures.longest), (50, Duration::from_millis(50)));
        assert!(history.figures(|_| false).is_none());
    }

    #[test]
    fn the_effect_of_a_failure_is_what_it_held_up() {
        let ms = Duration::from_millis;
        let at = |client, sent, answered| Call {
            client,
            sent: ms(sent),
            answered: ms(answered),
            ..call(1, Outcome::Sum(1))
        };
        let calls = vec![at(0, 90, 99), at(0, 95, 400), at(0, 450, 460), at(1, 150, 160)];
        let failure = Failed { clients: vec![0], from: ms(100), until: ms(500) };
        let effect = History { calls }.effect(&failure).unwrap();
        assert_eq!((effect.survivors.calls, effect.moved.calls), (1, 2));
        assert_eq!(effect.answered_again, ms(300));
    }
}
