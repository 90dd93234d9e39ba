//! What cannot be saved is refused, each with a reason that says what it is; what only looks like it
//! is not.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use emet_checkpoint::{GlobalType, Plan, Verdict, reserved_name, rewrite};

fn verdict(text: &str) -> Verdict {
    rewrite(&wat::parse_str(text).unwrap(), &[])
}

/// A component with one module, instantiated once.
fn with_module(module: &str) -> String {
    format!("(component (core module $m {module}) (core instance (instantiate $m)))")
}

#[test]
fn state_out_of_reach_is_refused() {
    for (module, expected) in [
        ("(table 1 funcref) (func (table.set (i32.const 0) (ref.null func)))", "table.set"),
        (
            "(table 1 funcref) (func (drop (table.grow (ref.null func) (i32.const 1))))",
            "table.grow",
        ),
        (
            "(table 1 funcref) (func (table.fill (i32.const 0) (ref.null func) (i32.const 1)))",
            "table.fill",
        ),
        (
            "(table 1 funcref) (func (table.copy (i32.const 0) (i32.const 0) (i32.const 0)))",
            "table.copy",
        ),
        ("(memory 1) (data $d \"x\") (func (data.drop $d))", "data.drop"),
        ("(global (mut funcref) (ref.null func))", "not a number"),
        ("(global (mut v128) (v128.const i64x2 0 0))", "not a number"),
        ("(memory i64 1)", "64-bit memory"),
        ("(memory 1 1 shared)", "shared memory"),
        ("(type (struct (field (mut i32))))", "garbage-collected"),
    ] {
        match verdict(&with_module(module)) {
            Verdict::Refused(reason) => assert!(reason.contains(expected), "{module}: {reason}"),
            Verdict::Supported { .. } => panic!("{module} is not refused"),
        }
    }
}

const MODULE: &str = "(core module $m (memory 1)) (core instance (instantiate $m))";

/// The plan of a component that is not refused.
fn plan(text: &str) -> Plan {
    match verdict(text) {
        Verdict::Supported { plan, .. } => plan,
        Verdict::Refused(reason) => panic!("refused: {reason}"),
    }
}

#[test]
fn each_instance_of_a_component_with_code_is_a_part() {
    let nested = format!(
        "(component
            (component $b (component $c {MODULE}) (instance (instantiate $c))
                {MODULE} (core instance (instantiate $m)))
            (component $unused {MODULE})
            {MODULE}
            (instance (instantiate $b)) (instance (instantiate $b)))"
    );
    let memories: Vec<u32> = plan(&nested).parts.iter().map(|part| part.memories).collect();
    assert_eq!(memories, [1, 2, 1, 2, 1]);
    let types = "(component (component $c (type $t (record (field \"a\" u8))) (export \"t\" (type $t))) (instance (instantiate $c)))";
    assert_eq!(plan(types).parts, []);
}

#[test]
fn parts_of_a_composed_component_have_their_resources() {
    let plan = plan(include_str!("../../../tests/guests/bank.wat"));
    let kinds: Vec<Vec<Option<&str>>> = plan
        .parts
        .iter()
        .map(|part| part.kinds.iter().map(|kind| kind.interface.as_deref()).collect())
        .collect();
    let (own, of_bank) = (vec![None], vec![Some("test:bank/api")]);
    assert_eq!(kinds, [own, of_bank.clone(), of_bank]);
}

#[test]
fn code_that_passes_between_components_is_refused() {
    let shared_module = "(component (core module $m (memory 1)) (component $c (alias outer 1 $m (core module $m)) (core instance (instantiate $m))) (instance (instantiate $c)))";
    let passed = format!(
        "(component
            (component $c {MODULE})
            (component $d (import \"c\" (component $c)) (instance (instantiate $c)))
            (instance (instantiate $d (with \"c\" (component $c)))))"
    );
    let reached = format!(
        "(component
            (component $c {MODULE})
            (component $d (alias outer 1 $c (component $c)) (instance (instantiate $c)))
            (instance (instantiate $d)))"
    );
    for text in [shared_module, &passed, &reached] {
        match verdict(text) {
            Verdict::Refused(reason) => assert!(!reason.contains("rewriting failed"), "{reason}"),
            Verdict::Supported { .. } => panic!("{text} is not refused"),
        }
    }
}

#[test]
fn nesting_has_limits() {
    let mut deep = format!("(component {MODULE})");
    let mut wide = deep.clone();
    for level in 0..10 {
        deep = format!("(component {deep} (instance (instantiate 0)))");
        if level < 7 {
            wide =
                format!("(component {wide} (instance (instantiate 0)) (instance (instantiate 0)))");
        }
    }
    assert!(matches!(verdict(&deep), Verdict::Refused(reason) if reason.contains("deep")));
    assert!(matches!(verdict(&wide), Verdict::Refused(reason) if reason.contains("more than")));
}

#[test]
fn every_instance_of_a_module_has_its_own_state() {
    let text = "(component
        (core module $m (memory 1) (memory 2) (global (mut i64) (i64.const 0)) (global i32 (i32.const 1)) (global (mut f32) (f32.const 0)))
        (core instance (instantiate $m))
        (core instance (instantiate $m)))";
    let plan = plan(text);
    let [part] = plan.parts.as_slice() else { panic!("{plan:?}") };
    assert_eq!(part.memories, 4);
    assert_eq!(part.globals, [GlobalType::I64, GlobalType::F32, GlobalType::I64, GlobalType::F32]);
}

#[test]
fn segments_that_stay_are_no_state() {
    let text = with_module(
        "(memory 1) (data $d \"x\") (func (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)))",
    );
    assert!(matches!(verdict(&text), Verdict::Supported { .. }));
}

#[test]
fn handles_in_every_place_of_a_type_are_followed() {
    // Handles in parameters and results: alone, in lists, in variants with wider cases, behind more
    // parameters than are passed flat.
    let text = r#"(component
        (import "test:host/api" (instance $api
            (export "r" (type $r (sub resource)))
            (export "one" (func (result (own $r))))
            (export "maybe" (func (param "x" (option (own $r))) (result (result (own $r) (error u64)))))
            (export "many" (func (param "x" (list (tuple u8 (own $r)))) (result (list (tuple (own $r) string)))))
            (export "wide" (func (param "x" (result (own $r) (error u64))) (result (tuple (own $r) (own $r)))))
            (export "long" (func
                (param "a" u64) (param "b" u64) (param "c" u64) (param "d" u64) (param "e" u64) (param "f" u64)
                (param "g" u64) (param "h" u64) (param "i" u64) (param "j" u64) (param "k" u64) (param "l" u64)
                (param "m" u64) (param "n" u64) (param "o" u64) (param "p" u8) (param "q" (own $r)))))) 
        (core module $libc
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024))
        (core instance $libc (instantiate $libc))
        (alias core export $libc "memory" (core memory $memory))
        (alias core export $libc "realloc" (core func $realloc))
        (alias export $api "r" (type $r))
        (alias export $api "one" (func $one))
        (alias export $api "maybe" (func $maybe))
        (alias export $api "many" (func $many))
        (alias export $api "wide" (func $wide))
        (alias export $api "long" (func $long))
        (core func $one (canon lower (func $one)))
        (core func $maybe (canon lower (func $maybe) (memory $memory)))
        (core func $many (canon lower (func $many) (memory $memory) (realloc $realloc)))
        (core func $wide (canon lower (func $wide) (memory $memory)))
        (core func $long (canon lower (func $long) (memory $memory)))
        (core func $drop (canon resource.drop $r))
        (core module $user
            (import "h" "one" (func (result i32)))
            (import "h" "maybe" (func (param i32 i32 i32)))
            (import "h" "many" (func (param i32 i32 i32)))
            (import "h" "wide" (func (param i32 i64 i32)))
            (import "h" "long" (func (param i32)))
            (import "h" "drop" (func (param i32))))
        (core instance (instantiate $user (with "h" (instance
            (export "one" (func $one)) (export "maybe" (func $maybe)) (export "many" (func $many))
            (export "wide" (func $wide)) (export "long" (func $long)) (export "drop" (func $drop)))))))"#;
    assert_eq!(plan(text).parts.iter().map(|part| part.kinds.len()).collect::<Vec<_>>(), [1]);
}

#[test]
fn damaged_binaries_are_refused_not_panicked_on() {
    let whole = wat::parse_str(with_module("(memory 1) (func)")).unwrap();
    for end in 0..whole.len() {
        let _ = rewrite(&whole[..end], &[]);
    }
    for at in 0..whole.len() {
        let mut spoiled = whole.clone();
        spoiled[at] ^= 0x55;
        let _ = rewrite(&spoiled, &[]);
    }
}

#[test]
fn reserved_names_are_found() {
    let with_import = r#"(component (import "emet-checkpoint-save" (func)))"#;
    assert_eq!(
        reserved_name(&wat::parse_str(with_import).unwrap()).as_deref(),
        Some("emet-checkpoint-save")
    );
    assert_eq!(
        reserved_name(&wat::parse_str(r#"(component (import "save" (func)))"#).unwrap()),
        None
    );
}
