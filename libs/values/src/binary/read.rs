//! Reading values.

use super::{DecodeError, tag};
use crate::{MAX_DEPTH, Value};

/// Reads a value that takes up all the bytes.
pub fn decode(bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut rest = bytes;
    let value = decode_from(&mut rest)?;
    if rest.is_empty() { Ok(value) } else { Err(DecodeError::Trailing(rest.len())) }
}

/// Reads a value from the front of the bytes and moves them on past it.
pub fn decode_from(bytes: &mut &[u8]) -> Result<Value, DecodeError> {
    let mut reader = Reader { rest: bytes };
    let value = reader.value(0)?;
    *bytes = reader.rest;
    Ok(value)
}

pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value, DecodeError> {
        if depth >= MAX_DEPTH {
            return Err(DecodeError::TooDeep);
        }
        let depth = depth + 1;
        Ok(match self.byte()? {
            tag::FALSE => Value::Bool(false),
            tag::TRUE => Value::Bool(true),
            tag::U8 => Value::U8(self.byte()?),
            tag::S8 => Value::S8(self.byte()?.cast_signed()),
            tag::U16 => Value::U16(self.unsigned()?),
            tag::U32 => Value::U32(self.unsigned()?),
            tag::U64 => Value::U64(self.varint()?),
            tag::S16 => Value::S16(self.signed()?),
            tag::S32 => Value::S32(self.signed()?),
            tag::S64 => Value::S64(self.signed()?),
            tag::F32 => Value::F32(f32::from_le_bytes(self.array()?)),
            tag::F64 => Value::F64(f64::from_le_bytes(self.array()?)),
            tag::CHAR => Value::Char(char::from_u32(self.unsigned()?).ok_or(DecodeError::Text)?),
            tag::STRING => Value::String(self.text()?.to_owned()),
            tag::LIST => Value::List(self.sequence(depth)?),
            tag::BYTES => {
                let length = self.length()?;
                Value::Bytes(self.take(length)?.to_vec())
            }
            tag::TUPLE => Value::Tuple(self.sequence(depth)?),
            tag::RECORD => Value::Record(self.sequence(depth)?),
            tag::CASE => Value::Variant { case: self.unsigned()?, value: None },
            tag::CASE_WITH => {
                Value::Variant { case: self.unsigned()?, value: Some(self.boxed(depth)?) }
            }
            tag::ENUM => Value::Enum(self.unsigned()?),
            tag::FLAGS => Value::Flags(self.flags()?),
            tag::NONE => Value::Option(None),
            tag::SOME => Value::Option(Some(self.boxed(depth)?)),
            tag::OK => Value::Result(Ok(None)),
            tag::OK_WITH => Value::Result(Ok(Some(self.boxed(depth)?))),
            tag::ERR => Value::Result(Err(None)),
            tag::ERR_WITH => Value::Result(Err(Some(self.boxed(depth)?))),
            tag::HANDLE => {
                Value::Handle { uri: self.text()?.to_owned(), resource_id: self.varint()? }
            }
            other => return Err(DecodeError::Tag(other)),
        })
    }

    fn boxed(&mut self, depth: usize) -> Result<Box<Value>, DecodeError> {
        self.value(depth).map(Box::new)
    }

    fn sequence(&mut self, depth: usize) -> Result<Vec<Value>, DecodeError> {
        let count = self.length()?;
        let mut items = Vec::with_capacity(count.min(PREALLOCATED));
        for _ in 0..count {
            items.push(self.value(depth)?);
        }
        Ok(items)
    }

    fn flags(&mut self) -> Result<Vec<bool>, DecodeError> {
        let count = usize::try_from(self.varint()?).map_err(|_| DecodeError::Truncated)?;
        let packed = self.take(count.div_ceil(8))?;
        let bits = packed.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        // What is left of the last byte is zero, so that equal values are equal bytes.
        if bits.clone().skip(count).any(|set| set) {
            return Err(DecodeError::Number);
        }
        Ok(bits.take(count).collect())
    }

    /// A count of things that take at least one byte each.
    pub(super) fn length(&mut self) -> Result<usize, DecodeError> {
        let length = self.varint()?;
        let length = usize::try_from(length).map_err(|_| DecodeError::Truncated)?;
        if length <= self.rest.len() { Ok(length) } else { Err(DecodeError::Truncated) }
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| DecodeError::Text)
    }

    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        let (byte, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    fn unsigned<T: TryFrom<u64>>(&mut self) -> Result<T, DecodeError> {
        T::try_from(self.varint()?).map_err(|_| DecodeError::Number)
    }

    fn signed<T: TryFrom<i64>>(&mut self) -> Result<T, DecodeError> {
        let zigzag = self.varint()?;
        let number = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
        T::try_from(number).map_err(|_| DecodeError::Number)
    }

    pub(super) fn varint(&mut self) -> Result<u64, DecodeError> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let mut number = u64::from(first & 0x7f);
        for shift in (7..64).step_by(7) {
            let byte = self.byte()?;
            // The tenth byte has room for one bit only.
            if shift == 63 && byte > 1 {
                return Err(DecodeError::Number);
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                // A closing zero would add nothing: a longer form of the same number.
                return if byte == 0 { Err(DecodeError::Number) } else { Ok(number) };
            }
        }
        Err(DecodeError::Number)
    }
}

/// A count is believed up to here; beyond it memory grows with what is really there.
const PREALLOCATED: usize = 1024;
