//! Where handles are in the arguments and results of a canonical function.

use crate::{Refusal, uses};
use std::collections::HashMap;
use wasmparser::PrimitiveValType;
use wasmparser::component_types::{ComponentDefinedType, ComponentValType, ResourceId};
use wasmparser::types::TypesRef;

/// Parameters beyond this number are passed in memory.
pub(crate) const MAX_FLAT_PARAMS: u32 = 16;

/// Handles to be found in a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Find {
    /// A handle of this kind.
    Handle { kind: u32, at: u32 },
    /// More to be found, if the tag at this place has this value.
    Case { at: u32, tag_size: u32, case: u32, then: Vec<Find> },
    /// More to be found in each element of a list, whose address and length are at this place.
    Each { at: u32, stride: u32, then: Vec<Find> },
}

/// Which handles count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Owned ones.
    Own,
    /// Owned ones, and borrowed ones of other components' resources: those are entries of the
    /// callee's table until they are dropped.
    OwnAndForeignBorrow,
}

/// Looks for handles in types.
pub(crate) struct Finder<'a> {
    pub(crate) types: TypesRef<'a>,
    pub(crate) kinds: &'a HashMap<ResourceId, u32>,
    /// Kinds of the component's own resources.
    pub(crate) own: &'a [u32],
    pub(crate) counted: Counted,
}

/// Size and alignment in bytes.
#[derive(Clone, Copy)]
struct Layout {
    size: u32,
    align: u32,
}

fn align_to(offset: u32, align: u32) -> u32 {
    offset.div_ceil(align).saturating_mul(align)
}

fn tag_size(cases: usize) -> u32 {
    match cases {
        0..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 4,
    }
}

/// A type in the form that matters here.
enum Shape {
    Scalar(u32),
    Flags(u32),
    Pair,
    Fields(Vec<ComponentValType>),
    Cases(Vec<Option<ComponentValType>>),
    List(ComponentValType),
    Handle(Option<u32>),
}

impl Finder<'_> {
    #[allow(clippy::indexing_slicing, reason = "the identifiers are of these types")]
    fn shape(&self, ty: ComponentValType) -> Result<Shape, Refusal> {
        let id = match ty {
            ComponentValType::Primitive(primitive) => return primitive_shape(primitive),
            ComponentValType::Type(id) => id,
        };
        Ok(match &self.types[id] {
            ComponentDefinedType::Primitive(primitive) => return primitive_shape(*primitive),
            ComponentDefinedType::Record(record) => {
                Shape::Fields(record.fields.values().copied().collect())
            }
            ComponentDefinedType::Tuple(tuple) => Shape::Fields(tuple.types.to_vec()),
            ComponentDefinedType::Variant(variant) => {
                Shape::Cases(variant.cases.values().map(|case| case.ty).collect())
            }
            ComponentDefinedType::Enum(names) => Shape::Cases(vec![None; names.len()]),
            ComponentDefinedType::Option { ty, .. } => Shape::Cases(vec![None, Some(*ty)]),
            ComponentDefinedType::Result { ok, err, .. } => Shape::Cases(vec![*ok, *err]),
            ComponentDefinedType::Flags(names) => {
                Shape::Flags(u32::try_from(names.len()).unwrap_or(u32::MAX))
            }
            ComponentDefinedType::List { element, .. } => Shape::List(*element),
            ComponentDefinedType::Own(resource) => {
                Shape::Handle(self.kinds.get(&resource.resource()).copied())
            }
            ComponentDefinedType::Borrow(resource) => Shape::Handle(match self.counted {
                Counted::Own => None,
                Counted::OwnAndForeignBorrow => self
                    .kinds
                    .get(&resource.resource())
                    .copied()
                    .filter(|kind| !self.own.contains(kind)),
            }),
            ComponentDefinedType::Future { .. } | ComponentDefinedType::Stream { .. } => {
                return uses("futures or streams of the component model");
            }
            _ => return uses("maps or lists of a fixed length"),
        })
    }

    fn layout(&self, ty: ComponentValType) -> Result<Layout, Refusal> {
        Ok(match self.shape(ty)? {
            Shape::Scalar(size) => Layout { size, align: size },
            Shape::Flags(count) => match count {
                0..=8 => Layout { size: 1, align: 1 },
                9..=16 => Layout { size: 2, align: 2 },
                more => Layout { size: more.div_ceil(32).saturating_mul(4), align: 4 },
            },
            Shape::Pair | Shape::List(_) => Layout { size: 8, align: 4 },
            Shape::Handle(_) => Layout { size: 4, align: 4 },
            Shape::Fields(fields) => self.fields_layout(&fields)?,
            Shape::Cases(cases) => {
                let (payload, align) = self.payload(&cases)?;
                let largest = cases
                    .iter()
                    .flatten()
                    .map(|ty| self.layout(*ty).map(|l| l.size))
                    .collect::<Result<Vec<_>, _>>()?;
                let end = payload.saturating_add(largest.into_iter().max().unwrap_or(0));
                Layout { size: align_to(end, align), align }
            }
        })
    }

    fn fields_layout(&self, fields: &[ComponentValType]) -> Result<Layout, Refusal> {
        let mut whole = Layout { size: 0, align: 1 };
        for field in fields {
            let field = self.layout(*field)?;
            whole.align = whole.align.max(field.align);
            whole.size = align_to(whole.size, field.align).saturating_add(field.size);
        }
        whole.size = align_to(whole.size, whole.align);
        Ok(whole)
    }

    /// Offset of the payload of a variant, and its alignment as a whole.
    fn payload(&self, cases: &[Option<ComponentValType>]) -> Result<(u32, u32), Refusal> {
        let tag = tag_size(cases.len());
        let mut align = 1;
        for case in cases.iter().flatten() {
            align = align.max(self.layout(*case)?.align);
        }
        Ok((align_to(tag, align), align.max(tag)))
    }

    /// Finds handles in a value in memory.
    pub(crate) fn in_memory(&self, ty: ComponentValType, at: u32) -> Result<Vec<Find>, Refusal> {
        Ok(match self.shape(ty)? {
            Shape::Scalar(_) | Shape::Flags(_) | Shape::Pair | Shape::Handle(None) => Vec::new(),
            Shape::Handle(Some(kind)) => vec![Find::Handle { kind, at }],
            Shape::Fields(fields) => self.fields_in_memory(&fields, at)?,
            Shape::Cases(cases) => {
                let (payload, _) = self.payload(&cases)?;
                let tag_size = tag_size(cases.len());
                self.cases(&cases, at, tag_size, |ty| {
                    self.in_memory(ty, at.saturating_add(payload))
                })?
            }
            Shape::List(element) => self.list(element, at)?,
        })
    }

    /// As [`Self::in_memory`], for values that follow each other.
    pub(crate) fn fields_in_memory(
        &self,
        fields: &[ComponentValType],
        at: u32,
    ) -> Result<Vec<Find>, Refusal> {
        let (mut found, mut offset) = (Vec::new(), at);
        for field in fields {
            let layout = self.layout(*field)?;
            offset = align_to(offset, layout.align);
            found.extend(self.in_memory(*field, offset)?);
            offset = offset.saturating_add(layout.size);
        }
        Ok(found)
    }

    /// Finds handles in flat values from this one on.
    pub(crate) fn in_flat(&self, ty: ComponentValType, at: u32) -> Result<Vec<Find>, Refusal> {
        Ok(match self.shape(ty)? {
            Shape::Scalar(_) | Shape::Flags(_) | Shape::Pair | Shape::Handle(None) => Vec::new(),
            Shape::Handle(Some(kind)) => vec![Find::Handle { kind, at }],
            Shape::Fields(fields) => self.fields_in_flat(&fields, at)?,
            Shape::Cases(cases) => {
                self.cases(&cases, at, 0, |ty| self.in_flat(ty, at.saturating_add(1)))?
            }
            Shape::List(element) => self.list(element, at)?,
        })
    }

    /// As [`Self::in_flat`], for values that follow each other.
    pub(crate) fn fields_in_flat(
        &self,
        fields: &[ComponentValType],
        at: u32,
    ) -> Result<Vec<Find>, Refusal> {
        let (mut found, mut next) = (Vec::new(), at);
        for field in fields {
            found.extend(self.in_flat(*field, next)?);
            next = next.saturating_add(self.flat_count(*field)?);
        }
        Ok(found)
    }

    fn cases(
        &self,
        cases: &[Option<ComponentValType>],
        at: u32,
        tag_size: u32,
        find: impl Fn(ComponentValType) -> Result<Vec<Find>, Refusal>,
    ) -> Result<Vec<Find>, Refusal> {
        let mut found = Vec::new();
        for (case, ty) in (0..).zip(cases) {
            let then = ty.map_or_else(|| Ok(Vec::new()), &find)?;
            if !then.is_empty() {
                found.push(Find::Case { at, tag_size, case, then });
            }
        }
        Ok(found)
    }

    fn list(&self, element: ComponentValType, at: u32) -> Result<Vec<Find>, Refusal> {
        let then = self.in_memory(element, 0)?;
        let stride = self.layout(element)?.size;
        Ok(if then.is_empty() { Vec::new() } else { vec![Find::Each { at, stride, then }] })
    }

    /// Number of flat values.
    pub(crate) fn flat_count(&self, ty: ComponentValType) -> Result<u32, Refusal> {
        Ok(match self.shape(ty)? {
            Shape::Scalar(_) | Shape::Handle(_) => 1,
            Shape::Flags(count) => count.div_ceil(32),
            Shape::Pair | Shape::List(_) => 2,
            Shape::Fields(fields) => self.flat_counts(&fields)?,
            Shape::Cases(cases) => {
                let payloads = cases
                    .iter()
                    .flatten()
                    .map(|ty| self.flat_count(*ty))
                    .collect::<Result<Vec<_>, _>>()?;
                payloads.into_iter().max().unwrap_or(0).saturating_add(1)
            }
        })
    }

    /// Number of flat values of all together.
    pub(crate) fn flat_counts(&self, types: &[ComponentValType]) -> Result<u32, Refusal> {
        types.iter().try_fold(0u32, |sum, ty| Ok(sum.saturating_add(self.flat_count(*ty)?)))
    }
}

fn primitive_shape(primitive: PrimitiveValType) -> Result<Shape, Refusal> {
    use PrimitiveValType as P;
    Ok(match primitive {
        P::Bool | P::S8 | P::U8 => Shape::Scalar(1),
        P::S16 | P::U16 => Shape::Scalar(2),
        P::S32 | P::U32 | P::F32 | P::Char => Shape::Scalar(4),
        P::S64 | P::U64 | P::F64 => Shape::Scalar(8),
        P::String => Shape::Pair,
        P::ErrorContext => return uses("error contexts"),
    })
}
