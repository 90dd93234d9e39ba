//! Values as JSON, directed by their type.
//!
//! | WIT | JSON |
//! |---|---|
//! | bool | `true`, `false` |
//! | integers | number; also read: a decimal string, and a number such as `1e3` without a fraction |
//! | f32, f64 | number; `"NaN"`, `"Infinity"`, `"-Infinity"`; also read: a decimal string |
//! | char | the code point as a number; also read: a string of one character |
//! | string, enum | string |
//! | list, tuple | array |
//! | record | object; read with unknown keys ignored and absent option fields as `none` |
//! | variant | object with one key, `null` inside for a case without payload; also read: the bare name of such a case |
//! | flags | array of the names that are set |
//! | option | `null` or the inner value |
//! | result | `{"ok": v}` or `{"err": v}`, `null` inside without payload; if both are there, `ok` counts |
//! | handle | `"urn:worker:<component>/<worker>/<resource>"` |
//!
//! **Options of options.** Where the type is `option<option<..>>`, a value that would read back
//! as something else is wrapped: `some(none)` is `{"some": null}`, and so is any inner value that
//! is itself an object with the single key `some`. All else stays bare, as older clients have it.
//! On input an object with the single key `some` is the wrapped form, anything else the bare one.

mod decode;
mod encode;

use std::fmt;

use serde_json::Value as Json;

use crate::{Type, Value, check};

pub use decode::decode;
pub use encode::Encoder;

/// Writes a value as JSON; lists all mismatches if it does not fit the type.
pub fn encode(typ: &Type, value: &Value) -> Result<Json, Vec<String>> {
    let mismatches = check(typ, value);
    if !mismatches.is_empty() {
        return Err(mismatches);
    }
    serde_json::to_value(Encoder { typ, value }).map_err(|error| vec![error.to_string()])
}

/// JSON named for a message: `number 5`, `string "a"`, `array`.
struct Described<'a>(&'a Json);

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Json::Null => f.write_str("null"),
            Json::Bool(flag) => write!(f, "bool {flag}"),
            Json::Number(number) => write!(f, "number {number}"),
            Json::String(text) => write!(f, "string {}", crate::path::quoted(text)),
            Json::Array(_) => f.write_str("array"),
            Json::Object(_) => f.write_str("object"),
        }
    }
}
