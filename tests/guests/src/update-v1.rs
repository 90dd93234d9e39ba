//! First version of a component that is updated. The functions of all versions are in the same interface:
//!
//! | | f1(n) reads | f2 reads | f3 | snapshots |
//! |---|---|---|---|---|
//! | v1 | the wall clock | random | the state | none |
//! | v2 | the same | the same | the same; f4 is new | can save |
//! | v3 | random | the wall clock | ten times the state | none |
//! | v4 | nothing | nothing | the state | can save and load, `golem:api@0.2.0` |
//! | v4-bad-load | as v4 | as v4 | as v4 | can save, refuses to load |
//! | v5 | as v4 | as v4 | as v4 | can save and load, `golem:api@1.1.5` |
//!
//! So a history of v1 runs on v2, but not on v3 or v4, which need a snapshot; and only a history without f1 and f2 runs
//! on every version.
wit_bindgen::generate!({ path: "../../target/guest-wit", generate_all, inline: r#"
package test:update;

interface api {
    /// Sets the state, prints it, and returns it. Takes `ms` milliseconds in version 1 and 2.
    f1: func(n: u64, ms: u64) -> u64;
    /// Adds one.
    f2: func() -> u64;
    f3: func() -> u64;
    version: func() -> string;
}

world guest {
    import wasi:clocks/wall-clock@0.2.0;
    import wasi:random/random@0.2.0;
    export api;
}
"# });

use exports::test::update::api::Guest;
use std::cell::Cell;
use wasi::clocks::wall_clock;
use wasi::random::random;

struct V1;
export!(V1);

thread_local!(static STATE: Cell<u64> = const { Cell::new(0) });

impl Guest for V1 {
    fn f1(n: u64, ms: u64) -> u64 {
        wall_clock::now();
        println!("f1 {n}");
        if ms > 0 {
            std::thread::sleep(std::time::Duration::from_millis(ms));
        }
        STATE.set(n);
        n
    }

    fn f2() -> u64 {
        random::get_random_u64();
        STATE.set(STATE.get() + 1);
        STATE.get()
    }

    fn f3() -> u64 {
        STATE.get()
    }

    fn version() -> String {
        "v1".to_owned()
    }
}
