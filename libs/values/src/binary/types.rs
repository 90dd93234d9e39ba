//! Writing and reading types.

use super::DecodeError;
use super::read::Reader;
use super::write::{write_bytes, write_varint};
use crate::{MAX_DEPTH, ResourceMode, Type};

const BOOL: u8 = 0x00;
const U8: u8 = 0x02;
const U16: u8 = 0x03;
const U32: u8 = 0x04;
const U64: u8 = 0x05;
const S8: u8 = 0x06;
const S16: u8 = 0x07;
const S32: u8 = 0x08;
const S64: u8 = 0x09;
const F32: u8 = 0x0a;
const F64: u8 = 0x0b;
const CHAR: u8 = 0x0c;
const STRING: u8 = 0x0d;
const LIST: u8 = 0x10;
const TUPLE: u8 = 0x12;
const RECORD: u8 = 0x13;
const VARIANT: u8 = 0x14;
const ENUM: u8 = 0x16;
const FLAGS: u8 = 0x17;
const OPTION: u8 = 0x18;
const RESULT: u8 = 0x1a;
const OWN: u8 = 0x1e;
const BORROW: u8 = 0x1f;
/// Stands for a payload that is not there.
const NOTHING: u8 = 0xff;

/// Writes a type into new bytes.
pub fn encode_type(typ: &Type) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    encode_type_into(typ, &mut out);
    out
}

/// Appends a type to bytes.
pub fn encode_type_into(typ: &Type, out: &mut Vec<u8>) {
    out.push(type_tag(typ));
    match typ {
        Type::List(inner) | Type::Option(inner) => encode_type_into(inner, out),
        Type::Result { ok, err } => {
            payload(ok.as_deref(), out);
            payload(err.as_deref(), out);
        }
        Type::Tuple(items) => {
            write_varint(out, items.len() as u64);
            for item in items {
                encode_type_into(item, out);
            }
        }
        Type::Record(fields) => {
            write_varint(out, fields.len() as u64);
            for (name, typ) in fields {
                write_bytes(out, name.as_bytes());
                encode_type_into(typ, out);
            }
        }
        Type::Variant(cases) => {
            write_varint(out, cases.len() as u64);
            for (name, typ) in cases {
                write_bytes(out, name.as_bytes());
                payload(typ.as_ref(), out);
            }
        }
        Type::Enum(names) | Type::Flags(names) => {
            write_varint(out, names.len() as u64);
            for name in names {
                write_bytes(out, name.as_bytes());
            }
        }
        Type::Handle { resource_id, .. } => write_varint(out, *resource_id),
        _ => {}
    }
}

fn payload(typ: Option<&Type>, out: &mut Vec<u8>) {
    match typ {
        Some(typ) => encode_type_into(typ, out),
        None => out.push(NOTHING),
    }
}

fn type_tag(typ: &Type) -> u8 {
    match typ {
        Type::Bool => BOOL,
        Type::U8 => U8,
        Type::U16 => U16,
        Type::U32 => U32,
        Type::U64 => U64,
        Type::S8 => S8,
        Type::S16 => S16,
        Type::S32 => S32,
        Type::S64 => S64,
        Type::F32 => F32,
        Type::F64 => F64,
        Type::Char => CHAR,
        Type::String => STRING,
        Type::List(_) => LIST,
        Type::Tuple(_) => TUPLE,
        Type::Record(_) => RECORD,
        Type::Variant(_) => VARIANT,
        Type::Enum(_) => ENUM,
        Type::Flags(_) => FLAGS,
        Type::Option(_) => OPTION,
        Type::Result { .. } => RESULT,
        Type::Handle { mode: ResourceMode::Owned, .. } => OWN,
        Type::Handle { mode: ResourceMode::Borrowed, .. } => BORROW,
    }
}

/// Reads a type that takes up all the bytes.
pub fn decode_type(bytes: &[u8]) -> Result<Type, DecodeError> {
    let mut rest = bytes;
    let typ = decode_type_from(&mut rest)?;
    if rest.is_empty() { Ok(typ) } else { Err(DecodeError::Trailing(rest.len())) }
}

/// Reads a type from the front of the bytes and moves them on past it.
pub fn decode_type_from(bytes: &mut &[u8]) -> Result<Type, DecodeError> {
    let mut reader = Reader { rest: bytes };
    let typ = reader.typ(0)?;
    *bytes = reader.rest;
    Ok(typ)
}

impl Reader<'_> {
    fn typ(&mut self, depth: usize) -> Result<Type, DecodeError> {
        match self.byte()? {
            NOTHING => Err(DecodeError::Tag(NOTHING)),
            tag => self.tagged_type(tag, depth),
        }
    }

    fn optional_type(&mut self, depth: usize) -> Result<Option<Type>, DecodeError> {
        match self.byte()? {
            NOTHING => Ok(None),
            tag => self.tagged_type(tag, depth).map(Some),
        }
    }

    fn tagged_type(&mut self, tag: u8, depth: usize) -> Result<Type, DecodeError> {
        if depth >= MAX_DEPTH {
            return Err(DecodeError::TooDeep);
        }
        let depth = depth + 1;
        Ok(match tag {
            BOOL => Type::Bool,
            U8 => Type::U8,
            U16 => Type::U16,
            U32 => Type::U32,
            U64 => Type::U64,
            S8 => Type::S8,
            S16 => Type::S16,
            S32 => Type::S32,
            S64 => Type::S64,
            F32 => Type::F32,
            F64 => Type::F64,
            CHAR => Type::Char,
            STRING => Type::String,
            LIST => Type::list(self.typ(depth)?),
            OPTION => Type::option(self.typ(depth)?),
            RESULT => Type::result(self.optional_type(depth)?, self.optional_type(depth)?),
            TUPLE => Type::Tuple(self.repeated(|this| this.typ(depth))?),
            RECORD => Type::Record(self.repeated(|this| Ok((this.name()?, this.typ(depth)?)))?),
            VARIANT => {
                Type::Variant(self.repeated(|this| Ok((this.name()?, this.optional_type(depth)?)))?)
            }
            ENUM => Type::Enum(self.repeated(Reader::name)?),
            FLAGS => Type::Flags(self.repeated(Reader::name)?),
            OWN => Type::Handle { resource_id: self.varint()?, mode: ResourceMode::Owned },
            BORROW => Type::Handle { resource_id: self.varint()?, mode: ResourceMode::Borrowed },
            other => return Err(DecodeError::Tag(other)),
        })
    }

    fn name(&mut self) -> Result<String, DecodeError> {
        self.text().map(str::to_owned)
    }

    /// Things that take at least a byte each; memory grows only with what is really there.
    fn repeated<T>(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.length()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(each(self)?);
        }
        Ok(items)
    }
}
