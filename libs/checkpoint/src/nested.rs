//! Nested components: a component passes on what the instances of its nested ones export for
//! checkpoints, under numbers of its own.

use crate::accessor::Outer;
use crate::interface::{self, Handle, OF_ACCESSOR, OF_LEDGER, export_resource};
use crate::rewrite::Next;
use crate::{Part, Refusal, export_name, uses};
use wasm_encoder::{
    Alias, Component, ComponentAliasSection, ComponentExportKind, ComponentExportSection,
    ComponentTypeRef,
};
use wasmparser::{ComponentExternalKind, ComponentInstance};

/// Most instances of components with code in one component, nested ones included.
const MAX_PARTS: usize = 64;

/// The components and component instances of a component, as far as they have state.
#[derive(Default)]
pub(crate) struct Nested {
    /// Parts that an instance of a component has, by its index.
    components: Vec<Vec<Part>>,
    /// Number of component instances.
    instances: u32,
    /// Instances that have parts.
    stateful: Vec<(u32, Vec<Part>)>,
    parts: usize,
}

impl Nested {
    /// A component that is defined here.
    pub(crate) fn define(&mut self, parts: Vec<Part>) {
        self.components.push(parts);
    }

    /// A component instance that comes from elsewhere: what it has is somebody else's.
    pub(crate) fn skip_instance(&mut self) {
        self.instances += 1;
    }

    /// An item of a component instance section.
    pub(crate) fn instantiate(&mut self, instance: &ComponentInstance<'_>) -> Result<(), Refusal> {
        let index = Next::take(&mut self.instances);
        let ComponentInstance::Instantiate { component_index, args } = instance else {
            return Ok(());
        };
        if args.iter().any(|arg| arg.kind == ComponentExternalKind::Component) {
            return uses("components that are passed between components");
        }
        let component = usize::try_from(*component_index).ok();
        let parts = component.and_then(|index| self.components.get(index)).ok_or_else(|| {
            Refusal::Unreadable(format!("there is no component {component_index}"))
        })?;
        self.parts += parts.len();
        if self.parts > MAX_PARTS {
            return uses(format!("more than {MAX_PARTS} instances of components with code"));
        }
        if !parts.is_empty() {
            self.stateful.push((index, parts.clone()));
        }
        Ok(())
    }

    /// Passes on what the parts export; their numbers follow those that there are already.
    pub(crate) fn export(&self, out: &mut Component, outer: &mut Outer, parts: &mut Vec<Part>) {
        for (instance, inner) in &self.stateful {
            for (number, part) in inner.iter().enumerate() {
                Passing { out, outer, instance: *instance, inner: number, number: parts.len() }
                    .part(part);
                parts.push(part.clone());
            }
        }
    }
}

/// One part that is passed on.
struct Passing<'a> {
    out: &'a mut Component,
    outer: &'a mut Outer,
    instance: u32,
    /// Its number in the nested component, and here.
    inner: usize,
    number: usize,
}

impl Passing<'_> {
    fn part(&mut self, part: &Part) {
        let plain = OF_ACCESSOR.iter().chain(&OF_LEDGER).map(|(name, _)| (*name).to_owned());
        let of_memory = |n| [interface::read(n), interface::write(n)];
        let functions = plain.chain((0..part.memories).flat_map(of_memory));
        self.functions(functions.map(|name| (name, None)).collect());
        for (kind, found) in (1u32..).zip(&part.kinds) {
            let name = interface::resource(kind);
            let inner = self.alias(ComponentExportKind::Type, &name);
            let name = export_name(self.number, &name);
            let first = export_resource(self.out, &mut self.outer.types, &name, inner);
            let handles = Handle::of(found.interface.is_none()).iter();
            self.functions(
                handles.map(|handle| (handle.name(kind), Some(handle.ty(first)))).collect(),
            );
        }
    }

    /// Index of an export of the nested instance.
    fn alias(&mut self, kind: ComponentExportKind, name: &str) -> u32 {
        let mut aliases = ComponentAliasSection::new();
        let name = export_name(self.inner, name);
        aliases.alias(Alias::InstanceExport { instance: self.instance, kind, name: &name });
        self.out.section(&aliases);
        Next::take(match kind {
            ComponentExportKind::Type => &mut self.outer.types,
            _ => &mut self.outer.funcs,
        })
    }

    /// Exports functions; those about resources with a type that names the resource as it is
    /// exported here.
    fn functions(&mut self, functions: Vec<(String, Option<u32>)>) {
        let mut exports = ComponentExportSection::new();
        for (name, ty) in &functions {
            let func = self.alias(ComponentExportKind::Func, name);
            let name = export_name(self.number, name);
            let ty = ty.map(ComponentTypeRef::Func);
            exports.export(name.as_str(), ComponentExportKind::Func, func, ty);
        }
        self.out.section(&exports);
        self.outer.funcs += u32::try_from(functions.len()).unwrap_or(u32::MAX);
    }
}
