//! One process of a cluster.

use crate::Failure;
use emet_test_servers::Host;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Bytes shown of a log.
const TAIL: usize = 6000;

/// A process that can be ended in every way and started again at the same port. It ends with its
/// handle.
pub struct Process {
    binary: PathBuf,
    directory: PathBuf,
    host: Host,
    role: String,
    name: String,
    port: u16,
    admin_port: u16,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

impl Process {
    pub(crate) fn new(
        binary: &Path,
        directory: &Path,
        role: &str,
        number: usize,
        host: Host,
    ) -> Self {
        Self {
            binary: binary.to_owned(),
            directory: directory.to_owned(),
            role: role.to_owned(),
            name: format!("{role}-{number}"),
            port: host.free_port(),
            admin_port: host.free_port(),
            host,
            arguments: Vec::new(),
            environment: Vec::new(),
            child: None,
        }
    }

    pub(crate) fn arguments<'a>(&mut self, arguments: impl IntoIterator<Item = &'a str>) {
        self.arguments.extend(arguments.into_iter().map(str::to_owned));
    }

    /// Sets a variable of its environment, from its next start on.
    pub fn environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Its role and number, such as `worker-executor-1`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it runs.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Where it listens: `host:port`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host.address(), self.port)
    }

    /// The port it serves on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its health check and metrics are; a worker service has them at [`Self::address`].
    pub fn admin_address(&self) -> String {
        format!("{}:{}", self.host.address(), self.admin_port)
    }

    /// Its directory.
    pub fn data(&self) -> String {
        self.directory.join(&self.name).display().to_string()
    }

    fn log_file(&self) -> PathBuf {
        self.directory.join(format!("{}.log", self.name))
    }

    /// Where the time of its clock stands, if that is not the machine's.
    pub(crate) fn clock_file(&self) -> PathBuf {
        self.directory.join(format!("{}.clock", self.name))
    }

    /// Starts it.
    pub fn start(&mut self) -> Result<(), Failure> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_file())?;
        let mut command = self.host.command(&self.binary);
        command.arg(&self.role).args(["--listen", &self.address()]).args(&self.arguments);
        if self.role != "worker-service" {
            command.args(["--admin-listen", &self.admin_address()]);
        }
        command.envs(self.environment.iter().map(|(n, v)| (n, v)));
        self.child = Some(command.stdout(Stdio::null()).stderr(log).spawn()?);
        Ok(())
    }

    /// Its process id.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) -> Result<(), Failure> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Sends a signal by its name, such as `STOP`.
    pub fn signal(&self, name: &str) -> Result<(), Failure> {
        let pid = self.pid().ok_or("the process does not run")?;
        let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status()?;
        if status.success() { Ok(()) } else { Err(format!("cannot signal {}", self.name).into()) }
    }

    /// Asks it to end, and waits until it has.
    pub async fn terminate(&mut self, within: Duration) -> Result<(), Failure> {
        self.signal("TERM")?;
        let started = Instant::now();
        while self.is_running() {
            if started.elapsed() > within {
                return Err(format!(
                    "{} did not end within {within:?}:\n{}",
                    self.name,
                    self.log_tail()
                )
                .into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.child = None;
        Ok(())
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The end of its log, with its name.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let start = log.len().saturating_sub(TAIL);
        let start = (start..log.len()).find(|at| log.is_char_boundary(*at)).unwrap_or(log.len());
        format!("--- {}\n{}\n", self.name, log.get(start..).unwrap_or_default())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already needs no end.
        drop(self.kill());
    }
}
