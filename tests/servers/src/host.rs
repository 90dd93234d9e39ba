//! [`Host`].

use crate::ports::free_port;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// Where a server runs: this machine's loopback, or a network namespace that stands for a machine.
#[derive(Clone, Debug)]
pub struct Host {
    address: Ipv4Addr,
    namespace: Option<Arc<Namespace>>,
}

impl Host {
    /// Loopback.
    #[must_use]
    pub fn loopback() -> Self {
        Self { address: Ipv4Addr::LOCALHOST, namespace: None }
    }

    pub(crate) fn new(address: Ipv4Addr, namespace: Namespace) -> Self {
        Self { address, namespace: Some(Arc::new(namespace)) }
    }

    /// Its address, which servers listen on and are reached at.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// A port for a server that runs there.
    ///
    /// # Panics
    /// When there is none left.
    #[must_use]
    pub fn free_port(&self) -> u16 {
        free_port()
    }

    /// A command that runs there. The process that is started is the program itself, so signals
    /// reach it.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        match &self.namespace {
            None => Command::new(program),
            Some(namespace) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={}", namespace.path())).arg(program);
                command
            }
        }
    }
}

/// A network namespace, which lasts as long as the process that holds it.
#[derive(Debug)]
pub(crate) struct Namespace {
    holder: Child,
}

impl Namespace {
    /// A new one, with nothing in it but loopback.
    pub(crate) fn new() -> Self {
        let mut command = Command::new("unshare");
        // Says when it is there; ends with its standard input, so also with a test that is killed.
        command.args(["--net", "sh", "-c", "ip link set lo up && echo && exec cat"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().expect("cannot run unshare");
        let said = holder.stdout.take().expect("standard output is a pipe");
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line).expect("a pipe can be read");
        assert_eq!(line, "\n", "cannot make a network namespace");
        Self { holder }
    }

    pub(crate) fn id(&self) -> u32 {
        self.holder.id()
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.id())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
