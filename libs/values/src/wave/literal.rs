//! Characters, strings and numbers in WAVE text.

use std::str::FromStr;

use super::WaveError;
use super::parse::Parser;
use crate::{Type, Value};

impl Parser<'_> {
    /// `'x'`
    pub(super) fn char(&mut self) -> Result<Value, WaveError> {
        let start = self.pos;
        if !self.eat("'") {
            return Err(self.expected("char"));
        }
        let char = match self.peek() {
            Some('\\') => self.escape()?,
            Some(char) if char != '\'' && char != '\n' => {
                self.pos += char.len_utf8();
                char
            }
            _ => return Err(WaveError::new(start, "expected one character between quotes")),
        };
        if !self.eat("'") {
            return Err(WaveError::new(start, "expected one character between quotes"));
        }
        Ok(Value::Char(char))
    }

    /// `"text"`, or lines between `"""` marks
    pub(super) fn string(&mut self) -> Result<Value, WaveError> {
        let start = self.pos;
        if self.eat("\"\"\"") {
            return self.multiline(start);
        }
        if !self.eat("\"") {
            return Err(self.expected("string"));
        }
        let mut text = String::new();
        loop {
            match self.peek() {
                Some('"') => break self.pos += 1,
                Some('\\') => text.push(self.escape()?),
                None | Some('\n') => return Err(WaveError::new(start, "string is not closed")),
                Some(char) => {
                    self.pos += char.len_utf8();
                    text.push(char);
                }
            }
        }
        Ok(Value::String(text))
    }

    /// The indentation of the closing mark is taken off every line.
    fn multiline(&mut self, start: usize) -> Result<Value, WaveError> {
        let fail = |message: &str| WaveError::new(start, message);
        let body_start = self.pos;
        let length = closing_mark(self.rest()).ok_or_else(|| fail("string is not closed"))?;
        let body = self.rest().get(..length).unwrap_or_default();
        let mut lines: Vec<(usize, &str)> = Vec::new();
        let mut offset = body_start;
        for line in body.split('\n') {
            lines.push((offset, line));
            offset += line.len() + 1;
        }
        let indent = match lines.pop() {
            Some((_, last)) if !lines.is_empty() && last.chars().all(|char| char == ' ') => last,
            _ => return Err(fail("the closing \"\"\" must stand on a line of its own")),
        };
        if !lines.first().is_some_and(|(_, first)| first.trim_end_matches('\r').is_empty()) {
            return Err(fail("the opening \"\"\" must end its line"));
        }
        let mut text = String::new();
        for (index, (offset, line)) in lines.iter().skip(1).enumerate() {
            if index > 0 {
                text.push('\n');
            }
            let line = line.strip_suffix('\r').unwrap_or(line);
            match line.strip_prefix(indent) {
                Some(content) => unescape_line(content, offset + indent.len(), &mut text)?,
                None if line.trim().is_empty() => {}
                None => return Err(WaveError::new(*offset, "line is indented less than the end")),
            }
        }
        self.pos = body_start + length + 3;
        Ok(Value::String(text))
    }

    /// A backslash and what follows it.
    fn escape(&mut self) -> Result<char, WaveError> {
        let bad = WaveError::new(self.pos, "unknown escape");
        let mut chars = self.rest().chars();
        chars.next();
        let char = match chars.next() {
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some(char @ ('\\' | '"' | '\'')) => char,
            Some('u') => return self.unicode_escape().ok_or(bad),
            _ => return Err(bad),
        };
        self.pos += 2;
        Ok(char)
    }

    /// `\u{1F600}`
    fn unicode_escape(&mut self) -> Option<char> {
        let (digits, _) = self.rest().strip_prefix("\\u{")?.split_once('}')?;
        let plain = digits.len() <= 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let char = char::from_u32(u32::from_str_radix(digits, 16).ok().filter(|_| plain)?)?;
        self.pos += digits.len() + "\\u{}".len();
        Some(char)
    }

    pub(super) fn number(&mut self, typ: &Type) -> Result<Value, WaveError> {
        let start = self.pos;
        let token = self.word();
        let value = match typ {
            Type::U8 => integer(token).map(Value::U8),
            Type::S8 => integer(token).map(Value::S8),
            Type::U16 => integer(token).map(Value::U16),
            Type::S16 => integer(token).map(Value::S16),
            Type::U32 => integer(token).map(Value::U32),
            Type::S32 => integer(token).map(Value::S32),
            Type::U64 => integer(token).map(Value::U64),
            Type::S64 => integer(token).map(Value::S64),
            Type::F32 => float(token).map(Value::F32).filter(|_| single_in_range(token)),
            Type::F64 => float(token).map(Value::F64).filter(|_| double_in_range(token)),
            _ => None,
        };
        value.ok_or_else(|| WaveError::new(start, format!("expected {}", typ.kind())))
    }
}

/// Where the closing `"""` is, passing over escaped characters.
fn closing_mark(body: &str) -> Option<usize> {
    let mut skip = false;
    body.char_indices()
        .find(|(index, char)| {
            let escaped = skip;
            skip = !escaped && *char == '\\';
            !escaped && body.get(*index..).is_some_and(|rest| rest.starts_with("\"\"\""))
        })
        .map(|(index, _)| index)
}

fn unescape_line(line: &str, offset: usize, text: &mut String) -> Result<(), WaveError> {
    let mut parser = Parser::new(line);
    while let Some(char) = parser.peek() {
        if char == '\\' {
            let shift = |error: WaveError| WaveError::new(offset + error.offset, error.message);
            text.push(parser.escape().map_err(shift)?);
        } else {
            parser.pos += char.len_utf8();
            text.push(char);
        }
    }
    Ok(())
}

/// Digits without leading zeros, as in JSON.
fn whole_part(token: &str) -> Option<&str> {
    let digits = token.strip_prefix('-').unwrap_or(token);
    let end = digits.find(|char: char| !char.is_ascii_digit()).unwrap_or(digits.len());
    let (whole, rest) = digits.split_at_checked(end)?;
    let good = !whole.is_empty() && (whole == "0" || !whole.starts_with('0'));
    good.then_some(rest)
}

fn integer<T: FromStr>(token: &str) -> Option<T> {
    whole_part(token).filter(|rest| rest.is_empty())?;
    token.parse().ok()
}

fn float<T: FromStr>(token: &str) -> Option<T> {
    match token {
        "nan" => "NaN".parse().ok(),
        "inf" | "-inf" => token.parse().ok(),
        _ => {
            let rest = whole_part(token)?;
            let fraction = rest.strip_prefix('.');
            let digit_next = |text: &str| text.starts_with(|char: char| char.is_ascii_digit());
            if fraction.is_some_and(|fraction| !digit_next(fraction)) {
                return None;
            }
            token.parse().ok()
        }
    }
}

/// Too large a number must not quietly become infinite.
fn single_in_range(token: &str) -> bool {
    token.ends_with("inf") || token.parse::<f32>().is_ok_and(|number| !number.is_infinite())
}

fn double_in_range(token: &str) -> bool {
    token.ends_with("inf") || token.parse::<f64>().is_ok_and(|number| !number.is_infinite())
}
