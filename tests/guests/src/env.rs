//! What a worker can learn about its surroundings, and what it can print. Everything but printing uses the raw
//! interfaces, because the standard library would answer some calls from a cache.
wit_bindgen::generate!({ path: "../../target/guest-wit", generate_all, inline: r#"
package test:env;

interface api {
    get-environment: func() -> list<tuple<string, string>>;
    get-arguments: func() -> list<string>;
    initial-cwd: func() -> option<string>;
    print: func(text: string);
    eprint: func(text: string);
    /// `print-raw` writes exactly these bytes with one call, without a new line.
    print-raw: func(bytes: list<u8>);
    /// One message for each level.
    log-all: func(context: string, message: string);
    now: func() -> u64;
    monotonic: func() -> u64;
    resolutions: func() -> tuple<u64, u64>;
    random-u64: func() -> u64;
    random-bytes: func(n: u64) -> list<u8>;
    insecure-random-u64: func() -> u64;
    insecure-seed: func() -> tuple<u64, u64>;
    /// Does not return.
    exit: func(ok: bool);
    read-stdin: func() -> result<list<u8>, string>;
    is-terminal: func() -> bool;
}

world guest {
    import wasi:cli/environment@0.2.0;
    import wasi:cli/exit@0.2.0;
    import wasi:cli/stdin@0.2.0;
    import wasi:cli/stdout@0.2.0;
    import wasi:cli/terminal-stdout@0.2.0;
    import wasi:clocks/monotonic-clock@0.2.0;
    import wasi:clocks/wall-clock@0.2.0;
    import wasi:random/insecure@0.2.0;
    import wasi:random/insecure-seed@0.2.0;
    import wasi:random/random@0.2.0;
    import wasi:logging/logging;
    export api;
}
"# });

use exports::test::env::api::Guest;
use wasi::cli::{environment, exit, stdin, stdout, terminal_stdout};
use wasi::clocks::{monotonic_clock, wall_clock};
use wasi::logging::logging::{Level, log};
use wasi::random::{insecure, insecure_seed, random};

struct Env;
export!(Env);

impl Guest for Env {
    fn get_environment() -> Vec<(String, String)> {
        environment::get_environment()
    }

    fn get_arguments() -> Vec<String> {
        environment::get_arguments()
    }

    fn initial_cwd() -> Option<String> {
        environment::initial_cwd()
    }

    fn print(text: String) {
        println!("{text}");
    }

    fn eprint(text: String) {
        eprintln!("{text}");
    }

    fn print_raw(bytes: Vec<u8>) {
        stdout::get_stdout().blocking_write_and_flush(&bytes).unwrap();
    }

    fn log_all(context: String, message: String) {
        for level in
            [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Critical]
        {
            log(level, &context, &message);
        }
    }

    fn now() -> u64 {
        let t = wall_clock::now();
        t.seconds * 1_000_000_000 + u64::from(t.nanoseconds)
    }

    fn monotonic() -> u64 {
        monotonic_clock::now()
    }

    fn resolutions() -> (u64, u64) {
        let wall = wall_clock::resolution();
        (wall.seconds * 1_000_000_000 + u64::from(wall.nanoseconds), monotonic_clock::resolution())
    }

    fn random_u64() -> u64 {
        random::get_random_u64()
    }

    fn random_bytes(n: u64) -> Vec<u8> {
        random::get_random_bytes(n)
    }

    fn insecure_random_u64() -> u64 {
        insecure::get_insecure_random_u64()
    }

    fn insecure_seed() -> (u64, u64) {
        insecure_seed::insecure_seed()
    }

    fn exit(ok: bool) {
        exit::exit(if ok { Ok(()) } else { Err(()) });
    }

    fn read_stdin() -> Result<Vec<u8>, String> {
        stdin::get_stdin().blocking_read(1024).map_err(|e| format!("{e:?}"))
    }

    fn is_terminal() -> bool {
        terminal_stdout::get_terminal_stdout().is_some()
    }
}
