//! Third version: calls the host differently, so a history of version 1 diverges on it. See update-v1.rs.
wit_bindgen::generate!({ path: "../../target/guest-wit", generate_all, inline: r#"
package test:update;

interface api {
    f1: func(n: u64, ms: u64) -> u64;
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

struct V3;
export!(V3);

thread_local!(static STATE: Cell<u64> = const { Cell::new(0) });

impl Guest for V3 {
    fn f1(n: u64, _ms: u64) -> u64 {
        random::get_random_u64();
        println!("f1 {n}");
        STATE.set(n);
        n
    }

    fn f2() -> u64 {
        wall_clock::now();
        STATE.set(STATE.get() + 1);
        STATE.get()
    }

    fn f3() -> u64 {
        STATE.get() * 10
    }

    fn version() -> String {
        "v3".to_owned()
    }
}
