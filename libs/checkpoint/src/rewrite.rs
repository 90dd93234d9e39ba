//! The rewriting itself: one pass over the sections of a component.
//!
//! Component-level index spaces stay as they are, for everything is added at their ends. Those of
//! core modules, instances and functions shift, because the ledger comes first and wrappers come
//! between; what refers to them is encoded again, all other sections are copied.

use crate::accessor::Outer;
use crate::modules::{Owned, export_kind, export_state};
use crate::nested::Nested;
use crate::reencode::{
    component_kind, memory_option, new_index, options, outer_kind, section_items,
};
use crate::resources::Resources;
use crate::survey::{check_module, check_stateless, contains_code, has_code};
use crate::wrap::{Change, Wrap};
use crate::{Part, Refusal, Remade, accessor, ledger, uses};
use wasm_encoder::{
    Alias, CanonicalFunctionSection, Component, ComponentAliasSection, ComponentSectionId,
    ComponentTypeSection, Encode, ExportKind, InstanceSection, ModuleArg, ModuleSection,
    RawSection, ValType,
};
use wasmparser::types::TypesRef;
use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentExternalKind, ComponentType, Instance, Parser,
    Payload, Validator, WasmFeatures,
};

/// How deep components with code may be nested.
const MAX_DEPTH: usize = 8;

/// What a component may use.
pub(crate) fn features() -> WasmFeatures {
    WasmFeatures::default() | WasmFeatures::COMPONENT_MODEL
}

/// Rewrites a component that is nested so deep; says what parts it has.
pub(crate) fn rewrite(
    wasm: &[u8],
    remade: &[Remade],
    depth: usize,
) -> Result<(Vec<u8>, Vec<Part>), Refusal> {
    if depth > MAX_DEPTH {
        return uses(format!("components that are nested more than {MAX_DEPTH} deep"));
    }
    let types = match Validator::new_with_features(features()).validate_all(wasm) {
        Ok(types) => types,
        // The outermost one has been found to be valid with all that it contains.
        Err(_) if depth > 0 => return uses("a nested component that refers to what is around it"),
        Err(error) => return Err(error.into()),
    };
    let types = types.as_ref();
    let resources = Resources::find(wasm, types, remade)?;
    let mut rewriter = Rewriter::new(wasm, types, &resources, (remade, depth));
    let with_code = has_code(wasm)?;
    if with_code {
        rewriter.add_ledger();
    }
    rewriter.copy()?;
    rewriter.flush();
    let Rewriter { mut out, states, next, nested, .. } = rewriter;
    let mut outer =
        Outer { types: types.component_type_count(), funcs: types.component_function_count() };
    let mut parts = Vec::new();
    if with_code {
        let first_memory = types.memory_count();
        parts.push(accessor::append(&mut out, &mut outer, first_memory, &resources, &states, next));
    }
    nested.export(&mut out, &mut outer, &mut parts);
    Ok((out.finish(), parts))
}

/// The next free index of the spaces of core things.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Next {
    pub(crate) module: u32,
    pub(crate) instance: u32,
    pub(crate) func: u32,
}

impl Next {
    pub(crate) fn take(counter: &mut u32) -> u32 {
        let index = *counter;
        *counter += 1;
        index
    }
}

/// A core instance that has state.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) instance: u32,
    pub(crate) owned: Owned,
}

/// Index of the ledger among the core instances.
pub(crate) const LEDGER_INSTANCE: u32 = 0;

pub(crate) struct Rewriter<'a> {
    wasm: &'a [u8],
    pub(crate) types: TypesRef<'a>,
    pub(crate) resources: &'a Resources,
    /// What nested components are rewritten with, and how deep this one is nested.
    nesting: (&'a [Remade], usize),
    nested: Nested,
    pub(crate) out: Component,
    pub(crate) next: Next,
    /// New indexes by old ones.
    modules: Vec<u32>,
    instances: Vec<u32>,
    pub(crate) funcs: Vec<u32>,
    /// What the modules have of their own.
    owned: Vec<Owned>,
    states: Vec<State>,
    /// Wrappers to be made before anything refers to them, and the old indexes that they stand for.
    pub(crate) pending: Vec<(u32, Wrap)>,
}

impl<'a> Rewriter<'a> {
    fn new(
        wasm: &'a [u8],
        types: TypesRef<'a>,
        resources: &'a Resources,
        nesting: (&'a [Remade], usize),
    ) -> Self {
        Self {
            wasm,
            types,
            resources,
            nesting,
            nested: Nested::default(),
            out: Component::new(),
            next: Next::default(),
            modules: Vec::new(),
            instances: Vec::new(),
            funcs: Vec::new(),
            owned: Vec::new(),
            states: Vec::new(),
            pending: Vec::new(),
        }
    }

    fn add_ledger(&mut self) {
        let module = ledger::module(u32::try_from(self.resources.found.len()).unwrap_or(u32::MAX));
        self.out.section(&ModuleSection(&module));
        let mut instances = InstanceSection::new();
        instances.instantiate(
            Next::take(&mut self.next.module),
            std::iter::empty::<(&str, ModuleArg)>(),
        );
        self.out.section(&instances);
        self.next.instance += 1;
    }

    /// Copies the sections of the outermost component.
    fn copy(&mut self) -> Result<(), Refusal> {
        let mut depth = 0usize;
        for payload in Parser::new(0).parse_all(self.wasm) {
            let payload = payload?;
            match &payload {
                Payload::ModuleSection { unchecked_range, .. } => {
                    if depth == 0 {
                        self.copy_module(self.bytes(unchecked_range.clone())?)?;
                    }
                    depth += 1;
                }
                Payload::ComponentSection { unchecked_range, .. } => {
                    if depth == 0 {
                        self.copy_component(self.bytes(unchecked_range.clone())?)?;
                    }
                    depth += 1;
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ if depth == 0 => self.copy_section(&payload)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn bytes(&self, range: std::ops::Range<usize>) -> Result<&'a [u8], Refusal> {
        self.wasm
            .get(range)
            .ok_or_else(|| Refusal::Unreadable("a section leaves the component".into()))
    }

    fn copy_module(&mut self, module: &[u8]) -> Result<(), Refusal> {
        check_module(module)?;
        let (module, owned) = export_state(module)?;
        self.out.section(&RawSection { id: ComponentSectionId::CoreModule as u8, data: &module });
        self.modules.push(Next::take(&mut self.next.module));
        self.owned.push(owned);
        Ok(())
    }

    /// A nested component: with code in it or in those that it contains it is rewritten too.
    fn copy_component(&mut self, component: &[u8]) -> Result<(), Refusal> {
        let id = ComponentSectionId::Component as u8;
        if !contains_code(component)? {
            check_stateless(component)?;
            self.nested.define(Vec::new());
            self.out.section(&RawSection { id, data: component });
            return Ok(());
        }
        let (remade, depth) = self.nesting;
        let (component, parts) = rewrite(component, remade, depth + 1)?;
        self.nested.define(parts);
        self.out.section(&RawSection { id, data: &component });
        Ok(())
    }

    fn copy_section(&mut self, payload: &Payload<'a>) -> Result<(), Refusal> {
        match payload {
            Payload::InstanceSection(section) => self.copy_instances(section.clone())?,
            Payload::ComponentAliasSection(section) => self.copy_aliases(section.clone())?,
            Payload::ComponentCanonicalSection(section) => self.copy_canonical(section.clone())?,
            Payload::ComponentTypeSection(section) => self.copy_types(section.clone())?,
            Payload::ComponentStartSection { .. } => {
                return uses("a start function of the component");
            }
            // Names would be those of other indexes.
            Payload::CustomSection(section) if section.name() == "component-name" => {}
            other => {
                self.count_instances(other)?;
                if let Some((id, range)) = other.as_section() {
                    self.out.section(&RawSection { id, data: self.bytes(range)? });
                }
            }
        }
        Ok(())
    }

    /// Follows the index space of component instances; refuses modules and components that are
    /// passed between components.
    fn count_instances(&mut self, payload: &Payload<'a>) -> Result<(), Refusal> {
        match payload {
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    self.count_instance(import?.ty.kind())?;
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    self.count_instance(export?.kind)?;
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    self.nested.instantiate(&instance?)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn count_instance(&mut self, kind: ComponentExternalKind) -> Result<(), Refusal> {
        component_kind(kind)?;
        if kind == ComponentExternalKind::Instance {
            self.nested.skip_instance();
        }
        Ok(())
    }

    fn copy_instances(
        &mut self,
        section: wasmparser::InstanceSectionReader<'a>,
    ) -> Result<(), Refusal> {
        self.flush();
        let mut instances = InstanceSection::new();
        for instance in section {
            let index = Next::take(&mut self.next.instance);
            match instance? {
                Instance::Instantiate { module_index, args } => {
                    let args = args.iter().map(|arg| {
                        Ok((arg.name, ModuleArg::Instance(new_index(&self.instances, arg.index)?)))
                    });
                    instances.instantiate(
                        new_index(&self.modules, module_index)?,
                        args.collect::<Result<Vec<_>, Refusal>>()?,
                    );
                    let owned = usize::try_from(module_index)
                        .ok()
                        .and_then(|m| self.owned.get(m))
                        .cloned()
                        .unwrap_or_default();
                    if !owned.is_empty() {
                        self.states.push(State { instance: index, owned });
                    }
                }
                Instance::FromExports(exports) => {
                    let exports = exports.iter().map(|export| {
                        let kind = export_kind(export.kind);
                        let index = if kind == ExportKind::Func {
                            new_index(&self.funcs, export.index)?
                        } else {
                            export.index
                        };
                        Ok((export.name, kind, index))
                    });
                    instances.export_items(exports.collect::<Result<Vec<_>, Refusal>>()?);
                }
            }
            self.instances.push(index);
        }
        self.out.section(&instances);
        Ok(())
    }

    fn copy_aliases(
        &mut self,
        section: wasmparser::ComponentAliasSectionReader<'a>,
    ) -> Result<(), Refusal> {
        let mut aliases = ComponentAliasSection::new();
        for alias in section {
            aliases.alias(match alias? {
                ComponentAlias::InstanceExport { kind, instance_index, name } => {
                    self.count_instance(kind)?;
                    let kind = component_kind(kind)?;
                    Alias::InstanceExport { instance: instance_index, kind, name }
                }
                ComponentAlias::CoreInstanceExport { kind, instance_index, name } => {
                    let kind = export_kind(kind);
                    if kind == ExportKind::Func {
                        self.funcs.push(Next::take(&mut self.next.func));
                    }
                    Alias::CoreInstanceExport {
                        instance: new_index(&self.instances, instance_index)?,
                        kind,
                        name,
                    }
                }
                ComponentAlias::Outer { kind, count, index } => {
                    Alias::Outer { kind: outer_kind(kind)?, count, index }
                }
            });
        }
        self.out.section(&aliases);
        Ok(())
    }

    /// Types are copied byte by byte but for resources with a destructor, whose function has moved.
    fn copy_types(
        &mut self,
        section: wasmparser::ComponentTypeSectionReader<'a>,
    ) -> Result<(), Refusal> {
        let end = section.range().end;
        let mut items = Vec::new();
        for item in section.into_iter_with_offsets() {
            let (start, ty) = item?;
            items.push((start, ty));
        }
        let ends: Vec<usize> = items.iter().skip(1).map(|(start, _)| *start).chain([end]).collect();
        let mut data = Vec::new();
        items.len().encode(&mut data);
        for ((start, ty), end) in items.into_iter().zip(ends) {
            match ty {
                ComponentType::Resource { dtor: Some(dtor), .. } => {
                    self.flush();
                    let mut one = ComponentTypeSection::new();
                    one.resource(ValType::I32, Some(new_index(&self.funcs, dtor)?));
                    data.extend(section_items(&one));
                }
                _ => data.extend_from_slice(self.bytes(start..end)?),
            }
        }
        self.out.section(&RawSection { id: ComponentSectionId::Type as u8, data: &data });
        Ok(())
    }

    #[allow(clippy::indexing_slicing, reason = "the identifiers are of these types")]
    fn copy_canonical(
        &mut self,
        section: wasmparser::ComponentCanonicalSectionReader<'a>,
    ) -> Result<(), Refusal> {
        let functions = section.into_iter().collect::<Result<Vec<_>, _>>()?;
        let lifts = self.wrap_lifts(&functions)?;
        let mut canonical = CanonicalFunctionSection::new();
        for (n, function) in functions.iter().enumerate() {
            match function {
                CanonicalFunction::Lift { core_func_index, type_index, options: with } => {
                    let func = lifts
                        .get(&n)
                        .copied()
                        .map_or_else(|| new_index(&self.funcs, *core_func_index), Ok)?;
                    canonical.lift(func, *type_index, options(with, &self.funcs)?);
                }
                CanonicalFunction::Lower { func_index, options: with } => {
                    canonical.lower(*func_index, options(with, &self.funcs)?);
                    let types = self.types;
                    let ty = &types[types.component_function_at(*func_index)];
                    self.wrap_lowered(ty, memory_option(with))?;
                }
                CanonicalFunction::ResourceNew { resource } => {
                    canonical.resource_new(*resource);
                    self.wrap_builtin(*resource, Change::Insert);
                }
                CanonicalFunction::ResourceDrop { resource } => {
                    canonical.resource_drop(*resource);
                    self.wrap_builtin(*resource, Change::Remove);
                }
                CanonicalFunction::ResourceRep { resource } => {
                    canonical.resource_rep(*resource);
                    self.funcs.push(Next::take(&mut self.next.func));
                }
                _ => return uses("asynchronous functions of the component model"),
            }
        }
        self.out.section(&canonical);
        Ok(())
    }
}
