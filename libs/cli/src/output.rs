//! Printing results.

use crate::failure::Failure;
use crate::options::{Format, colours};
use emet_values::{TypedValue, Value, wave};
use serde::Serialize;
use std::io::Write;

/// Where results go.
pub(crate) struct Output {
    pub(crate) format: Format,
    colours: bool,
}

/// Rows of cells under headings.
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Lines with aligned columns; no white space at the ends.
    fn lines(&self) -> Vec<String> {
        let headings = self.headings.iter().map(|text| (*text).to_owned()).collect();
        let all: Vec<&Vec<String>> = std::iter::once(&headings).chain(&self.rows).collect();
        let width = |column: usize| {
            let cells = all.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let line = |row: &&Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        all.iter().map(line).collect()
    }
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, colours: colours(&std::io::stdout()) }
    }

    /// Prints everything as JSON or YAML, or else what `text` gives.
    pub(crate) fn show<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Table => self.line(&text()),
            Format::Json => self.line(&to_text(serde_json::to_string_pretty(value))?),
            Format::Yaml => self.line(to_text(serde_yaml_ng::to_string(value))?.trim_end()),
        }
    }

    /// Prints everything as JSON or YAML, or else a table.
    pub(crate) fn show_table<T: Serialize>(
        &self,
        value: &T,
        table: impl FnOnce() -> Table,
    ) -> Result<(), Failure> {
        self.show(value, || {
            let mut lines = table().lines();
            if let (true, Some(first)) = (self.colours, lines.first_mut()) {
                *first = format!("\x1b[1m{first}\x1b[0m");
            }
            lines.join("\n")
        })
    }

    /// Prints names and values in two columns.
    pub(crate) fn show_fields<T: Serialize>(
        &self,
        value: &T,
        fields: impl FnOnce() -> Vec<(&'static str, String)>,
    ) -> Result<(), Failure> {
        self.show(value, || {
            let fields = fields();
            let width = fields.iter().map(|(name, _)| name.len() + 1).max().unwrap_or(0);
            let lines = fields.iter().map(|(name, value)| {
                // Further lines of a value stand below its first one.
                let value = value.replace('\n', &format!("\n{:width$}  ", ""));
                format!("{:<width$}  {value}", format!("{name}:"))
            });
            lines.collect::<Vec<_>>().join("\n")
        })
    }

    /// Says in table format that something was done; prints `{}` or more in the others.
    pub(crate) fn done<T: Serialize>(&self, value: &T, text: &str) -> Result<(), Failure> {
        self.show(value, || text.to_owned())
    }

    /// Prints one line of text, whatever the format.
    pub(crate) fn line(&self, text: &str) -> Result<(), Failure> {
        Ok(writeln!(std::io::stdout().lock(), "{text}")?)
    }

    /// Prints one value of a stream: a line of JSON, a document of YAML, or text.
    pub(crate) fn item<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.line(&to_text(serde_json::to_string(value))?),
            Format::Yaml => {
                self.line(&format!("---\n{}", to_text(serde_yaml_ng::to_string(value))?))
            }
            Format::Table => self.line(&text()),
        }
    }

    /// Prints bytes as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes)?;
        Ok(out.flush()?)
    }
}

fn to_text<E: std::fmt::Display>(text: Result<String, E>) -> Result<String, Failure> {
    text.map_err(|error| Failure::new(format!("cannot print the result: {error}")))
}

/// Results of an invocation as WAVE, one per line; as JSON where they hold handles, which WAVE
/// cannot write.
pub(crate) fn results(result: &TypedValue) -> String {
    if result.typ.contains_handle() {
        return emet_values::json::encode(&result.typ, &result.value)
            .map_or_else(|errors| errors.join("; "), |json| json.to_string());
    }
    match (&result.typ, &result.value) {
        (emet_values::Type::Tuple(types), Value::Tuple(values)) => {
            let values = types.iter().zip(values).map(|(typ, value)| wave::print(typ, value));
            values.collect::<Vec<_>>().join("\n")
        }
        (typ, value) => wave::print(typ, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_without_trailing_space() {
        let mut table = Table::new(&["NAME", "N"]);
        table.row(vec!["größe".into(), "1".into()]);
        table.row(vec!["a".into(), String::new()]);
        assert_eq!(table.lines(), ["NAME   N", "größe  1", "a"]);
    }
}
