//! What refers to indexes that shift, encoded again.

use crate::{Refusal, uses};
use wasm_encoder::{CanonicalOption as NewOption, ComponentTypeSection, Encode, ValType};
use wasmparser::{CanonicalOption, ComponentExternalKind, ComponentOuterAliasKind};

pub(crate) fn new_index(map: &[u32], old: u32) -> Result<u32, Refusal> {
    let found = usize::try_from(old).ok().and_then(|old| map.get(old)).copied();
    found.ok_or_else(|| Refusal::Unreadable(format!("there is no index {old}")))
}

pub(crate) fn memory_option(options: &[CanonicalOption]) -> Option<u32> {
    options.iter().find_map(|option| {
        if let CanonicalOption::Memory(memory) = option { Some(*memory) } else { None }
    })
}

pub(crate) fn number(ty: wasmparser::ValType) -> Result<ValType, Refusal> {
    match ty {
        wasmparser::ValType::I32 => Ok(ValType::I32),
        wasmparser::ValType::I64 => Ok(ValType::I64),
        wasmparser::ValType::F32 => Ok(ValType::F32),
        wasmparser::ValType::F64 => Ok(ValType::F64),
        other => uses(format!("a function with a parameter or result of type {other}")),
    }
}

/// The encoded items of a section without length and count, both of which take one byte here.
pub(crate) fn section_items(section: &ComponentTypeSection) -> Vec<u8> {
    let mut encoded = Vec::new();
    section.encode(&mut encoded);
    encoded.split_off(encoded.len().min(2))
}

pub(crate) fn component_kind(
    kind: ComponentExternalKind,
) -> Result<wasm_encoder::ComponentExportKind, Refusal> {
    use wasm_encoder::ComponentExportKind as New;
    Ok(match kind {
        ComponentExternalKind::Func => New::Func,
        ComponentExternalKind::Type => New::Type,
        ComponentExternalKind::Instance => New::Instance,
        ComponentExternalKind::Component => {
            return uses("components that are passed between components");
        }
        ComponentExternalKind::Value => New::Value,
        ComponentExternalKind::Module => return uses("modules that are passed between components"),
    })
}

pub(crate) fn outer_kind(
    kind: ComponentOuterAliasKind,
) -> Result<wasm_encoder::ComponentOuterAliasKind, Refusal> {
    use wasm_encoder::ComponentOuterAliasKind as New;
    Ok(match kind {
        ComponentOuterAliasKind::Type => New::Type,
        ComponentOuterAliasKind::CoreType => New::CoreType,
        ComponentOuterAliasKind::Component => {
            return uses("components that are passed between components");
        }
        ComponentOuterAliasKind::CoreModule => {
            return uses("modules that are passed between components");
        }
    })
}

/// Options of a canonical function, with the new indexes of functions by old ones.
pub(crate) fn options(
    options: &[CanonicalOption],
    funcs: &[u32],
) -> Result<Vec<NewOption>, Refusal> {
    let option = |option: &CanonicalOption| {
        Ok(match option {
            CanonicalOption::UTF8 => NewOption::UTF8,
            CanonicalOption::UTF16 => NewOption::UTF16,
            CanonicalOption::CompactUTF16 => NewOption::CompactUTF16,
            CanonicalOption::Memory(memory) => NewOption::Memory(*memory),
            CanonicalOption::Realloc(func) => NewOption::Realloc(new_index(funcs, *func)?),
            CanonicalOption::PostReturn(func) => NewOption::PostReturn(new_index(funcs, *func)?),
            _ => return uses("asynchronous functions of the component model"),
        })
    };
    options.iter().map(option).collect()
}
