// Building and reading the flat values of golem:rpc. Included by guests that call the `counter` guest.

const API: &str = "test:counter/api";

fn u64_value(n: u64) -> WitValue {
    WitValue { nodes: vec![WitNode::PrimU64(n)] }
}

fn string_value(s: &str) -> WitValue {
    WitValue { nodes: vec![WitNode::PrimString(s.to_owned())] }
}

/// The one u64 in a result, which is a tuple of one.
fn u64_result(value: Result<WitValue, RpcError>) -> Result<u64, String> {
    let value = value.map_err(|e| format!("{e:?}"))?;
    match value.nodes.as_slice() {
        [WitNode::TupleValue(_), WitNode::PrimU64(n)] => Ok(*n),
        other => Err(format!("unexpected result {other:?}")),
    }
}

fn connect(uri: String) -> WasmRpc {
    WasmRpc::new(&Uri { value: uri })
}
