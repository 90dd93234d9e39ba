//! Our text form against that of the reference implementation.

mod common;

use common::typed;
use emet_values::{Type, wave};
use proptest::prelude::*;
use wasm_wave::value::Type as Reference;
use wasm_wave::wasm::WasmTypeKind;

/// The same type over there; `None` where it has none.
fn reference(typ: &Type) -> Option<Reference> {
    let simple = Reference::simple;
    match typ {
        Type::Bool => simple(WasmTypeKind::Bool),
        Type::S8 => simple(WasmTypeKind::S8),
        Type::U8 => simple(WasmTypeKind::U8),
        Type::S16 => simple(WasmTypeKind::S16),
        Type::U16 => simple(WasmTypeKind::U16),
        Type::S32 => simple(WasmTypeKind::S32),
        Type::U32 => simple(WasmTypeKind::U32),
        Type::S64 => simple(WasmTypeKind::S64),
        Type::U64 => simple(WasmTypeKind::U64),
        Type::F32 => simple(WasmTypeKind::F32),
        Type::F64 => simple(WasmTypeKind::F64),
        Type::Char => simple(WasmTypeKind::Char),
        Type::String => simple(WasmTypeKind::String),
        Type::List(inner) => Some(Reference::list(reference(inner)?)),
        Type::Option(inner) => Some(Reference::option(reference(inner)?)),
        Type::Result { ok, err } => {
            Some(Reference::result(optional(ok.as_deref())?, optional(err.as_deref())?))
        }
        Type::Tuple(items) => {
            Reference::tuple(items.iter().map(reference).collect::<Option<Vec<_>>>()?)
        }
        Type::Record(fields) => {
            let each = |(name, typ): &(String, Type)| Some((name.clone(), reference(typ)?));
            Reference::record(fields.iter().map(each).collect::<Option<Vec<_>>>()?)
        }
        Type::Variant(cases) => {
            let each = |(name, typ): &(String, Option<Type>)| {
                Some((name.clone(), optional(typ.as_ref())?))
            };
            Reference::variant(cases.iter().map(each).collect::<Option<Vec<_>>>()?)
        }
        Type::Enum(cases) => Reference::enum_ty(cases.clone()),
        Type::Flags(names) => Reference::flags(names.clone()),
        Type::Handle { .. } => None,
    }
}

fn optional(typ: Option<&Type>) -> Option<Option<Reference>> {
    typ.map_or(Some(None), |typ| reference(typ).map(Some))
}

proptest! {
    #[test]
    fn each_reads_what_the_other_writes((typ, value) in typed(false)) {
        let ours = wave::print(&typ, &value);
        let reference = reference(&typ).unwrap();
        let read: wasm_wave::value::Value =
            wasm_wave::from_str(&reference, &ours).map_err(|e| TestCaseError::fail(format!("{e}: {ours}")))?;
        let theirs = wasm_wave::to_string(&read).unwrap();
        prop_assert_eq!(wave::parse(&typ, &theirs), Ok(value), "{}", theirs);
    }
}
