//! What in a module cannot be saved, found by one pass over its sections and operators.

use crate::{Refusal, uses};
use wasmparser::{
    ComponentAlias, ComponentOuterAliasKind, CompositeInnerType, ElementKind, FromReader, Operator,
    Parser, Payload, TypeRef, ValType,
};

/// Refuses a module with state that cannot be read or put back.
pub(crate) fn check_module(module: &[u8]) -> Result<(), Refusal> {
    let mut found = Found::default();
    for payload in Parser::new(0).parse_all(module) {
        check_payload(&payload?, &mut found)?;
    }
    if let (Some(what), true) = (found.drops, found.passive) {
        return uses(what);
    }
    Ok(())
}

#[derive(Default)]
struct Found {
    /// Whether there are passive segments, whose presence is state.
    passive: bool,
    /// The operator that drops one.
    drops: Option<&'static str>,
}

fn check_payload(payload: &Payload<'_>, found: &mut Found) -> Result<(), Refusal> {
    match payload {
        Payload::TypeSection(types) => {
            for group in types.clone() {
                for ty in group?.types() {
                    if !matches!(ty.composite_type.inner, CompositeInnerType::Func(_)) {
                        return uses("garbage-collected types");
                    }
                }
            }
        }
        Payload::ImportSection(imports) => {
            for import in imports.clone().into_imports() {
                check_import(&import?.ty)?;
            }
        }
        Payload::MemorySection(memories) => {
            for memory in memories.clone() {
                check_memory(&memory?)?;
            }
        }
        Payload::GlobalSection(globals) => {
            for global in globals.clone() {
                let ty = global?.ty;
                if ty.shared || ty.mutable && !is_number(ty.content_type) {
                    return uses("a mutable global that is not a number");
                }
            }
        }
        Payload::ElementSection(elements) => {
            for element in elements.clone() {
                found.passive |= matches!(element?.kind, ElementKind::Passive);
            }
        }
        Payload::DataSection(segments) => {
            for segment in segments.clone() {
                found.passive |= matches!(segment?.kind, wasmparser::DataKind::Passive);
            }
        }
        Payload::CodeSectionEntry(body) => {
            let mut operators = body.get_operators_reader()?;
            while !operators.eof() {
                check_operator(&operators.read()?, found)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn is_number(ty: ValType) -> bool {
    matches!(ty, ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64)
}

fn check_import(ty: &TypeRef) -> Result<(), Refusal> {
    match ty {
        TypeRef::Memory(memory) => check_memory(memory),
        _ => Ok(()),
    }
}

fn check_memory(memory: &wasmparser::MemoryType) -> Result<(), Refusal> {
    match memory {
        m if m.memory64 => uses("a 64-bit memory"),
        m if m.shared => uses("a shared memory"),
        m if m.page_size_log2.is_some() => uses("a memory with pages of its own size"),
        _ => Ok(()),
    }
}

fn check_operator(operator: &Operator<'_>, found: &mut Found) -> Result<(), Refusal> {
    match operator {
        Operator::TableSet { .. } => uses("writes to a table (table.set)"),
        Operator::TableGrow { .. } => uses("writes to a table (table.grow)"),
        Operator::TableFill { .. } => uses("writes to a table (table.fill)"),
        Operator::TableCopy { .. } => uses("writes to a table (table.copy)"),
        Operator::TableInit { .. } => uses("writes to a table (table.init)"),
        Operator::DataDrop { .. } => {
            found.drops = Some("drops a passive segment (data.drop)");
            Ok(())
        }
        Operator::ElemDrop { .. } => {
            found.drops = Some("drops a passive segment (elem.drop)");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Whether a component has modules, those of nested components not counted.
pub(crate) fn has_code(component: &[u8]) -> Result<bool, Refusal> {
    let mut depth = 0usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::ModuleSection { .. } if depth == 0 => return Ok(true),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(false)
}

/// Whether a component has modules, or one that is nested in it.
pub(crate) fn contains_code(component: &[u8]) -> Result<bool, Refusal> {
    for payload in Parser::new(0).parse_all(component) {
        if matches!(payload?, Payload::ModuleSection { .. }) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refuses a component without code of its own that takes code from around it.
pub(crate) fn check_stateless(component: &[u8]) -> Result<(), Refusal> {
    use ComponentOuterAliasKind::{Component, CoreModule};
    for payload in Parser::new(0).parse_all(component) {
        let Payload::ComponentAliasSection(aliases) = payload? else { continue };
        for alias in aliases {
            if let ComponentAlias::Outer { kind: CoreModule | Component, .. } = alias? {
                return uses("a nested component that refers to what is around it");
            }
        }
    }
    Ok(())
}

/// Names of the imports and exports of the outermost component, as far as it can be read.
pub(crate) fn outer_names(wasm: &[u8]) -> Vec<String> {
    let (mut names, mut depth) = (Vec::new(), 0usize);
    for payload in Parser::new(0).parse_all(wasm) {
        match payload {
            Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            Ok(Payload::ComponentImportSection(section)) if depth == 0 => {
                names
                    .extend(readable(section).map(|import: wasmparser::ComponentImport<'_>| {
                        import.name.name.to_owned()
                    }));
            }
            Ok(Payload::ComponentExportSection(section)) if depth == 0 => {
                names
                    .extend(readable(section).map(|export: wasmparser::ComponentExport<'_>| {
                        export.name.name.to_owned()
                    }));
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    names
}

fn readable<'a, T: FromReader<'a>>(
    section: wasmparser::SectionLimited<'a, T>,
) -> impl Iterator<Item = T> {
    section.into_iter().map_while(Result::ok)
}
