//! [`Network`]: hosts that can be cut off from each other.

use crate::host::{Host, Namespace};
use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

/// Set in a test program that runs in a namespace of its own.
const ISOLATED: &str = "EMET_TEST_ISOLATED";
/// Address of the router, where the test itself is; hosts have addresses in the networks after it.
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Runs a test in a network namespace of its own, which ends with it: the test program starts itself
/// again there, for this one test.
///
/// Where such namespaces cannot be made, the test is skipped, loudly.
///
/// # Panics
/// When the test fails.
pub fn isolated<E: std::fmt::Display>(name: &str, test: impl FnOnce() -> Result<(), E>) {
    if std::env::var_os(ISOLATED).is_some() {
        if let Err(error) = test() {
            panic!("{error}");
        }
        return;
    }
    let Some(mut command) = unshared() else {
        let why = "network namespaces cannot be made here: be root, or allow user namespaces";
        eprintln!("\n*** SKIPPED {name}: {why} ***\n");
        return;
    };
    let program = std::env::current_exe().expect("a test program knows where it is");
    command.arg(program).args(["--exact", name, "--nocapture"]).env(ISOLATED, "1");
    let status = command.status().expect("cannot run unshare");
    assert!(status.success(), "{name} failed in its network namespace: {status}");
}

/// The beginning of a command that runs in a new network namespace, as root there.
fn unshared() -> Option<Command> {
    let ways = [vec!["--net"], vec!["--user", "--map-root-user", "--net"]];
    let works = |way: &Vec<&str>| {
        // What a router needs to be allowed is tried out.
        let trial = "ip link set lo up && echo 1 > /proc/sys/net/ipv4/ip_forward";
        let tried = Command::new("unshare")
            .args(way)
            .args(["sh", "-c", trial])
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    };
    let way = ways.into_iter().find(|way| works(way))?;
    let mut command = Command::new("unshare");
    command.args(way);
    Some(command)
}

/// Hosts, and the router that all their traffic goes through. The test runs at the router, which
/// reaches everybody always.
#[derive(Debug)]
pub struct Network {
    hosts: u16,
}

impl Network {
    /// A network without hosts, in the namespace that [`isolated`] made.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn start() -> Self {
        assert!(std::env::var_os(ISOLATED).is_some(), "networks are for tests in `isolated`");
        ip(None, &format!("link set lo up\naddr add {ROUTER}/32 dev lo"));
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("cannot forward packets");
        Self { hosts: 0 }
    }

    /// A new host, which reaches all others.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn add_host(&mut self) -> Host {
        self.hosts += 1;
        let [high, low] = self.hosts.to_be_bytes();
        let address = Ipv4Addr::new(10, 78, high, low);
        let (namespace, link) = (Namespace::new(), format!("host{}", self.hosts));
        let (holder, within) = (namespace.id(), "dev eth0");
        ip(None, &format!("link add {link} type veth peer name eth0 netns {holder}"));
        ip(
            Some(&namespace),
            &format!(
                "addr add {address}/32 {within}\nlink set eth0 up\n\
                 route add {ROUTER} {within}\nroute add default via {ROUTER}"
            ),
        );
        ip(None, &format!("link set {link} up\nroute add {address} dev {link} src {ROUTER}"));
        Host::new(address, namespace)
    }

    /// Lets no packet pass any more between two hosts, in either direction. Nobody is told: as with a
    /// broken cable, connections stay and nothing arrives.
    ///
    /// # Panics
    /// When one of them is none of this network.
    pub fn cut(&self, one: &Host, other: &Host) {
        self.between(one, other, "add");
    }

    /// Undoes [`Network::cut`].
    ///
    /// # Panics
    /// When they are not cut off from each other.
    pub fn heal(&self, one: &Host, other: &Host) {
        self.between(one, other, "del");
    }

    fn between(&self, one: &Host, other: &Host, what: &str) {
        let (one, other) = (one.address(), other.address());
        ip(
            None,
            &format!(
                "rule {what} from {one} to {other} blackhole\n\
                 rule {what} from {other} to {one} blackhole"
            ),
        );
    }
}

/// Carries out commands of ip(8), in the namespace of a host or at the router.
fn ip(namespace: Option<&Namespace>, commands: &str) {
    let mut command = match namespace {
        None => Command::new("ip"),
        Some(namespace) => {
            let mut command = Command::new("nsenter");
            command.args(["--net", "--target", &namespace.id().to_string(), "ip"]);
            command
        }
    };
    let mut child =
        command.args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("cannot run ip");
    let mut input = child.stdin.take().expect("standard input is a pipe");
    writeln!(input, "{commands}").expect("ip reads its commands");
    drop(input);
    let status = child.wait().expect("ip ends");
    assert!(status.success(), "ip failed: {commands}");
}
