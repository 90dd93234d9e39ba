//! Fixed examples of the stored bytes and of the JSON that clients rely on.
//!
//! The bytes stand in `docs/format/values.md`; a change here is a change of the stored format.

use emet_values::binary::{DecodeError, decode, decode_type, encode, encode_type};
use emet_values::{Export, FunctionType, MAX_DEPTH, ResourceMode, Type, TypedValue, Value, json};
use serde_json::json;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn bytes_of_values() {
    let text = |text: &str| Value::String(text.into());
    let variant = |case, value: Option<Value>| Value::Variant { case, value: value.map(Box::new) };
    let handle = Value::Handle { uri: "urn:worker:c/w".into(), resource_id: 300 };
    for (value, expected) in [
        (Value::Bool(false), "00"),
        (Value::Bool(true), "01"),
        (Value::U8(200), "02 c8"),
        (Value::U16(300), "03 ac 02"),
        (Value::U32(127), "04 7f"),
        (Value::U64(u64::MAX), "05 ff ff ff ff ff ff ff ff ff 01"),
        (Value::S8(-1), "06 ff"),
        (Value::S16(-1), "07 01"),
        (Value::S32(1), "08 02"),
        (Value::S64(i64::MIN), "09 ff ff ff ff ff ff ff ff ff 01"),
        (Value::F32(1.0), "0a 00 00 80 3f"),
        (Value::F64(-0.0), "0b 00 00 00 00 00 00 00 80"),
        (Value::Char('é'), "0c e9 01"),
        (text("hé"), "0d 03 68 c3 a9"),
        (Value::List(vec![Value::Bool(true), Value::Bool(false)]), "10 02 01 00"),
        (Value::List(vec![]), "10 00"),
        (Value::list_u8([]), "10 00"),
        (Value::list_u8([1, 255]), "11 02 01 ff"),
        (Value::List(vec![Value::U8(1), Value::U8(255)]), "11 02 01 ff"),
        (Value::Tuple(vec![Value::U8(1)]), "12 01 02 01"),
        (Value::Record(vec![text("a"), Value::U32(2)]), "13 02 0d 01 61 04 02"),
        (variant(2, None), "14 02"),
        (variant(1, Some(Value::Bool(true))), "15 01 01"),
        (Value::Enum(5), "16 05"),
        (Value::Flags(vec![true, false, true]), "17 03 05"),
        (Value::Flags(vec![true; 9]), "17 09 ff 01"),
        (Value::none(), "18"),
        (Value::some(Value::Bool(false)), "19 00"),
        (Value::Result(Ok(None)), "1a"),
        (Value::ok(Value::U8(7)), "1b 02 07"),
        (Value::Result(Err(None)), "1c"),
        (Value::err(text("")), "1d 0d 00"),
        (handle, "1e 0e 75 72 6e 3a 77 6f 72 6b 65 72 3a 63 2f 77 ac 02"),
    ] {
        let bytes = encode(&value);
        assert_eq!(hex(&bytes), expected, "{value:?}");
        assert_eq!(decode(&bytes), Ok(value));
    }
}

#[test]
fn bytes_of_types() {
    let names = || vec!["a".to_owned(), "bc".to_owned()];
    for (typ, expected) in [
        (Type::Bool, "00"),
        (Type::U8, "02"),
        (Type::U16, "03"),
        (Type::U32, "04"),
        (Type::U64, "05"),
        (Type::S8, "06"),
        (Type::S16, "07"),
        (Type::S32, "08"),
        (Type::S64, "09"),
        (Type::F32, "0a"),
        (Type::F64, "0b"),
        (Type::Char, "0c"),
        (Type::String, "0d"),
        (Type::list(Type::U8), "10 02"),
        (Type::Tuple(vec![Type::U8, Type::Bool]), "12 02 02 00"),
        (Type::Record(vec![("ab".into(), Type::String)]), "13 01 02 61 62 0d"),
        (
            Type::Variant(vec![("a".into(), None), ("b".into(), Some(Type::U8))]),
            "14 02 01 61 ff 01 62 02",
        ),
        (Type::Enum(names()), "16 02 01 61 02 62 63"),
        (Type::Flags(names()), "17 02 01 61 02 62 63"),
        (Type::option(Type::U8), "18 02"),
        (Type::result(Some(Type::U8), None), "1a 02 ff"),
        (Type::Handle { resource_id: 300, mode: ResourceMode::Owned }, "1e ac 02"),
        (Type::Handle { resource_id: 0, mode: ResourceMode::Borrowed }, "1f 00"),
    ] {
        let bytes = encode_type(&typ);
        assert_eq!(hex(&bytes), expected, "{typ}");
        assert_eq!(decode_type(&bytes), Ok(typ));
    }
}

#[test]
fn bytes_that_are_refused() {
    for (bytes, expected) in [
        (&[][..], DecodeError::Truncated),
        (&[0x0d, 0x05, 0x61], DecodeError::Truncated),
        (&[0x10, 0xff, 0xff, 0xff, 0xff, 0x0f], DecodeError::Truncated),
        (
            &[0x17, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            DecodeError::Truncated,
        ),
        (&[0x00, 0x00], DecodeError::Trailing(1)),
        (&[0x0e], DecodeError::Tag(0x0e)),
        (&[0xff], DecodeError::Tag(0xff)),
        (&[0x03, 0x80, 0x80, 0x04], DecodeError::Number),
        (&[0x03, 0x81, 0x00], DecodeError::Number),
        (&[0x05, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], DecodeError::Number),
        (&[0x17, 0x01, 0x02], DecodeError::Number),
        (&[0x0c, 0x80, 0xb0, 0x03], DecodeError::Text),
        (&[0x0d, 0x01, 0xff], DecodeError::Text),
        (&[0x19; MAX_DEPTH + 1], DecodeError::TooDeep),
        (&[0x19; 1_000_000], DecodeError::TooDeep),
    ] {
        assert_eq!(decode(bytes), Err(expected), "{:02x?}", &bytes[..bytes.len().min(20)]);
    }
    assert_eq!(decode_type(&[0x18; 1_000_000]), Err(DecodeError::TooDeep));
    assert_eq!(decode_type(&[0xff]), Err(DecodeError::Tag(0xff)));
}

#[test]
fn exports_as_clients_see_them() {
    let json = json!([
        {"type": "Instance", "name": "shop:cart/api", "functions": [
            {"name": "add-item",
             "parameters": [{"name": "item", "typ": {"type": "Record", "fields": [
                {"name": "sku", "typ": {"type": "Str"}}, {"name": "qty", "typ": {"type": "U32"}}]}}],
             "results": [{"name": null,
                "typ": {"type": "Result", "ok": {"type": "U64"}, "err": null}}]},
            {"name": "[constructor]counter",
             "parameters": [{"name": "n", "typ": {"type": "Chr"}}],
             "results": [{"name": null,
                "typ": {"type": "Handle", "resource_id": 0, "mode": "Owned"}}]}]},
        {"type": "Function", "name": "dump", "parameters": [],
         "results": [{"name": "x", "typ": {"type": "Variant", "cases": [
            {"name": "a", "typ": null}, {"name": "b", "typ": {"type": "List",
            "inner": {"type": "Option", "inner": {"type": "Flags", "names": ["f"]}}}}]}}]}
    ]);
    let exports: Vec<Export> = serde_json::from_value(json.clone()).unwrap();
    assert!(matches!(&exports[0], Export::Instance { functions, .. } if functions.len() == 2));
    assert_eq!(serde_json::to_value(&exports).unwrap(), json);
    let short: FunctionType = serde_json::from_value(json!({
        "name": "f", "parameters": [], "results": [{"typ": {"type": "Result"}}]
    }))
    .unwrap();
    assert_eq!(short.results, [(None, Type::result(None, None))]);
    assert_eq!(short.result_type(), Type::Tuple(vec![Type::result(None, None)]));
}

#[test]
fn invalid_types_are_explained() {
    let error = |json| serde_json::from_value::<Type>(json).unwrap_err().to_string();
    assert_eq!(error(json!({"type": "Strg"})), "invalid type: unknown type \"Strg\"");
    assert_eq!(error(json!({"type": "List"})), "invalid type: missing key \"inner\"");
    let deep =
        (0..MAX_DEPTH).fold(json!({"type": "U8"}), |t, _| json!({"type": "List", "inner": t}));
    assert!(error(deep).contains("deeper than 128"));
}

#[test]
fn typed_values_as_clients_see_them() {
    let json = json!({
        "typ": {"type": "Record", "fields": [
            {"name": "sku", "typ": {"type": "Str"}},
            {"name": "note", "typ": {"type": "Option", "inner": {"type": "Str"}}},
            {"name": "outcome", "typ": {"type": "Result", "ok": {"type": "U64"}}},
            {"name": "bytes", "typ": {"type": "List", "inner": {"type": "U8"}}}]},
        "value": {"sku": "A-1", "outcome": {"err": null, "ok": 17}, "extra": 1, "bytes": [1, 2]}
    });
    let typed: TypedValue = serde_json::from_value(json).unwrap();
    let expected = Value::Record(vec![
        Value::String("A-1".into()),
        Value::none(),
        Value::ok(Value::U64(17)),
        Value::list_u8([1, 2]),
    ]);
    assert_eq!(typed.value, expected);
    let text = serde_json::to_string(&typed).unwrap();
    let value = r#""value":{"sku":"A-1","note":null,"outcome":{"ok":17},"bytes":[1,2]}}"#;
    assert!(text.ends_with(value), "{text}");
}

#[test]
fn json_of_values() {
    let nested = Type::option(Type::option(Type::U8));
    let colour = Type::Enum(vec!["red".into(), "blue".into()]);
    let shape = Type::Variant(vec![("dot".into(), None), ("circle".into(), Some(Type::F32))]);
    let handle = Type::Handle { resource_id: 1, mode: ResourceMode::Borrowed };
    let circle = Value::Variant { case: 1, value: Some(Box::new(Value::F32(0.1))) };
    let resource = Value::Handle { uri: "urn:worker:c-1/w 1".into(), resource_id: 7 };
    for (typ, value, json) in [
        (&Type::Char, Value::Char('a'), json!(97)),
        (&Type::U64, Value::U64(u64::MAX), json!(u64::MAX)),
        (&Type::S64, Value::S64(i64::MIN), json!(i64::MIN)),
        (&Type::F64, Value::F64(f64::NAN), json!("NaN")),
        (&Type::F32, Value::F32(f32::NEG_INFINITY), json!("-Infinity")),
        (&nested, Value::none(), json!(null)),
        (&nested, Value::some(Value::none()), json!({"some": null})),
        (&nested, Value::some(Value::some(Value::U8(1))), json!(1)),
        (&colour, Value::Enum(1), json!("blue")),
        (&shape, Value::Variant { case: 0, value: None }, json!({"dot": null})),
        (&shape, circle, json!({"circle": 0.1})),
        (&handle, resource, json!("urn:worker:c-1/w 1/7")),
        (&Type::Flags(vec!["a".into(), "b".into()]), Value::Flags(vec![false, true]), json!(["b"])),
        (&Type::result(None, Some(Type::Char)), Value::Result(Ok(None)), json!({"ok": null})),
    ] {
        assert_eq!(json::encode(typ, &value).as_ref(), Ok(&json));
        assert_eq!(json::decode(typ, &json), Ok(value));
    }
}

#[test]
fn json_input_is_generous() {
    let nested = Type::option(Type::option(Type::U8));
    for (typ, json, value) in [
        (&Type::Char, json!("é"), Value::Char('é')),
        (&Type::U64, json!("18446744073709551615"), Value::U64(u64::MAX)),
        (&Type::S64, json!("-5"), Value::S64(-5)),
        (&Type::U32, json!(1e3), Value::U32(1000)),
        (&Type::F32, json!("Infinity"), Value::F32(f32::INFINITY)),
        (&Type::F64, json!(3), Value::F64(3.0)),
        (&nested, json!({"some": 1}), Value::some(Value::some(Value::U8(1)))),
    ] {
        assert_eq!(json::decode(typ, &json), Ok(value));
    }
}

#[test]
fn every_json_mismatch_is_listed() {
    let item = Type::Record(vec![
        ("sku".into(), Type::String),
        ("qty".into(), Type::U8),
        ("colour".into(), Type::Enum(vec!["red".into(), "blue".into()])),
    ]);
    let typ = Type::Record(vec![("items".into(), Type::list(item)), ("at".into(), Type::U64)]);
    let json = json!({"items": [
        {"sku": "a", "qty": 1, "colour": "red"},
        {"sku": 5, "qty": 256, "colour": "green"},
        {"qty": 1.5, "sku": "b", "colour": null},
        []
    ]});
    assert_eq!(
        json::decode(&typ, &json).unwrap_err(),
        [
            "in $.items[1].sku expected string, got number 5",
            "in $.items[1].qty expected u8, got number 256",
            "in $.items[1].colour expected one of red, blue, got \"green\"",
            "in $.items[2].qty expected u8, got number 1.5",
            "in $.items[2].colour expected string, got null",
            "in $.items[3] expected object, got array",
            "in $.at expected u64, got no such key",
        ]
    );
    let refused = |typ: &Type, json| json::decode(typ, &json).is_err();
    assert!(refused(&Type::F32, json!(1e300)) && refused(&Type::F64, json!("inf")));
    assert!(refused(&Type::U64, json!("1.0")) && refused(&Type::U64, json!("+1")));
    assert!(refused(&Type::Char, json!(0xd800)) && refused(&Type::Char, json!("ab")));
    assert!(refused(&Type::Tuple(vec![Type::U8]), json!([1, 2])));
    assert!(refused(&Type::result(None, None), json!({"ok": 1})));
}
