//! Failures as people see them: what happened, and what to do.

use crate::explain;
use crate::options::{Format, Options, colours};
use emet_client::ClientError;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    help: Vec<String>,
    code: u8,
    silent: bool,
}

impl Failure {
    /// A failure by what happened.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), help: Vec::new(), code: 1, silent: false }
    }

    /// Wrong arguments.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self { code: 2, ..Self::new(what) }
    }

    /// Adds what to do.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// What happened.
    #[cfg(test)]
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// Prints it and gives the exit code.
    pub(crate) fn report(self, options: &Options) -> ExitCode {
        if !self.silent {
            // Nothing can be done about a terminal that is gone.
            let _ = self.print(options);
        }
        ExitCode::from(self.code)
    }

    fn print(&self, options: &Options) -> std::io::Result<()> {
        let mut err = std::io::stderr().lock();
        if options.format == Format::Json {
            let body = serde_json::json!({"error": self.what, "help": self.help});
            return writeln!(err, "{body}");
        }
        let (red, bold, plain) =
            if colours(&err) { ("\x1b[31m", "\x1b[1m", "\x1b[0m") } else { ("", "", "") };
        writeln!(err, "{red}error:{plain} {}", self.what)?;
        for help in &self.help {
            writeln!(err, "{bold}help:{plain}  {help}")?;
        }
        Ok(())
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let failure = Self::new(error.to_string());
        match &error {
            ClientError::Transport { .. } => failure.help(
                "is the server running? Start one with 'emet server', or name another one with \
                 --url or EMET_URL",
            ),
            ClientError::Url(_) => failure.help("such as --url http://localhost:9881"),
            ClientError::Unexpected { .. } | ClientError::Decode(_) => {
                failure.help("is this the URL of an Emet server? 'emet doctor' checks it")
            }
            ClientError::Api(_) => match explain::page_of(&error) {
                Some(page) => failure.help(format!("emet explain {page}")),
                None => failure,
            },
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        // The reader of our output has seen enough: that is no failure.
        if error.kind() == ErrorKind::BrokenPipe {
            return Self { silent: true, code: 0, ..Self::new("") };
        }
        Self::new(error.to_string())
    }
}
