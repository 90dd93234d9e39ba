//! Writing values as JSON, straight into any serialiser.

use serde::ser::{Error as _, SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use crate::{Type, Value};

/// A value together with its type, serialisable as JSON.
///
/// Serialisation fails where the value does not fit the type; [`check`](crate::check) tells
/// beforehand, and in full.
#[derive(Clone, Copy, Debug)]
pub struct Encoder<'a> {
    /// The type that directs the encoding.
    pub typ: &'a Type,
    /// The value to write.
    pub value: &'a Value,
}

impl Serialize for Encoder<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.typ, self.value) {
            (Type::Bool, Value::Bool(flag)) => serializer.serialize_bool(*flag),
            (Type::String, Value::String(text)) => serializer.serialize_str(text),
            (Type::Char, Value::Char(char)) => serializer.serialize_u32(u32::from(*char)),
            (Type::F32, Value::F32(number)) => float(serializer, widened(*number)),
            (Type::F64, Value::F64(number)) => float(serializer, *number),
            (Type::Handle { .. }, Value::Handle { uri, resource_id }) => {
                serializer.collect_str(&format_args!("{uri}/{resource_id}"))
            }
            (Type::Enum(cases), Value::Enum(case)) => {
                serializer.serialize_str(nth(cases, *case).map_err(S::Error::custom)?)
            }
            (Type::Flags(names), Value::Flags(flags)) => {
                let set = names.iter().zip(flags).filter(|(_, set)| **set);
                serializer.collect_seq(set.map(|(name, _)| name))
            }
            (Type::Option(inner), Value::Option(value)) => match value {
                None => serializer.serialize_unit(),
                Some(value) => some(serializer, inner, value),
            },
            (Type::Result { ok, .. }, Value::Result(Ok(value))) => {
                one_key(serializer, "ok", ok.as_deref(), value.as_deref())
            }
            (Type::Result { err, .. }, Value::Result(Err(value))) => {
                one_key(serializer, "err", err.as_deref(), value.as_deref())
            }
            (Type::Variant(cases), Value::Variant { case, value }) => {
                let (name, typ) = nth(cases, *case).map_err(S::Error::custom)?;
                one_key(serializer, name, typ.as_ref(), value.as_deref())
            }
            (Type::List(_) | Type::Tuple(_) | Type::Record(_), _) => self.sequence(serializer),
            _ => self.integer(serializer),
        }
    }
}

impl Encoder<'_> {
    fn sequence<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.typ, self.value) {
            (Type::List(_), Value::Bytes(bytes)) => serializer.collect_seq(bytes),
            (Type::List(typ), Value::List(items)) => {
                serializer.collect_seq(items.iter().map(|value| Encoder { typ, value }))
            }
            (Type::Tuple(types), Value::Tuple(items)) if types.len() == items.len() => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                for (typ, value) in types.iter().zip(items) {
                    seq.serialize_element(&Encoder { typ, value })?;
                }
                seq.end()
            }
            (Type::Record(fields), Value::Record(items)) if fields.len() == items.len() => {
                let mut map = serializer.serialize_map(Some(items.len()))?;
                for ((name, typ), value) in fields.iter().zip(items) {
                    map.serialize_entry(name, &Encoder { typ, value })?;
                }
                map.end()
            }
            _ => Err(self.mismatch()),
        }
    }

    fn integer<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.typ, self.value) {
            (Type::U8, Value::U8(number)) => serializer.serialize_u8(*number),
            (Type::S8, Value::S8(number)) => serializer.serialize_i8(*number),
            (Type::U16, Value::U16(number)) => serializer.serialize_u16(*number),
            (Type::S16, Value::S16(number)) => serializer.serialize_i16(*number),
            (Type::U32, Value::U32(number)) => serializer.serialize_u32(*number),
            (Type::S32, Value::S32(number)) => serializer.serialize_i32(*number),
            (Type::U64, Value::U64(number)) => serializer.serialize_u64(*number),
            (Type::S64, Value::S64(number)) => serializer.serialize_i64(*number),
            _ => Err(self.mismatch()),
        }
    }

    fn mismatch<E: serde::ser::Error>(&self) -> E {
        E::custom(format_args!("expected {}, got {}", self.typ.kind(), self.value.kind()))
    }
}

/// The inner value of an option, wrapped if it could not be read back bare.
fn some<S: Serializer>(serializer: S, typ: &Type, value: &Value) -> Result<S::Ok, S::Error> {
    if matches!(typ, Type::Option(_)) && needs_wrapping(typ, value) {
        return one_key(serializer, "some", Some(typ), Some(value));
    }
    Encoder { typ, value }.serialize(serializer)
}

/// Whether the JSON of this value is `null` or an object with the single key `some`.
fn needs_wrapping(typ: &Type, value: &Value) -> bool {
    match (typ, value) {
        (Type::Option(_), Value::Option(None)) => true,
        // Either the inner value is wrapped, or it is bare and decides for itself.
        (Type::Option(inner), Value::Option(Some(value))) => needs_wrapping(inner, value),
        (Type::Record(fields), _) => matches!(fields.as_slice(), [(name, _)] if name == "some"),
        (Type::Variant(cases), Value::Variant { case, .. }) => {
            nth(cases, *case).is_ok_and(|(name, _)| name == "some")
        }
        _ => false,
    }
}

fn one_key<S: Serializer>(
    serializer: S,
    key: &str,
    typ: Option<&Type>,
    value: Option<&Value>,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    match (typ, value) {
        (Some(typ), Some(value)) => map.serialize_entry(key, &Encoder { typ, value })?,
        (None, None) => map.serialize_entry(key, &())?,
        (Some(typ), None) => {
            return Err(S::Error::custom(format_args!("expected {typ}, got no value")));
        }
        (None, Some(value)) => {
            return Err(S::Error::custom(format_args!("expected no value, got {}", value.kind())));
        }
    }
    map.end()
}

fn float<S: Serializer>(serializer: S, number: f64) -> Result<S::Ok, S::Error> {
    if number.is_finite() {
        serializer.serialize_f64(number)
    } else if number.is_nan() {
        serializer.serialize_str("NaN")
    } else if number > 0.0 {
        serializer.serialize_str("Infinity")
    } else {
        serializer.serialize_str("-Infinity")
    }
}

/// The double with the shortest digits that reads back as this single: 0.1 stays 0.1.
fn widened(number: f32) -> f64 {
    let shortest: f64 = format!("{number:e}").parse().unwrap_or(f64::NAN);
    // Rounding twice could in theory end at a neighbour.
    #[allow(clippy::cast_possible_truncation, reason = "comparing after rounding is the point")]
    let same = (shortest as f32).to_bits() == number.to_bits();
    if same { shortest } else { f64::from(number) }
}

fn nth<T>(items: &[T], index: u32) -> Result<&T, String> {
    let item = usize::try_from(index).ok().and_then(|index| items.get(index));
    item.ok_or_else(|| format!("expected one of {} cases, got {index}", items.len()))
}
