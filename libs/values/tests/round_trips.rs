//! Every form of a value reads back as the same value; hostile input never panics.

mod common;

use common::{typ, typed};
use emet_values::binary::{decode, decode_type, encode, encode_type};
use emet_values::tree::{WitTypeTree, WitValueTree};
use emet_values::{
    FunctionName, FunctionRef, Type, TypedValue, Value, check, check_type, json, wave,
};
use proptest::prelude::*;

proptest! {
    #[test]
    fn values_fit_their_type((typ, value) in typed(true)) {
        prop_assert_eq!(check(&typ, &value), Vec::<String>::new());
        prop_assert_eq!(check(&typ, &value.normalised()), Vec::<String>::new());
        prop_assert_eq!(check_type(&typ, &typ), Vec::<String>::new());
    }

    #[test]
    fn json_as_a_tree((typ, value) in typed(true)) {
        let json = json::encode(&typ, &value).unwrap();
        prop_assert_eq!(json::decode(&typ, &json), Ok(value), "{}", json);
    }

    #[test]
    fn json_as_text((typ, value) in typed(true)) {
        let typed = TypedValue::new(typ, value);
        let text = serde_json::to_string(&typed).unwrap();
        prop_assert_eq!(serde_json::from_str::<TypedValue>(&text).unwrap(), typed, "{}", text);
    }

    #[test]
    fn types_as_json(typ in typ(true)) {
        let text = serde_json::to_string(&typ).unwrap();
        prop_assert_eq!(serde_json::from_str::<Type>(&text).unwrap(), typ);
    }

    #[test]
    fn wave((typ, value) in typed(false)) {
        let text = wave::print(&typ, &value);
        prop_assert_eq!(wave::parse(&typ, &text), Ok(value), "{}", text);
    }

    #[test]
    fn binary((typ, value) in typed(true)) {
        let bytes = encode(&value);
        prop_assert_eq!(decode(&bytes), Ok(value.clone()));
        prop_assert_eq!(encode(&value.normalised()), bytes, "equal values, equal bytes");
        prop_assert_eq!(decode_type(&encode_type(&typ)), Ok(typ));
    }

    #[test]
    fn binary_keeps_every_bit(single: u32, double: u64) {
        for value in [Value::F32(f32::from_bits(single)), Value::F64(f64::from_bits(double))] {
            prop_assert_eq!(decode(&encode(&value)), Ok(value));
        }
    }

    #[test]
    fn trees((typ, value) in typed(true)) {
        prop_assert_eq!(WitValueTree::from_value(&value).unwrap().to_value(), Ok(value));
        prop_assert_eq!(WitTypeTree::from_type(&typ).unwrap().to_type(), Ok(typ));
    }

    #[test]
    fn function_names(
        interface in prop::option::of("[a-z][a-z0-9]{0,3}(:[a-z]{1,3}/[a-z]{1,3}(@1\\.[0-9]\\.3)?)?"),
        res in "[a-z]{1,4}(-[a-z0-9]{1,3})?",
        function in prop_oneof!["[a-z]{1,4}", Just("new".to_owned()), Just("drop".to_owned())],
        arguments in prop::collection::vec(typed(false), 0..4),
        form in 0..9,
    ) {
        let params: Vec<_> = arguments.iter().map(|(typ, value)| wave::print(typ, value)).collect();
        let function = match form {
            0 => FunctionRef::Function(function),
            1 => FunctionRef::Constructor(res),
            2 => FunctionRef::Method { res, method: function },
            3 => FunctionRef::Static { res, function },
            4 => FunctionRef::Drop(res),
            5 => FunctionRef::IndexedConstructor { res, params },
            6 => FunctionRef::IndexedMethod { res, params, method: function },
            7 => FunctionRef::IndexedStatic { res, params, function },
            _ => FunctionRef::IndexedDrop { res, params },
        };
        let name = FunctionName { interface, function };
        prop_assert_eq!(FunctionName::parse(&name.to_string()), Ok(name));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>) {
        if let Ok(value) = decode(&bytes) {
            prop_assert_eq!(decode(&encode(&value)), Ok(value));
        }
        if let Ok(typ) = decode_type(&bytes) {
            prop_assert_eq!(encode_type(&typ), bytes);
        }
    }

    #[test]
    fn damaged_bytes_never_panic((_, value) in typed(true), at: prop::sample::Index, byte: u8) {
        let mut bytes = encode(&value);
        let index = at.index(bytes.len());
        bytes[index] = byte;
        let _ = decode(&bytes);
        let _ = decode(&bytes[..index]);
    }

    #[test]
    fn random_text_never_panics(typ in typ(true), text in "[\"'\\\\\\[\\](){}:,a-z0-9%.u/ \n-]{0,30}") {
        let _ = wave::parse(&typ, &text);
        if let Ok(name) = FunctionName::parse(&text) {
            prop_assert_eq!(FunctionName::parse(&name.to_string()), Ok(name));
        }
        let _ = FunctionName::parse(&format!("a.{{b({text}).c}}"));
    }

    #[test]
    fn values_of_other_types_never_panic((typ, _) in typed(true), (other, value) in typed(true)) {
        let fits = check(&typ, &value).is_empty();
        prop_assert_eq!(json::encode(&typ, &value).is_ok(), fits);
        let _ = wave::print(&typ, &value);
        if let Ok(json) = json::encode(&other, &value) {
            let _ = json::decode(&typ, &json);
        }
    }
}

#[test]
fn nesting_is_limited_alike_everywhere() {
    let nested = |levels: usize| {
        let typ = (1..levels).fold(Type::U16, |typ, _| Type::list(typ));
        let value = (1..levels).fold(Value::U16(1), |value, _| Value::List(vec![value]));
        let json = (1..levels).fold(serde_json::json!(1), |json, _| serde_json::json!([json]));
        let text = format!("{}1{}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        [
            check(&typ, &value).is_empty(),
            typ.validate().is_ok(),
            json::decode(&typ, &json).is_ok(),
            wave::parse(&typ, &text).is_ok(),
            decode(&encode(&value)).is_ok(),
            decode_type(&encode_type(&typ)).is_ok(),
            WitValueTree::from_value(&value).is_ok(),
            WitTypeTree::from_type(&typ).is_ok(),
            Type::from_json(&serde_json::to_value(&typ).unwrap()).is_ok(),
        ]
    };
    assert_eq!(nested(emet_values::MAX_DEPTH), [true; 9]);
    assert_eq!(nested(emet_values::MAX_DEPTH + 1), [false; 9]);
}
