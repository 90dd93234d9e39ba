//! The resource types that entries of the component's handle table can be of.

use crate::{Kind, Refusal, Remade, uses};
use std::collections::HashMap;
use wasmparser::component_types::{ComponentAnyTypeId, ComponentEntityType, ResourceId};
use wasmparser::types::TypesRef;
use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ComponentType,
    ComponentTypeRef, InstanceTypeDeclaration, Parser, Payload, TypeBounds,
};

/// A resource type.
pub(crate) struct Found {
    pub(crate) kind: Kind,
    pub(crate) source: Source,
}

/// Where it comes from.
pub(crate) enum Source {
    /// Export `name` of an imported instance.
    Imported { instance: u32 },
    /// The component defines it, as this type.
    Own { ty: u32 },
}

/// All resource types; kind `i + 1` is `found[i]`.
#[derive(Default)]
pub(crate) struct Resources {
    pub(crate) found: Vec<Found>,
    pub(crate) kinds: HashMap<ResourceId, u32>,
    /// Kinds that the component defines.
    pub(crate) own: Vec<u32>,
}

/// Index spaces of the outermost component, as far as they matter here.
#[derive(Default)]
struct Spaces {
    types: u32,
    instances: u32,
    /// Names of the resources that instance types define.
    resources: HashMap<u32, Vec<String>>,
}

impl Resources {
    /// Finds the resource types of a component.
    pub(crate) fn find(
        wasm: &[u8],
        types: TypesRef<'_>,
        remade: &[Remade],
    ) -> Result<Self, Refusal> {
        let (mut resources, mut spaces, mut depth) = (Self::default(), Spaces::default(), 0usize);
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                payload if depth == 0 => resources.read(&payload, &mut spaces, types, remade)?,
                _ => {}
            }
        }
        Ok(resources)
    }

    /// The kind of the resource that a type index names.
    pub(crate) fn kind_of_type(&self, types: TypesRef<'_>, index: u32) -> Option<u32> {
        match types.component_any_type_at(index) {
            ComponentAnyTypeId::Resource(id) => self.kinds.get(&id.resource()).copied(),
            _ => None,
        }
    }

    fn read(
        &mut self,
        payload: &Payload<'_>,
        spaces: &mut Spaces,
        types: TypesRef<'_>,
        remade: &[Remade],
    ) -> Result<(), Refusal> {
        match payload {
            Payload::ComponentTypeSection(section) => {
                for ty in section.clone() {
                    self.read_type(&ty?, spaces, types);
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    self.read_import(&import?, spaces, types, remade)?;
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    spaces.count(export?.kind);
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    match alias? {
                        ComponentAlias::InstanceExport { kind, .. } => spaces.count(kind),
                        ComponentAlias::Outer { kind: ComponentOuterAliasKind::Type, .. } => {
                            spaces.types += 1
                        }
                        _ => {}
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => spaces.instances += section.count(),
            _ => {}
        }
        Ok(())
    }

    fn read_type(&mut self, ty: &ComponentType<'_>, spaces: &mut Spaces, types: TypesRef<'_>) {
        let index = spaces.types;
        spaces.types += 1;
        match ty {
            ComponentType::Resource { .. } => {
                if let ComponentAnyTypeId::Resource(id) = types.component_any_type_at(index) {
                    let kind =
                        Kind { interface: None, name: format!("resource-{index}"), label: None };
                    let number = self.add(id.resource(), kind, Source::Own { ty: index });
                    self.own.push(number);
                }
            }
            ComponentType::Instance(declarations) => {
                let defined = declarations.iter().filter_map(|declaration| match declaration {
                    InstanceTypeDeclaration::Export {
                        name,
                        ty: ComponentTypeRef::Type(TypeBounds::SubResource),
                    } => Some(name.name.to_owned()),
                    _ => None,
                });
                spaces.resources.insert(index, defined.collect());
            }
            _ => {}
        }
    }

    fn read_import(
        &mut self,
        import: &wasmparser::ComponentImport<'_>,
        spaces: &mut Spaces,
        types: TypesRef<'_>,
        remade: &[Remade],
    ) -> Result<(), Refusal> {
        let instance = spaces.instances;
        spaces.count(import.ty.kind());
        match import.ty {
            ComponentTypeRef::Type(TypeBounds::SubResource) => {
                return uses("a resource that is imported by itself");
            }
            ComponentTypeRef::Instance(ty) => {
                let names = spaces.resources.get(&ty).cloned().unwrap_or_default();
                for name in names {
                    if let Some(id) = exported_resource(types, import.name.name, &name) {
                        self.add_imported(id, import.name.name, name, instance, remade);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn add_imported(
        &mut self,
        id: ResourceId,
        interface: &str,
        name: String,
        instance: u32,
        remade: &[Remade],
    ) {
        let base = interface.split('@').next().unwrap_or(interface);
        let known = remade.iter().find(|known| known.interface == base && known.resource == name);
        let label = known.map(|known| known.label.to_owned());
        let kind = Kind { interface: Some(interface.to_owned()), name, label };
        self.add(id, kind, Source::Imported { instance });
    }

    fn add(&mut self, id: ResourceId, kind: Kind, source: Source) -> u32 {
        self.found.push(Found { kind, source });
        let number = u32::try_from(self.found.len()).unwrap_or(u32::MAX);
        self.kinds.insert(id, number);
        number
    }
}

fn exported_resource(types: TypesRef<'_>, import: &str, name: &str) -> Option<ResourceId> {
    let ComponentEntityType::Instance(instance) = types.component_item_for_import(import)?.ty
    else {
        return None;
    };
    match types.get(instance)?.exports.get(name)?.ty {
        ComponentEntityType::Type { created: ComponentAnyTypeId::Resource(id), .. } => {
            Some(id.resource())
        }
        _ => None,
    }
}

impl Spaces {
    fn count(&mut self, kind: ComponentExternalKind) {
        match kind {
            ComponentExternalKind::Type => self.types += 1,
            ComponentExternalKind::Instance => self.instances += 1,
            _ => {}
        }
    }
}
