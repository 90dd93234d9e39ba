//! [`RedisServer`].

use crate::host::Host;
use crate::process::{Process, find};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use tempfile::TempDir;

/// A redis-server.
#[derive(Debug)]
pub struct RedisServer {
    directory: TempDir,
    host: Host,
    port: u16,
    settings: Vec<(String, String)>,
    process: Option<Process>,
}

impl RedisServer {
    /// One that loses nothing: `appendonly yes`, `appendfsync always`.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// One with further settings, or other values of the usual ones.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_on(&Host::loopback(), settings)
    }

    /// As [`Self::start_with`], on a host.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_on(host: &Host, settings: &[(&str, &str)]) -> Self {
        let address = host.address().to_string();
        let usual = [
            ("appendonly", "yes"),
            ("appendfsync", "always"),
            ("save", ""),
            ("bind", &address),
            // It has no password, and refuses strangers on addresses other than loopback.
            ("protected-mode", "no"),
        ];
        let given = settings.iter().map(|(name, value)| (*name, *value));
        let usual =
            usual.into_iter().filter(|(name, _)| given.clone().all(|(other, _)| other != *name));
        let settings =
            usual.chain(given.clone()).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        for _ in 0..10 {
            let directory = TempDir::new().expect("no temporary directory");
            let mut server = Self {
                directory,
                host: host.clone(),
                port: host.free_port(),
                settings: Vec::clone(&settings),
                process: None,
            };
            if server.try_restart() {
                return server;
            }
        }
        panic!("redis-server does not start with {settings:?}");
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}:{}", self.host.address(), self.port)
    }

    /// Where it runs.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port at which the other nodes of its cluster find it.
    pub(crate) fn bus_port(&self) -> &str {
        let port = self.settings.iter().find(|(name, _)| name == "cluster-port");
        port.map_or("0", |(_, port)| port)
    }

    /// Its process id; `None` while it is killed.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Stops it with SIGSTOP: connections stay, nothing is answered.
    pub fn pause(&self) {
        self.process.iter().for_each(|process| process.signal("STOP"));
    }

    /// Lets it go on after [`Self::pause`].
    pub fn resume(&self) {
        self.process.iter().for_each(|process| process.signal("CONT"));
    }

    /// Starts it again, at the same port and with what is in its directory, and waits until it
    /// has loaded that.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        assert!(self.try_restart(), "redis-server does not start again: {}", self.log());
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn try_restart(&mut self) -> bool {
        self.process = None;
        let mut command = self.host.command(&find("redis-server"));
        command.arg("--port").arg(self.port.to_string());
        command.arg("--dir").arg(self.directory.path()).arg("--daemonize").arg("no");
        for (name, value) in &self.settings {
            command.arg(format!("--{name}")).arg(value);
        }
        let log = self.directory.path().join("log");
        self.process =
            Process::start(command, &log, || self.try_command("PING") == Some("+PONG".into()));
        self.process.is_some()
    }

    /// Sends one command, written as in `redis-cli`, and gives the answer as it comes, without
    /// the end of its line: `+OK`, `:1`, `$...`.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn command(&self, line: &str) -> String {
        self.try_command(line).unwrap_or_else(|| panic!("no answer to {line:?}: {}", self.log()))
    }

    fn try_command(&self, line: &str) -> Option<String> {
        let mut stream = TcpStream::connect((self.host.address(), self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        stream.write_all(format!("{line}\r\n").as_bytes()).ok()?;
        let mut reader = BufReader::new(stream);
        let mut answer = String::new();
        reader.read_line(&mut answer).ok()?;
        let answer = answer.trim_end();
        match answer.strip_prefix('$').and_then(|length| length.parse().ok()) {
            Some(length) => {
                let mut text = vec![0; length];
                reader.read_exact(&mut text).ok()?;
                String::from_utf8(text).ok()
            }
            None => Some(answer.to_owned()),
        }
    }
}
