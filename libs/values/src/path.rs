//! Where in a value a mismatch was found, and the list of such mismatches.

use std::fmt;

use crate::MAX_MISMATCHES;

/// A place in a value, kept as a chain on the stack so that walking costs no allocation.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
    /// The value itself, `$`.
    Root,
    /// A field, case or side by name.
    Field(&'a Path<'a>, &'a str),
    /// An element of a list or tuple.
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    pub(crate) fn field<'a>(&'a self, name: &'a str) -> Path<'a> {
        Path::Field(self, name)
    }

    pub(crate) fn index(&self, index: usize) -> Path<'_> {
        Path::Index(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => f.write_str("$"),
            Path::Field(parent, name) => write!(f, "{parent}.{name}"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Collects mismatches, at most [`MAX_MISMATCHES`] of them.
#[derive(Default)]
pub(crate) struct Mismatches {
    listed: Vec<String>,
    unlisted: usize,
}

impl Mismatches {
    pub(crate) fn add(
        &mut self,
        path: &Path<'_>,
        expected: impl fmt::Display,
        got: impl fmt::Display,
    ) {
        if self.listed.len() < MAX_MISMATCHES {
            self.listed.push(format!("in {path} expected {expected}, got {got}"));
        } else {
            self.unlisted += 1;
        }
    }

    pub(crate) fn finish(mut self) -> Vec<String> {
        if self.unlisted > 0 {
            self.listed.push(format!("and {} more mismatches", self.unlisted));
        }
        self.listed
    }
}

/// Text shortened for a message, quoted.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 40;
    match text.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{:?}…", text.get(..cut).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
