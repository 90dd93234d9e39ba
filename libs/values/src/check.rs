//! Whether a value fits a type, and whether two types agree.

use crate::path::{Mismatches, Path};
use crate::{MAX_DEPTH, Type, Value};

/// Lists every place where the value does not fit the type; empty when it fits.
///
/// A handle fits any handle type: whose resource it is can only be told by its owner.
pub fn check(typ: &Type, value: &Value) -> Vec<String> {
    let mut mismatches = Mismatches::default();
    check_value(typ, value, &Path::Root, 0, &mut mismatches);
    mismatches.finish()
}

fn check_value(typ: &Type, value: &Value, path: &Path<'_>, depth: usize, out: &mut Mismatches) {
    if depth >= MAX_DEPTH {
        return out.add(path, format_args!("at most {MAX_DEPTH} levels"), "more");
    }
    let depth = depth + 1;
    match (typ, value) {
        (Type::List(inner), Value::Bytes(bytes)) => {
            if **inner != Type::U8 && !bytes.is_empty() {
                out.add(path, typ, "list<u8>");
            }
        }
        (Type::List(inner), Value::List(items)) => {
            for (index, item) in items.iter().enumerate() {
                check_value(inner, item, &path.index(index), depth, out);
            }
        }
        (Type::Tuple(types), Value::Tuple(items)) => {
            if types.len() != items.len() {
                out.add(path, elements(types.len()), items.len());
            }
            for (index, (typ, item)) in types.iter().zip(items).enumerate() {
                check_value(typ, item, &path.index(index), depth, out);
            }
        }
        (Type::Record(fields), Value::Record(items)) => {
            if fields.len() != items.len() {
                out.add(path, format_args!("{} fields", fields.len()), items.len());
            }
            for ((name, typ), item) in fields.iter().zip(items) {
                check_value(typ, item, &path.field(name), depth, out);
            }
        }
        (Type::Variant(cases), Value::Variant { case, value }) => match nth(cases, *case) {
            Some((name, typ)) => {
                check_payload(typ.as_ref(), value.as_deref(), &path.field(name), depth, out)
            }
            None => out.add(path, format_args!("one of {} cases", cases.len()), case),
        },
        (Type::Enum(cases), Value::Enum(case)) => {
            if nth(cases, *case).is_none() {
                out.add(path, format_args!("one of {} cases", cases.len()), case);
            }
        }
        (Type::Flags(names), Value::Flags(flags)) => {
            if names.len() != flags.len() {
                out.add(path, format_args!("{} flags", names.len()), flags.len());
            }
        }
        (Type::Option(inner), Value::Option(value)) => {
            if let Some(value) = value {
                check_value(inner, value, path, depth, out);
            }
        }
        (Type::Result { ok, .. }, Value::Result(Ok(value))) => {
            check_payload(ok.as_deref(), value.as_deref(), &path.field("ok"), depth, out);
        }
        (Type::Result { err, .. }, Value::Result(Err(value))) => {
            check_payload(err.as_deref(), value.as_deref(), &path.field("err"), depth, out);
        }
        (typ, value) if same_scalar(typ, value) => {}
        (typ, value) => out.add(path, typ.kind(), value.kind()),
    }
}

fn check_payload(
    typ: Option<&Type>,
    value: Option<&Value>,
    path: &Path<'_>,
    depth: usize,
    out: &mut Mismatches,
) {
    match (typ, value) {
        (Some(typ), Some(value)) => check_value(typ, value, path, depth, out),
        (Some(typ), None) => out.add(path, typ.kind(), "no value"),
        (None, Some(value)) => out.add(path, "no value", value.kind()),
        (None, None) => {}
    }
}

/// For the shapes without parameters the keyword tells all.
fn same_scalar(typ: &Type, value: &Value) -> bool {
    match (typ, value) {
        (Type::Handle { .. }, Value::Handle { .. }) => true,
        (
            Type::List(_)
            | Type::Option(_)
            | Type::Result { .. }
            | Type::Tuple(_)
            | Type::Record(_)
            | Type::Variant(_)
            | Type::Enum(_)
            | Type::Flags(_),
            _,
        ) => false,
        (typ, value) => typ.kind() == value.kind(),
    }
}

/// Lists every place where `given` differs from `expected`; empty when they agree.
///
/// Agreement is structural, with all names and their order. Handles agree if their mode does:
/// the numbers of resource types are local to one component version.
pub fn check_type(expected: &Type, given: &Type) -> Vec<String> {
    let mut mismatches = Mismatches::default();
    compare(expected, given, &Path::Root, 0, &mut mismatches);
    mismatches.finish()
}

fn compare(expected: &Type, given: &Type, path: &Path<'_>, depth: usize, out: &mut Mismatches) {
    if depth >= MAX_DEPTH {
        return out.add(path, format_args!("at most {MAX_DEPTH} levels"), "more");
    }
    let depth = depth + 1;
    match (expected, given) {
        (Type::List(a), Type::List(b)) | (Type::Option(a), Type::Option(b)) => {
            compare(a, b, path, depth, out);
        }
        (Type::Result { ok: a, err: x }, Type::Result { ok: b, err: y }) => {
            compare_payload(a.as_deref(), b.as_deref(), &path.field("ok"), depth, out);
            compare_payload(x.as_deref(), y.as_deref(), &path.field("err"), depth, out);
        }
        (Type::Tuple(a), Type::Tuple(b)) => {
            if a.len() != b.len() {
                out.add(path, elements(a.len()), b.len());
            }
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(a, b, &path.index(index), depth, out);
            }
        }
        (Type::Record(a), Type::Record(b)) => {
            if compare_names(a.iter().map(|f| &*f.0), b.iter().map(|f| &*f.0), path, out) {
                for ((name, a), (_, b)) in a.iter().zip(b) {
                    compare(a, b, &path.field(name), depth, out);
                }
            }
        }
        (Type::Variant(a), Type::Variant(b)) => {
            if compare_names(a.iter().map(|c| &*c.0), b.iter().map(|c| &*c.0), path, out) {
                for ((name, a), (_, b)) in a.iter().zip(b) {
                    compare_payload(a.as_ref(), b.as_ref(), &path.field(name), depth, out);
                }
            }
        }
        (Type::Enum(a), Type::Enum(b)) | (Type::Flags(a), Type::Flags(b)) => {
            compare_names(a.iter().map(|n| &**n), b.iter().map(|n| &**n), path, out);
        }
        (Type::Handle { mode: a, .. }, Type::Handle { mode: b, .. }) if a == b => {}
        (expected, given) => {
            if expected.kind() != given.kind() {
                out.add(path, expected, given);
            }
        }
    }
}

fn compare_payload(
    expected: Option<&Type>,
    given: Option<&Type>,
    path: &Path<'_>,
    depth: usize,
    out: &mut Mismatches,
) {
    match (expected, given) {
        (Some(expected), Some(given)) => compare(expected, given, path, depth, out),
        (Some(expected), None) => out.add(path, expected, "no type"),
        (None, Some(given)) => out.add(path, "no type", given),
        (None, None) => {}
    }
}

/// Compares declared names; the types behind them are only comparable if this holds.
fn compare_names<'a>(
    expected: impl Iterator<Item = &'a str>,
    given: impl Iterator<Item = &'a str>,
    path: &Path<'_>,
    out: &mut Mismatches,
) -> bool {
    let (expected, given): (Vec<_>, Vec<_>) = (expected.collect(), given.collect());
    if expected != given {
        out.add(
            path,
            format_args!("{{{}}}", expected.join(", ")),
            format_args!("{{{}}}", given.join(", ")),
        );
    }
    expected == given
}

fn elements(count: usize) -> String {
    format!("{count} element{}", if count == 1 { "" } else { "s" })
}

fn nth<T>(items: &[T], index: u32) -> Option<&T> {
    items.get(usize::try_from(index).ok()?)
}

#[cfg(test)]
mod tests {
    use super::{check, check_type};
    use crate::{Type, Value};

    fn order() -> Type {
        let item = Type::Record(vec![
            ("sku".into(), Type::String),
            ("qty".into(), Type::option(Type::U32)),
        ]);
        Type::Record(vec![("items".into(), Type::list(item))])
    }

    #[test]
    fn every_mismatch_is_listed_with_its_place() {
        let item = Value::Record(vec![Value::U32(5), Value::some(Value::Bool(true))]);
        let value = Value::Record(vec![Value::List(vec![item])]);
        assert_eq!(
            check(&order(), &value),
            [
                "in $.items[0].sku expected string, got u32",
                "in $.items[0].qty expected u32, got bool"
            ]
        );
        assert_eq!(check(&Type::list(Type::U16), &Value::list_u8([1])).len(), 1);
        assert!(check(&Type::list(Type::U16), &Value::list_u8([])).is_empty());
        let long = Value::List(vec![Value::Bool(true); 2000]);
        assert_eq!(check(&Type::list(Type::U16), &long).len(), crate::MAX_MISMATCHES + 1);
    }

    #[test]
    fn cases_and_payloads_are_checked() {
        let typ = Type::Variant(vec![("a".into(), None), ("b".into(), Some(Type::U8))]);
        let variant =
            |case, value: Option<Value>| Value::Variant { case, value: value.map(Box::new) };
        assert!(check(&typ, &variant(0, None)).is_empty());
        assert!(check(&typ, &variant(1, Some(Value::U8(1)))).is_empty());
        assert_eq!(check(&typ, &variant(1, None)), ["in $.b expected u8, got no value"]);
        assert_eq!(
            check(&typ, &variant(0, Some(Value::U8(1)))),
            ["in $.a expected no value, got u8"]
        );
        assert_eq!(check(&typ, &variant(2, None)), ["in $ expected one of 2 cases, got 2"]);
        assert_eq!(check(&Type::Enum(vec!["a".into()]), &Value::Enum(1)).len(), 1);
        assert_eq!(check(&Type::Flags(vec!["a".into()]), &Value::Flags(vec![])).len(), 1);
    }

    #[test]
    fn types_are_compared_by_structure() {
        assert!(check_type(&order(), &order()).is_empty());
        let given = Type::Record(vec![("items".into(), Type::list(Type::String))]);
        assert_eq!(
            check_type(&order(), &given),
            ["in $.items expected record { sku: string, qty: option<u32> }, got string"]
        );
        let renamed = Type::Record(vec![("item".into(), Type::U8)]);
        assert_eq!(check_type(&order(), &renamed), ["in $ expected {items}, got {item}"]);
    }

    #[test]
    fn too_deep_values_are_refused() {
        let mut typ = Type::U8;
        let mut value = Value::U8(1);
        for _ in 0..crate::MAX_DEPTH - 1 {
            typ = Type::option(typ);
            value = Value::some(value);
        }
        assert!(check(&typ, &value).is_empty() && typ.validate().is_ok());
        let (typ, value) = (Type::option(typ), Value::some(value));
        assert!(!check(&typ, &value).is_empty() && typ.validate().is_err());
    }
}
