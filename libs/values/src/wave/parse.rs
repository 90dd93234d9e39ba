//! Reading WAVE text.

use super::{WaveError, is_keyword};
use crate::{MAX_DEPTH, Type, Value};

/// Reads a value of the given type; the whole text must be used up.
pub fn parse(typ: &Type, text: &str) -> Result<Value, WaveError> {
    let mut parser = Parser::new(text);
    let value = parser.value(typ, 0)?;
    parser.skip_space();
    if !parser.rest().is_empty() {
        return Err(parser.expected("end of text"));
    }
    Ok(value)
}

pub(super) struct Parser<'a> {
    text: &'a str,
    pub(super) pos: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Parser<'a> {
        Parser { text, pos: 0 }
    }

    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.pos..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.pos += token.len();
        }
        found
    }

    pub(super) fn expected(&self, what: &str) -> WaveError {
        WaveError::new(self.pos, format!("expected {what}"))
    }

    fn require(&mut self, token: &str) -> Result<(), WaveError> {
        self.skip_space();
        if self.eat(token) { Ok(()) } else { Err(self.expected(&format!("`{token}`"))) }
    }

    /// White space and comments.
    fn skip_space(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
            self.pos += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                return;
            }
            self.pos += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    /// Takes the longest run of characters that numbers and names consist of.
    pub(super) fn word(&mut self) -> &'a str {
        let word = self.peek_word();
        self.pos += word.len();
        word
    }

    fn peek_word(&self) -> &'a str {
        let rest = self.rest();
        let part = |char: char| char.is_ascii_alphanumeric() || "+-._%".contains(char);
        let end = rest.find(|char| !part(char)).unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    }

    fn value(&mut self, typ: &Type, depth: usize) -> Result<Value, WaveError> {
        if depth >= MAX_DEPTH {
            let message = format!("value is nested deeper than {MAX_DEPTH} levels");
            return Err(WaveError::new(self.pos, message));
        }
        self.skip_space();
        let depth = depth + 1;
        match typ {
            Type::Bool => self.bool(),
            Type::Char => self.char(),
            Type::String => self.string(),
            Type::List(inner) => {
                self.opening('[', "list")?;
                let items = self.items("]", |this, _| this.value(inner, depth))?;
                Ok(if typ.is_bytes() && items.is_empty() {
                    Value::list_u8([])
                } else {
                    Value::from_list(items)
                })
            }
            Type::Tuple(types) => self.tuple(types, depth),
            Type::Record(fields) => self.record(fields, depth),
            Type::Flags(names) => self.flags(names),
            Type::Enum(cases) => {
                let start = self.pos;
                let name = self.name("case name")?;
                let case = cases.iter().position(|case| case == name);
                case_number(case).map(Value::Enum).ok_or_else(|| unknown("case", name, start))
            }
            Type::Variant(cases) => self.variant(cases, depth),
            Type::Option(inner) => self.option(inner, depth),
            Type::Result { ok, err } => self.result(ok.as_deref(), err.as_deref(), depth),
            Type::Handle { .. } => Err(WaveError::new(self.pos, "handles have no text form")),
            number => self.number(number),
        }
    }

    fn bool(&mut self) -> Result<Value, WaveError> {
        let error = self.expected("bool");
        match self.word() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(error),
        }
    }

    fn opening(&mut self, bracket: char, what: &str) -> Result<(), WaveError> {
        if self.peek() != Some(bracket) {
            return Err(self.expected(what));
        }
        self.pos += bracket.len_utf8();
        Ok(())
    }

    /// Items up to the closing bracket, separated by commas, the last of which is optional.
    fn items<T>(
        &mut self,
        close: &str,
        each: impl Fn(&mut Self, usize) -> Result<T, WaveError>,
    ) -> Result<Vec<T>, WaveError> {
        let mut items = Vec::new();
        loop {
            self.skip_space();
            if self.eat(close) {
                return Ok(items);
            }
            items.push(each(self, items.len())?);
            self.skip_space();
            if !self.eat(",") {
                if self.eat(close) {
                    return Ok(items);
                }
                return Err(self.expected(&format!("`,` or `{close}`")));
            }
        }
    }

    fn tuple(&mut self, types: &[Type], depth: usize) -> Result<Value, WaveError> {
        let start = self.pos;
        self.opening('(', "tuple")?;
        let wrong = || WaveError::new(start, format!("expected a tuple of {}", types.len()));
        let items =
            self.items(")", |this, index| this.value(types.get(index).ok_or_else(wrong)?, depth))?;
        if items.len() == types.len() { Ok(Value::Tuple(items)) } else { Err(wrong()) }
    }

    fn record(&mut self, fields: &[(String, Type)], depth: usize) -> Result<Value, WaveError> {
        let start = self.pos;
        self.opening('{', "record")?;
        self.skip_space();
        let given = if self.eat(":") {
            self.require("}")?;
            Vec::new()
        } else {
            self.items("}", |this, _| this.field(fields, depth))?
        };
        let mut values: Vec<Option<Value>> = fields.iter().map(|_| None).collect();
        for (position, offset, value) in given {
            match values.get_mut(position) {
                Some(slot @ None) => *slot = Some(value),
                _ => return Err(WaveError::new(offset, "field is given twice")),
            }
        }
        let complete = fields.iter().zip(values).map(|((name, typ), value)| match (value, typ) {
            (Some(value), _) => Ok(value),
            (None, Type::Option(_)) => Ok(Value::none()),
            (None, _) => Err(WaveError::new(start, format!("missing field {name}"))),
        });
        complete.collect::<Result<_, _>>().map(Value::Record)
    }

    /// `name: value`, as the field's position, its offset in the text and the value.
    fn field(
        &mut self,
        fields: &[(String, Type)],
        depth: usize,
    ) -> Result<(usize, usize, Value), WaveError> {
        let start = self.pos;
        let name = self.name("field name")?;
        let position = fields.iter().position(|(field, _)| field == name);
        let found = position.and_then(|position| Some((position, fields.get(position)?)));
        let (position, (_, typ)) = found.ok_or_else(|| unknown("field", name, start))?;
        self.require(":")?;
        Ok((position, start, self.value(typ, depth)?))
    }

    fn flags(&mut self, names: &[String]) -> Result<Value, WaveError> {
        self.opening('{', "flags")?;
        let given = self.items("}", |this, _| {
            let start = this.pos;
            let name = this.name("flag name")?;
            let position = names.iter().position(|flag| flag == name);
            position.ok_or_else(|| unknown("flag", name, start))
        })?;
        let mut flags = vec![false; names.len()];
        for position in given {
            if let Some(flag) = flags.get_mut(position) {
                *flag = true;
            }
        }
        Ok(Value::Flags(flags))
    }

    fn variant(
        &mut self,
        cases: &[(String, Option<Type>)],
        depth: usize,
    ) -> Result<Value, WaveError> {
        let start = self.pos;
        let name = self.name("case name")?;
        let position = cases.iter().position(|(case, _)| case == name);
        let case = case_number(position).ok_or_else(|| unknown("case", name, start))?;
        let typ =
            position.and_then(|position| cases.get(position)).and_then(|(_, typ)| typ.as_ref());
        Ok(Value::Variant { case, value: self.payload(typ, depth)? })
    }

    fn option(&mut self, inner: &Type, depth: usize) -> Result<Value, WaveError> {
        match self.peek_word() {
            "none" => {
                self.word();
                Ok(Value::none())
            }
            "some" => {
                self.word();
                Ok(Value::Option(self.payload(Some(inner), depth)?))
            }
            _ if may_be_flat(inner) => self.value(inner, depth).map(Value::some),
            _ => Err(self.expected("`some(..)` or `none`")),
        }
    }

    fn result(
        &mut self,
        ok: Option<&Type>,
        err: Option<&Type>,
        depth: usize,
    ) -> Result<Value, WaveError> {
        match (self.peek_word(), ok) {
            ("ok", _) => {
                self.word();
                Ok(Value::Result(Ok(self.payload(ok, depth)?)))
            }
            ("err", _) => {
                self.word();
                Ok(Value::Result(Err(self.payload(err, depth)?)))
            }
            (_, Some(ok)) if may_be_flat(ok) => self.value(ok, depth).map(Value::ok),
            _ => Err(self.expected("`ok` or `err`")),
        }
    }

    /// `(value)` after a case that has a payload, nothing after one that has none.
    fn payload(
        &mut self,
        typ: Option<&Type>,
        depth: usize,
    ) -> Result<Option<Box<Value>>, WaveError> {
        let Some(typ) = typ else { return Ok(None) };
        self.require("(")?;
        let value = self.value(typ, depth)?;
        self.require(")")?;
        Ok(Some(Box::new(value)))
    }

    /// A name, with the `%` of a keyword taken off.
    fn name(&mut self, what: &str) -> Result<&'a str, WaveError> {
        let error = self.expected(what);
        let word = self.word();
        let name = match word.strip_prefix('%') {
            Some(name) => name,
            None => word,
        };
        if name.is_empty() { Err(error) } else { Ok(name) }
    }
}

/// Whether `some(..)` or `ok(..)` around a value of this type may be left out.
fn may_be_flat(typ: &Type) -> bool {
    !matches!(typ, Type::Option(_) | Type::Result { .. })
}

fn case_number(position: Option<usize>) -> Option<u32> {
    u32::try_from(position?).ok()
}

fn unknown(what: &str, name: &str, offset: usize) -> WaveError {
    let hint = if is_keyword(name) { " (a keyword)" } else { "" };
    WaveError::new(offset, format!("unknown {what} `{name}`{hint}"))
}
