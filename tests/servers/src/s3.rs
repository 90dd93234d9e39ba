//! [`S3Server`].

use crate::process::{Process, find, free_port};
use std::net::TcpStream;
use std::process::Command;
use tempfile::TempDir;

/// An S3 server on loopback that keeps objects as files, with one bucket.
#[derive(Debug)]
pub struct S3Server {
    directory: TempDir,
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
        for _ in 0..10 {
            let directory = TempDir::new().expect("no temporary directory");
            let bucket = directory.path().join("data").join(Self::BUCKET);
            std::fs::create_dir_all(bucket).expect("cannot create a bucket");
            let mut server = Self { directory, port: free_port(), process: None };
            if server.try_restart() {
                return server;
            }
        }
        panic!("versitygw does not start");
    }

    /// Its address.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
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
        let mut command = Command::new(find("versitygw"));
        let address = format!("127.0.0.1:{}", self.port);
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
        let ready = || TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        self.process = Process::start(command, &log, ready);
        self.process.is_some()
    }
}
