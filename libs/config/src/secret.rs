//! Secrets: read from files, compared in constant time, never shown.

use crate::ConfigError;
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::Path;
use subtle::ConstantTimeEq;

/// Shortest secret that is accepted, in bytes: 32 hexadecimal digits are 128 bits.
const SHORTEST: usize = 32;

/// A secret. Its debug form does not show it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Reads a file that holds nothing but the secret. White space around it does not count, and
    /// fewer than 32 characters are refused: such a secret could be guessed.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let secret = |reason: String| ConfigError::Secret { path: path.to_owned(), reason };
        let text = text.trim();
        if text.len() < SHORTEST {
            let make = "make one with: head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \\n'";
            return Err(secret(format!("a secret has at least {SHORTEST} characters; {make}")));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(secret("a secret consists of printable ASCII without spaces".to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The secret itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether a text is this secret, in a time that does not tell where they differ.
    pub fn is(&self, other: &str) -> bool {
        same(&digest(&self.0), &digest(other))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// SHA-256 of a text.
pub fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Whether two digests are equal, in constant time.
pub fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.ct_eq(b).into()
}
