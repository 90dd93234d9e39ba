//! Values as WAVE text (WebAssembly Value Encoding), directed by their type.
//!
//! Printing follows the reference writer: option fields that are `none` are left out of records
//! (`{:}` if nothing is left), options and results are spelled out, cases named like a keyword
//! take a `%`. Very large and very small floats are printed with an exponent. All NaNs print as
//! `nan`.
//!
//! Parsing accepts what the reference parser does: trailing commas, `//` comments, `"""` strings,
//! options and results without their `some(..)` or `ok(..)` where that is unambiguous.
//!
//! Handles have no WAVE form; reading one is an error, and one is printed as `<handle ..>`,
//! which cannot be read.

mod literal;
mod parse;
mod print;

pub use parse::parse;
pub use print::print;

/// Why a text is not a value of the wanted type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at offset {offset}: {message}")]
pub struct WaveError {
    /// The byte offset in the text.
    pub offset: usize,
    /// What was expected there.
    pub message: String,
}

impl WaveError {
    fn new(offset: usize, message: impl Into<String>) -> WaveError {
        WaveError { offset, message: message.into() }
    }
}

/// Words with a meaning of their own; as names of cases they take a `%`.
fn is_keyword(name: &str) -> bool {
    matches!(name, "true" | "false" | "inf" | "nan" | "some" | "none" | "ok" | "err")
}

#[cfg(test)]
mod tests {
    use super::{parse, print};
    use crate::{MAX_DEPTH, Type, Value};

    fn order() -> Type {
        Type::Record(vec![
            ("sku".into(), Type::String),
            ("qty".into(), Type::U32),
            ("note".into(), Type::option(Type::String)),
        ])
    }

    #[test]
    fn records_leave_out_absent_options() {
        let value = Value::Record(vec![Value::String("a\"b".into()), Value::U32(2), Value::none()]);
        assert_eq!(print(&order(), &value), r#"{sku: "a\"b", qty: 2}"#);
        let text = "{ qty: 2, // how many\n sku: \"a\\\"b\", }";
        assert_eq!(parse(&order(), text), Ok(value));
        let all = Type::Record(vec![("note".into(), Type::option(Type::U8))]);
        assert_eq!(print(&all, &Value::Record(vec![Value::none()])), "{:}");
        assert_eq!(parse(&all, "{:}"), Ok(Value::Record(vec![Value::none()])));
    }

    #[test]
    fn options_and_results_may_be_flat() {
        let typ = Type::option(Type::U8);
        assert_eq!(parse(&typ, "7"), Ok(Value::some(Value::U8(7))));
        assert_eq!(parse(&typ, "some(7)"), Ok(Value::some(Value::U8(7))));
        assert_eq!(parse(&typ, "none"), Ok(Value::none()));
        let typ = Type::result(Some(Type::U8), None);
        assert_eq!(parse(&typ, "7"), Ok(Value::ok(Value::U8(7))));
        assert_eq!(parse(&typ, "err"), Ok(Value::Result(Err(None))));
        assert!(parse(&typ, "ok").is_err() && parse(&typ, "err(1)").is_err());
    }

    #[test]
    fn keywords_as_names_are_escaped() {
        let typ = Type::option(Type::Enum(vec!["none".into(), "plain".into()]));
        assert_eq!(parse(&typ, "none"), Ok(Value::none()));
        assert_eq!(parse(&typ, "%none"), Ok(Value::some(Value::Enum(0))));
        assert_eq!(print(&typ, &Value::some(Value::Enum(0))), "some(%none)");
    }

    #[test]
    fn text_literals() {
        assert_eq!(parse(&Type::Char, r"'\u{1F600}'"), Ok(Value::Char('😀')));
        assert_eq!(parse(&Type::Char, r"'\''"), Ok(Value::Char('\'')));
        let multi = "\"\"\"\n  one\n   \"two\"\n  \"\"\"";
        assert_eq!(parse(&Type::String, multi), Ok(Value::String("one\n \"two\"".into())));
        assert!(parse(&Type::String, "\"open").is_err());
        assert!(parse(&Type::Char, "'ab'").is_err());
        assert!(parse(&Type::String, r#""\x""#).is_err());
    }

    #[test]
    fn errors_name_the_place() {
        let error = parse(&order(), "{sku: 5}").unwrap_err();
        assert_eq!(error.to_string(), "at offset 6: expected string");
        assert!(parse(&Type::U8, "256").unwrap_err().message.contains("u8"));
        assert!(parse(&Type::U8, "1.5").is_err() && parse(&Type::U8, "1 2").is_err());
        let missing = parse(&order(), "{qty: 1}").unwrap_err();
        assert_eq!(missing.message, "missing field sku");
    }

    #[test]
    fn handles_and_deep_values_are_refused() {
        let handle = Type::Handle { resource_id: 0, mode: crate::ResourceMode::Owned };
        assert!(parse(&handle, "1").unwrap_err().message.contains("no text form"));
        let deep = (0..MAX_DEPTH).fold(Type::U8, |typ, _| Type::list(typ));
        assert!(parse(&deep, &"[".repeat(200)).unwrap_err().message.contains("nested"));
    }
}
