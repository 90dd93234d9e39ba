//! Why a command has no result, and what follows from that.

use crate::kv::KvError;
use crate::log::LogError;
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// A command without a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing was done, and the same command may succeed later: the server could not be reached,
    /// is starting, or has no replica that it needs.
    Unready(String),
    /// Nothing was done, and the same command may succeed on a new connection: the server is no
    /// master any more, or has lost the scripts.
    Stale(String),
    /// The connection ended before the answer: it may have been carried out.
    Unknown(String),
    /// The slot belongs to another node of the cluster, which is named.
    Moved(String),
    /// This once, another node of the cluster shall be asked.
    Ask(String),
    /// No memory or no disk is left. Nothing was done.
    Full(String),
    /// The server refuses the command. Nothing was done.
    Refused(String),
}

impl Failure {
    /// From the answer to one command.
    pub(super) fn of_answer(error: &RedisError) -> Self {
        let text = error.to_string();
        let node = || error.redirect_node().map(|(node, _)| node.to_owned());
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => {
                node().map_or(Self::Unready(text), Self::Moved)
            }
            ErrorKind::Server(ServerErrorKind::Ask) => {
                node().map_or(Self::Unready(text), Self::Ask)
            }
            ErrorKind::Server(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown,
            ) => Self::Unready(text),
            ErrorKind::Server(ServerErrorKind::NoScript | ServerErrorKind::ReadOnly) => {
                Self::Stale(text)
            }
            _ => match error.code() {
                Some("OOM" | "MISCONF") => Self::Full(text),
                Some("NOREPLICAS" | "BUSY" | "UNKILLABLE") => Self::Unready(text),
                _ if error.is_io_error() => Self::Unknown(text),
                _ => Self::Refused(text),
            },
        }
    }

    /// Whether the connection that gave it should be given up.
    pub(super) fn ends_connection(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::Stale(_))
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Unready(text)
            | Self::Stale(text)
            | Self::Unknown(text)
            | Self::Moved(text)
            | Self::Ask(text)
            | Self::Full(text)
            | Self::Refused(text) => text,
        }
    }
}

impl From<Failure> for LogError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Full(text) => Self::Full(text),
            other => Self::Io(other.text().to_owned()),
        }
    }
}

impl From<Failure> for KvError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Full(text) => Self::Full(text),
            other => Self::Io(other.text().to_owned()),
        }
    }
}
