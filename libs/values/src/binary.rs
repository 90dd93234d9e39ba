//! Values and types as bytes: the stored form, described byte by byte in `docs/format/values.md`.
//!
//! A value is a tag byte followed by its content; numbers wider than a byte are varints. Equal
//! values have equal bytes, so the bytes can serve as a key. The form carries no version: the
//! record around it does.

mod read;
mod types;
mod write;

use crate::MAX_DEPTH;

pub use read::{decode, decode_from};
pub use types::{decode_type, decode_type_from, encode_type, encode_type_into};
pub use write::{encode, encode_into};

/// Why bytes are not a value or type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end too early, or a length runs past their end.
    #[error("the bytes end in the middle of a value")]
    Truncated,
    /// Bytes are left over.
    #[error("{0} bytes follow the value")]
    Trailing(usize),
    /// No such tag.
    #[error("unknown tag {0:#04x}")]
    Tag(u8),
    /// A number too large for its type, or not in its shortest form.
    #[error("a number is out of range or not in its shortest form")]
    Number,
    /// Text that is not UTF-8, or a surrogate as a character.
    #[error("text is not valid Unicode")]
    Text,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// The tag bytes of values; gaps are for what may come.
mod tag {
    pub(super) const FALSE: u8 = 0x00;
    pub(super) const TRUE: u8 = 0x01;
    pub(super) const U8: u8 = 0x02;
    pub(super) const U16: u8 = 0x03;
    pub(super) const U32: u8 = 0x04;
    pub(super) const U64: u8 = 0x05;
    pub(super) const S8: u8 = 0x06;
    pub(super) const S16: u8 = 0x07;
    pub(super) const S32: u8 = 0x08;
    pub(super) const S64: u8 = 0x09;
    pub(super) const F32: u8 = 0x0a;
    pub(super) const F64: u8 = 0x0b;
    pub(super) const CHAR: u8 = 0x0c;
    pub(super) const STRING: u8 = 0x0d;
    pub(super) const LIST: u8 = 0x10;
    pub(super) const BYTES: u8 = 0x11;
    pub(super) const TUPLE: u8 = 0x12;
    pub(super) const RECORD: u8 = 0x13;
    pub(super) const CASE: u8 = 0x14;
    pub(super) const CASE_WITH: u8 = 0x15;
    pub(super) const ENUM: u8 = 0x16;
    pub(super) const FLAGS: u8 = 0x17;
    pub(super) const NONE: u8 = 0x18;
    pub(super) const SOME: u8 = 0x19;
    pub(super) const OK: u8 = 0x1a;
    pub(super) const OK_WITH: u8 = 0x1b;
    pub(super) const ERR: u8 = 0x1c;
    pub(super) const ERR_WITH: u8 = 0x1d;
    pub(super) const HANDLE: u8 = 0x1e;
}
