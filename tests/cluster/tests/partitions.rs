//! Every process has a host of its own, and links between hosts are cut: packets vanish, and nobody
//! is told. Each test runs in a network namespace (`emet_test_servers::isolated`).
#![allow(clippy::print_stdout, reason = "the choices of a run are shown")]

use emet_api::cluster::ClusterStatus;
use emet_test_cluster::{Cluster, Failure, Options, Process, Trial};
use emet_test_servers::{Host, isolated};
use rand::seq::IndexedRandom;
use std::time::Duration;

/// Runs a test on a cluster whose processes have hosts of their own.
fn on_hosts<F>(name: &'static str, test: impl FnOnce(Trial) -> F)
where
    F: Future<Output = Result<(), Failure>>,
{
    isolated(name, || -> Result<(), Failure> {
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(async {
            let trial = Trial::start(name, Options { network: true, ..Options::default() }).await?;
            test(trial).await
        })
    });
}

/// What can be cut off from what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Manager,
    Executor,
    Service,
    Components,
    Redis,
    S3,
}

/// Every two roles of which one talks to the other.
const LINKS: [(Role, Role); 12] = [
    (Role::Manager, Role::Manager),
    (Role::Manager, Role::Executor),
    (Role::Manager, Role::Service),
    (Role::Executor, Role::Executor),
    (Role::Executor, Role::Service),
    (Role::Executor, Role::Components),
    (Role::Executor, Role::Redis),
    (Role::Executor, Role::S3),
    (Role::Service, Role::Components),
    (Role::Service, Role::Redis),
    (Role::Components, Role::Redis),
    (Role::Components, Role::S3),
];

fn hosts(cluster: &Cluster, role: Role) -> Vec<Host> {
    let of = |processes: &[Process]| processes.iter().map(|p| p.host().clone()).collect();
    match role {
        Role::Manager => of(&cluster.managers),
        Role::Executor => of(&cluster.executors),
        Role::Service => of(&cluster.services),
        Role::Components => vec![cluster.components.host().clone()],
        Role::Redis => vec![cluster.redis.host().clone()],
        Role::S3 => vec![cluster.s3.host().clone()],
    }
}

/// A host and every other one.
fn around(cluster: &Cluster, host: &Host) -> Vec<(Host, Host)> {
    let roles =
        [Role::Manager, Role::Executor, Role::Service, Role::Components, Role::Redis, Role::S3];
    let all = roles.into_iter().flat_map(|role| hosts(cluster, role));
    all.filter(|other| other.address() != host.address()).map(|o| (host.clone(), o)).collect()
}

fn cut(cluster: &Cluster, links: &[(Host, Host)]) -> Result<(), Failure> {
    let network = cluster.network.as_ref().ok_or("the cluster has no network")?;
    links.iter().for_each(|(one, other)| network.cut(one, other));
    Ok(())
}

fn heal(cluster: &Cluster, links: &[(Host, Host)]) -> Result<(), Failure> {
    let network = cluster.network.as_ref().ok_or("the cluster has no network")?;
    links.iter().for_each(|(one, other)| network.heal(one, other));
    Ok(())
}

/// One process of each two roles is cut off from one of the other for longer than a lease, and
/// reaches it again. Meanwhile and afterwards all calls are answered.
#[test]
fn links_between_any_two_roles_are_cut_and_healed() {
    on_hosts("links_between_any_two_roles_are_cut_and_healed", |mut trial| async move {
        for (one, other) in LINKS {
            let from = hosts(&trial.cluster, one);
            let from = from.choose(&mut trial.random).ok_or("no such host")?.clone();
            let mut to = hosts(&trial.cluster, other);
            to.retain(|host| host.address() != from.address());
            let to = to.choose(&mut trial.random).ok_or("no such host")?.clone();
            println!("{one:?} and {other:?}: {} and {}", from.address(), to.address());
            let link = [(from, to)];
            cut(&trial.cluster, &link)?;
            tokio::time::sleep(trial.cluster.lease() * 3).await;
            heal(&trial.cluster, &link)?;
            trial.cluster.ready().await?;
        }
        trial.finish().await.map(drop)
    });
}

/// An executor that nobody can reach is like a dead one to the others; it stops by itself, and takes
/// part again when it can.
#[test]
fn an_executor_is_cut_off_from_everything() {
    on_hosts("an_executor_is_cut_off_from_everything", |mut trial| async move {
        let victim = trial.victim().await?;
        let executor = trial.cluster.executors.get(victim.executor).ok_or("no such executor")?;
        let address = executor.address();
        let links = around(&trial.cluster, executor.host());
        let failure = trial.failing(&victim);
        cut(&trial.cluster, &links)?;
        trial.cluster.until("it is forgotten", forgotten(&address)).await?;
        trial.calm().await;
        heal(&trial.cluster, &links)?;
        trial.cluster.ready().await?;
        let cluster = trial.finish_after(&failure).await?;
        let log = cluster.executors.get(victim.executor).ok_or("no such executor")?.log();
        assert!(log.contains("the lease has ended: all workers are stopped"), "{log}");
        Ok(())
    });
}

/// No executor at this address is known, and the others share everything.
fn forgotten(address: &str) -> impl Fn(&ClusterStatus) -> bool {
    move |status| {
        status.executors.iter().all(|e| !e.address.ends_with(address))
            && status.unowned == 0
            && status.moving == 0
    }
}

/// An append that left an executor in time and was held up on its way arrives when the worker has a
/// new owner: the store refuses it (law L3), and the executor says so.
#[test]
fn an_append_that_arrives_late_is_refused() {
    on_hosts("an_append_that_arrives_late_is_refused", |mut trial| async move {
        let victim = trial.victim().await?;
        let executor = trial.cluster.executors.get(victim.executor).ok_or("no such executor")?;
        let (address, host) = (executor.address(), executor.host().clone());
        let to_redis = [(host.clone(), trial.cluster.redis.host().clone())];
        let managers = hosts(&trial.cluster, Role::Manager);
        let to_managers: Vec<(Host, Host)> =
            managers.into_iter().map(|manager| (host.clone(), manager)).collect();
        // Its workers still get calls, and send appends that wait in its socket.
        cut(&trial.cluster, &to_redis)?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        cut(&trial.cluster, &to_managers)?;
        trial.cluster.until("it is forgotten", forgotten(&address)).await?;
        // Now they arrive.
        heal(&trial.cluster, &to_redis)?;
        let said = "an append was refused: another executor has taken the worker over";
        let executor = trial.cluster.executors.get(victim.executor).ok_or("no such executor")?;
        let started = std::time::Instant::now();
        while !executor.log().contains(said) {
            if started.elapsed() > Duration::from_secs(30) {
                return Err(format!("nothing was refused:\n{}", executor.log()).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        heal(&trial.cluster, &to_managers)?;
        trial.finish().await.map(drop)
    });
}

/// The leader is alone: the others elect another one, and it grants no leases any more.
#[test]
fn the_leader_is_cut_off_from_everything() {
    on_hosts("the_leader_is_cut_off_from_everything", |trial| async move {
        let leader = trial.cluster.leader().await?;
        let manager = trial.cluster.managers.get(leader).ok_or("no leader")?;
        let links = around(&trial.cluster, manager.host());
        cut(&trial.cluster, &links)?;
        tokio::time::sleep(trial.cluster.lease() * 4).await;
        heal(&trial.cluster, &links)?;
        trial.finish().await.map(drop)
    });
}

/// Without a quorum nobody keeps a lease: all executors stop by themselves. When the shard managers
/// reach each other again, everything goes on.
#[test]
fn the_shard_managers_are_cut_off_from_each_other() {
    on_hosts("the_shard_managers_are_cut_off_from_each_other", |trial| async move {
        let managers = hosts(&trial.cluster, Role::Manager);
        let links: Vec<(Host, Host)> = managers
            .iter()
            .zip(managers.iter().cycle().skip(1))
            .map(|(one, other)| (one.clone(), other.clone()))
            .collect();
        cut(&trial.cluster, &links)?;
        tokio::time::sleep(trial.cluster.lease() * 4).await;
        heal(&trial.cluster, &links)?;
        let (_, cluster) = trial.finish().await?;
        for executor in &cluster.executors {
            let log = executor.log();
            assert!(log.contains("the lease has ended: all workers are stopped"), "{log}");
        }
        Ok(())
    });
}
