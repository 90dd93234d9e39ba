//! The file: keys with values and the lines they stand on.

use crate::ConfigError;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A configuration file.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) entries: Vec<Entry>,
}

/// One key.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The table it stands in: a role.
    pub(crate) role: Option<String>,
    pub(crate) key: String,
    /// Its value, or the items of its array, as a flag would be given them.
    pub(crate) values: Vec<String>,
    /// From 1.
    pub(crate) line: usize,
}

impl File {
    /// Reads a file. Only its syntax is checked.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let mut reader = Reader { path, text: &text, entries: Vec::new() };
        let table = DeTable::parse(&text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            reader.invalid(start, error.message().to_owned())
        })?;
        reader.table(None, table.get_ref())?;
        Ok(Self { path: path.to_owned(), entries: reader.entries })
    }

    /// The value that counts for a role: its own table is stronger than the top of the file.
    pub(crate) fn get(&self, role: &str, key: &str) -> Option<&Entry> {
        let named = |wanted: Option<&str>| {
            self.entries.iter().find(|e| e.key == key && e.role.as_deref() == wanted)
        };
        named(Some(role)).or_else(|| named(None))
    }

    pub(crate) fn invalid(&self, entry: &Entry, reason: impl Into<String>) -> ConfigError {
        ConfigError::Invalid { path: self.path.clone(), line: entry.line, reason: reason.into() }
    }
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    entries: Vec<Entry>,
}

impl Reader<'_> {
    fn table(&mut self, role: Option<&str>, table: &DeTable<'_>) -> Result<(), ConfigError> {
        for (key, value) in table {
            let start = key.span().start;
            let key = key.get_ref().as_ref();
            match (role, value.get_ref()) {
                (None, DeValue::Table(inner)) => self.table(Some(key), inner)?,
                (Some(role), DeValue::Table(_)) => {
                    let reason = format!("[{role}.{key}]: tables are roles, and do not nest");
                    return Err(self.invalid(start, reason));
                }
                (_, DeValue::Array(items)) => {
                    let values = items.iter().map(|item| self.scalar(key, item));
                    let values = values.collect::<Result<Vec<_>, _>>()?;
                    self.add(role, key, values, start);
                }
                _ => {
                    let value = self.scalar(key, value)?;
                    self.add(role, key, vec![value], start);
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, role: Option<&str>, key: &str, values: Vec<String>, start: usize) {
        let (role, key, line) = (role.map(str::to_owned), key.to_owned(), self.line(start));
        self.entries.push(Entry { role, key, values, line });
    }

    fn scalar(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Result<String, ConfigError> {
        match value.get_ref() {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Boolean(value) => Ok(value.to_string()),
            // As written: 1_000 is for the eye.
            DeValue::Integer(_) | DeValue::Float(_) => {
                Ok(self.text.get(value.span()).unwrap_or_default().replace('_', ""))
            }
            other => {
                let reason = format!("{key}: {} cannot be a value", other.type_str());
                Err(self.invalid(value.span().start, reason))
            }
        }
    }

    fn line(&self, offset: usize) -> usize {
        let before = self.text.get(..offset).unwrap_or_default();
        before.matches('\n').count() + 1
    }

    fn invalid(&self, offset: usize, reason: String) -> ConfigError {
        ConfigError::Invalid { path: self.path.to_owned(), line: self.line(offset), reason }
    }
}
