//! Files stay small enough to be read in one go.

use emet_tidy::{Failure, root};
use std::path::{Path, PathBuf};

/// Lines of a source file, at most. Most are much shorter.
const MAX_LINES: usize = 800;

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            rust_files(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

#[test]
fn no_file_is_too_long() -> Result<(), Failure> {
    let mut files = Vec::new();
    for directory in ["libs", "services", "tests/e2e", "tests/crash", "tests/bench"] {
        rust_files(&root().join(directory), &mut files)?;
    }
    assert!(files.len() > 100, "the sources were found");
    for file in files {
        let lines = std::fs::read_to_string(&file)?.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines", file.display());
    }
    Ok(())
}
