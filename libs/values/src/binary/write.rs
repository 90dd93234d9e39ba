//! Writing values.

use super::tag;
use crate::Value;

/// Writes a value into new bytes.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    encode_into(value, &mut out);
    out
}

/// Appends a value to bytes.
///
/// A value nested deeper than [`MAX_DEPTH`](crate::MAX_DEPTH) is written, but cannot be read
/// back; no value of a valid type is ([`Type::validate`](crate::Type::validate)).
pub fn encode_into(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Bool(false) => out.push(tag::FALSE),
        Value::Bool(true) => out.push(tag::TRUE),
        Value::U8(number) => out.extend([tag::U8, *number]),
        Value::S8(number) => out.extend([tag::S8, number.cast_unsigned()]),
        Value::U16(number) => tagged(out, tag::U16, u64::from(*number)),
        Value::U32(number) => tagged(out, tag::U32, u64::from(*number)),
        Value::U64(number) => tagged(out, tag::U64, *number),
        Value::S16(number) => tagged(out, tag::S16, zigzag(i64::from(*number))),
        Value::S32(number) => tagged(out, tag::S32, zigzag(i64::from(*number))),
        Value::S64(number) => tagged(out, tag::S64, zigzag(*number)),
        Value::F32(number) => {
            out.push(tag::F32);
            out.extend(number.to_le_bytes());
        }
        Value::F64(number) => {
            out.push(tag::F64);
            out.extend(number.to_le_bytes());
        }
        Value::Char(char) => tagged(out, tag::CHAR, u64::from(u32::from(*char))),
        Value::String(text) => {
            out.push(tag::STRING);
            write_bytes(out, text.as_bytes());
        }
        Value::List(items) => list(out, items),
        // The empty list has one form, whatever its type.
        Value::Bytes(bytes) if bytes.is_empty() => out.extend([tag::LIST, 0]),
        Value::Bytes(bytes) => {
            out.push(tag::BYTES);
            write_bytes(out, bytes);
        }
        Value::Tuple(items) => sequence(out, tag::TUPLE, items),
        Value::Record(items) => sequence(out, tag::RECORD, items),
        Value::Variant { case, value: None } => tagged(out, tag::CASE, u64::from(*case)),
        Value::Variant { case, value: Some(value) } => {
            tagged(out, tag::CASE_WITH, u64::from(*case));
            encode_into(value, out);
        }
        Value::Enum(case) => tagged(out, tag::ENUM, u64::from(*case)),
        Value::Flags(flags) => write_flags(out, flags),
        Value::Option(value) => payload(out, tag::NONE, tag::SOME, value.as_deref()),
        Value::Result(Ok(value)) => payload(out, tag::OK, tag::OK_WITH, value.as_deref()),
        Value::Result(Err(value)) => payload(out, tag::ERR, tag::ERR_WITH, value.as_deref()),
        Value::Handle { uri, resource_id } => {
            out.push(tag::HANDLE);
            write_bytes(out, uri.as_bytes());
            write_varint(out, *resource_id);
        }
    }
}

fn tagged(out: &mut Vec<u8>, tag: u8, number: u64) {
    out.push(tag);
    write_varint(out, number);
}

fn payload(out: &mut Vec<u8>, without: u8, with: u8, value: Option<&Value>) {
    match value {
        None => out.push(without),
        Some(value) => {
            out.push(with);
            encode_into(value, out);
        }
    }
}

fn sequence(out: &mut Vec<u8>, tag: u8, items: &[Value]) {
    tagged(out, tag, items.len() as u64);
    for item in items {
        encode_into(item, out);
    }
}

/// A list of bytes in the long form is written compactly, so that equal values are equal bytes.
fn list(out: &mut Vec<u8>, items: &[Value]) {
    let all_bytes = !items.is_empty() && items.iter().all(|item| matches!(item, Value::U8(_)));
    if !all_bytes {
        return sequence(out, tag::LIST, items);
    }
    tagged(out, tag::BYTES, items.len() as u64);
    out.extend(items.iter().map(|item| if let Value::U8(byte) = item { *byte } else { 0 }));
}

/// Eight flags to a byte, the first in the lowest bit.
fn write_flags(out: &mut Vec<u8>, flags: &[bool]) {
    tagged(out, tag::FLAGS, flags.len() as u64);
    let pack = |byte: &[bool]| {
        byte.iter().enumerate().fold(0u8, |bits, (index, set)| bits | u8::from(*set) << index)
    };
    out.extend(flags.chunks(8).map(pack));
}

/// Length, then content.
pub(super) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Seven bits a byte, lowest first; the high bit says that more follow.
pub(super) fn write_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Small numbers of either sign become small unsigned ones: 0, -1, 1, -2, 2 are 0, 1, 2, 3, 4.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}
