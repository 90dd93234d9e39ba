//! Random types, and random values of a given type.

use emet_values::{ResourceMode, Type, Value};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;

/// A type and a value of it. With `handles` false, everything in it has a text form.
pub(crate) fn typed(handles: bool) -> BoxedStrategy<(Type, Value)> {
    typ(handles).prop_flat_map(|typ| (Just(typ.clone()), value(&typ))).boxed()
}

/// A type of moderate size.
pub(crate) fn typ(handles: bool) -> BoxedStrategy<Type> {
    leaf(handles)
        .prop_recursive(5, 40, 4, |inner| {
            let optional = prop::option::of(inner.clone());
            prop_oneof![
                1 => inner.clone().prop_map(Type::list),
                2 => inner.clone().prop_map(Type::option),
                1 => (optional.clone(), optional.clone())
                    .prop_map(|(ok, err)| Type::result(ok, err)),
                1 => vec(inner.clone(), 1..4).prop_map(Type::Tuple),
                1 => named(inner).prop_map(Type::Record),
                1 => named(optional).prop_map(Type::Variant),
            ]
        })
        .boxed()
}

fn leaf(handles: bool) -> BoxedStrategy<Type> {
    let scalars = [
        Type::Bool,
        Type::S8,
        Type::U8,
        Type::S16,
        Type::U16,
        Type::S32,
        Type::U32,
        Type::S64,
        Type::U64,
        Type::F32,
        Type::F64,
        Type::Char,
        Type::String,
        Type::list(Type::U8),
    ];
    let handle = (any::<u64>(), any::<bool>()).prop_map(|(resource_id, owned)| Type::Handle {
        resource_id,
        mode: if owned { ResourceMode::Owned } else { ResourceMode::Borrowed },
    });
    prop_oneof![
        10 => prop::sample::select(scalars.to_vec()),
        1 => names(12).prop_map(Type::Enum),
        1 => names(12).prop_map(Type::Flags),
        u32::from(handles) => handle,
    ]
    .boxed()
}

/// Distinct names, among them those with a meaning of their own in some format.
fn names(most: usize) -> BoxedStrategy<Vec<String>> {
    let pool =
        ["some", "none", "ok", "err", "true", "inf", "nan", "a", "b-c", "x1", "GET", "long-name"];
    let pool = pool.map(str::to_owned).to_vec();
    subsequence(pool, 1..=most).prop_shuffle().boxed()
}

fn named<T: std::fmt::Debug + Clone + 'static>(
    strategy: impl Strategy<Value = T> + Clone + 'static,
) -> BoxedStrategy<Vec<(String, T)>> {
    names(4)
        .prop_flat_map(move |names| {
            let count = names.len();
            (Just(names), vec(strategy.clone(), count))
        })
        .prop_map(|(names, items)| names.into_iter().zip(items).collect())
        .boxed()
}

/// A value of the type. All NaNs are the one that text can express.
fn value(typ: &Type) -> BoxedStrategy<Value> {
    match typ {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::S8 => any::<i8>().prop_map(Value::S8).boxed(),
        Type::U8 => any::<u8>().prop_map(Value::U8).boxed(),
        Type::S16 => any::<i16>().prop_map(Value::S16).boxed(),
        Type::U16 => any::<u16>().prop_map(Value::U16).boxed(),
        Type::S32 => any::<i32>().prop_map(Value::S32).boxed(),
        Type::U32 => any::<u32>().prop_map(Value::U32).boxed(),
        Type::S64 => any::<i64>().prop_map(Value::S64).boxed(),
        Type::U64 => any::<u64>().prop_map(Value::U64).boxed(),
        Type::F32 => prop::num::f32::ANY
            .prop_map(|number| Value::F32(if number.is_nan() { f32::NAN } else { number }))
            .boxed(),
        Type::F64 => prop::num::f64::ANY
            .prop_map(|number| Value::F64(if number.is_nan() { f64::NAN } else { number }))
            .boxed(),
        Type::Char => any::<char>().prop_map(Value::Char).boxed(),
        Type::String => text().prop_map(Value::String).boxed(),
        Type::List(inner) => vec(value(inner), 0..4).prop_map(Value::List).boxed(),
        Type::Option(inner) => prop::option::of(value(inner))
            .prop_map(|value| Value::Option(value.map(Box::new)))
            .boxed(),
        Type::Result { ok, err } => prop_oneof![
            payload(ok.as_deref()).prop_map(|value| Value::Result(Ok(value))),
            payload(err.as_deref()).prop_map(|value| Value::Result(Err(value))),
        ]
        .boxed(),
        Type::Tuple(items) => {
            items.iter().map(value).collect::<Vec<_>>().prop_map(Value::Tuple).boxed()
        }
        Type::Record(fields) => {
            let fields: Vec<_> = fields.iter().map(|(_, typ)| value(typ)).collect();
            fields.prop_map(Value::Record).boxed()
        }
        Type::Variant(cases) => {
            let cases: Vec<_> = (0..).zip(cases.clone()).collect();
            prop::sample::select(cases)
                .prop_flat_map(|(case, (_, typ))| (Just(case), payload(typ.as_ref())))
                .prop_map(|(case, value)| Value::Variant { case, value })
                .boxed()
        }
        Type::Enum(cases) => {
            let count = u32::try_from(cases.len()).unwrap_or(u32::MAX);
            (0..count).prop_map(Value::Enum).boxed()
        }
        Type::Flags(names) => vec(any::<bool>(), names.len()).prop_map(Value::Flags).boxed(),
        Type::Handle { .. } => ("[a-f0-9-]{4,8}", "[a-z0-9%+]{1,8}", any::<u64>())
            .prop_map(|(component, worker, resource_id)| Value::Handle {
                uri: format!("urn:worker:{component}/{worker}"),
                resource_id,
            })
            .boxed(),
    }
}

fn text() -> BoxedStrategy<String> {
    let tricky = prop::sample::select("\"'\\,(){}[]\n\t/%".chars().collect::<Vec<_>>());
    let char = prop_oneof![any::<char>(), tricky];
    vec(char, 0..8).prop_map(String::from_iter).boxed()
}

fn payload(typ: Option<&Type>) -> BoxedStrategy<Option<Box<Value>>> {
    match typ {
        Some(typ) => value(typ).prop_map(|value| Some(Box::new(value))).boxed(),
        None => Just(None).boxed(),
    }
}
