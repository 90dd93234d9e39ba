//! A fourth version that refuses every snapshot. See update-v1.rs.
wit_bindgen::generate!({ path: "../../target/guest-wit", generate_all, inline: r#"
package test:update;

interface api {
    f1: func(n: u64, ms: u64) -> u64;
    f2: func() -> u64;
    f3: func() -> u64;
    version: func() -> string;
}

world guest {
    export api;
    export golem:api/save-snapshot@0.2.0;
    export golem:api/load-snapshot@0.2.0;
}
"# });

use exports::golem::api0_2_0::{load_snapshot, save_snapshot};
use exports::test::update::api::Guest;
use std::cell::Cell;

struct BadLoad;
export!(BadLoad);

thread_local!(static STATE: Cell<u64> = const { Cell::new(0) });

impl Guest for BadLoad {
    fn f1(n: u64, _ms: u64) -> u64 {
        println!("f1 {n}");
        STATE.set(n);
        n
    }

    fn f2() -> u64 {
        STATE.set(STATE.get() + 1);
        STATE.get()
    }

    fn f3() -> u64 {
        STATE.get()
    }

    fn version() -> String {
        "v4-bad-load".to_owned()
    }
}

impl save_snapshot::Guest for BadLoad {
    fn save() -> Vec<u8> {
        STATE.get().to_be_bytes().to_vec()
    }
}

impl load_snapshot::Guest for BadLoad {
    fn load(_bytes: Vec<u8>) -> Result<(), String> {
        Err("invalid snapshot, as always".to_owned())
    }
}
