//! Calls the `counter` guest through raw golem:rpc@0.1.0. `uri` is always `urn:worker:<component id>/<worker name>`.
wit_bindgen::generate!({ path: "../../target/guest-wit", generate_all, inline: r#"
package test:rpc-caller;

interface api {
    /// Calls `add` and waits.
    add: func(uri: string, n: u64) -> result<u64, string>;
    /// Calls `get` and waits.
    get: func(uri: string) -> result<u64, string>;
    /// Enqueues `add` without waiting.
    add-later: func(uri: string, n: u64) -> result<_, string>;
    /// Calls `add`, polls until the result is there, and returns it.
    add-async: func(uri: string, n: u64) -> result<u64, string>;
    /// Calls `slow-add` of two workers at once; the sum of both results.
    add-both: func(first: string, second: string, n: u64, ms: u64) -> result<u64, string>;
    /// Calls any function with u64 parameters, and describes the result.
    call: func(uri: string, function: string, params: list<u64>) -> result<string, string>;
    /// Enqueues any function with u64 parameters.
    send: func(uri: string, function: string, params: list<u64>) -> result<_, string>;
    /// Makes a counter resource, increments it twice through its handle, reads and drops it.
    counter: func(uri: string, name: string) -> result<u64, string>;
    /// Calls `add` of two workers, one after the other, n times; the last result.
    ping-pong: func(first: string, second: string, n: u64) -> result<u64, string>;
    /// Calls `relay` of the first with the others, and `get` of the last; a chain of workers that wait for each other.
    relay: func(uris: list<string>) -> result<u64, string>;
    /// The same, with calls in the background that are then waited for; the next worker does likewise if `then-async` is
    /// set, and otherwise waits from the start.
    relay-async: func(uris: list<string>, then-async: bool) -> result<u64, string>;
    /// Calls `add` of `count` workers named `prefix` and a number at once; the sum of the results.
    fan-out: func(prefix: string, count: u32, n: u64) -> result<u64, string>;
    /// Arguments of this worker.
    get-arguments: func() -> list<string>;
    /// Environment of this worker, to see what a called worker has inherited.
    get-environment: func() -> list<tuple<string, string>>;
}

world guest {
    import golem:rpc/types@0.1.0;
    import wasi:cli/environment@0.2.0;
    export api;
}
"# });

use exports::test::rpc_caller::api::Guest;
use golem::rpc0_1_0::types::{FutureInvokeResult, RpcError, Uri, WasmRpc, WitNode, WitValue};

include!("parts/rpc.rs");

struct Caller;
export!(Caller);

fn answer(future: &FutureInvokeResult) -> Result<WitValue, RpcError> {
    let pollable = future.subscribe();
    loop {
        pollable.block();
        if let Some(result) = future.get() {
            return result;
        }
    }
}

fn wait(future: &FutureInvokeResult) -> Result<u64, String> {
    u64_result(answer(future))
}

fn strings(texts: Vec<String>) -> WitValue {
    let items = (1..=texts.len() as i32).collect();
    let texts = texts.into_iter().map(WitNode::PrimString);
    WitValue { nodes: std::iter::once(WitNode::ListValue(items)).chain(texts).collect() }
}

/// A tuple of one result, which holds either the number or the text.
fn relayed(answer: Result<WitValue, RpcError>) -> Result<u64, String> {
    match answer.map_err(|e| format!("{e:?}"))?.nodes.as_slice() {
        [_, WitNode::ResultValue(Ok(_)), WitNode::PrimU64(n)] => Ok(*n),
        [_, WitNode::ResultValue(Err(_)), WitNode::PrimString(text)] => Err(text.clone()),
        other => Err(format!("{other:?}")),
    }
}

impl Guest for Caller {
    fn add(uri: String, n: u64) -> Result<u64, String> {
        u64_result(connect(uri).invoke_and_await(&format!("{API}.{{add}}"), &[u64_value(n)]))
    }

    fn get(uri: String) -> Result<u64, String> {
        u64_result(connect(uri).invoke_and_await(&format!("{API}.{{get}}"), &[]))
    }

    fn add_later(uri: String, n: u64) -> Result<(), String> {
        connect(uri)
            .invoke(&format!("{API}.{{add}}"), &[u64_value(n)])
            .map_err(|e| format!("{e:?}"))
    }

    fn add_async(uri: String, n: u64) -> Result<u64, String> {
        wait(&connect(uri).async_invoke_and_await(&format!("{API}.{{add}}"), &[u64_value(n)]))
    }

    fn add_both(first: String, second: String, n: u64, ms: u64) -> Result<u64, String> {
        let (first, second) = (connect(first), connect(second));
        let start = |rpc: &WasmRpc| {
            rpc.async_invoke_and_await(
                &format!("{API}.{{slow-add}}"),
                &[u64_value(n), u64_value(ms)],
            )
        };
        let (a, b) = (start(&first), start(&second));
        Ok(wait(&a)? + wait(&b)?)
    }

    fn call(uri: String, function: String, params: Vec<u64>) -> Result<String, String> {
        let params: Vec<_> = params.into_iter().map(u64_value).collect();
        match connect(uri).invoke_and_await(&function, &params) {
            Ok(value) => Ok(format!("{:?}", value.nodes)),
            Err(e) => Err(format!("{e:?}")),
        }
    }

    fn send(uri: String, function: String, params: Vec<u64>) -> Result<(), String> {
        let params: Vec<_> = params.into_iter().map(u64_value).collect();
        connect(uri).invoke(&function, &params).map_err(|e| format!("{e:?}"))
    }

    fn counter(uri: String, name: String) -> Result<u64, String> {
        let rpc = connect(uri);
        let call = |function: &str, params: &[WitValue]| {
            rpc.invoke_and_await(&format!("{API}.{{{function}}}"), params)
                .map_err(|e| format!("{e:?}"))
        };
        let made = call("[constructor]counter", &[string_value(&name)])?;
        let [WitNode::TupleValue(_), WitNode::Handle(handle)] = made.nodes.as_slice() else {
            return Err(format!("no handle in {:?}", made.nodes));
        };
        let this = || WitValue { nodes: vec![WitNode::Handle(handle.clone())] };
        call("[method]counter.inc-by", &[this(), u64_value(2)])?;
        call("[method]counter.inc-by", &[this(), u64_value(3)])?;
        let value = u64_result(Ok(call("[method]counter.get-value", &[this()])?));
        call("[drop]counter", &[this()])?;
        value
    }

    fn ping_pong(first: String, second: String, n: u64) -> Result<u64, String> {
        let (first, second) = (connect(first), connect(second));
        let mut last = 0;
        for _ in 0..n {
            for rpc in [&first, &second] {
                last =
                    u64_result(rpc.invoke_and_await(&format!("{API}.{{add}}"), &[u64_value(1)]))?;
            }
        }
        Ok(last)
    }

    fn relay(mut uris: Vec<String>) -> Result<u64, String> {
        if uris.is_empty() {
            return Err("nobody to call".to_owned());
        }
        let first = connect(uris.remove(0));
        if uris.is_empty() {
            return u64_result(first.invoke_and_await(&format!("{API}.{{get}}"), &[]));
        }
        relayed(first.invoke_and_await("test:rpc-caller/api.{relay}", &[strings(uris)]))
    }

    fn relay_async(mut uris: Vec<String>, then_async: bool) -> Result<u64, String> {
        if uris.is_empty() {
            return Err("nobody to call".to_owned());
        }
        let first = connect(uris.remove(0));
        if uris.is_empty() {
            return wait(&first.async_invoke_and_await(&format!("{API}.{{get}}"), &[]));
        }
        let mut params = vec![strings(uris)];
        if then_async {
            params.push(WitValue { nodes: vec![WitNode::PrimBool(true)] });
        }
        let function = if then_async { "relay-async" } else { "relay" };
        let future = first.async_invoke_and_await(&format!("test:rpc-caller/api.{{{function}}}"), &params);
        relayed(answer(&future))
    }

    fn fan_out(prefix: String, count: u32, n: u64) -> Result<u64, String> {
        let workers: Vec<_> = (0..count).map(|i| connect(format!("{prefix}{i}"))).collect();
        let start = |rpc: &WasmRpc| rpc.async_invoke_and_await(&format!("{API}.{{add}}"), &[u64_value(n)]);
        let futures: Vec<_> = workers.iter().map(start).collect();
        futures.iter().map(wait).sum()
    }

    fn get_arguments() -> Vec<String> {
        wasi::cli::environment::get_arguments()
    }

    fn get_environment() -> Vec<(String, String)> {
        wasi::cli::environment::get_environment()
    }
}
