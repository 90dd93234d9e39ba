//! Components that misbehave: nothing here may harm the host or other workers.
wit_bindgen::generate!({ path: "../../target/guest-wit", generate_all, inline: r#"
package test:hostile;

interface api {
    healthcheck: func() -> string;
    /// Never returns, calls nothing.
    endless-loop: func();
    /// Never returns, reads the clock all the time: grows the log.
    endless-calls: func();
    /// Grows memory by 16 MiB at a time, without end.
    grow-memory: func();
    /// Allocates and touches so many MiB, and returns the size in bytes.
    allocate: func(mib: u32) -> u64;
    deep-recursion: func();
    /// Prints so many lines of 1000 characters.
    log-flood: func(n: u32);
    /// One line of so many bytes.
    log-long: func(bytes: u32);
    huge-list: func(n: u32) -> list<u8>;
    huge-strings: func(n: u32, length: u32) -> list<string>;
    /// Keeps so many host resources open; returns how many it has got.
    many-handles: func(n: u32) -> u32;
    /// Polls so many timers at once.
    many-timers: func(n: u32) -> u32;
    /// Fills the file system with so many files of 1 MiB.
    fill-disk: func(files: u32) -> result<_, string>;
    random-flood: func(bytes: u64) -> u64;
    divide-by-zero: func(n: u32) -> u32;
    unreachable: func();
    bad-pointer: func() -> u8;
}

world guest {
    import wasi:clocks/monotonic-clock@0.2.0;
    import wasi:io/poll@0.2.0;
    import wasi:random/random@0.2.0;
    export api;
}
"# });

use exports::test::hostile::api::Guest;
use std::cell::RefCell;
use std::hint::black_box;
use std::sync::atomic::{AtomicPtr, Ordering};
use wasi::clocks::monotonic_clock;
use wasi::io::poll::{Pollable, poll};

struct Hostile;
export!(Hostile);

thread_local!(static KEPT: RefCell<Vec<Pollable>> = const { RefCell::new(Vec::new()) });

const MIB: usize = 1 << 20;

// Keeps everything in locals, so that the engine's stack overflows before the one in linear memory. The pointer keeps
// the compiler from seeing the recursion.
static NEXT: AtomicPtr<()> = AtomicPtr::new(recurse as fn(u64) -> u64 as *mut ());

fn recurse(depth: u64) -> u64 {
    let next: fn(u64) -> u64 = unsafe { std::mem::transmute(NEXT.load(Ordering::Relaxed)) };
    next(depth + 1).wrapping_mul(3) + depth
}

impl Guest for Hostile {
    fn healthcheck() -> String {
        "ok".to_owned()
    }

    fn endless_loop() {
        let mut n = 0u64;
        loop {
            n = black_box(n.wrapping_add(1));
        }
    }

    fn endless_calls() {
        loop {
            black_box(monotonic_clock::now());
        }
    }

    fn grow_memory() {
        let mut kept = Vec::new();
        loop {
            kept.push(black_box(vec![1u8; 16 * MIB]));
        }
    }

    fn allocate(mib: u32) -> u64 {
        black_box(vec![1u8; mib as usize * MIB]).len() as u64
    }

    fn deep_recursion() {
        black_box(recurse(0));
    }

    fn log_flood(n: u32) {
        let line = "x".repeat(990);
        for i in 0..n {
            println!("{i:09} {line}");
        }
    }

    fn log_long(bytes: u32) {
        println!("{}", "x".repeat(bytes as usize));
    }

    fn huge_list(n: u32) -> Vec<u8> {
        vec![7; n as usize]
    }

    fn huge_strings(n: u32, length: u32) -> Vec<String> {
        (0..n).map(|_| "x".repeat(length as usize)).collect()
    }

    fn many_handles(n: u32) -> u32 {
        KEPT.with_borrow_mut(|kept| {
            kept.extend((0..n).map(|_| monotonic_clock::subscribe_instant(u64::MAX)));
            kept.len() as u32
        })
    }

    fn many_timers(n: u32) -> u32 {
        let timers: Vec<_> =
            (0..n).map(|_| monotonic_clock::subscribe_duration(1_000_000)).collect();
        poll(&timers.iter().collect::<Vec<_>>()).len() as u32
    }

    fn fill_disk(files: u32) -> Result<(), String> {
        let contents = vec![b'x'; MIB];
        (0..files).try_for_each(|i| {
            std::fs::write(format!("/fill-{i}"), &contents).map_err(|e| e.to_string())
        })
    }

    fn random_flood(bytes: u64) -> u64 {
        wasi::random::random::get_random_bytes(bytes).len() as u64
    }

    fn divide_by_zero(n: u32) -> u32 {
        n / black_box(0)
    }

    fn unreachable() {
        std::process::abort()
    }

    fn bad_pointer() -> u8 {
        unsafe { black_box(0xffff_fff0 as *const u8).read_volatile() }
    }
}
