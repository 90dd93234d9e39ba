//! What Cargo knows of the workspace, for the tests that check its shape.

use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What went wrong.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Every package of the dependency graph.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    /// The packages.
    pub packages: Vec<Package>,
    /// Ids of those in this repository.
    pub workspace_members: Vec<String>,
}

/// A package.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its id.
    pub id: String,
    /// SPDX expression.
    pub license: Option<String>,
    /// What it depends on by its manifest.
    pub dependencies: Vec<Dependency>,
}

/// A line of a manifest.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    /// Name of the package.
    pub name: String,
    /// None, `dev` or `build`.
    pub kind: Option<String>,
}

impl Package {
    /// What the package itself is built with, tests and build scripts apart.
    pub fn normal(&self) -> impl Iterator<Item = &str> {
        self.dependencies.iter().filter(|d| d.kind.is_none()).map(|d| d.name.as_str())
    }
}

impl Metadata {
    /// Asks Cargo.
    pub fn read() -> Result<Self, Failure> {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--locked"])
            .current_dir(root())
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The packages of this repository.
    pub fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|p| self.workspace_members.contains(&p.id))
    }
}

/// The top of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
