//! [`Trial`].
#![allow(clippy::print_stdout, reason = "a trial shows its seed and figures; tests print")]

use crate::{Cluster, Failed, Failure, History, Load, LoadOptions, Options};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// Load before and after what happens.
const CALM: Duration = Duration::from_millis(1500);

/// A cluster under load to which something happens, and at the end the record of every call.
pub struct Trial {
    name: &'static str,
    /// The cluster.
    pub cluster: Cluster,
    /// The load.
    pub load: Load,
    /// Where all choices come from. Its seed is printed; with `EMET_SEED` they are had again.
    pub random: StdRng,
}

/// The executor that something happens to.
#[derive(Clone, Debug)]
pub struct Victim {
    /// Its place.
    pub executor: usize,
    /// The clients whose workers it owns.
    pub clients: Vec<usize>,
}

impl Trial {
    /// Starts a cluster and a load.
    pub async fn start(name: &'static str, options: Options) -> Result<Self, Failure> {
        let seed = std::env::var("EMET_SEED").ok().and_then(|s| s.parse().ok());
        let seed = seed.unwrap_or_else(rand::random::<u64>);
        println!("{name}: EMET_SEED={seed}");
        let cluster = Cluster::start(options).await?;
        let load = Load::start(&cluster, &LoadOptions::default()).await?;
        let trial = Self { name, cluster, load, random: StdRng::seed_from_u64(seed) };
        trial.calm().await;
        Ok(trial)
    }

    /// Lets the load run for a while.
    pub async fn calm(&self) {
        tokio::time::sleep(CALM).await;
    }

    /// An executor, with the clients whose workers it owns at this moment: at least one.
    pub async fn victim(&mut self) -> Result<Victim, Failure> {
        let executor = self.random.random_range(0..self.cluster.executors.len());
        let clients = self.load.clients_of(&mut self.cluster, executor).await?;
        Ok(Victim { executor, clients })
    }

    /// Begins to look at what a failure of an executor means, for some leases.
    pub fn failing(&self, victim: &Victim) -> Failed {
        let from = self.load.now();
        let until = from + self.cluster.lease() * 3;
        Failed { clients: victim.clients.clone(), from, until }
    }

    /// Waits until the cluster is whole again, lets the load run for a while and end, and reads the
    /// record: no call was lost, none took effect twice, none was left unanswered.
    pub async fn finish(mut self) -> Result<(History, Cluster), Failure> {
        self.cluster.ready().await?;
        self.calm().await;
        let history = self.load.finish().await?;
        let figures = history.figures(|_| true).ok_or("no call was made")?;
        println!("{}: {figures}", self.name);
        if let Some(slowest) = history.calls.iter().max_by_key(|call| call.took()) {
            println!("{}: slowest: {slowest}", self.name);
        }
        let violations = history.violations();
        if violations.is_empty() {
            return Ok((history, self.cluster));
        }
        Err(format!("{}: {violations:#?}\n{}", self.name, self.cluster.logs()).into())
    }

    /// As [`Self::finish`], and says what a failure meant.
    pub async fn finish_after(self, failure: &Failed) -> Result<Cluster, Failure> {
        let (name, lease) = (self.name, self.cluster.lease());
        let (history, cluster) = self.finish().await?;
        let effect = history.effect(failure).ok_or("no calls during the failure")?;
        println!("{name}, lease {lease:?}:\n{effect}");
        println!("targets: p99 of survivors 250 ms, last answer after {:?}", lease * 2);
        Ok(cluster)
    }
}
