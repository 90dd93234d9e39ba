//! Finding where inline arguments begin and end.
//!
//! Only strings, characters and brackets matter here; what the arguments mean is decided once
//! their types are known.

use crate::MAX_DEPTH;

/// Where the parenthesis closes that was opened just before this text.
pub(super) fn closing_paren(text: &str) -> Result<usize, String> {
    let mut scan = Scan::new(text);
    while let Some((offset, char)) = scan.next()? {
        if char == ')' && scan.open.is_empty() {
            return Ok(offset);
        }
        scan.bracket(char)?;
    }
    Err("`(` is not closed".to_owned())
}

/// Splits at the commas that are outside all strings and brackets.
pub(super) fn split_arguments(text: &str) -> Result<Vec<String>, String> {
    let mut scan = Scan::new(text);
    let mut arguments = Vec::new();
    let mut start = 0;
    while let Some((offset, char)) = scan.next()? {
        scan.bracket(char)?;
        if char == ',' && scan.open.is_empty() {
            let argument = text.get(start..offset).unwrap_or_default().trim();
            if argument.is_empty() {
                return Err("an argument is missing before `,`".to_owned());
            }
            arguments.push(argument.to_owned());
            start = offset + 1;
        }
    }
    // One comma after the last argument is allowed.
    let last = text.get(start..).unwrap_or_default().trim();
    if !last.is_empty() {
        arguments.push(last.to_owned());
    }
    Ok(arguments)
}

/// Steps through text, passing over strings and characters.
struct Scan<'a> {
    text: &'a str,
    position: usize,
    open: Vec<char>,
}

impl<'a> Scan<'a> {
    fn new(text: &'a str) -> Scan<'a> {
        Scan { text, position: 0, open: Vec::new() }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.position..).unwrap_or_default()
    }

    /// The next character that is not quoted, with its offset.
    fn next(&mut self) -> Result<Option<(usize, char)>, String> {
        loop {
            let rest = self.rest();
            let Some(char) = rest.chars().next() else { return Ok(None) };
            if rest.starts_with("//") {
                return Err("comments are not allowed in arguments".to_owned());
            } else if rest.starts_with("\"\"\"") {
                self.skip_quoted("\"\"\"")?;
            } else if char == '"' {
                self.skip_quoted("\"")?;
            } else if char == '\'' {
                self.skip_quoted("'")?;
            } else {
                let offset = self.position;
                self.position += char.len_utf8();
                return Ok(Some((offset, char)));
            }
        }
    }

    fn skip_quoted(&mut self, quote: &str) -> Result<(), String> {
        self.position += quote.len();
        loop {
            if self.rest().starts_with(quote) {
                self.position += quote.len();
                return Ok(());
            }
            let mut chars = self.rest().chars();
            let skipped = match chars.next() {
                None => return Err("a string is not closed".to_owned()),
                // Whatever is escaped cannot be the closing quote.
                Some('\\') => 1 + chars.next().map_or(0, char::len_utf8),
                Some(char) => char.len_utf8(),
            };
            self.position += skipped;
        }
    }

    /// Keeps account of brackets.
    fn bracket(&mut self, char: char) -> Result<(), String> {
        let closes = match char {
            '(' | '[' | '{' if self.open.len() >= MAX_DEPTH => {
                return Err(format!("arguments are nested deeper than {MAX_DEPTH} levels"));
            }
            '(' | '[' | '{' => {
                self.open.push(char);
                return Ok(());
            }
            ')' => '(',
            ']' => '[',
            '}' => '{',
            _ => return Ok(()),
        };
        match self.open.pop() {
            Some(open) if open == closes => Ok(()),
            Some(open) => Err(format!("`{char}` does not close `{open}`")),
            None => Err(format!("`{char}` closes nothing")),
        }
    }
}
