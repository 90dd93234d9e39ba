//! State in memory: plain functions, a world-level function, and a resource.
wit_bindgen::generate!({ inline: r#"
package test:counter;

interface api {
    add: func(n: u64) -> u64;
    get: func() -> u64;
    /// Adds, after doing nothing for a while: a call to be caught in the middle.
    slow-add: func(n: u64, ms: u64) -> u64;

    resource counter {
        constructor(name: string);
        name: func() -> string;
        inc-by: func(n: u64);
        get-value: func() -> u64;
        /// Takes both over; the name is `a+b`, the value the sum.
        merge-counters: static func(a: counter, b: counter) -> counter;
    }
    /// Counters made and not yet dropped.
    live-counters: func() -> u64;
}

world guest {
    export api;
    export world-add: func(n: u64) -> u64;
    export fail-if: func(fail: bool);
}
"# });

use exports::test::counter::api;
use std::cell::Cell;

struct Guest_;
export!(Guest_);

thread_local! {
    static TOTAL: Cell<u64> = const { Cell::new(0) };
    static LIVE: Cell<u64> = const { Cell::new(0) };
}

fn add(n: u64) -> u64 {
    TOTAL.set(TOTAL.get() + n);
    TOTAL.get()
}

impl Guest for Guest_ {
    fn world_add(n: u64) -> u64 {
        add(n)
    }

    fn fail_if(fail: bool) {
        assert!(!fail, "failed as asked");
    }
}

impl api::Guest for Guest_ {
    type Counter = Counter;

    fn add(n: u64) -> u64 {
        add(n)
    }

    fn get() -> u64 {
        TOTAL.get()
    }

    fn slow_add(n: u64, ms: u64) -> u64 {
        std::thread::sleep(std::time::Duration::from_millis(ms));
        add(n)
    }

    fn live_counters() -> u64 {
        LIVE.get()
    }
}

struct Counter {
    name: String,
    value: Cell<u64>,
}

impl Counter {
    fn make(name: String, value: u64) -> Self {
        LIVE.set(LIVE.get() + 1);
        Self { name, value: Cell::new(value) }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        LIVE.set(LIVE.get() - 1);
        println!("dropped {}", self.name);
    }
}

impl api::GuestCounter for Counter {
    fn new(name: String) -> Self {
        Self::make(name, 0)
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn inc_by(&self, n: u64) {
        self.value.set(self.value.get() + n);
    }

    fn get_value(&self) -> u64 {
        self.value.get()
    }

    fn merge_counters(a: api::Counter, b: api::Counter) -> api::Counter {
        let (a, b) = (a.into_inner::<Counter>(), b.into_inner::<Counter>());
        api::Counter::new(Counter::make(
            format!("{}+{}", a.name, b.name),
            a.value.get() + b.value.get(),
        ))
    }
}
