//! What is added at the end of a component with code: the accessor module, and the exports by which
//! the host reads and writes memories, globals and the handle table.
//!
//! Reading a memory is a call with a `list<u8>` as its result that is the memory itself, so the host
//! sees it without a copy. Writing is a call with a `list<u8>`, whose `realloc` answers with the
//! place that was set before by `seek`.

mod module;

use crate::interface::{
    self, Handle, OF_ACCESSOR, OF_LEDGER, Ty, add_plain_types, export_resource,
};
use crate::resources::{Found, Resources, Source};
use crate::rewrite::{LEDGER_INSTANCE, Next, State};
use crate::{Part, export_name};
use module::{AccessorModule, CANONICAL, FILLERS, LEDGER, owner_name};
use std::collections::BTreeSet;
use wasm_encoder::{
    Alias, CanonicalFunctionSection, CanonicalOption, Component, ComponentAliasSection,
    ComponentExportKind, ComponentExportSection, ComponentTypeSection, ExportKind, InstanceSection,
    ModuleArg, ModuleSection,
};

/// Number of the part that a component itself is, if it has code.
const PART: usize = 0;

/// The next free index of the spaces of component-level things.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outer {
    pub(crate) types: u32,
    pub(crate) funcs: u32,
}

/// Adds everything; says what there is.
pub(crate) fn append(
    out: &mut Component,
    outer: &mut Outer,
    first_memory: u32,
    resources: &Resources,
    states: &[State],
    next: Next,
) -> Part {
    let first_type = outer.types;
    let mut appender = Appender { out, outer, first_type, next };
    appender.add_types();
    let memories = appender.alias_memories(states, first_memory);
    let accessor = AccessorModule::new(states);
    let instance = appender.instantiate(&accessor, states);
    appender.export(instance, &memories);
    for (kind, found) in (1u32..).zip(&resources.found) {
        appender.export_kind(kind, found, instance);
    }
    Part {
        memories: u32::try_from(memories.len()).unwrap_or(u32::MAX),
        globals: accessor.globals.iter().map(|(_, _, ty)| *ty).collect(),
        kinds: resources.found.iter().map(|found| found.kind.clone()).collect(),
    }
}

struct Appender<'a> {
    out: &'a mut Component,
    outer: &'a mut Outer,
    first_type: u32,
    next: Next,
}

impl Appender<'_> {
    fn add_types(&mut self) {
        let mut types = ComponentTypeSection::new();
        add_plain_types(&mut types, self.first_type);
        self.out.section(&types);
        self.outer.types += Ty::Count as u32;
    }

    fn ty(&self, ty: Ty) -> u32 {
        self.first_type + ty as u32
    }

    /// Indexes of all memories, in the order of the accessor.
    fn alias_memories(&mut self, states: &[State], first: u32) -> Vec<u32> {
        let mut aliases = ComponentAliasSection::new();
        let names = states.iter().flat_map(|state| {
            state.owned.memories.iter().map(|(name, _)| (state.instance, name.as_str()))
        });
        let memories = (first..).zip(names).map(|(index, (instance, name))| {
            let kind = ExportKind::Memory;
            aliases.alias(Alias::CoreInstanceExport { instance, kind, name });
            index
        });
        let memories = memories.collect();
        self.out.section(&aliases);
        memories
    }

    fn instantiate(&mut self, accessor: &AccessorModule, states: &[State]) -> u32 {
        let filler = self.ty(Ty::Filler);
        let mut canonical = CanonicalFunctionSection::new();
        canonical.resource_new(filler).resource_drop(filler);
        self.out.section(&canonical).section(&ModuleSection(&accessor.module()));
        let module = Next::take(&mut self.next.module);
        let mut instances = InstanceSection::new();
        let fillers = FILLERS.map(|name| (name, ExportKind::Func, Next::take(&mut self.next.func)));
        instances.export_items(fillers);
        let fillers = Next::take(&mut self.next.instance);
        let owners: BTreeSet<u32> = states.iter().map(|state| state.instance).collect();
        let args = owners.into_iter().map(|owner| (owner_name(owner), owner));
        let args =
            args.chain([(CANONICAL.to_owned(), fillers), (LEDGER.to_owned(), LEDGER_INSTANCE)]);
        let args: Vec<(String, ModuleArg)> =
            args.map(|(name, instance)| (name, ModuleArg::Instance(instance))).collect();
        instances.instantiate(module, args.iter().map(|(name, arg)| (name.as_str(), *arg)));
        self.out.section(&instances);
        Next::take(&mut self.next.instance)
    }

    /// Exports what does not depend on resources.
    fn export(&mut self, accessor: u32, memories: &[u32]) {
        let mut lifts = Lifts::default();
        for (name, ty) in OF_ACCESSOR {
            let func = self.alias(&mut lifts, accessor, name);
            lifts.lift(name.to_owned(), func, self.ty(ty), &[]);
        }
        for (name, ty) in OF_LEDGER {
            let func = self.alias(&mut lifts, LEDGER_INSTANCE, name);
            lifts.lift(name.to_owned(), func, self.ty(ty), &[]);
        }
        let realloc = self.alias(&mut lifts, accessor, "realloc");
        let write = self.alias(&mut lifts, accessor, "write");
        for (number, memory) in (0u32..).zip(memories) {
            let memory = CanonicalOption::Memory(*memory);
            let settle = self.alias(&mut lifts, accessor, &format!("settle{number}"));
            let read = self.alias(&mut lifts, accessor, &format!("read{number}"));
            let options = [memory, CanonicalOption::PostReturn(settle)];
            lifts.lift(interface::read(number), read, self.ty(Ty::Read), &options);
            let options = [memory, CanonicalOption::Realloc(realloc)];
            lifts.lift(interface::write(number), write, self.ty(Ty::Write), &options);
        }
        self.finish(lifts);
    }

    /// Exports the type of a resource, and the functions for its handles.
    fn export_kind(&mut self, kind: u32, found: &Found, accessor: u32) {
        let resource = self.resource_type(found);
        let name = export_name(PART, &interface::resource(kind));
        let first = export_resource(self.out, &mut self.outer.types, &name, resource);
        let own = matches!(found.source, Source::Own { .. });
        let new = if own { self.resource_new(resource) } else { 0 };
        let mut lifts = Lifts::default();
        for handle in Handle::of(own) {
            let func = match handle {
                Handle::Give => self.alias(&mut lifts, accessor, "give"),
                Handle::Show | Handle::Borrow => self.alias(&mut lifts, accessor, "same"),
                Handle::Own => new,
            };
            lifts.lift(handle.name(kind), func, handle.ty(first), &[]);
        }
        self.finish(lifts);
    }

    /// Index of a function that makes resources of the component's own.
    fn resource_new(&mut self, resource: u32) -> u32 {
        let mut canonical = CanonicalFunctionSection::new();
        canonical.resource_new(resource);
        self.out.section(&canonical);
        Next::take(&mut self.next.func)
    }

    /// Index of the type of a resource.
    fn resource_type(&mut self, found: &Found) -> u32 {
        match found.source {
            Source::Own { ty } => ty,
            Source::Imported { instance } => {
                let mut aliases = ComponentAliasSection::new();
                aliases.alias(Alias::InstanceExport {
                    instance,
                    kind: ComponentExportKind::Type,
                    name: &found.kind.name,
                });
                self.out.section(&aliases);
                Next::take(&mut self.outer.types)
            }
        }
    }

    /// Index of a function of a core instance.
    fn alias(&mut self, lifts: &mut Lifts, instance: u32, name: &str) -> u32 {
        lifts.aliases.alias(Alias::CoreInstanceExport { instance, kind: ExportKind::Func, name });
        Next::take(&mut self.next.func)
    }

    /// Lifts and exports.
    fn finish(&mut self, lifts: Lifts) {
        let mut exports = ComponentExportSection::new();
        for (name, func) in lifts.names.iter().zip(self.outer.funcs..) {
            let name = export_name(PART, name);
            exports.export(name.as_str(), ComponentExportKind::Func, func, None);
        }
        // An export has an index of its own.
        self.outer.funcs += 2 * u32::try_from(lifts.names.len()).unwrap_or(u32::MAX);
        self.out.section(&lifts.aliases).section(&lifts.canonical).section(&exports);
    }
}

/// Functions that are lifted and exported.
#[derive(Default)]
struct Lifts {
    aliases: ComponentAliasSection,
    canonical: CanonicalFunctionSection,
    names: Vec<String>,
}

impl Lifts {
    fn lift(&mut self, name: String, func: u32, ty: u32, options: &[CanonicalOption]) {
        self.canonical.lift(func, ty, options.iter().copied());
        self.names.push(name);
    }
}
