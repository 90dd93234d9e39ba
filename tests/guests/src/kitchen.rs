//! Every type of the component model, in and out.
wit_bindgen::generate!({ inline: r#"
package test:kitchen;

interface api {
    record point { x: s32, y: s32 }
    record nested { id: u64, label: option<string>, points: list<point>, shape: shape, color: color, access: access }
    variant shape { empty, circle(f64), rectangle(tuple<f64, f64>), polygon(list<point>), named(string) }
    enum color { red, green, blue, light-grey }
    flags access { read, write, execute }
    /// One byte is not enough for nine labels.
    flags weekday-set { mo, tu, we, th, fr, sa, su, public-holiday, bridge-day }
    flags many-flags { f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21, f22, f23, f24, f25, f26, f27, f28, f29, f30, f31 }

    echo-bool: func(x: bool) -> bool;
    echo-u8: func(x: u8) -> u8;
    echo-u16: func(x: u16) -> u16;
    echo-u32: func(x: u32) -> u32;
    echo-u64: func(x: u64) -> u64;
    echo-s8: func(x: s8) -> s8;
    echo-s16: func(x: s16) -> s16;
    echo-s32: func(x: s32) -> s32;
    echo-s64: func(x: s64) -> s64;
    echo-f32: func(x: f32) -> f32;
    echo-f64: func(x: f64) -> f64;
    echo-char: func(x: char) -> char;
    echo-string: func(x: string) -> string;
    echo-bytes: func(x: list<u8>) -> list<u8>;
    echo-strings: func(x: list<string>) -> list<string>;
    echo-u64s: func(x: list<u64>) -> list<u64>;
    echo-pairs: func(x: list<tuple<u32, string>>) -> list<tuple<u32, string>>;
    echo-tuple: func(x: tuple<u8, s64, string, f64>) -> tuple<u8, s64, string, f64>;
    echo-option: func(x: option<string>) -> option<string>;
    echo-nested-option: func(x: option<option<u8>>) -> option<option<u8>>;
    echo-result: func(x: result<u32, string>) -> result<u32, string>;
    echo-result-ok: func(x: result<u32>) -> result<u32>;
    echo-result-err: func(x: result<_, string>) -> result<_, string>;
    echo-result-unit: func(x: result) -> result;
    echo-result-nested: func(x: result<option<u8>, result<u8, string>>) -> result<option<u8>, result<u8, string>>;
    echo-point: func(x: point) -> point;
    echo-nested: func(x: nested) -> nested;
    echo-shape: func(x: shape) -> shape;
    echo-color: func(x: color) -> color;
    echo-access: func(x: access) -> access;
    echo-weekday-set: func(x: weekday-set) -> weekday-set;
    echo-many-flags: func(x: many-flags) -> many-flags;
    echo-tree: func(x: list<option<result<point, shape>>>) -> list<option<result<point, shape>>>;

    none: func();
    three: func(a: u8, b: string, c: bool) -> string;
    /// `n` bytes: 0, 1, 2, ... modulo 256.
    big: func(n: u32) -> list<u8>;
    /// Length and sum of the bytes.
    digest: func(bytes: list<u8>) -> tuple<u64, u64>;
    /// Infinity, minus infinity and not-a-number.
    odd-floats: func() -> list<f64>;
}

world guest {
    export api;
}
"# });

use exports::test::kitchen::api::*;

struct Kitchen;
export!(Kitchen);

impl Guest for Kitchen {
    fn echo_bool(x: bool) -> bool {
        x
    }

    fn echo_u8(x: u8) -> u8 {
        x
    }

    fn echo_u16(x: u16) -> u16 {
        x
    }

    fn echo_u32(x: u32) -> u32 {
        x
    }

    fn echo_u64(x: u64) -> u64 {
        x
    }

    fn echo_s8(x: i8) -> i8 {
        x
    }

    fn echo_s16(x: i16) -> i16 {
        x
    }

    fn echo_s32(x: i32) -> i32 {
        x
    }

    fn echo_s64(x: i64) -> i64 {
        x
    }

    fn echo_f32(x: f32) -> f32 {
        x
    }

    fn echo_f64(x: f64) -> f64 {
        x
    }

    fn echo_char(x: char) -> char {
        x
    }

    fn echo_string(x: String) -> String {
        x
    }

    fn echo_bytes(x: Vec<u8>) -> Vec<u8> {
        x
    }

    fn echo_strings(x: Vec<String>) -> Vec<String> {
        x
    }

    fn echo_u64s(x: Vec<u64>) -> Vec<u64> {
        x
    }

    fn echo_pairs(x: Vec<(u32, String)>) -> Vec<(u32, String)> {
        x
    }

    fn echo_tuple(x: (u8, i64, String, f64)) -> (u8, i64, String, f64) {
        x
    }

    fn echo_option(x: Option<String>) -> Option<String> {
        x
    }

    fn echo_nested_option(x: Option<Option<u8>>) -> Option<Option<u8>> {
        x
    }

    fn echo_result(x: Result<u32, String>) -> Result<u32, String> {
        x
    }

    fn echo_result_ok(x: Result<u32, ()>) -> Result<u32, ()> {
        x
    }

    fn echo_result_err(x: Result<(), String>) -> Result<(), String> {
        x
    }

    fn echo_result_unit(x: Result<(), ()>) -> Result<(), ()> {
        x
    }

    fn echo_result_nested(
        x: Result<Option<u8>, Result<u8, String>>,
    ) -> Result<Option<u8>, Result<u8, String>> {
        x
    }

    fn echo_point(x: Point) -> Point {
        x
    }

    fn echo_nested(x: Nested) -> Nested {
        x
    }

    fn echo_shape(x: Shape) -> Shape {
        x
    }

    fn echo_color(x: Color) -> Color {
        x
    }

    fn echo_access(x: Access) -> Access {
        x
    }

    fn echo_weekday_set(x: WeekdaySet) -> WeekdaySet {
        x
    }

    fn echo_many_flags(x: ManyFlags) -> ManyFlags {
        x
    }

    fn echo_tree(x: Vec<Option<Result<Point, Shape>>>) -> Vec<Option<Result<Point, Shape>>> {
        x
    }

    fn none() {}

    fn three(a: u8, b: String, c: bool) -> String {
        format!("{a} {b} {c}")
    }

    fn big(n: u32) -> Vec<u8> {
        (0..n).map(|i| i as u8).collect()
    }

    fn digest(bytes: Vec<u8>) -> (u64, u64) {
        (bytes.len() as u64, bytes.iter().map(|b| u64::from(*b)).sum())
    }

    fn odd_floats() -> Vec<f64> {
        vec![f64::INFINITY, f64::NEG_INFINITY, f64::NAN]
    }
}
