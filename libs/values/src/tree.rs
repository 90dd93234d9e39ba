//! The flat node lists of `golem:rpc`: `wit-value` and `wit-type`.
//!
//! Node 0 is the root; parents refer to their children by index. Writing puts parents before
//! their children (pre-order). Reading accepts any layout, but checks it: an empty list, an index
//! out of range, a cycle and nesting beyond [`MAX_DEPTH`] are errors. A node may be shared by
//! several parents as long as the whole does not grow out of proportion.

mod typ;
mod value;

use crate::MAX_DEPTH;

/// Position of a node in its list, `node-index` in WIT.
pub type NodeIndex = i32;

/// One node of a [`WitValueTree`]: `wit-node`.
#[derive(Clone, Debug, PartialEq)]
pub enum WitNode {
    /// `record-value`
    Record(Vec<NodeIndex>),
    /// `variant-value`: case and payload
    Variant(u32, Option<NodeIndex>),
    /// `enum-value`
    Enum(u32),
    /// `flags-value`
    Flags(Vec<bool>),
    /// `tuple-value`
    Tuple(Vec<NodeIndex>),
    /// `list-value`
    List(Vec<NodeIndex>),
    /// `option-value`
    Option(Option<NodeIndex>),
    /// `result-value`
    Result(Result<Option<NodeIndex>, Option<NodeIndex>>),
    /// `prim-u8`
    U8(u8),
    /// `prim-u16`
    U16(u16),
    /// `prim-u32`
    U32(u32),
    /// `prim-u64`
    U64(u64),
    /// `prim-s8`
    S8(i8),
    /// `prim-s16`
    S16(i16),
    /// `prim-s32`
    S32(i32),
    /// `prim-s64`
    S64(i64),
    /// `prim-float32`
    F32(f32),
    /// `prim-float64`
    F64(f64),
    /// `prim-char`
    Char(char),
    /// `prim-bool`
    Bool(bool),
    /// `prim-string`
    String(String),
    /// `handle`: the owning worker's URI and the resource's number
    Handle(String, u64),
}

/// A value as a flat list: `wit-value`.
#[derive(Clone, Debug, PartialEq)]
pub struct WitValueTree(pub Vec<WitNode>);

/// One node of a [`WitTypeTree`]: `wit-type-node`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WitTypeNode {
    /// `record-type`
    Record(Vec<(String, NodeIndex)>),
    /// `variant-type`
    Variant(Vec<(String, Option<NodeIndex>)>),
    /// `enum-type`
    Enum(Vec<String>),
    /// `flags-type`
    Flags(Vec<String>),
    /// `tuple-type`
    Tuple(Vec<NodeIndex>),
    /// `list-type`
    List(NodeIndex),
    /// `option-type`
    Option(NodeIndex),
    /// `result-type`: ok and err
    Result(Option<NodeIndex>, Option<NodeIndex>),
    /// `prim-u8-type`
    U8,
    /// `prim-u16-type`
    U16,
    /// `prim-u32-type`
    U32,
    /// `prim-u64-type`
    U64,
    /// `prim-s8-type`
    S8,
    /// `prim-s16-type`
    S16,
    /// `prim-s32-type`
    S32,
    /// `prim-s64-type`
    S64,
    /// `prim-f32-type`
    F32,
    /// `prim-f64-type`
    F64,
    /// `prim-char-type`
    Char,
    /// `prim-bool-type`
    Bool,
    /// `prim-string-type`
    String,
    /// `handle-type`
    Handle(u64, crate::ResourceMode),
}

/// A type as a flat list: `wit-type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitTypeTree(pub Vec<WitTypeNode>);

/// Why a node list is not a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// There is no root.
    #[error("the node list is empty")]
    Empty,
    /// An index points outside the list.
    #[error("node index {0} is out of range")]
    OutOfRange(NodeIndex),
    /// A node is its own ancestor.
    #[error("node {0} contains itself")]
    Cycle(NodeIndex),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Shared nodes would multiply beyond the allowance.
    #[error("shared nodes expand to more than the node list allows")]
    TooLarge,
    /// More nodes than an index can count.
    #[error("too many nodes")]
    TooManyNodes,
}

/// How much (nodes, and bytes of text) sharing may add to what the list itself holds.
const SHARING_ALLOWANCE: usize = 1 << 20;

/// Walks a node list from its root, seeing to it that the walk ends.
struct Walk<'a, N> {
    nodes: &'a [N],
    /// Which nodes are ancestors of the current one.
    open: Vec<bool>,
    depth: usize,
    /// What may still be visited.
    allowance: usize,
    weight: fn(&N) -> usize,
}

impl<'a, N> Walk<'a, N> {
    fn new(nodes: &'a [N], weight: fn(&N) -> usize) -> Result<Walk<'a, N>, TreeError> {
        if nodes.is_empty() {
            return Err(TreeError::Empty);
        }
        let own = nodes.iter().map(weight).fold(0, usize::saturating_add);
        let allowance = own.saturating_add(SHARING_ALLOWANCE);
        Ok(Walk { nodes, open: vec![false; nodes.len()], depth: 0, allowance, weight })
    }

    /// Visits a node; `build` visits its children in turn.
    fn visit<T>(
        &mut self,
        index: NodeIndex,
        build: impl FnOnce(&mut Self, &'a N) -> Result<T, TreeError>,
    ) -> Result<T, TreeError> {
        let position = usize::try_from(index).map_err(|_| TreeError::OutOfRange(index))?;
        let node = self.nodes.get(position).ok_or(TreeError::OutOfRange(index))?;
        if self.set_open(position, true) {
            return Err(TreeError::Cycle(index));
        }
        if self.depth >= MAX_DEPTH {
            return Err(TreeError::TooDeep);
        }
        let left = self.allowance.checked_sub((self.weight)(node));
        self.allowance = left.ok_or(TreeError::TooLarge)?;
        self.depth += 1;
        let built = build(self, node)?;
        self.depth -= 1;
        self.set_open(position, false);
        Ok(built)
    }

    /// Answers what was set before.
    fn set_open(&mut self, position: usize, open: bool) -> bool {
        self.open.get_mut(position).is_some_and(|flag| std::mem::replace(flag, open))
    }
}

/// Collects nodes in pre-order: a place is taken before the children, and filled after them.
struct Builder<N> {
    nodes: Vec<N>,
    depth: usize,
}

impl<N> Builder<N> {
    fn node(
        &mut self,
        placeholder: N,
        build: impl FnOnce(&mut Self) -> Result<N, TreeError>,
    ) -> Result<NodeIndex, TreeError> {
        if self.depth >= MAX_DEPTH {
            return Err(TreeError::TooDeep);
        }
        let position = self.nodes.len();
        let index = NodeIndex::try_from(position).map_err(|_| TreeError::TooManyNodes)?;
        self.nodes.push(placeholder);
        self.depth += 1;
        let built = build(self)?;
        self.depth -= 1;
        if let Some(slot) = self.nodes.get_mut(position) {
            *slot = built;
        }
        Ok(index)
    }
}
