//! Second version: calls the host as version 1 does, so that a history of version 1 runs on it. See update-v1.rs.
wit_bindgen::generate!({ path: "../../target/guest-wit", generate_all, inline: r#"
package test:update;

interface api {
    f1: func(n: u64, ms: u64) -> u64;
    f2: func() -> u64;
    f3: func() -> u64;
    /// New in this version.
    f4: func() -> string;
    version: func() -> string;
}

world guest {
    import wasi:clocks/wall-clock@0.2.0;
    import wasi:random/random@0.2.0;
    export api;
    export golem:api/save-snapshot@0.2.0;
}
"# });

use exports::golem::api0_2_0::save_snapshot;
use exports::test::update::api::Guest;
use std::cell::Cell;
use wasi::clocks::wall_clock;
use wasi::random::random;

struct V2;
export!(V2);

thread_local!(static STATE: Cell<u64> = const { Cell::new(0) });

impl Guest for V2 {
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

    fn f4() -> String {
        format!("state {}", STATE.get())
    }

    fn version() -> String {
        "v2".to_owned()
    }
}

impl save_snapshot::Guest for V2 {
    fn save() -> Vec<u8> {
        STATE.get().to_be_bytes().to_vec()
    }
}
