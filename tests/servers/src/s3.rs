//! [`S3Server`].

use crate::host::Host;
use crate::process::{Process, find};
use std::net::TcpStream;
use std::path::PathBuf;
use tempfile::TempDir;

/// An S3 server that keeps objects as files, with one bucket.
#[derive(Debug)]
pub struct S3Server {
    directory: TempDir,
    host: Host,
    port: u16,
    process: Option<Process>,
}

impl S3Server {
    /// The bucket that is there from the start.
    pub const BUCKET: &str = "emet-test";
    /// Id of the key that may do everything.
    pub const ACCESS_KEY: &str = "test-access";
    /// That key.
    pub const SECRET_KEY: &str = "test-secret";
    /// Its region.
    pub const REGION: &str = "us-east-1";

    /// Starts a server.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start() -> Self {
        Self::start_on(&Host::loopback())
    }

    /// Starts a server on a host.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_on(host: &Host) -> Self {
        for _ in 0..10 {
            let directory = TempDir::new().expect("no temporary directory");
            let bucket = directory.path().join("data").join(Self::BUCKET);
            std::fs::create_dir_all(bucket).expect("cannot create a bucket");
            let (host, port) = (host.clone(), host.free_port());
            let mut server = Self { directory, host, port, process: None };
            if server.try_restart() {
                return server;
            }
        }
        panic!("versitygw does not start");
    }

    /// Its address.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}:{}", self.host.address(), self.port)
    }

    /// Where it runs.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Where the objects of its bucket are, as files named after them.
    #[must_use]
    pub fn objects(&self) -> PathBuf {
        self.directory.path().join("data").join(Self::BUCKET)
    }

    /// What a process has in its environment that is to use it.
    pub fn environment(&self) -> impl Iterator<Item = (&'static str, String)> {
        let fixed = [
            ("AWS_ACCESS_KEY_ID", Self::ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", Self::SECRET_KEY),
            ("EMET_S3_BUCKET", Self::BUCKET),
            ("EMET_S3_REGION", Self::REGION),
            ("EMET_S3_PATH_STYLE", "true"),
        ];
        let fixed = fixed.into_iter().map(|(name, value)| (name, value.to_owned()));
        fixed.chain([("EMET_S3_ENDPOINT", self.endpoint())])
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

    /// Starts it again at the same port, with the objects it had.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        assert!(self.try_restart(), "versitygw does not start again: {}", self.log());
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn try_restart(&mut self) -> bool {
        self.process = None;
        let mut command = self.host.command(&find("versitygw"));
        let address = format!("{}:{}", self.host.address(), self.port);
        command.args([
            "--port",
            &address,
            "--access",
            Self::ACCESS_KEY,
            "--secret",
            Self::SECRET_KEY,
        ]);
        command.args(["--region", Self::REGION, "--keep-alive", "--quiet", "posix"]);
        command.arg(self.directory.path().join("data"));
        let log = self.directory.path().join("log");
        let ready = || TcpStream::connect((self.host.address(), self.port)).is_ok();
        self.process = Process::start(command, &log, ready);
        self.process.is_some()
    }
}
