//! Why a configuration is refused.

use std::path::PathBuf;

/// Why a configuration is refused. Every text says where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that was named cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML, or not of the shape of a configuration.
    #[error("{}:{line}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Line in it, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A secret that nothing can be done with.
    #[error("{}: {reason}", path.display())]
    Secret {
        /// The file that was to hold it.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Options that do not go together.
    #[error("{0}")]
    Options(String),
    /// The command line, or an environment variable, is wrong; or help was asked for.
    #[error("{0}")]
    Usage(Box<clap::Error>),
}

impl From<clap::Error> for ConfigError {
    fn from(error: clap::Error) -> Self {
        Self::Usage(Box::new(error))
    }
}
