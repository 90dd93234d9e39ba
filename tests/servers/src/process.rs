//! A server process: where its program is, its port, its life.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start.
const START: Duration = Duration::from_secs(30);

/// A running process that is killed with its handle.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts a program and waits until it is ready. `None`: it ended first, for instance because
    /// another process took its port.
    pub(crate) fn start(
        mut command: Command,
        log: &Path,
        ready: impl Fn() -> bool,
    ) -> Option<Self> {
        let file = std::fs::File::create(log).expect("cannot create the log of a server");
        command.stdin(Stdio::null()).stderr(file.try_clone().expect("cannot share a log"));
        let child = command.stdout(file).spawn().expect("cannot start a server");
        let mut process = Self { child };
        let end = Instant::now() + START;
        while !ready() {
            if process.child.try_wait().expect("cannot wait for a server").is_some() {
                return None;
            }
            let text = || std::fs::read_to_string(log).unwrap_or_default();
            assert!(Instant::now() < end, "a server is not ready after {START:?}: {}", text());
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(process)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status();
        assert!(status.is_ok_and(|status| status.success()), "cannot signal a server");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a program is: in `target/tools/bin`, else on the path.
pub(crate) fn find(program: &str) -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::iter::once(tools).chain(std::env::split_paths(&path).collect::<Vec<_>>());
    places
        .map(|place| place.join(program))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{program} is missing: run `make setup-stores`"))
}
