//! The functions that each part is exported by: their names and types, the same where they are made
//! and where they are passed on.

use crate::ledger;
use crate::rewrite::Next;
use wasm_encoder::{
    Component, ComponentExportKind, ComponentExportSection, ComponentTypeSection, ComponentValType,
    PrimitiveValType, ValType,
};

const U32: ComponentValType = ComponentValType::Primitive(PrimitiveValType::U32);
const U64: ComponentValType = ComponentValType::Primitive(PrimitiveValType::U64);

/// Types that do not depend on the component, in the order of [`add_plain_types`].
#[derive(Clone, Copy)]
pub(crate) enum Ty {
    NoneU32,
    U32,
    U32U32,
    TwoU32,
    Bytes,
    Write,
    Read,
    U32U64,
    U32U64None,
    Filler,
    Count,
}

/// Defines the types of [`Ty`], of which the first has this index.
pub(crate) fn add_plain_types(types: &mut ComponentTypeSection, first: u32) {
    let bytes = ComponentValType::Type(first + Ty::Bytes as u32);
    let none: [(&str, ComponentValType); 0] = [];
    types.function().params(none).result(Some(U32));
    types.function().params([("a", U32)]).result(None);
    types.function().params([("a", U32)]).result(Some(U32));
    types.function().params([("a", U32), ("b", U32)]).result(Some(U32));
    types.defined_type().list(ComponentValType::Primitive(PrimitiveValType::U8));
    types.function().params([("bytes", bytes)]).result(None);
    types.function().params([("offset", U32), ("length", U32)]).result(Some(bytes));
    types.function().params([("a", U32)]).result(Some(U64));
    types.function().params([("a", U32), ("b", U64)]).result(None);
    types.resource(ValType::I32, None);
}

/// Functions of the accessor that are exported as they are.
pub(crate) const OF_ACCESSOR: [(&str, Ty); 7] = [
    ("size", Ty::U32U32),
    ("grow", Ty::TwoU32),
    ("seek", Ty::U32),
    ("get", Ty::U32U64),
    ("set", Ty::U32U64None),
    ("fill", Ty::NoneU32),
    ("unfill", Ty::U32),
];

/// Functions of the ledger that are exported as they are.
pub(crate) const OF_LEDGER: [(&str, Ty); 4] = [
    (ledger::KIND, Ty::U32U32),
    (ledger::HIGHEST, Ty::NoneU32),
    (ledger::RAISE, Ty::U32),
    (ledger::REMOVE, Ty::U32),
];

/// `func(offset: u32, length: u32) -> list<u8>`: the memory itself, not a copy.
pub(crate) fn read(memory: u32) -> String {
    format!("read-{memory}")
}

/// `func(bytes: list<u8>)`: written at the place that was sought.
pub(crate) fn write(memory: u32) -> String {
    format!("write-{memory}")
}

/// The type of a resource.
pub(crate) fn resource(kind: u32) -> String {
    format!("resource-{kind}")
}

/// Functions for handles of one kind, in the order of their types.
#[derive(Clone, Copy)]
pub(crate) enum Handle {
    /// `func(kind: u32, resource: own<r>) -> u32`: puts one into the table.
    Give = 2,
    /// `func(index: u32) -> own<r>`: takes one out of the table, to be given back; the ledger is not
    /// told.
    Show,
    /// `func(rep: u32) -> own<r>`: makes one of the part's own.
    Own,
    /// `func(resource: borrow<r>) -> u32`: the representation of one of the part's own.
    Borrow,
}

impl Handle {
    /// Those that a kind has.
    pub(crate) fn of(own: bool) -> &'static [Self] {
        let all = &[Self::Give, Self::Show, Self::Own, Self::Borrow];
        if own { all } else { all.split_at(2).0 }
    }

    pub(crate) fn name(self, kind: u32) -> String {
        let name = match self {
            Self::Give => "give",
            Self::Show => "show",
            Self::Own => "own",
            Self::Borrow => "borrow",
        };
        format!("{name}-{kind}")
    }

    /// Index of the type, after [`export_resource`] with its first index.
    pub(crate) fn ty(self, first: u32) -> u32 {
        first + self as u32
    }
}

/// How many types there are for each kind.
const HANDLE_TYPES: u32 = 6;

/// Exports the type of a resource, and defines the types of the functions of [`Handle`]: only exported
/// types can be part of the type of an exported function. The index of the first of them.
pub(crate) fn export_resource(
    out: &mut Component,
    types: &mut u32,
    name: &str,
    resource: u32,
) -> u32 {
    let mut exports = ComponentExportSection::new();
    exports.export(name, ComponentExportKind::Type, resource, None);
    let exported = Next::take(types);
    let first = *types;
    let mut section = ComponentTypeSection::new();
    add_handle_types(&mut section, exported, first);
    *types += HANDLE_TYPES;
    out.section(&exports).section(&section);
    first
}

/// Defines the types of the functions of [`Handle`]; the first of them has the given index.
fn add_handle_types(types: &mut ComponentTypeSection, resource: u32, first: u32) {
    let (own, borrow) = (ComponentValType::Type(first), ComponentValType::Type(first + 1));
    types.defined_type().own(resource);
    types.defined_type().borrow(resource);
    types.function().params([("kind", U32), ("resource", own)]).result(Some(U32));
    types.function().params([("index", U32)]).result(Some(own));
    types.function().params([("rep", U32)]).result(Some(own));
    types.function().params([("resource", borrow)]).result(Some(U32));
}
