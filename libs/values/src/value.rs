//! Component model values.

use std::borrow::Cow;

/// A value of some [`Type`](crate::Type), which it does not carry.
///
/// Names are left out: record fields stand in declaration order, cases and flags are numbers.
/// Equality is exact: floats are compared by their bits, so a NaN equals itself and zero differs
/// from negative zero. The two forms of `list<u8>` are equal.
#[derive(Clone, Debug)]
pub enum Value {
    /// `bool`
    Bool(bool),
    /// `s8`
    S8(i8),
    /// `u8`
    U8(u8),
    /// `s16`
    S16(i16),
    /// `u16`
    U16(u16),
    /// `s32`
    S32(i32),
    /// `u32`
    U32(u32),
    /// `s64`
    S64(i64),
    /// `u64`
    U64(u64),
    /// `f32`
    F32(f32),
    /// `f64`
    F64(f64),
    /// `char`
    Char(char),
    /// `string`
    String(String),
    /// `list<T>`
    List(Vec<Value>),
    /// `list<u8>`, compact; the same value as a [`Value::List`] of [`Value::U8`]
    Bytes(Vec<u8>),
    /// `tuple<..>`
    Tuple(Vec<Value>),
    /// `record`: field values in declaration order
    Record(Vec<Value>),
    /// `variant`
    Variant {
        /// Position of the case in the declaration.
        case: u32,
        /// Its payload.
        value: Option<Box<Value>>,
    },
    /// `enum`: position of the case
    Enum(u32),
    /// `flags`: one entry per declared flag
    Flags(Vec<bool>),
    /// `option<T>`
    Option(Option<Box<Value>>),
    /// `result<T, E>`
    Result(Result<Option<Box<Value>>, Option<Box<Value>>>),
    /// A resource of some worker
    Handle {
        /// The worker that owns the resource, `urn:worker:<component>/<name>`.
        uri: String,
        /// The resource's number within that worker.
        resource_id: u64,
    },
}

impl Value {
    /// A `list<u8>` in compact form.
    pub fn list_u8(bytes: impl Into<Vec<u8>>) -> Value {
        Value::Bytes(bytes.into())
    }

    /// `some(value)`
    pub fn some(value: Value) -> Value {
        Value::Option(Some(Box::new(value)))
    }

    /// `none`
    pub fn none() -> Value {
        Value::Option(None)
    }

    /// `ok(value)`
    pub fn ok(value: Value) -> Value {
        Value::Result(Ok(Some(Box::new(value))))
    }

    /// `err(value)`
    pub fn err(value: Value) -> Value {
        Value::Result(Err(Some(Box::new(value))))
    }

    /// The bytes of a `list<u8>` in either form.
    pub fn as_bytes(&self) -> Option<Cow<'_, [u8]>> {
        match self {
            Value::Bytes(bytes) => Some(Cow::Borrowed(bytes)),
            Value::List(items) => {
                items.iter().map(byte).collect::<Option<Vec<u8>>>().map(Cow::Owned)
            }
            _ => None,
        }
    }

    /// The bytes of a `list<u8>` in either form; anything else comes back unchanged.
    pub fn into_bytes(self) -> Result<Vec<u8>, Value> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            Value::List(items) => {
                let bytes: Option<Vec<u8>> = items.iter().map(byte).collect();
                bytes.ok_or(Value::List(items))
            }
            other => Err(other),
        }
    }

    /// The elements of a list in either form; anything else comes back unchanged.
    pub fn into_list(self) -> Result<Vec<Value>, Value> {
        match self {
            Value::List(items) => Ok(items),
            Value::Bytes(bytes) => Ok(bytes.into_iter().map(Value::U8).collect()),
            other => Err(other),
        }
    }

    /// A list of these elements, in compact form if all are `u8` (and there are any).
    pub fn from_list(items: Vec<Value>) -> Value {
        if !matches!(items.first(), Some(Value::U8(_))) {
            return Value::List(items);
        }
        match Value::List(items).into_bytes() {
            Ok(bytes) => Value::Bytes(bytes),
            Err(list) => list,
        }
    }

    /// The same value with every non-empty `list<u8>` in compact form.
    pub fn normalised(self) -> Value {
        let each = |items: Vec<Value>| items.into_iter().map(Value::normalised).collect();
        let boxed = |value: Option<Box<Value>>| value.map(|value| Box::new(value.normalised()));
        match self {
            Value::List(items) => Value::from_list(each(items)),
            Value::Tuple(items) => Value::Tuple(each(items)),
            Value::Record(fields) => Value::Record(each(fields)),
            Value::Variant { case, value } => Value::Variant { case, value: boxed(value) },
            Value::Option(value) => Value::Option(boxed(value)),
            Value::Result(Ok(value)) => Value::Result(Ok(boxed(value))),
            Value::Result(Err(value)) => Value::Result(Err(boxed(value))),
            other => other,
        }
    }

    /// The keyword of the value's shape: `u8`, `record`, `list`.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Bool(_) => "bool",
            Value::S8(_) => "s8",
            Value::U8(_) => "u8",
            Value::S16(_) => "s16",
            Value::U16(_) => "u16",
            Value::S32(_) => "s32",
            Value::U32(_) => "u32",
            Value::S64(_) => "s64",
            Value::U64(_) => "u64",
            Value::F32(_) => "f32",
            Value::F64(_) => "f64",
            Value::Char(_) => "char",
            Value::String(_) => "string",
            Value::List(_) => "list",
            Value::Bytes(_) => "list<u8>",
            Value::Tuple(_) => "tuple",
            Value::Record(_) => "record",
            Value::Variant { .. } => "variant",
            Value::Enum(_) => "enum",
            Value::Flags(_) => "flags",
            Value::Option(_) => "option",
            Value::Result(_) => "result",
            Value::Handle { .. } => "handle",
        }
    }
}

fn byte(value: &Value) -> Option<u8> {
    match value {
        Value::U8(byte) => Some(*byte),
        _ => None,
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::S8(a), Value::S8(b)) => a == b,
            (Value::U8(a), Value::U8(b)) => a == b,
            (Value::S16(a), Value::S16(b)) => a == b,
            (Value::U16(a), Value::U16(b)) => a == b,
            (Value::S32(a), Value::S32(b)) => a == b,
            (Value::U32(a), Value::U32(b)) => a == b,
            (Value::S64(a), Value::S64(b)) => a == b,
            (Value::U64(a), Value::U64(b)) => a == b,
            (Value::F32(a), Value::F32(b)) => a.to_bits() == b.to_bits(),
            (Value::F64(a), Value::F64(b)) => a.to_bits() == b.to_bits(),
            (Value::Char(a), Value::Char(b)) => a == b,
            (Value::String(a), Value::String(b)) => a == b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::Bytes(bytes), Value::List(items))
            | (Value::List(items), Value::Bytes(bytes)) => same_bytes(bytes, items),
            (Value::List(a), Value::List(b))
            | (Value::Tuple(a), Value::Tuple(b))
            | (Value::Record(a), Value::Record(b)) => a == b,
            (Value::Variant { case: a, value: x }, Value::Variant { case: b, value: y }) => {
                a == b && x == y
            }
            (Value::Enum(a), Value::Enum(b)) => a == b,
            (Value::Flags(a), Value::Flags(b)) => a == b,
            (Value::Option(a), Value::Option(b)) => a == b,
            (Value::Result(a), Value::Result(b)) => a == b,
            (
                Value::Handle { uri: a, resource_id: x },
                Value::Handle { uri: b, resource_id: y },
            ) => a == b && x == y,
            _ => false,
        }
    }
}

impl Eq for Value {}

fn same_bytes(bytes: &[u8], items: &[Value]) -> bool {
    bytes.len() == items.len()
        && bytes.iter().zip(items).all(|(byte, item)| matches!(item, Value::U8(b) if b == byte))
}

#[cfg(test)]
mod tests {
    use super::Value;

    #[test]
    fn both_forms_of_a_byte_list_are_one_value() {
        let long = Value::List(vec![Value::U8(1), Value::U8(255)]);
        assert_eq!(long, Value::list_u8([1, 255]));
        assert_eq!(Value::List(vec![]), Value::list_u8([]));
        assert_ne!(Value::List(vec![Value::U16(1)]), Value::list_u8([1]));
        assert_eq!(Value::list_u8([1, 255]).into_list().unwrap().len(), 2);
        assert!(matches!(
            Value::some(Value::Tuple(vec![long])).normalised(),
            Value::Option(Some(inner)) if matches!(&*inner, Value::Tuple(items)
                if matches!(&items[0], Value::Bytes(bytes) if *bytes == [1, 255]))
        ));
    }

    #[test]
    fn floats_are_compared_by_their_bits() {
        assert_eq!(Value::F64(f64::NAN), Value::F64(f64::NAN));
        assert_ne!(Value::F32(0.0), Value::F32(-0.0));
    }

    #[test]
    fn a_value_is_small() {
        assert!(size_of::<Value>() <= 40, "{}", size_of::<Value>());
    }
}
