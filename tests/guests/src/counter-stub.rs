//! The client stub of the `counter` guest, in the form in which the tools of the 1.0 and 1.1 line generated it: a component
//! that exports the stub interface and makes every call through raw golem:rpc@0.1.0. To be composed with a caller.
wit_bindgen::generate!({ path: "../../target/guest-wit", generate_all, inline: r#"
package test:counter-stub-component;

world stub {
    import golem:rpc/types@0.1.0;
    export test:counter-stub/stub-guest;
}

package test:counter-stub {
    interface stub-guest {
        use golem:rpc/types@0.1.0.{uri as golem-rpc-uri};
        use wasi:io/poll@0.2.0.{pollable as wasi-io-pollable};

        resource future-add-result { subscribe: func() -> wasi-io-pollable; get: func() -> option<u64>; }
        resource future-get-result { subscribe: func() -> wasi-io-pollable; get: func() -> option<u64>; }
        resource future-name-result { subscribe: func() -> wasi-io-pollable; get: func() -> option<string>; }
        resource future-world-add-result { subscribe: func() -> wasi-io-pollable; get: func() -> option<u64>; }
        resource api {
            constructor(location: golem-rpc-uri);
            blocking-add: func(n: u64) -> u64;
            add: func(n: u64) -> future-add-result;
            blocking-get: func() -> u64;
            get: func() -> future-get-result;
        }
        resource counter {
            constructor(location: golem-rpc-uri, name: string);
            blocking-name: func() -> string;
            name: func() -> future-name-result;
            blocking-inc-by: func(n: u64);
            inc-by: func(n: u64);
            blocking-get-value: func() -> u64;
            get-value: func() -> future-get-result;
        }
        resource counter-world {
            constructor(location: golem-rpc-uri);
            blocking-world-add: func(n: u64) -> u64;
            world-add: func(n: u64) -> future-world-add-result;
            blocking-fail-if: func(fail: bool);
            fail-if: func(fail: bool);
        }
    }
}
"# });

use exports::test::counter_stub::stub_guest::{self as stub, GolemRpcUri, WasiIoPollable};
use golem::rpc0_1_0::types::{FutureInvokeResult, RpcError, Uri, WasmRpc, WitNode, WitValue};

include!("parts/rpc.rs");

struct Stub;
export!(Stub);

/// A typed call has no place for an error of the call itself.
fn expect(function: &str, result: Result<WitValue, RpcError>) -> WitValue {
    result.unwrap_or_else(|e| panic!("Failed to invoke remote {function}: {e:?}"))
}

fn call(rpc: &WasmRpc, function: &str, params: &[WitValue]) -> WitValue {
    expect(function, rpc.invoke_and_await(function, params))
}

fn send(rpc: &WasmRpc, function: &str, params: &[WitValue]) {
    rpc.invoke(function, params).unwrap_or_else(|e| panic!("Failed to invoke remote {function}: {e:?}"));
}

fn number(value: WitValue) -> u64 {
    u64_result(Ok(value)).unwrap()
}

fn text(value: WitValue) -> String {
    match value.nodes.as_slice() {
        [WitNode::TupleValue(_), WitNode::PrimString(text)] => text.clone(),
        other => panic!("unexpected result {other:?}"),
    }
}

fn bool_value(value: bool) -> WitValue {
    WitValue { nodes: vec![WitNode::PrimBool(value)] }
}

/// The result of a call in the background.
struct Future(FutureInvokeResult);

macro_rules! future {
    ($guest:ident, $ty:ty, $read:ident) => {
        impl stub::$guest for Future {
            fn subscribe(&self) -> WasiIoPollable {
                self.0.subscribe()
            }

            fn get(&self) -> Option<$ty> {
                self.0.get().map(|result| $read(expect("in the background", result)))
            }
        }
    };
}
future!(GuestFutureAddResult, u64, number);
future!(GuestFutureGetResult, u64, number);
future!(GuestFutureNameResult, String, text);
future!(GuestFutureWorldAddResult, u64, number);

fn start(rpc: &WasmRpc, function: &str, params: &[WitValue]) -> Future {
    Future(rpc.async_invoke_and_await(function, params))
}

struct Api(WasmRpc);

impl stub::GuestApi for Api {
    fn new(location: GolemRpcUri) -> Self {
        Self(connect(location.value))
    }

    fn blocking_add(&self, n: u64) -> u64 {
        number(call(&self.0, &format!("{API}.{{add}}"), &[u64_value(n)]))
    }

    fn add(&self, n: u64) -> stub::FutureAddResult {
        stub::FutureAddResult::new(start(&self.0, &format!("{API}.{{add}}"), &[u64_value(n)]))
    }

    fn blocking_get(&self) -> u64 {
        number(call(&self.0, &format!("{API}.{{get}}"), &[]))
    }

    fn get(&self) -> stub::FutureGetResult {
        stub::FutureGetResult::new(start(&self.0, &format!("{API}.{{get}}"), &[]))
    }
}

struct Counter {
    rpc: WasmRpc,
    handle: WitNode,
}

impl Counter {
    fn this(&self) -> WitValue {
        WitValue { nodes: vec![self.handle.clone()] }
    }
}

impl stub::GuestCounter for Counter {
    fn new(location: GolemRpcUri, name: String) -> Self {
        let rpc = connect(location.value);
        let made = call(&rpc, "test:counter/api.{counter.new}", &[string_value(&name)]);
        let [WitNode::TupleValue(_), handle @ WitNode::Handle(_)] = made.nodes.as_slice() else {
            panic!("no handle in {:?}", made.nodes);
        };
        let handle = handle.clone();
        Self { rpc, handle }
    }

    fn blocking_name(&self) -> String {
        text(call(&self.rpc, "test:counter/api.{counter.name}", &[self.this()]))
    }

    fn name(&self) -> stub::FutureNameResult {
        stub::FutureNameResult::new(start(&self.rpc, "test:counter/api.{counter.name}", &[self.this()]))
    }

    fn blocking_inc_by(&self, n: u64) {
        call(&self.rpc, "test:counter/api.{counter.inc-by}", &[self.this(), u64_value(n)]);
    }

    fn inc_by(&self, n: u64) {
        send(&self.rpc, "test:counter/api.{counter.inc-by}", &[self.this(), u64_value(n)]);
    }

    fn blocking_get_value(&self) -> u64 {
        number(call(&self.rpc, "test:counter/api.{counter.get-value}", &[self.this()]))
    }

    fn get_value(&self) -> stub::FutureGetResult {
        stub::FutureGetResult::new(start(&self.rpc, "test:counter/api.{counter.get-value}", &[self.this()]))
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        call(&self.rpc, "test:counter/api.{counter.drop}", &[self.this()]);
    }
}

struct World(WasmRpc);

impl stub::GuestCounterWorld for World {
    fn new(location: GolemRpcUri) -> Self {
        Self(connect(location.value))
    }

    fn blocking_world_add(&self, n: u64) -> u64 {
        number(call(&self.0, "world-add", &[u64_value(n)]))
    }

    fn world_add(&self, n: u64) -> stub::FutureWorldAddResult {
        stub::FutureWorldAddResult::new(start(&self.0, "world-add", &[u64_value(n)]))
    }

    fn blocking_fail_if(&self, fail: bool) {
        call(&self.0, "fail-if", &[bool_value(fail)]);
    }

    fn fail_if(&self, fail: bool) {
        send(&self.0, "fail-if", &[bool_value(fail)]);
    }
}

impl stub::Guest for Stub {
    type Api = Api;
    type Counter = Counter;
    type CounterWorld = World;
    type FutureAddResult = Future;
    type FutureGetResult = Future;
    type FutureNameResult = Future;
    type FutureWorldAddResult = Future;
}
