//! Types as node lists.

use super::{Builder, NodeIndex, TreeError, Walk, WitTypeNode, WitTypeTree};
use crate::Type;

impl WitTypeTree {
    /// Flattens a type, parents before children.
    pub fn from_type(typ: &Type) -> Result<WitTypeTree, TreeError> {
        let mut builder = Builder { nodes: Vec::new(), depth: 0 };
        builder.typ(typ)?;
        Ok(WitTypeTree(builder.nodes))
    }

    /// Rebuilds the type.
    pub fn to_type(&self) -> Result<Type, TreeError> {
        Walk::new(&self.0, weight)?.typ(0)
    }
}

fn weight(node: &WitTypeNode) -> usize {
    let names = |lengths: &mut dyn Iterator<Item = usize>| lengths.map(|length| length + 1).sum();
    let below: usize = match node {
        WitTypeNode::Record(fields) => names(&mut fields.iter().map(|field| field.0.len())),
        WitTypeNode::Variant(cases) => names(&mut cases.iter().map(|case| case.0.len())),
        WitTypeNode::Enum(cases) | WitTypeNode::Flags(cases) => {
            names(&mut cases.iter().map(String::len))
        }
        _ => 0,
    };
    below + 1
}

impl Builder<WitTypeNode> {
    fn typ(&mut self, typ: &Type) -> Result<NodeIndex, TreeError> {
        self.node(WitTypeNode::Bool, |this| this.content(typ))
    }

    fn content(&mut self, typ: &Type) -> Result<WitTypeNode, TreeError> {
        Ok(match typ {
            Type::Bool => WitTypeNode::Bool,
            Type::S8 => WitTypeNode::S8,
            Type::U8 => WitTypeNode::U8,
            Type::S16 => WitTypeNode::S16,
            Type::U16 => WitTypeNode::U16,
            Type::S32 => WitTypeNode::S32,
            Type::U32 => WitTypeNode::U32,
            Type::S64 => WitTypeNode::S64,
            Type::U64 => WitTypeNode::U64,
            Type::F32 => WitTypeNode::F32,
            Type::F64 => WitTypeNode::F64,
            Type::Char => WitTypeNode::Char,
            Type::String => WitTypeNode::String,
            Type::List(inner) => WitTypeNode::List(self.typ(inner)?),
            Type::Option(inner) => WitTypeNode::Option(self.typ(inner)?),
            Type::Result { ok, err } => {
                WitTypeNode::Result(self.payload(ok.as_deref())?, self.payload(err.as_deref())?)
            }
            Type::Tuple(items) => WitTypeNode::Tuple(
                items.iter().map(|item| self.typ(item)).collect::<Result<_, _>>()?,
            ),
            Type::Record(fields) => {
                let each = |(name, typ): &(String, Type)| Ok((name.clone(), self.typ(typ)?));
                WitTypeNode::Record(fields.iter().map(each).collect::<Result<_, _>>()?)
            }
            Type::Variant(cases) => {
                let each = |(name, typ): &(String, Option<Type>)| {
                    Ok((name.clone(), self.payload(typ.as_ref())?))
                };
                WitTypeNode::Variant(cases.iter().map(each).collect::<Result<_, _>>()?)
            }
            Type::Enum(cases) => WitTypeNode::Enum(cases.clone()),
            Type::Flags(names) => WitTypeNode::Flags(names.clone()),
            Type::Handle { resource_id, mode } => WitTypeNode::Handle(*resource_id, *mode),
        })
    }

    fn payload(&mut self, typ: Option<&Type>) -> Result<Option<NodeIndex>, TreeError> {
        typ.map(|typ| self.typ(typ)).transpose()
    }
}

impl Walk<'_, WitTypeNode> {
    fn typ(&mut self, index: NodeIndex) -> Result<Type, TreeError> {
        self.visit(index, |this, node| {
            Ok(match node {
                WitTypeNode::Record(fields) => {
                    let each = |(name, typ): &(String, _)| Ok((name.clone(), this.typ(*typ)?));
                    Type::Record(fields.iter().map(each).collect::<Result<_, _>>()?)
                }
                WitTypeNode::Variant(cases) => {
                    let each = |(name, typ): &(String, _)| Ok((name.clone(), this.payload(*typ)?));
                    Type::Variant(cases.iter().map(each).collect::<Result<_, _>>()?)
                }
                WitTypeNode::Enum(cases) => Type::Enum(cases.clone()),
                WitTypeNode::Flags(names) => Type::Flags(names.clone()),
                WitTypeNode::Tuple(items) => {
                    Type::Tuple(items.iter().map(|item| this.typ(*item)).collect::<Result<_, _>>()?)
                }
                WitTypeNode::List(inner) => Type::list(this.typ(*inner)?),
                WitTypeNode::Option(inner) => Type::option(this.typ(*inner)?),
                WitTypeNode::Result(ok, err) => {
                    Type::result(this.payload(*ok)?, this.payload(*err)?)
                }
                WitTypeNode::U8 => Type::U8,
                WitTypeNode::U16 => Type::U16,
                WitTypeNode::U32 => Type::U32,
                WitTypeNode::U64 => Type::U64,
                WitTypeNode::S8 => Type::S8,
                WitTypeNode::S16 => Type::S16,
                WitTypeNode::S32 => Type::S32,
                WitTypeNode::S64 => Type::S64,
                WitTypeNode::F32 => Type::F32,
                WitTypeNode::F64 => Type::F64,
                WitTypeNode::Char => Type::Char,
                WitTypeNode::Bool => Type::Bool,
                WitTypeNode::String => Type::String,
                WitTypeNode::Handle(resource_id, mode) => {
                    Type::Handle { resource_id: *resource_id, mode: *mode }
                }
            })
        })
    }

    fn payload(&mut self, index: Option<NodeIndex>) -> Result<Option<Type>, TreeError> {
        index.map(|index| self.typ(index)).transpose()
    }
}
