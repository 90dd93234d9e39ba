//! Values as node lists.

use super::{Builder, NodeIndex, TreeError, Walk, WitNode, WitValueTree};
use crate::Value;

impl WitValueTree {
    /// Flattens a value, parents before children.
    pub fn from_value(value: &Value) -> Result<WitValueTree, TreeError> {
        let mut builder = Builder { nodes: Vec::new(), depth: 0 };
        builder.value(value)?;
        Ok(WitValueTree(builder.nodes))
    }

    /// Rebuilds the value; byte lists come out in compact form.
    pub fn to_value(&self) -> Result<Value, TreeError> {
        Walk::new(&self.0, weight)?.value(0)
    }
}

fn weight(node: &WitNode) -> usize {
    match node {
        WitNode::String(text) | WitNode::Handle(text, _) => text.len() + 1,
        WitNode::Flags(flags) => flags.len() + 1,
        _ => 1,
    }
}

impl Builder<WitNode> {
    fn value(&mut self, value: &Value) -> Result<NodeIndex, TreeError> {
        self.node(WitNode::Bool(false), |this| this.content(value))
    }

    fn content(&mut self, value: &Value) -> Result<WitNode, TreeError> {
        Ok(match value {
            Value::Bool(flag) => WitNode::Bool(*flag),
            Value::S8(number) => WitNode::S8(*number),
            Value::U8(number) => WitNode::U8(*number),
            Value::S16(number) => WitNode::S16(*number),
            Value::U16(number) => WitNode::U16(*number),
            Value::S32(number) => WitNode::S32(*number),
            Value::U32(number) => WitNode::U32(*number),
            Value::S64(number) => WitNode::S64(*number),
            Value::U64(number) => WitNode::U64(*number),
            Value::F32(number) => WitNode::F32(*number),
            Value::F64(number) => WitNode::F64(*number),
            Value::Char(char) => WitNode::Char(*char),
            Value::String(text) => WitNode::String(text.clone()),
            Value::List(items) => WitNode::List(self.values(items)?),
            Value::Bytes(bytes) => WitNode::List(self.bytes(bytes)?),
            Value::Tuple(items) => WitNode::Tuple(self.values(items)?),
            Value::Record(items) => WitNode::Record(self.values(items)?),
            Value::Variant { case, value } => WitNode::Variant(*case, self.payload(value)?),
            Value::Enum(case) => WitNode::Enum(*case),
            Value::Flags(flags) => WitNode::Flags(flags.clone()),
            Value::Option(value) => WitNode::Option(self.payload(value)?),
            Value::Result(Ok(value)) => WitNode::Result(Ok(self.payload(value)?)),
            Value::Result(Err(value)) => WitNode::Result(Err(self.payload(value)?)),
            Value::Handle { uri, resource_id } => WitNode::Handle(uri.clone(), *resource_id),
        })
    }

    fn values(&mut self, items: &[Value]) -> Result<Vec<NodeIndex>, TreeError> {
        items.iter().map(|item| self.value(item)).collect()
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<Vec<NodeIndex>, TreeError> {
        self.nodes.reserve(bytes.len());
        bytes.iter().map(|byte| self.value(&Value::U8(*byte))).collect()
    }

    fn payload(&mut self, value: &Option<Box<Value>>) -> Result<Option<NodeIndex>, TreeError> {
        value.as_deref().map(|value| self.value(value)).transpose()
    }
}

impl Walk<'_, WitNode> {
    fn value(&mut self, index: NodeIndex) -> Result<Value, TreeError> {
        self.visit(index, |this, node| {
            Ok(match node {
                WitNode::Record(fields) => Value::Record(this.values(fields)?),
                WitNode::Variant(case, value) => {
                    Value::Variant { case: *case, value: this.payload(*value)? }
                }
                WitNode::Enum(case) => Value::Enum(*case),
                WitNode::Flags(flags) => Value::Flags(flags.clone()),
                WitNode::Tuple(items) => Value::Tuple(this.values(items)?),
                WitNode::List(items) => Value::from_list(this.values(items)?),
                WitNode::Option(value) => Value::Option(this.payload(*value)?),
                WitNode::Result(Ok(value)) => Value::Result(Ok(this.payload(*value)?)),
                WitNode::Result(Err(value)) => Value::Result(Err(this.payload(*value)?)),
                WitNode::U8(number) => Value::U8(*number),
                WitNode::U16(number) => Value::U16(*number),
                WitNode::U32(number) => Value::U32(*number),
                WitNode::U64(number) => Value::U64(*number),
                WitNode::S8(number) => Value::S8(*number),
                WitNode::S16(number) => Value::S16(*number),
                WitNode::S32(number) => Value::S32(*number),
                WitNode::S64(number) => Value::S64(*number),
                WitNode::F32(number) => Value::F32(*number),
                WitNode::F64(number) => Value::F64(*number),
                WitNode::Char(char) => Value::Char(*char),
                WitNode::Bool(flag) => Value::Bool(*flag),
                WitNode::String(text) => Value::String(text.clone()),
                WitNode::Handle(uri, resource_id) => {
                    Value::Handle { uri: uri.clone(), resource_id: *resource_id }
                }
            })
        })
    }

    fn values(&mut self, indices: &[NodeIndex]) -> Result<Vec<Value>, TreeError> {
        indices.iter().map(|index| self.value(*index)).collect()
    }

    fn payload(&mut self, index: Option<NodeIndex>) -> Result<Option<Box<Value>>, TreeError> {
        index.map(|index| self.value(index).map(Box::new)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TreeError, WitNode, WitValueTree};
    use crate::{MAX_DEPTH, Value};

    #[test]
    fn parents_come_before_their_children() {
        let value = Value::Record(vec![
            Value::Tuple(vec![Value::U8(1), Value::Bool(true)]),
            Value::Result(Err(None)),
            Value::list_u8([7]),
        ]);
        let tree = WitValueTree::from_value(&value).unwrap();
        assert_eq!(
            tree.0,
            [
                WitNode::Record(vec![1, 4, 5]),
                WitNode::Tuple(vec![2, 3]),
                WitNode::U8(1),
                WitNode::Bool(true),
                WitNode::Result(Err(None)),
                WitNode::List(vec![6]),
                WitNode::U8(7),
            ]
        );
        assert_eq!(tree.to_value(), Ok(value));
    }

    #[test]
    fn any_layout_is_read() {
        let nodes =
            vec![WitNode::Tuple(vec![3, 1]), WitNode::U8(1), WitNode::U8(9), WitNode::U8(2)];
        let expected = Value::Tuple(vec![Value::U8(2), Value::U8(1)]);
        assert_eq!(WitValueTree(nodes).to_value(), Ok(expected));
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        let read = |nodes| WitValueTree(nodes).to_value();
        assert_eq!(read(vec![]), Err(TreeError::Empty));
        assert_eq!(read(vec![WitNode::List(vec![1])]), Err(TreeError::OutOfRange(1)));
        assert_eq!(read(vec![WitNode::Option(Some(-1))]), Err(TreeError::OutOfRange(-1)));
        assert_eq!(read(vec![WitNode::Option(Some(0))]), Err(TreeError::Cycle(0)));
        let knot = vec![WitNode::Option(Some(1)), WitNode::Variant(0, Some(0))];
        assert_eq!(read(knot), Err(TreeError::Cycle(0)));
        let chain =
            |length| (1..=length).map(|next| WitNode::Option(Some(next))).collect::<Vec<_>>();
        assert_eq!(read(chain(1_000_000)), Err(TreeError::TooDeep));
        // Each level doubles what it shares.
        let mut bomb: Vec<_> = (1..100).map(|next| WitNode::List(vec![next, next])).collect();
        bomb.push(WitNode::U8(1));
        assert_eq!(read(bomb), Err(TreeError::TooLarge));
    }

    #[test]
    fn too_deep_values_are_not_written() {
        let deep = |levels| (1..levels).fold(Value::U8(1), |value, _| Value::some(value));
        assert!(WitValueTree::from_value(&deep(MAX_DEPTH)).unwrap().to_value().is_ok());
        let refused = WitValueTree::from_value(&deep(MAX_DEPTH + 1));
        assert_eq!(refused, Err(TreeError::TooDeep));
    }
}
