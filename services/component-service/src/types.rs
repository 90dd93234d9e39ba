//! Types of a validated binary as Emet's types.

use emet_values::{FunctionType, ResourceMode, Type};
use std::collections::HashMap;
use wasmparser::PrimitiveValType;
use wasmparser::component_types::{
    ComponentDefinedType, ComponentDefinedTypeId, ComponentFuncTypeId, ComponentValType, ResourceId,
};
use wasmparser::types::TypesRef;

/// Deepest type of an interface.
const MAX_DEPTH: usize = emet_values::MAX_DEPTH;

/// Translates types; resources are numbered in the order in which they are met.
pub(crate) struct Translator<'a> {
    types: TypesRef<'a>,
    resources: HashMap<ResourceId, u64>,
}

impl<'a> Translator<'a> {
    pub(crate) fn new(types: TypesRef<'a>) -> Self {
        Self { types, resources: HashMap::new() }
    }

    pub(crate) fn function(
        &mut self,
        name: &str,
        id: ComponentFuncTypeId,
    ) -> Result<FunctionType, String> {
        let ty = self.types.get(id).ok_or("a function has no type")?;
        if ty.async_ {
            return Err(format!("function {name} is async, which is not supported"));
        }
        let params = ty.params.iter().map(|(n, t)| Ok((n.to_string(), self.value(*t, 0)?)));
        let params =
            params.collect::<Result<_, String>>().map_err(|e| format!("function {name}: {e}"))?;
        let results = ty.result.iter().map(|t| Ok((None, self.value(*t, 0)?)));
        let results =
            results.collect::<Result<_, String>>().map_err(|e| format!("function {name}: {e}"))?;
        Ok(FunctionType { name: name.to_owned(), params, results })
    }

    fn value(&mut self, ty: ComponentValType, depth: usize) -> Result<Type, String> {
        match ty {
            ComponentValType::Primitive(primitive) => Ok(primitive_type(primitive)?),
            ComponentValType::Type(id) => self.defined(id, depth + 1),
        }
    }

    fn boxed(
        &mut self,
        ty: Option<ComponentValType>,
        depth: usize,
    ) -> Result<Option<Box<Type>>, String> {
        ty.map(|t| self.value(t, depth).map(Box::new)).transpose()
    }

    fn defined(&mut self, id: ComponentDefinedTypeId, depth: usize) -> Result<Type, String> {
        if depth >= MAX_DEPTH {
            return Err(format!("a type is nested more than {MAX_DEPTH} deep"));
        }
        let ty = self.types.get(id).ok_or("a type is missing")?.clone();
        Ok(match ty {
            ComponentDefinedType::Primitive(primitive) => primitive_type(primitive)?,
            ComponentDefinedType::Record(record) => {
                let fields =
                    record.fields.iter().map(|(n, t)| Ok((n.to_string(), self.value(*t, depth)?)));
                Type::Record(fields.collect::<Result<_, String>>()?)
            }
            ComponentDefinedType::Variant(variant) => {
                let cases = variant.cases.iter().map(|(n, c)| {
                    Ok((n.to_string(), c.ty.map(|t| self.value(t, depth)).transpose()?))
                });
                Type::Variant(cases.collect::<Result<_, String>>()?)
            }
            ComponentDefinedType::List { element, .. } => {
                Type::List(Box::new(self.value(element, depth)?))
            }
            ComponentDefinedType::Tuple(tuple) => Type::Tuple(
                tuple.types.iter().map(|t| self.value(*t, depth)).collect::<Result<_, _>>()?,
            ),
            ComponentDefinedType::Flags(names) => {
                Type::Flags(names.iter().map(ToString::to_string).collect())
            }
            ComponentDefinedType::Enum(names) => {
                Type::Enum(names.iter().map(ToString::to_string).collect())
            }
            ComponentDefinedType::Option { ty, .. } => {
                Type::Option(Box::new(self.value(ty, depth)?))
            }
            ComponentDefinedType::Result { ok, err, .. } => {
                Type::Result { ok: self.boxed(ok, depth)?, err: self.boxed(err, depth)? }
            }
            ComponentDefinedType::Own(id) => Type::Handle {
                resource_id: self.resource(id.resource()),
                mode: ResourceMode::Owned,
            },
            ComponentDefinedType::Borrow(id) => Type::Handle {
                resource_id: self.resource(id.resource()),
                mode: ResourceMode::Borrowed,
            },
            other => return Err(format!("type {other:?} is not supported")),
        })
    }

    fn resource(&mut self, id: ResourceId) -> u64 {
        let next = self.resources.len() as u64;
        *self.resources.entry(id).or_insert(next)
    }
}

fn primitive_type(primitive: PrimitiveValType) -> Result<Type, String> {
    Ok(match primitive {
        PrimitiveValType::Bool => Type::Bool,
        PrimitiveValType::S8 => Type::S8,
        PrimitiveValType::U8 => Type::U8,
        PrimitiveValType::S16 => Type::S16,
        PrimitiveValType::U16 => Type::U16,
        PrimitiveValType::S32 => Type::S32,
        PrimitiveValType::U32 => Type::U32,
        PrimitiveValType::S64 => Type::S64,
        PrimitiveValType::U64 => Type::U64,
        PrimitiveValType::F32 => Type::F32,
        PrimitiveValType::F64 => Type::F64,
        PrimitiveValType::Char => Type::Char,
        PrimitiveValType::String => Type::String,
        other => return Err(format!("type {other:?} is not supported")),
    })
}
