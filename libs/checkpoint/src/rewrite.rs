//! The rewriting itself: one pass over the sections of the outermost component.
//!
//! Component-level index spaces stay as they are, for everything is added at their ends. Those of
//! core modules, instances and functions shift, because the ledger comes first and wrappers come
//! between; what refers to them is encoded again, all other sections are copied.

use crate::abi::{Counted, Finder, MAX_FLAT_PARAMS};
use crate::modules::{Owned, export_kind, export_state};
use crate::resources::Resources;
use crate::survey::{check_module, check_nested};
use crate::wrap::{self, Change, Note, Place, Wrap};
use crate::{Plan, Refusal, Remade, accessor, ledger, uses};
use std::collections::HashMap;
use wasm_encoder::{
    Alias, CanonicalFunctionSection, CanonicalOption as NewOption, Component,
    ComponentAliasSection, ComponentSectionId, ComponentTypeSection, Encode, ExportKind,
    InstanceSection, ModuleArg, ModuleSection, RawSection, ValType,
};
use wasmparser::component_types::ComponentFuncType;
use wasmparser::types::TypesRef;
use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentExternalKind,
    ComponentOuterAliasKind, ComponentType, Instance, Parser, Payload, Validator, WasmFeatures,
};

/// What a component may use.
pub(crate) fn features() -> WasmFeatures {
    WasmFeatures::default() | WasmFeatures::COMPONENT_MODEL
}

/// Rewrites a component.
pub(crate) fn rewrite(wasm: &[u8], remade: &[Remade]) -> Result<(Vec<u8>, Plan), Refusal> {
    let types = Validator::new_with_features(features()).validate_all(wasm)?;
    let resources = Resources::find(wasm, types.as_ref(), remade)?;
    let mut rewriter = Rewriter::new(wasm, types.as_ref(), &resources);
    rewriter.add_ledger();
    rewriter.copy()?;
    rewriter.flush();
    let Rewriter { mut out, states, next, .. } = rewriter;
    let plan = accessor::append(&mut out, types.as_ref(), &resources, &states, next)?;
    Ok((out.finish(), plan))
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

struct Rewriter<'a> {
    wasm: &'a [u8],
    types: TypesRef<'a>,
    resources: &'a Resources,
    out: Component,
    next: Next,
    /// New indexes by old ones.
    modules: Vec<u32>,
    instances: Vec<u32>,
    funcs: Vec<u32>,
    /// What the modules have of their own.
    owned: Vec<Owned>,
    states: Vec<State>,
    /// Wrappers to be made before anything refers to them, and the old indexes that they stand for.
    pending: Vec<(u32, Wrap)>,
}

impl<'a> Rewriter<'a> {
    fn new(wasm: &'a [u8], types: TypesRef<'a>, resources: &'a Resources) -> Self {
        Self {
            wasm,
            types,
            resources,
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
                        let component = self.bytes(unchecked_range.clone())?;
                        check_nested(component)?;
                        self.out.section(&RawSection {
                            id: ComponentSectionId::Component as u8,
                            data: component,
                        });
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
                check_kinds(other)?;
                if let Some((id, range)) = other.as_section() {
                    self.out.section(&RawSection { id, data: self.bytes(range)? });
                }
            }
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

    fn copy_canonical(
        &mut self,
        section: wasmparser::ComponentCanonicalSectionReader<'a>,
    ) -> Result<(), Refusal> {
        let functions = section.into_iter().collect::<Result<Vec<_>, _>>()?;
        let lifts = self.wrap_lifts(&functions)?;
        let mut canonical = CanonicalFunctionSection::new();
        for (n, function) in functions.iter().enumerate() {
            match function {
                CanonicalFunction::Lift { core_func_index, type_index, options } => {
                    let func = lifts
                        .get(&n)
                        .copied()
                        .map_or_else(|| new_index(&self.funcs, *core_func_index), Ok)?;
                    canonical.lift(func, *type_index, self.options(options)?);
                }
                CanonicalFunction::Lower { func_index, options } => {
                    canonical.lower(*func_index, self.options(options)?);
                    let types = self.types;
                    let ty = &types[types.component_function_at(*func_index)];
                    self.wrap_lowered(ty, memory_option(options))?;
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

    fn options(&self, options: &[CanonicalOption]) -> Result<Vec<NewOption>, Refusal> {
        let option = |option: &CanonicalOption| {
            Ok(match option {
                CanonicalOption::UTF8 => NewOption::UTF8,
                CanonicalOption::UTF16 => NewOption::UTF16,
                CanonicalOption::CompactUTF16 => NewOption::CompactUTF16,
                CanonicalOption::Memory(memory) => NewOption::Memory(*memory),
                CanonicalOption::Realloc(func) => {
                    NewOption::Realloc(new_index(&self.funcs, *func)?)
                }
                CanonicalOption::PostReturn(func) => {
                    NewOption::PostReturn(new_index(&self.funcs, *func)?)
                }
                _ => return uses("asynchronous functions of the component model"),
            })
        };
        options.iter().map(option).collect()
    }

    fn finder(&self, counted: Counted) -> Finder<'_> {
        Finder {
            types: self.types,
            kinds: &self.resources.kinds,
            own: &self.resources.own,
            counted,
        }
    }

    /// The function that was just lowered: what is given away is removed, what is got is inserted.
    fn wrap_lowered(&mut self, ty: &ComponentFuncType, memory: Option<u32>) -> Result<(), Refusal> {
        let old = u32::try_from(self.funcs.len()).unwrap_or(u32::MAX);
        let (params, results) = self.core_type(old)?;
        let finder = self.finder(Counted::Own);
        let before = params_note(&finder, ty, Change::Remove)?;
        let after = match ty.result {
            None => None,
            Some(result) if finder.flat_count(result)? <= 1 => {
                Some((Place::Result, finder.in_flat(result, 0)?))
            }
            Some(result) => {
                let pointer = u32::try_from(params.len()).unwrap_or(0).saturating_sub(1);
                Some((Place::AtParam(pointer), finder.in_memory(result, 0)?))
            }
        };
        let after = after.map(|(place, find)| Note { change: Change::Insert, place, find });
        self.define(params, results, memory, before, after);
        Ok(())
    }

    /// `resource.new` or `resource.drop`.
    fn wrap_builtin(&mut self, resource: u32, change: Change) {
        let kind = self.resources.kind_of_type(self.types, resource);
        let find = kind.map(|kind| crate::abi::Find::Handle { kind, at: 0 }).into_iter().collect();
        let note = |place| Some(Note { change, place, find });
        match change {
            Change::Insert => {
                self.define(vec![ValType::I32], vec![ValType::I32], None, None, note(Place::Result))
            }
            Change::Remove => {
                self.define(vec![ValType::I32], vec![], None, note(Place::Params), None)
            }
        }
    }

    /// A new core function; with something to note, a wrapper takes its place.
    fn define(
        &mut self,
        params: Vec<ValType>,
        results: Vec<ValType>,
        memory: Option<u32>,
        before: Option<Note>,
        after: Option<Note>,
    ) {
        let func = Next::take(&mut self.next.func);
        let some = |note: Option<Note>| {
            note.into_iter().filter(|note| !note.find.is_empty()).collect::<Vec<_>>()
        };
        let (before, after) = (some(before), some(after));
        if !before.is_empty() || !after.is_empty() {
            let old = u32::try_from(self.funcs.len()).unwrap_or(u32::MAX);
            self.pending.push((old, Wrap { func, params, results, memory, before, after }));
        }
        self.funcs.push(func);
    }

    /// Wraps exported functions that are passed or return handles; gives their new indexes by the
    /// place of their lifting.
    fn wrap_lifts(
        &mut self,
        functions: &[CanonicalFunction],
    ) -> Result<HashMap<usize, u32>, Refusal> {
        let mut wraps = Vec::new();
        for (n, function) in functions.iter().enumerate() {
            let CanonicalFunction::Lift { core_func_index, type_index, options } = function else {
                continue;
            };
            let ty = &self.types[self.types.component_any_type_at(*type_index).unwrap_func()];
            if ty.async_ {
                return uses("asynchronous functions of the component model");
            }
            let (params, results) = self.core_type(*core_func_index)?;
            let finder = self.finder(Counted::OwnAndForeignBorrow);
            let before = params_note(&finder, ty, Change::Insert)?;
            let after = match ty.result {
                None => None,
                Some(result) if finder.flat_count(result)? <= 1 => {
                    Some((Place::Result, finder.in_flat(result, 0)?))
                }
                Some(result) => Some((Place::AtResult, finder.in_memory(result, 0)?)),
            };
            let after = after.map(|(place, find)| Note { change: Change::Remove, place, find });
            let some = |note: Option<Note>| {
                note.into_iter().filter(|note| !note.find.is_empty()).collect::<Vec<_>>()
            };
            let (before, after) = (some(before), some(after));
            if !before.is_empty() || !after.is_empty() {
                let func = new_index(&self.funcs, *core_func_index)?;
                wraps.push((
                    n,
                    Wrap { func, params, results, memory: memory_option(options), before, after },
                ));
            }
        }
        self.flush();
        let (places, wraps): (Vec<usize>, Vec<Wrap>) = wraps.into_iter().unzip();
        let first = self.add_wrappers(&wraps);
        Ok(places.into_iter().zip(first..).collect())
    }

    fn core_type(&self, old: u32) -> Result<(Vec<ValType>, Vec<ValType>), Refusal> {
        let ty = self.types[self.types.core_function_at(old)].unwrap_func();
        let all = |types: &[wasmparser::ValType]| {
            types.iter().map(|ty| number(*ty)).collect::<Result<Vec<_>, _>>()
        };
        Ok((all(ty.params())?, all(ty.results())?))
    }

    /// Makes the wrappers that were put off; from here on they stand for the functions.
    fn flush(&mut self) {
        let (old, wraps): (Vec<u32>, Vec<Wrap>) =
            std::mem::take(&mut self.pending).into_iter().unzip();
        let first = self.add_wrappers(&wraps);
        for (old, new) in old.into_iter().zip(first..) {
            if let Some(index) = usize::try_from(old).ok().and_then(|old| self.funcs.get_mut(old)) {
                *index = new;
            }
        }
    }

    /// Adds a module with wrappers and gives the index of the first of them.
    fn add_wrappers(&mut self, wraps: &[Wrap]) -> u32 {
        let first = self.next.func;
        if wraps.is_empty() {
            return first;
        }
        self.out.section(&ModuleSection(&wrap::module(wraps)));
        let module = Next::take(&mut self.next.module);
        let memories = wrap::memories(wraps)
            .into_iter()
            .map(|memory| (wrap::memory_name(memory), ExportKind::Memory, memory));
        let funcs = wraps
            .iter()
            .enumerate()
            .map(|(n, wrap)| (wrap::func_name(n), ExportKind::Func, wrap.func));
        let items: Vec<(String, ExportKind, u32)> = memories.chain(funcs).collect();
        let mut instances = InstanceSection::new();
        instances
            .export_items(items.iter().map(|(name, kind, index)| (name.as_str(), *kind, *index)));
        let wrapped = Next::take(&mut self.next.instance);
        let args = [
            (wrap::LEDGER, ModuleArg::Instance(LEDGER_INSTANCE)),
            (wrap::WRAPPED, ModuleArg::Instance(wrapped)),
        ];
        instances.instantiate(module, args);
        let instance = Next::take(&mut self.next.instance);
        self.out.section(&instances);
        let mut aliases = ComponentAliasSection::new();
        for n in 0..wraps.len() {
            aliases.alias(Alias::CoreInstanceExport {
                instance,
                kind: ExportKind::Func,
                name: &wrap::func_name(n),
            });
            self.next.func += 1;
        }
        self.out.section(&aliases);
        first
    }
}

fn params_note(
    finder: &Finder<'_>,
    ty: &ComponentFuncType,
    change: Change,
) -> Result<Option<Note>, Refusal> {
    let params: Vec<_> = ty.params.iter().map(|(_, ty)| *ty).collect();
    let note = match finder.flat_counts(&params)? > MAX_FLAT_PARAMS {
        true => {
            Note { change, place: Place::AtParam(0), find: finder.fields_in_memory(&params, 0)? }
        }
        false => Note { change, place: Place::Params, find: finder.fields_in_flat(&params, 0)? },
    };
    Ok(Some(note))
}

fn new_index(map: &[u32], old: u32) -> Result<u32, Refusal> {
    let found = usize::try_from(old).ok().and_then(|old| map.get(old)).copied();
    found.ok_or_else(|| Refusal::Unreadable(format!("there is no index {old}")))
}

fn memory_option(options: &[CanonicalOption]) -> Option<u32> {
    options.iter().find_map(|option| {
        if let CanonicalOption::Memory(memory) = option { Some(*memory) } else { None }
    })
}

fn number(ty: wasmparser::ValType) -> Result<ValType, Refusal> {
    match ty {
        wasmparser::ValType::I32 => Ok(ValType::I32),
        wasmparser::ValType::I64 => Ok(ValType::I64),
        wasmparser::ValType::F32 => Ok(ValType::F32),
        wasmparser::ValType::F64 => Ok(ValType::F64),
        other => uses(format!("a function with a parameter or result of type {other}")),
    }
}

/// The encoded items of a section without length and count, both of which take one byte here.
fn section_items(section: &ComponentTypeSection) -> Vec<u8> {
    let mut encoded = Vec::new();
    section.encode(&mut encoded);
    encoded.split_off(encoded.len().min(2))
}

fn component_kind(
    kind: ComponentExternalKind,
) -> Result<wasm_encoder::ComponentExportKind, Refusal> {
    use wasm_encoder::ComponentExportKind as New;
    Ok(match kind {
        ComponentExternalKind::Func => New::Func,
        ComponentExternalKind::Type => New::Type,
        ComponentExternalKind::Instance => New::Instance,
        ComponentExternalKind::Component => New::Component,
        ComponentExternalKind::Value => New::Value,
        ComponentExternalKind::Module => return uses("modules that are passed between components"),
    })
}

fn outer_kind(
    kind: ComponentOuterAliasKind,
) -> Result<wasm_encoder::ComponentOuterAliasKind, Refusal> {
    use wasm_encoder::ComponentOuterAliasKind as New;
    Ok(match kind {
        ComponentOuterAliasKind::Type => New::Type,
        ComponentOuterAliasKind::CoreType => New::CoreType,
        ComponentOuterAliasKind::Component => New::Component,
        ComponentOuterAliasKind::CoreModule => {
            return uses("modules that are passed between components");
        }
    })
}

/// Refuses sections that are copied but refer to modules, whose indexes shift.
fn check_kinds(payload: &Payload<'_>) -> Result<(), Refusal> {
    let passes_modules = match payload {
        Payload::ComponentImportSection(section) => {
            let types = section
                .clone()
                .into_iter()
                .map(|import| Ok(import?.ty.kind()))
                .collect::<Result<Vec<_>, Refusal>>()?;
            types.contains(&ComponentExternalKind::Module)
        }
        Payload::ComponentExportSection(section) => {
            let kinds = section
                .clone()
                .into_iter()
                .map(|export| Ok(export?.kind))
                .collect::<Result<Vec<_>, Refusal>>()?;
            kinds.contains(&ComponentExternalKind::Module)
        }
        Payload::ComponentInstanceSection(section) => {
            let instances = section.clone().into_iter().collect::<Result<Vec<_>, _>>()?;
            instances.iter().any(|instance| match instance {
                wasmparser::ComponentInstance::Instantiate { args, .. } => {
                    args.iter().any(|arg| arg.kind == ComponentExternalKind::Module)
                }
                wasmparser::ComponentInstance::FromExports(exports) => {
                    exports.iter().any(|export| export.kind == ComponentExternalKind::Module)
                }
            })
        }
        _ => false,
    };
    if passes_modules { uses("modules that are passed between components") } else { Ok(()) }
}
