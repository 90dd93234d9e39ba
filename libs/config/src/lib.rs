//! Options of every role, from one definition.
//!
//! The definition is the role's `clap` command: names, types, defaults, environment variables and
//! help stand there and nowhere else. [`Roles`] puts a TOML file underneath: a key of the file is
//! the name of a flag, and its value replaces the flag's default. So an option is, from the
//! weakest to the strongest: built in, from the file, from the environment, from a flag
//! (docs/operations/configuration.md).
//!
//! Beside that: [`HumanDuration`] and [`Size`], the two units that people write; [`Secret`], read
//! from files and never shown; [`PeerSecurity`], how our own processes trust each other;
//! [`Release`], which of them may talk to each other at all.

mod error;
mod file;
mod human;
mod peers;
mod release;
mod roles;
mod schema;
mod secret;
mod show;

pub use error::ConfigError;
pub use human::{HumanDuration, Size};
pub use peers::{PeerAuth, PeerChannel, PeerGuard, PeerGuardService, PeerOptions, PeerSecurity};
pub use release::{Announce, NotARelease, REFUSED_BY, RELEASE, Release, ReleaseGuard, is_skew};
pub use roles::Roles;
pub use secret::{Secret, digest, same};
pub use show::Format;
