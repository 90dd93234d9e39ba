//! Rust types with a fixed WIT shape.
//!
//! Host calls record their inputs and outputs as values; a Rust type that implements [`Wit`] goes
//! in and out without anyone spelling that out. The macros [`wit_record!`](crate::wit_record),
//! [`wit_enum!`](crate::wit_enum) and [`wit_variant!`](crate::wit_variant) define such types.

mod impls;
mod macros;

use crate::{Type, Value};

/// A Rust type that stands for one WIT type.
///
/// Law: `from_value(x.into_value())` is `x`, and `into_value` fits `wit_type()`.
pub trait Wit: Sized {
    /// The WIT type.
    fn wit_type() -> Type;

    /// Turns this into a value.
    fn into_value(self) -> Value;

    /// Takes a value apart; the error names the place that does not fit.
    fn from_value(value: Value) -> Result<Self, ValueError>;

    /// The type as the side of a result; only `()` has none.
    #[doc(hidden)]
    fn wit_payload_type() -> Option<Type> {
        Some(Self::wit_type())
    }

    /// This as the side of a result.
    #[doc(hidden)]
    fn into_payload(self) -> Option<Box<Value>> {
        Some(Box::new(self.into_value()))
    }

    /// This from the side of a result.
    #[doc(hidden)]
    fn from_payload(value: Option<Box<Value>>) -> Result<Self, ValueError> {
        match value {
            Some(value) => Self::from_value(*value),
            None => Err(ValueError::new("a value", "none")),
        }
    }

    /// A list of these; bytes have a form of their own.
    #[doc(hidden)]
    fn vec_into_value(items: Vec<Self>) -> Value {
        Value::List(items.into_iter().map(Self::into_value).collect())
    }

    /// A list of these back from its value.
    #[doc(hidden)]
    fn vec_from_value(value: Value) -> Result<Vec<Self>, ValueError> {
        let items = value.into_list().map_err(|other| ValueError::new("list", other.kind()))?;
        let each = |(index, item)| {
            Self::from_value(item).map_err(|error: ValueError| error.at(format_args!("[{index}]")))
        };
        items.into_iter().enumerate().map(each).collect()
    }
}

/// A value is not of the expected shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("in ${path} expected {expected}, got {got}")]
pub struct ValueError {
    path: String,
    expected: String,
    got: String,
}

impl ValueError {
    /// A mismatch at the value itself.
    pub fn new(expected: impl Into<String>, got: impl Into<String>) -> ValueError {
        ValueError { path: String::new(), expected: expected.into(), got: got.into() }
    }

    /// The same mismatch, seen from the value around: `[2]` or `.name` is put in front.
    #[must_use]
    pub fn at(mut self, step: impl std::fmt::Display) -> ValueError {
        self.path.insert_str(0, &step.to_string());
        self
    }

    /// The same mismatch in a field, case or side of that name.
    #[must_use]
    pub fn in_field(self, name: &str) -> ValueError {
        self.at(format_args!(".{name}"))
    }
}

/// What the macros expand to; not for direct use.
#[doc(hidden)]
pub mod support {
    use super::ValueError;
    use crate::Value;

    /// The WIT name of a Rust identifier: `a_b`, `AB2c`, `FooBar`, `HTTPCall` are `a-b`, `ab2c`,
    /// `foo-bar`, `http-call`.
    pub fn kebab(identifier: &str) -> String {
        let plain = identifier.strip_prefix("r#").unwrap_or(identifier);
        let mut out = String::with_capacity(plain.len() + 4);
        let mut before = '_';
        let mut chars = plain.trim_matches('_').chars().peekable();
        while let Some(char) = chars.next() {
            let next_is_lower = chars.peek().is_some_and(char::is_ascii_lowercase);
            let begins_word = char.is_ascii_uppercase()
                && (before.is_ascii_lowercase()
                    || before.is_ascii_digit()
                    || (before.is_ascii_uppercase() && next_is_lower));
            if begins_word {
                out.push('-');
            }
            out.push(if char == '_' { '-' } else { char.to_ascii_lowercase() });
            before = char;
        }
        out
    }

    /// The fields of a record value, if there are that many.
    pub fn fields(value: Value, count: usize) -> Result<std::vec::IntoIter<Value>, ValueError> {
        match value {
            Value::Record(fields) if fields.len() == count => Ok(fields.into_iter()),
            other => Err(ValueError::new(format!("record of {count}"), other.kind())),
        }
    }

    /// The items of a tuple value, if there are that many.
    pub fn items(value: Value, count: usize) -> Result<std::vec::IntoIter<Value>, ValueError> {
        match value {
            Value::Tuple(items) if items.len() == count => Ok(items.into_iter()),
            other => Err(ValueError::new(format!("tuple of {count}"), other.kind())),
        }
    }

    /// The next field or item; there is one, as they have been counted.
    pub fn next(values: &mut std::vec::IntoIter<Value>) -> Result<Value, ValueError> {
        values.next().ok_or_else(|| ValueError::new("a value", "none"))
    }
}

#[cfg(test)]
mod tests {
    use super::{ValueError, Wit, support::kebab};
    use crate::{Type, Value, check};

    crate::wit_record! {
        /// A test record.
        struct Sample {
            first_one: u64,
            r#type: Vec<u8>,
            deep: Option<Result<(), String>>,
        }
    }

    crate::wit_enum! {
        enum Colour { Red, DarkBlue, Odd = "ODD" }
    }

    crate::wit_variant! {
        enum Method { Get = "GET", Custom(String), Coloured(Colour) }
    }

    fn round_trip<T: Wit + Clone + PartialEq + std::fmt::Debug>(original: T) -> Value {
        let value = original.clone().into_value();
        assert_eq!(check(&T::wit_type(), &value), Vec::<String>::new());
        assert_eq!(T::from_value(value.clone()), Ok(original));
        value
    }

    #[test]
    fn identifiers_become_wit_names() {
        for (identifier, name) in [
            ("a_b", "a-b"),
            ("r#type", "type"),
            ("FooBar", "foo-bar"),
            ("HTTPCall", "http-call"),
            ("GET", "get"),
            ("S3Url", "s3-url"),
            ("Ipv4", "ipv4"),
        ] {
            assert_eq!(kebab(identifier), name);
        }
    }

    #[test]
    fn records() {
        let sample = Sample { first_one: 5, r#type: vec![1, 2], deep: Some(Ok(())) };
        let value = round_trip(sample);
        assert!(matches!(&value, Value::Record(fields) if matches!(fields[1], Value::Bytes(_))));
        let text = "record { first-one: u64, type: list<u8>, deep: option<result<_, string>> }";
        assert_eq!(Sample::wit_type().to_string(), text);
        let wrong = Value::Record(vec![Value::U64(1), Value::Bool(true), Value::none()]);
        let error = Sample::from_value(wrong).unwrap_err();
        assert_eq!(error.to_string(), "in $.type expected list<u8>, got bool");
        assert_eq!(
            Sample::from_value(Value::Bool(true)),
            Err(ValueError::new("record of 3", "bool"))
        );
    }

    #[test]
    fn enums_and_variants() {
        assert_eq!(round_trip(Colour::DarkBlue), Value::Enum(1));
        assert_eq!(Colour::wit_type().to_string(), "enum { red, dark-blue, ODD }");
        assert!(Colour::from_value(Value::Enum(3)).is_err());
        assert_eq!(round_trip(Method::Get), Value::Variant { case: 0, value: None });
        round_trip(Method::Custom("x".into()));
        round_trip(Method::Coloured(Colour::Odd));
        let text = "variant { GET, custom(string), coloured(enum { red, dark-blue, ODD }) }";
        assert_eq!(Method::wit_type().to_string(), text);
        let wrong = Value::Variant { case: 1, value: Some(Box::new(Value::U8(1))) };
        let error = Method::from_value(wrong).unwrap_err();
        assert_eq!(error.to_string(), "in $.custom expected string, got u8");
        let extra = Value::Variant { case: 0, value: Some(Box::new(Value::U8(1))) };
        assert!(Method::from_value(extra).is_err());
        assert!(Method::from_value(Value::Variant { case: 1, value: None }).is_err());
    }

    #[test]
    fn compositions() {
        round_trip((1u8, -2i16, 3u32, -4i64, 0.5f32, f64::MAX, 'x', "y".to_owned()));
        round_trip(vec![(true, Some(Box::new(7u16))), (false, None)]);
        round_trip::<Result<Vec<Colour>, ()>>(Ok(vec![Colour::Red]));
        assert_eq!(round_trip::<Result<(), ()>>(Err(())), Value::Result(Err(None)));
        assert_eq!(round_trip(()), Value::Tuple(vec![]));
        assert_eq!(<Result<(), u8>>::wit_type(), Type::result(None, Some(Type::U8)));
        assert!(matches!(vec![1u8].into_value(), Value::Bytes(_)));
        let long = Value::List(vec![Value::U8(3)]);
        assert_eq!(Vec::<u8>::from_value(long), Ok(vec![3]));
        let wrong = Value::List(vec![Value::U8(3), Value::Tuple(vec![])]);
        let error = Vec::<u16>::from_value(wrong).unwrap_err();
        assert_eq!(error.to_string(), "in $[0] expected u16, got u8");
    }
}
