//! The components that are measured.

use anyhow::{Context, Result};
use std::path::Path;

/// Takes durable steps: `recorded(n)` reads the clock n times, `committed(n)` makes n idempotency
/// keys, each of which is durable before the next one.
const STEPS: &str = r#"
(component
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock (export "now" (func (result u64)))))
  (import "golem:api/host@0.2.0" (instance $host
    (type $record (record (field "high-bits" u64) (field "low-bits" u64)))
    (export "uuid" (type $uuid (eq $record)))
    (export "generate-idempotency-key" (func (result $uuid)))))
  (core module $memory (memory (export "memory") 1))
  (core instance $m (instantiate $memory))
  (core func $now (canon lower (func $clock "now")))
  (core func $key (canon lower (func $host "generate-idempotency-key") (memory $m "memory")))
  (core module $code
    (import "host" "now" (func $now (result i64)))
    (import "host" "key" (func $key (param i32)))
    (func (export "recorded") (param $n i32) (result i64) (local $last i64)
      (block $done (loop $next
        (br_if $done (i32.eqz (local.get $n)))
        (local.set $last (call $now))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $next)))
      (local.get $last))
    (func (export "committed") (param $n i32) (result i64)
      (block $done (loop $next
        (br_if $done (i32.eqz (local.get $n)))
        (call $key (i32.const 16))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $next)))
      (i64.const 0)))
  (core instance $c (instantiate $code (with "host" (instance (export "now" (func $now)) (export "key" (func $key))))))
  (func (export "recorded") (param "n" u32) (result u64) (canon lift (core func $c "recorded")))
  (func (export "committed") (param "n" u32) (result u64) (canon lift (core func $c "committed"))))
"#;

/// The component that takes steps.
pub(crate) fn steps() -> Result<Vec<u8>> {
    Ok(wat::parse_str(STEPS)?)
}

/// A prebuilt test component.
pub(crate) fn prebuilt(name: &str) -> Result<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../guests/prebuilt")
        .join(format!("{name}.wasm"));
    std::fs::read(&path).with_context(|| path.display().to_string())
}
