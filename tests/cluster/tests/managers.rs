//! The members of the group of shard managers are replaced while it works.

use emet_test_cluster::{Failure, Options, Trial};
use std::time::Duration;

/// Longest time until a process that cannot go on has ended.
const ENDS: Duration = Duration::from_secs(60);

/// `emet cluster set-managers` replaces one member of three, which then ends, and then the leader.
#[tokio::test(flavor = "multi_thread")]
async fn shard_managers_are_replaced_under_load() -> Result<(), Failure> {
    let options = Options::default();
    let mut trial = Trial::start("shard_managers_are_replaced_under_load", options).await?;
    for _ in 0..2 {
        let leaving = trial.cluster.leader().await?;
        let joining = trial.cluster.add_manager()?;
        let status = trial.cluster.status().await?;
        let mut members: Vec<usize> =
            status.managers.iter().filter(|m| m.voter).map(|m| m.id as usize - 1).collect();
        members.retain(|member| *member != leaving);
        members.push(joining);
        set_managers(&trial, &members)?;
        let whole = |status: &emet_api::cluster::ClusterStatus| {
            let voters = status.managers.iter().filter(|m| m.voter);
            voters.map(|m| m.id as usize - 1).eq(members.iter().copied())
        };
        trial.cluster.until("the group has its new members", whole).await?;
        // It belongs to no group any more, and nobody needs it.
        trial.cluster.managers.get_mut(leaving).ok_or("no such manager")?.kill()?;
        trial.cluster.ready().await?;
        assert_ne!(trial.cluster.leader().await?, leaving);
    }
    trial.finish().await.map(drop)
}

fn set_managers(trial: &Trial, members: &[usize]) -> Result<(), Failure> {
    let peers: Vec<String> = members
        .iter()
        .filter_map(|place| Some((place + 1, trial.cluster.managers.get(*place)?)))
        .map(|(id, manager)| format!("{id}={}", manager.address()))
        .collect();
    let output = trial.cluster.command(&["set-managers", "--members", &peers.join(",")])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(said.into()) }
}

/// A member that cannot write its vote or log must not go on as if it could: its process ends, and
/// says why.
#[tokio::test(flavor = "multi_thread")]
async fn a_shard_manager_whose_disk_fails_ends() -> Result<(), Failure> {
    let mut trial =
        Trial::start("a_shard_manager_whose_disk_fails_ends", Options::default()).await?;
    let leader = trial.cluster.leader().await?;
    let broken = (leader + 1) % 3;
    let directory = trial.cluster.managers.get(broken).ok_or("no such manager")?.data();
    std::fs::rename(&directory, format!("{directory}-away"))?;
    // Now it has to vote.
    trial.cluster.managers.get_mut(leader).ok_or("no leader")?.kill()?;
    let started = std::time::Instant::now();
    let manager = trial.cluster.managers.get_mut(broken).ok_or("no such manager")?;
    while manager.is_running() {
        if started.elapsed() > ENDS {
            return Err(format!("it goes on without its files:\n{}", manager.log()).into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(manager.log().contains("this shard manager cannot go on"), "{}", manager.log());
    std::fs::rename(format!("{directory}-away"), &directory)?;
    manager.start()?;
    trial.cluster.managers.get_mut(leader).ok_or("no leader")?.start()?;
    trial.finish().await.map(drop)
}
