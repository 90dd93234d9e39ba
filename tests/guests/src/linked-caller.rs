//! Calls the `counter` guest through its client interface, which the host links (`dynamicLinking`): no stub, no raw
//! golem:rpc. `uri` is always `urn:worker:<component id>/<worker name>`.
wit_bindgen::generate!({ path: "../../target/guest-wit", generate_all, inline: r#"
package test:linked-caller;

interface api {
    /// Calls `add` and waits.
    add: func(uri: string, n: u64) -> u64;
    /// Calls `add` of two workers at once; the sum of both results.
    add-both: func(first: string, second: string, n: u64) -> u64;
    /// Calls the function that the counter's world exports.
    world-add: func(uri: string, n: u64) -> u64;
    /// Calls a function without a result, without waiting for it.
    fail-later: func(uri: string, fail: bool);
    /// Schedules `add` in `seconds`; keeps the token if `keep` is set.
    add-in: func(uri: string, n: u64, seconds: u64, keep: bool);
    /// Cancels what was kept.
    cancel: func();
    /// Makes two counters there, and returns both names and the sum of their values.
    counters: func(uri: string) -> tuple<string, u64>;
    /// Calls a function that traps.
    fail: func(uri: string);
}

world guest {
    import wasi:clocks/wall-clock@0.2.0;
    import test:counter-client/stub-guest;
    export api;
}

package test:counter-client {
    interface stub-guest {
        use golem:rpc/types@0.1.3.{uri, cancellation-token};
        use wasi:io/poll@0.2.0.{pollable};
        use wasi:clocks/wall-clock@0.2.0.{datetime};

        resource future-add-result { subscribe: func() -> pollable; get: func() -> option<u64>; }
        resource future-world-add-result { subscribe: func() -> pollable; get: func() -> option<u64>; }
        resource api {
            constructor(location: uri);
            blocking-add: func(n: u64) -> u64;
            add: func(n: u64) -> future-add-result;
            schedule-add: func(n: u64, scheduled-for: datetime) -> cancellation-token;
        }
        resource counter {
            constructor(location: uri, name: string);
            blocking-name: func() -> string;
            name: func() -> future-name-result;
            blocking-inc-by: func(n: u64);
            inc-by: func(n: u64);
            blocking-get-value: func() -> u64;
            get-value: func() -> future-add-result;
        }
        resource future-name-result { subscribe: func() -> pollable; get: func() -> option<string>; }
        resource guest {
            constructor(location: uri);
            blocking-world-add: func(n: u64) -> u64;
            world-add: func(n: u64) -> future-world-add-result;
            blocking-fail-if: func(fail: bool);
            fail-if: func(fail: bool);
        }
    }
}
"# });

use exports::test::linked_caller::api::Guest;
use golem::rpc0_1_3::types::{CancellationToken, Uri};
use std::cell::RefCell;
use test::counter_client::stub_guest::{Api, Counter, FutureAddResult, Guest_ as World};
use wasi::clocks::wall_clock::{self, Datetime};

struct Caller;
export!(Caller);

thread_local!(static KEPT: RefCell<Vec<CancellationToken>> = const { RefCell::new(Vec::new()) });

fn location(value: String) -> Uri {
    Uri { value }
}

fn wait(future: FutureAddResult) -> u64 {
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
        wait(a) + wait(b)
    }

    fn world_add(uri: String, n: u64) -> u64 {
        World::new(&location(uri)).blocking_world_add(n)
    }

    fn fail_later(uri: String, fail: bool) {
        World::new(&location(uri)).fail_if(fail);
    }

    fn add_in(uri: String, n: u64, seconds: u64, keep: bool) {
        let now = wall_clock::now();
        let at = Datetime { seconds: now.seconds + seconds, nanoseconds: now.nanoseconds };
        let token = Api::new(&location(uri)).schedule_add(n, at);
        if keep {
            KEPT.with_borrow_mut(|kept| kept.push(token));
        }
    }

    fn cancel() {
        KEPT.take().iter().for_each(CancellationToken::cancel);
    }

    fn counters(uri: String) -> (String, u64) {
        let (a, b) = (Counter::new(&location(uri.clone()), "a"), Counter::new(&location(uri), "b"));
        a.blocking_inc_by(1);
        b.inc_by(2);
        b.blocking_inc_by(3);
        (format!("{}+{}", a.blocking_name(), b.blocking_name()), a.blocking_get_value() + wait(b.get_value()))
    }

    fn fail(uri: String) {
        World::new(&location(uri)).blocking_fail_if(true);
    }
}
