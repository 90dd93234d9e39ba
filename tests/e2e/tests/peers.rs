//! Credentials and releases between real processes: shard managers find each other with them, and
//! nobody else gets an answer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use emet_api::grpc::proto::shards as wire;
use emet_config::{Announce, Release, is_skew};
use emet_e2e::{Failure, binary};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Endpoint;

/// Longest time until a group has a leader.
const ELECTION: Duration = Duration::from_secs(60);

/// Processes that end with the test.
struct Group {
    children: Vec<Child>,
    addresses: Vec<String>,
    _data: tempfile::TempDir,
}

impl Drop for Group {
    fn drop(&mut self) {
        for child in &mut self.children {
            // One that has ended already needs no end.
            drop(child.kill().and_then(|()| child.wait()));
        }
    }
}

impl Group {
    /// Three shard managers with the same credentials.
    fn start(credentials: &[String]) -> Result<Self, Failure> {
        let data = tempfile::tempdir()?;
        let ports: Vec<u16> = (0..3).map(|_| emet_test_servers::free_port()).collect();
        let peers: Vec<String> =
            ports.iter().zip(1..).map(|(port, id)| format!("{id}=localhost:{port}")).collect();
        let mut group = Self { children: Vec::new(), addresses: Vec::new(), _data: data };
        for (port, id) in ports.iter().zip(1..) {
            let child = Command::new(binary()?)
                .args(["shard-manager", "--id", &format!("{id}"), "--peers", &peers.join(",")])
                .args(["--listen", &format!("127.0.0.1:{port}"), "--data-dir"])
                .arg(group._data.path().join(format!("{id}")))
                .args(credentials)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            group.children.push(child);
            group.addresses.push(format!("localhost:{port}"));
        }
        Ok(group)
    }

    fn status(&self, credentials: &[String]) -> Result<Output, Failure> {
        let managers = self.addresses.join(",");
        let mut command = Command::new(binary()?);
        Ok(command
            .args(["cluster", "status", "--output", "json", "--shard-manager", &managers])
            .args(credentials)
            .output()?)
    }

    /// The status, as soon as there is a leader.
    fn led(&self, credentials: &[String]) -> Result<(), Failure> {
        let started = Instant::now();
        loop {
            let output = self.status(credentials)?;
            let status: serde_json::Value =
                serde_json::from_slice(&output.stdout).unwrap_or_default();
            let leaders = status["managers"]
                .as_array()
                .map_or(0, |all| all.iter().filter(|m| m["leader"] == true).count());
            if leaders == 1 {
                return Ok(());
            }
            if started.elapsed() > ELECTION {
                return Err(format!(
                    "no leader: {status} {}",
                    String::from_utf8_lossy(&output.stderr)
                )
                .into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What somebody with other credentials is told.
    fn refusal(&self, credentials: &[String]) -> Result<String, Failure> {
        let output = self.status(credentials)?;
        assert!(!output.status.success() && output.stdout.is_empty());
        Ok(String::from_utf8(output.stderr)?)
    }
}

fn secret(directory: &Path, text: &str) -> Result<Vec<String>, Failure> {
    let path = directory.join(format!("secret-{}", &text[..1]));
    std::fs::write(&path, text)?;
    Ok(vec!["--peer-secret-file".to_owned(), path.display().to_string()])
}

/// Certificates of the tests of `emet-config`.
fn certificates(authority: &str) -> Vec<String> {
    let file = |name: String| {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../libs/config/tests/certs").join(name);
        path.display().to_string()
    };
    let options = [
        ("--peer-cert-file", file(format!("{authority}-localhost.pem"))),
        ("--peer-key-file", file(format!("{authority}-localhost.key"))),
        ("--peer-ca-file", file("ours.pem".to_owned())),
    ];
    options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
}

#[test]
fn a_group_with_a_secret_answers_only_those_who_know_it() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let (right, wrong) =
        (secret(directory.path(), &"a".repeat(64))?, secret(directory.path(), &"b".repeat(64))?);
    let group = Group::start(&right)?;
    group.led(&right)?;
    let told = group.refusal(&[])?;
    assert!(told.contains("needs the shared secret"), "{told}");
    let told = group.refusal(&wrong)?;
    assert!(told.contains("wrong shared secret"), "{told}");
    Ok(())
}

#[test]
fn a_group_with_mutual_tls_and_a_secret_needs_both() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let known = secret(directory.path(), &"c".repeat(64))?;
    let both = [certificates("ours"), known.clone()].concat();
    let group = Group::start(&both)?;
    group.led(&both)?;
    let told = group.refusal(&certificates("ours"))?;
    assert!(told.contains("needs the shared secret"), "{told}");
    // Strangers get no connection at all, whatever they know.
    group.refusal(&known)?;
    group.refusal(&[certificates("theirs"), known].concat())?;
    Ok(())
}

/// Asks a shard manager for its status as a process of some release would.
async fn ask(address: &str, release: Option<&str>) -> Result<(), tonic::Status> {
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let request = wire::StatusRequest {};
    let answer = match release {
        None => wire::shards_client::ShardsClient::new(channel).status(request).await,
        Some(release) => {
            let release: Release = release.parse().unwrap();
            let channel = InterceptedService::new(channel, Announce::new(&release));
            wire::shards_client::ShardsClient::new(channel).status(request).await
        }
    };
    answer.map(drop)
}

#[tokio::test]
async fn a_group_answers_only_releases_near_its_own() -> Result<(), Failure> {
    let group = Group::start(&[])?;
    group.led(&[])?;
    let version =
        env!("CARGO_PKG_VERSION").split('.').map(str::parse).collect::<Result<Vec<u32>, _>>()?;
    let (major, minor) = (version[0], version[1]);
    let address = &group.addresses[0];
    ask(address, Some(&format!("{major}.{minor}.99"))).await?;
    ask(address, Some(&format!("{major}.{}.0", minor + 1))).await?;
    for far in [Some(format!("{major}.{}.0", minor + 2)), Some(format!("{}.0.0", major + 1)), None]
    {
        let refused = ask(address, far.as_deref()).await.unwrap_err();
        assert!(is_skew(&refused), "{far:?}: {refused}");
        let said = far.as_deref().unwrap_or("does not say its release");
        assert!(refused.message().contains(said), "{refused}");
    }
    Ok(())
}
