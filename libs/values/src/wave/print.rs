//! Writing WAVE text.

use std::fmt::Write;

use super::is_keyword;
use crate::{Type, Value};

/// Writes a value as WAVE text.
///
/// The value should fit the type (see [`check`](crate::check)); a part that does not is printed
/// as `<kind>`, which no parser accepts.
pub fn print(typ: &Type, value: &Value) -> String {
    let mut printer = Printer { out: String::new() };
    printer.value(typ, value);
    printer.out
}

struct Printer {
    out: String,
}

impl Printer {
    fn display(&mut self, text: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = write!(self.out, "{text}");
    }

    fn value(&mut self, typ: &Type, value: &Value) {
        match (typ, value) {
            (_, Value::Bool(flag)) => self.display(flag),
            (_, Value::S8(number)) => self.display(number),
            (_, Value::U8(number)) => self.display(number),
            (_, Value::S16(number)) => self.display(number),
            (_, Value::U16(number)) => self.display(number),
            (_, Value::S32(number)) => self.display(number),
            (_, Value::U32(number)) => self.display(number),
            (_, Value::S64(number)) => self.display(number),
            (_, Value::U64(number)) => self.display(number),
            (_, Value::F32(number)) if number.is_nan() => self.out.push_str("nan"),
            (_, Value::F64(number)) if number.is_nan() => self.out.push_str("nan"),
            (_, Value::F32(number)) => self.float(number, format!("{number:?}")),
            (_, Value::F64(number)) => self.float(number, format!("{number:?}")),
            (_, Value::Char(char)) => self.quoted('\'', std::iter::once(*char)),
            (_, Value::String(text)) => self.quoted('"', text.chars()),
            (_, Value::Bytes(bytes)) => self.separated('[', ']', bytes, Printer::display),
            (Type::List(inner), Value::List(items)) => {
                self.separated('[', ']', items, |this, item| this.value(inner, item));
            }
            (Type::Tuple(types), Value::Tuple(items)) => {
                let pairs = types.iter().zip(items);
                self.separated('(', ')', pairs, |this, (typ, item)| this.value(typ, item));
            }
            (Type::Record(fields), Value::Record(items)) => self.record(fields, items),
            (Type::Flags(names), Value::Flags(flags)) => {
                let set = names.iter().zip(flags).filter(|(_, set)| **set);
                self.separated('{', '}', set, |this, (name, _)| this.out.push_str(name));
            }
            (Type::Enum(cases), Value::Enum(case)) => match nth(cases, *case) {
                Some(name) => self.case_name(name),
                None => self.unprintable(value),
            },
            (Type::Variant(cases), Value::Variant { case, value: payload }) => {
                match nth(cases, *case) {
                    Some((name, typ)) => {
                        self.case_name(name);
                        self.payload(typ.as_ref(), payload.as_deref());
                    }
                    None => self.unprintable(value),
                }
            }
            (_, Value::Option(None)) => self.out.push_str("none"),
            (Type::Option(inner), Value::Option(Some(value))) => {
                self.case("some", Some(inner), Some(value));
            }
            (Type::Result { ok, .. }, Value::Result(Ok(value))) => {
                self.case("ok", ok.as_deref(), value.as_deref());
            }
            (Type::Result { err, .. }, Value::Result(Err(value))) => {
                self.case("err", err.as_deref(), value.as_deref());
            }
            (_, Value::Handle { uri, resource_id }) => {
                self.display(format_args!("<handle {uri}/{resource_id}>"));
            }
            _ => self.unprintable(value),
        }
    }

    fn unprintable(&mut self, value: &Value) {
        self.display(format_args!("<{}>", value.kind()));
    }

    fn record(&mut self, fields: &[(String, Type)], items: &[Value]) {
        let present: Vec<_> = fields
            .iter()
            .zip(items)
            .filter(|(_, item)| !matches!(item, Value::Option(None)))
            .collect();
        if present.is_empty() {
            return self.out.push_str("{:}");
        }
        self.separated('{', '}', present, |this, ((name, typ), item)| {
            this.out.push_str(name);
            this.out.push_str(": ");
            this.value(typ, item);
        });
    }

    fn case(&mut self, keyword: &str, typ: Option<&Type>, value: Option<&Value>) {
        self.out.push_str(keyword);
        self.payload(typ, value);
    }

    fn payload(&mut self, typ: Option<&Type>, value: Option<&Value>) {
        let Some(value) = value else { return };
        self.out.push('(');
        match typ {
            Some(typ) => self.value(typ, value),
            None => self.unprintable(value),
        }
        self.out.push(')');
    }

    fn separated<T>(
        &mut self,
        open: char,
        close: char,
        items: impl IntoIterator<Item = T>,
        each: impl Fn(&mut Printer, T),
    ) {
        self.out.push(open);
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.out.push_str(", ");
            }
            each(self, item);
        }
        self.out.push(close);
    }

    /// The name of a case, which unlike that of a field or flag could be taken for a keyword.
    fn case_name(&mut self, name: &str) {
        if is_keyword(name) {
            self.out.push('%');
        }
        self.out.push_str(name);
    }

    /// Plain digits for everyday numbers, the exponent form where those would run on and on.
    fn float(&mut self, plain: impl std::fmt::Display, debug: String) {
        if debug.contains('e') {
            self.out.push_str(&debug);
        } else {
            self.display(plain);
        }
    }

    fn quoted(&mut self, quote: char, chars: impl Iterator<Item = char>) {
        self.out.push(quote);
        for char in chars {
            match char {
                '\\' | '"' | '\'' | '\t' | '\r' | '\n' => self.display(char.escape_default()),
                _ if char.is_control() => self.display(char.escape_unicode()),
                _ => self.display(char.escape_debug()),
            }
        }
        self.out.push(quote);
    }
}

fn nth<T>(items: &[T], index: u32) -> Option<&T> {
    items.get(usize::try_from(index).ok()?)
}
