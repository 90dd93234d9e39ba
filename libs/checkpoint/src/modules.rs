//! Lets a module export its own memories and mutable globals. Its code is not touched.

use crate::{GlobalType, Refusal, uses};
use wasm_encoder::{ExportKind, ExportSection, Module, RawSection, SectionId};
use wasmparser::{ExternalKind, MemoryType, Parser, Payload, TypeRef, ValType};

/// What a memory is imported as where it does not matter which it is.
pub(crate) const ANY_MEMORY: wasm_encoder::MemoryType = wasm_encoder::MemoryType {
    minimum: 0,
    maximum: None,
    memory64: false,
    shared: false,
    page_size_log2: None,
};

/// What a module has of its own, under the names that it exports it by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owned {
    pub(crate) memories: Vec<(String, MemoryType)>,
    pub(crate) globals: Vec<(String, GlobalType)>,
}

impl Owned {
    pub(crate) fn is_empty(&self) -> bool {
        self.memories.is_empty() && self.globals.is_empty()
    }
}

/// Names of the added exports start with this.
const MARK: &str = "emet$";

/// The module with its state exported.
pub(crate) fn export_state(module: &[u8]) -> Result<(Vec<u8>, Owned), Refusal> {
    let (owned, added) = state_of(module)?;
    if owned.is_empty() {
        return Ok((module.to_vec(), owned));
    }
    let mut out = Module::new();
    let mut pending = Some(added);
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        let Some((id, range)) = payload.as_section() else { continue };
        if let Payload::ExportSection(section) = &payload {
            out.section(&exports(Some(section.clone()), &pending.take().unwrap_or_default())?);
            continue;
        }
        if comes_after_exports(id)
            && let Some(added) = pending.take()
        {
            out.section(&exports(None, &added)?);
        }
        let data = module
            .get(range)
            .ok_or_else(|| Refusal::Unreadable("a section leaves the module".into()))?;
        out.section(&RawSection { id, data });
    }
    if let Some(added) = pending {
        out.section(&exports(None, &added)?);
    }
    Ok((out.finish(), owned))
}

type Added = Vec<(String, ExportKind, u32)>;

fn state_of(module: &[u8]) -> Result<(Owned, Added), Refusal> {
    let (mut owned, mut added) = (Owned::default(), Vec::new());
    let (mut memories, mut globals) = (0u32, 0u32);
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    match import?.ty {
                        TypeRef::Memory(_) => memories += 1,
                        TypeRef::Global(_) => globals += 1,
                        _ => {}
                    }
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    let name = format!("{MARK}m{memories}");
                    added.push((name.clone(), ExportKind::Memory, memories));
                    owned.memories.push((name, memory?));
                    memories += 1;
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    if let Some(ty) = mutable_number(&global?.ty) {
                        let name = format!("{MARK}g{globals}");
                        added.push((name.clone(), ExportKind::Global, globals));
                        owned.globals.push((name, ty));
                    }
                    globals += 1;
                }
            }
            _ => {}
        }
    }
    Ok((owned, added))
}

fn mutable_number(ty: &wasmparser::GlobalType) -> Option<GlobalType> {
    match ty.content_type {
        _ if !ty.mutable => None,
        ValType::I32 => Some(GlobalType::I32),
        ValType::I64 => Some(GlobalType::I64),
        ValType::F32 => Some(GlobalType::F32),
        ValType::F64 => Some(GlobalType::F64),
        // The survey has refused others.
        _ => None,
    }
}

fn exports(
    present: Option<wasmparser::ExportSectionReader<'_>>,
    added: &Added,
) -> Result<ExportSection, Refusal> {
    let mut section = ExportSection::new();
    for export in present.into_iter().flatten() {
        let export = export?;
        if export.name.starts_with(MARK) {
            return uses(format!("an export of a module with the reserved name {}", export.name));
        }
        section.export(export.name, export_kind(export.kind), export.index);
    }
    for (name, kind, index) in added {
        section.export(name, *kind, *index);
    }
    Ok(section)
}

pub(crate) fn export_kind(kind: ExternalKind) -> ExportKind {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => ExportKind::Func,
        ExternalKind::Table => ExportKind::Table,
        ExternalKind::Memory => ExportKind::Memory,
        ExternalKind::Global => ExportKind::Global,
        ExternalKind::Tag => ExportKind::Tag,
    }
}

fn comes_after_exports(id: u8) -> bool {
    let after = [
        SectionId::Start,
        SectionId::Element,
        SectionId::DataCount,
        SectionId::Code,
        SectionId::Data,
    ];
    after.into_iter().any(|section| section as u8 == id)
}
