//! Fifth version: saves and loads snapshots, through the interfaces of the 1.1 line. See update-v1.rs.
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
    export golem:api/save-snapshot@1.1.5;
    export golem:api/load-snapshot@1.1.5;
}
"# });

use exports::golem::api1_1_5::{load_snapshot, save_snapshot};
use exports::test::update::api::Guest;
use std::cell::Cell;

struct V5;
export!(V5);

thread_local!(static STATE: Cell<u64> = const { Cell::new(0) });

impl Guest for V5 {
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
        "v5".to_owned()
    }
}

impl save_snapshot::Guest for V5 {
    fn save() -> Vec<u8> {
        STATE.get().to_be_bytes().to_vec()
    }
}

impl load_snapshot::Guest for V5 {
    fn load(bytes: Vec<u8>) -> Result<(), String> {
        let bytes =
            bytes.try_into().map_err(|b: Vec<u8>| format!("{} bytes instead of 8", b.len()))?;
        STATE.set(u64::from_be_bytes(bytes));
        println!("loaded {}", STATE.get());
        Ok(())
    }
}
