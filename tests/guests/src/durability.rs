//! Control over the worker's own durability.
//!
//! Every function has side effects outside of the worker, called steps: step n answers how often it has been executed.
//! With an environment variable PORT it is a GET of http://localhost:PORT/step/n, which has to answer the number;
//! without, it is a number in the key-value bucket `steps-<worker name>`, under the key n.
wit_bindgen::generate!({ path: "../../target/guest-wit", generate_all, inline: r#"
package test:durability;

interface api {
    use golem:api/host@0.2.0.{oplog-index, persistence-level, retry-policy, uuid};

    /// Executes a step.
    step: func(n: u64) -> u64;
    /// Prints, goes back once to before step 1, and returns step 1's number: 2.
    jump: func() -> u64;
    /// Goes back to an index that does not exist yet: traps.
    jump-forward: func();
    /// Steps 1 to 4, of which 2 and 3 are an atomic region that fails until step 3 has been executed three times.
    atomic-region: func() -> u64;
    /// The same without the region: the recorded number is read again on every retry, so it never succeeds.
    no-region: func() -> u64;
    /// Sets the mode, executes step 1, and returns its number.
    idempotence: func(idempotent: bool) -> u64;
    /// Step 1, steps 2 and 3 with nothing persisted, step 4; fails once after all of them.
    persist-nothing: func() -> u64;
    get-persistence-level: func() -> persistence-level;
    set-persistence-level: func(level: persistence-level);
    get-idempotence-mode: func() -> bool;
    /// Prints, commits, and prints again.
    commit: func(replicas: u8);
    get-retry-policy: func() -> retry-policy;
    set-retry-policy: func(policy: retry-policy);
    /// Sets a policy of so many attempts, with this delay, prints, and fails.
    fail-with-policy: func(max-attempts: u32, delay-ms: u64);
    /// Fails until the call has been attempted n + 1 times; returns the number of attempts.
    fails-n-times: func(n: u64) -> u64;
    get-oplog-index: func() -> oplog-index;
    /// This many keys, one after the other.
    keys: func(n: u32) -> list<uuid>;
    /// A key made before an atomic region that fails once, and one made in it.
    keys-around-region: func() -> tuple<uuid, uuid>;
    /// Generates a key, prints it, and fails the first time.
    key-with-retry: func() -> uuid;
    get-self-uri: func(function-name: string) -> string;
}

world guest {
    import golem:api/host@0.2.0;
    import wasi:http/types@0.2.0;
    import wasi:http/outgoing-handler@0.2.0;
    import wasi:keyvalue/eventual@0.1.0;
    import wasi:keyvalue/types@0.1.0;
    import wasi:keyvalue/wasi-keyvalue-error@0.1.0;
    import wasi:cli/environment@0.2.0;
    export api;
}
"# });

include!("parts/http.rs");
include!("parts/http_body.rs");

use exports::test::durability::api::Guest;
use golem::api0_2_0::host::{self, OplogIndex, PersistenceLevel, RetryPolicy, Uuid};
use wasi::cli::environment::get_environment;
use wasi::keyvalue::eventual;
use wasi::keyvalue::types::{Bucket, OutgoingValue};

struct Durability;
export!(Durability);

fn step(n: u64) -> u64 {
    let env = get_environment();
    let count = match env.iter().find(|(name, _)| name == "PORT") {
        Some((_, port)) => {
            let request =
                new_request(&Method::Get, &format!("http://localhost:{port}/step/{n}"), &[]);
            let response = response_of(&send(request).unwrap()).unwrap();
            let body = body_text(&response.consume().unwrap()).unwrap();
            body.trim().parse().unwrap_or_else(|_| panic!("step {n} answered {body:?}"))
        }
        None => {
            let worker =
                env.iter().find(|(name, _)| name == "GOLEM_WORKER_NAME").map_or("", |(_, v)| v);
            let bucket = Bucket::open_bucket(&format!("steps-{worker}")).unwrap();
            let key = n.to_string();
            let before = match eventual::get(&bucket, &key).unwrap() {
                Some(v) => String::from_utf8(v.incoming_value_consume_sync().unwrap())
                    .unwrap()
                    .parse()
                    .unwrap(),
                None => 0,
            };
            let value = OutgoingValue::new_outgoing_value();
            value.outgoing_value_write_body_sync((before + 1u64).to_string().as_bytes()).unwrap();
            eventual::set(&bucket, &key, &value).unwrap();
            before + 1
        }
    };
    println!("step {n}: {count}");
    count
}

impl Guest for Durability {
    fn step(n: u64) -> u64 {
        step(n)
    }

    fn jump() -> u64 {
        println!("started");
        let index = host::get_oplog_index();
        let count = step(1);
        println!("after step 1");
        if count < 2 {
            println!("jumping");
            host::set_oplog_index(index);
        }
        println!("finished");
        count
    }

    fn jump_forward() {
        host::set_oplog_index(host::get_oplog_index() + 1000);
    }

    fn atomic_region() -> u64 {
        step(1);
        let begin = host::mark_begin_operation();
        step(2);
        let attempt = step(3);
        assert!(attempt >= 3, "attempt {attempt} fails");
        host::mark_end_operation(begin);
        step(4);
        attempt
    }

    fn no_region() -> u64 {
        let attempt = step(1);
        assert!(attempt >= 3, "attempt {attempt} fails");
        attempt
    }

    fn idempotence(idempotent: bool) -> u64 {
        host::set_idempotence_mode(idempotent);
        step(1)
    }

    fn persist_nothing() -> u64 {
        step(1);
        host::set_oplog_persistence_level(PersistenceLevel::PersistNothing);
        step(2);
        let attempt = step(3);
        host::set_oplog_persistence_level(PersistenceLevel::Smart);
        step(4);
        assert!(attempt >= 2, "attempt {attempt} fails");
        attempt
    }

    fn get_persistence_level() -> PersistenceLevel {
        host::get_oplog_persistence_level()
    }

    fn set_persistence_level(level: PersistenceLevel) {
        host::set_oplog_persistence_level(level);
    }

    fn get_idempotence_mode() -> bool {
        host::get_idempotence_mode()
    }

    fn commit(replicas: u8) {
        println!("before the commit");
        host::oplog_commit(replicas);
        println!("after the commit");
    }

    fn get_retry_policy() -> RetryPolicy {
        host::get_retry_policy()
    }

    fn set_retry_policy(policy: RetryPolicy) {
        host::set_retry_policy(policy);
    }

    fn fail_with_policy(max_attempts: u32, delay_ms: u64) {
        let delay = delay_ms * 1_000_000;
        host::set_retry_policy(RetryPolicy {
            max_attempts,
            min_delay: delay,
            max_delay: delay,
            multiplier: 1.0,
        });
        eprintln!("about to fail");
        panic!("failed as asked");
    }

    fn fails_n_times(n: u64) -> u64 {
        // In an atomic region, so that each attempt executes the step for real.
        let begin = host::mark_begin_operation();
        let attempt = step(1);
        assert!(attempt > n, "attempt {attempt} fails");
        host::mark_end_operation(begin);
        attempt
    }

    fn get_oplog_index() -> OplogIndex {
        host::get_oplog_index()
    }

    fn keys(n: u32) -> Vec<Uuid> {
        (0..n).map(|_| host::generate_idempotency_key()).collect()
    }

    fn keys_around_region() -> (Uuid, Uuid) {
        let outside = host::generate_idempotency_key();
        let begin = host::mark_begin_operation();
        let inside = host::generate_idempotency_key();
        println!("inside {:016x}{:016x}", inside.high_bits, inside.low_bits);
        assert!(step(1) >= 2, "the first attempt fails");
        host::mark_end_operation(begin);
        (outside, inside)
    }

    fn key_with_retry() -> Uuid {
        let key = host::generate_idempotency_key();
        println!("key {:016x}{:016x}", key.high_bits, key.low_bits);
        host::set_oplog_persistence_level(PersistenceLevel::PersistNothing);
        assert!(step(1) >= 2, "the first attempt fails");
        host::set_oplog_persistence_level(PersistenceLevel::Smart);
        key
    }

    fn get_self_uri(function_name: String) -> String {
        host::get_self_uri(&function_name).value
    }
}
