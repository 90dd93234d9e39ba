//! Waiting, in all forms.
wit_bindgen::generate!({ path: "../../target/guest-wit", generate_all, inline: r#"
package test:clocks;

interface api {
    /// Waits for one timer; returns how long it took, in milliseconds of the wall clock.
    sleep-ms: func(ms: u64) -> u64;
    /// The same through the standard library.
    std-sleep-ms: func(ms: u64) -> u64;
    /// Waits for an instant of the monotonic clock, now + ms.
    sleep-until-ms: func(ms: u64) -> u64;
    /// Polls timers of these lengths together until all are done; returns their positions in order of completion.
    sleep-during-poll: func(ms: list<u64>) -> list<u32>;
    /// `ready` of a timer, before and after waiting for it.
    ready: func(ms: u64) -> tuple<bool, bool>;
    healthcheck: func() -> string;
    /// Prints `tick 1` ... `tick n` with a second of sleep after each, to be interrupted.
    interruption: func(n: u32) -> u32;
}

world guest {
    import wasi:clocks/monotonic-clock@0.2.0;
    import wasi:clocks/wall-clock@0.2.0;
    import wasi:io/poll@0.2.0;
    export api;
}
"# });

use exports::test::clocks::api::Guest;
use wasi::clocks::{monotonic_clock, wall_clock};
use wasi::io::poll;

struct Clocks;
export!(Clocks);

const MS: u64 = 1_000_000;

fn now_ms() -> u64 {
    let t = wall_clock::now();
    t.seconds * 1000 + u64::from(t.nanoseconds) / 1_000_000
}

fn timed(wait: impl FnOnce()) -> u64 {
    let start = now_ms();
    wait();
    now_ms() - start
}

impl Guest for Clocks {
    fn sleep_ms(ms: u64) -> u64 {
        timed(|| monotonic_clock::subscribe_duration(ms * MS).block())
    }

    fn std_sleep_ms(ms: u64) -> u64 {
        timed(|| std::thread::sleep(std::time::Duration::from_millis(ms)))
    }

    fn sleep_until_ms(ms: u64) -> u64 {
        timed(|| monotonic_clock::subscribe_instant(monotonic_clock::now() + ms * MS).block())
    }

    fn sleep_during_poll(ms: Vec<u64>) -> Vec<u32> {
        let mut timers: Vec<_> = (0..)
            .zip(ms)
            .map(|(i, ms)| (i, monotonic_clock::subscribe_duration(ms * MS)))
            .collect();
        let mut done = Vec::new();
        while !timers.is_empty() {
            let ready = poll::poll(&timers.iter().map(|(_, t)| t).collect::<Vec<_>>());
            // Later ones first, so that positions stay right while removing.
            let mut fired: Vec<u32> =
                ready.iter().rev().map(|i| timers.remove(*i as usize).0).collect();
            fired.reverse();
            done.extend(fired);
        }
        done
    }

    fn ready(ms: u64) -> (bool, bool) {
        let timer = monotonic_clock::subscribe_duration(ms * MS);
        let before = timer.ready();
        timer.block();
        (before, timer.ready())
    }

    fn healthcheck() -> String {
        "ok".to_owned()
    }

    fn interruption(n: u32) -> u32 {
        for i in 1..=n {
            println!("tick {i}");
            monotonic_clock::subscribe_duration(1000 * MS).block();
        }
        n
    }
}
