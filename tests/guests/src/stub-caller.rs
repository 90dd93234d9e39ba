//! Calls the `counter` guest through its generated stub, with which it is composed (`composed-caller`). `uri` is always
//! `urn:worker:<component id>/<worker name>`.
wit_bindgen::generate!({ path: "../../target/guest-wit", generate_all, inline: r#"
package test:stub-caller;

interface api {
    /// Calls `add` and waits.
    add: func(uri: string, n: u64) -> u64;
    /// Calls `add` of two workers at once; the sum of both results.
    add-both: func(first: string, second: string, n: u64) -> u64;
    /// Calls the function that the counter's world exports: once waiting, once in the background. The last result.
    world-add: func(uri: string, n: u64) -> u64;
    /// Makes two counters there, and returns both names and the sum of their values.
    counters: func(uri: string) -> tuple<string, u64>;
    /// Calls a function without a result, without waiting for it.
    fail-later: func(uri: string, fail: bool);
    /// Calls a function that traps.
    fail: func(uri: string);
}

world guest {
    import test:counter-stub/stub-guest;
    export api;
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

use exports::test::stub_caller::api::Guest;
use test::counter_stub::stub_guest::{Api, Counter, FutureAddResult, GolemRpcUri, CounterWorld as World};

struct Caller;
export!(Caller);

fn location(value: String) -> GolemRpcUri {
    GolemRpcUri { value }
}

fn wait(future: &FutureAddResult) -> u64 {
    let pollable = future.subscribe();
    loop {
        pollable.block();
        if let Some(result) = future.get() {
            return result;
        }
    }
}

impl Guest for Caller {
    fn add(uri: String, n: u64) -> u64 {
        Api::new(&location(uri)).blocking_add(n)
    }

    fn add_both(first: String, second: String, n: u64) -> u64 {
        let (first, second) = (Api::new(&location(first)), Api::new(&location(second)));
        let (a, b) = (first.add(n), second.add(n));
        wait(&a) + wait(&b)
    }

    fn world_add(uri: String, n: u64) -> u64 {
        let world = World::new(&location(uri));
        world.blocking_world_add(n);
        let future = world.world_add(n);
        future.subscribe().block();
        future.get().unwrap()
    }

    fn counters(uri: String) -> (String, u64) {
        let (a, b) = (Counter::new(&location(uri.clone()), "a"), Counter::new(&location(uri), "b"));
        a.blocking_inc_by(1);
        b.inc_by(2);
        b.blocking_inc_by(3);
        let name = b.name();
        name.subscribe().block();
        (format!("{}+{}", a.blocking_name(), name.get().unwrap()), a.blocking_get_value() + b.blocking_get_value())
    }

    fn fail_later(uri: String, fail: bool) {
        World::new(&location(uri)).fail_if(fail);
    }

    fn fail(uri: String) {
        World::new(&location(uri)).blocking_fail_if(true);
    }
}
