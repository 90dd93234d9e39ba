//! Calls the `counter` guest later, through golem:rpc@0.1.3.
wit_bindgen::generate!({ path: "../../target/guest-wit", generate_all, inline: r#"
package test:rpc-scheduler;

interface api {
    /// Schedules `add` in `seconds`.
    add-in: func(uri: string, n: u64, seconds: u64);
    /// The same; keeps the token. Returns its number.
    add-in-cancelable: func(uri: string, n: u64, seconds: u64) -> u32;
    /// Cancels by the token's number.
    cancel: func(token: u32);
    /// `extract-value` and `extract-type` of a number; the names of both root nodes.
    extract: func(n: u64) -> tuple<string, string>;
    get: func(uri: string) -> result<u64, string>;
}

world guest {
    import golem:rpc/types@0.1.3;
    import wasi:clocks/wall-clock@0.2.0;
    export api;
}
"# });

use exports::test::rpc_scheduler::api::Guest;
use golem::rpc0_1_3::types::{
    CancellationToken, RpcError, Uri, ValueAndType, WasmRpc, WitNode, WitType, WitTypeNode,
    WitValue, extract_type, extract_value,
};
use std::cell::RefCell;
use wasi::clocks::wall_clock::{self, Datetime};

include!("parts/rpc.rs");

struct Scheduler;
export!(Scheduler);

thread_local!(static TOKENS: RefCell<Vec<Option<CancellationToken>>> = const { RefCell::new(Vec::new()) });

fn after(seconds: u64) -> Datetime {
    let mut t = wall_clock::now();
    t.seconds += seconds;
    t
}

impl Guest for Scheduler {
    fn add_in(uri: String, n: u64, seconds: u64) {
        connect(uri).schedule_invocation(
            after(seconds),
            &format!("{API}.{{add}}"),
            &[u64_value(n)],
        );
    }

    fn add_in_cancelable(uri: String, n: u64, seconds: u64) -> u32 {
        let function = format!("{API}.{{add}}");
        let token =
            connect(uri).schedule_cancelable_invocation(after(seconds), &function, &[u64_value(n)]);
        TOKENS.with_borrow_mut(|tokens| {
            tokens.push(Some(token));
            tokens.len() as u32 - 1
        })
    }

    fn cancel(token: u32) {
        TOKENS.with_borrow_mut(|tokens| tokens[token as usize].take().unwrap().cancel());
    }

    fn extract(n: u64) -> (String, String) {
        let both = || ValueAndType {
            value: u64_value(n),
            typ: WitType { nodes: vec![WitTypeNode::PrimU64Type] },
        };
        let value = extract_value(&both());
        let typ = extract_type(&both());
        (format!("{:?}", value.nodes[0]), format!("{:?}", typ.nodes[0]))
    }

    fn get(uri: String) -> Result<u64, String> {
        // Only here to see the effect.
        let _ = string_value;
        u64_result(connect(uri).invoke_and_await(&format!("{API}.{{get}}"), &[]))
    }
}
