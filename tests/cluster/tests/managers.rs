//! The members of the group of shard managers are replaced while it works.

use emet_test_cluster::{Failure, Options, Trial};

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
