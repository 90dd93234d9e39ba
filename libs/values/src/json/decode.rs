//! Reading values from JSON.

use serde_json::{Map, Number, Value as Json};

use super::Described;
use crate::path::{Mismatches, Path};
use crate::{MAX_DEPTH, Type, Value};

/// Reads a value of the given type; on failure lists every mismatch with its place.
pub fn decode(typ: &Type, json: &Json) -> Result<Value, Vec<String>> {
    let mut decoder = Decoder { mismatches: Mismatches::default() };
    match decoder.value(typ, json, &Path::Root, 0) {
        Some(value) => Ok(value),
        None => Err(decoder.mismatches.finish()),
    }
}

/// Reads on after a mismatch; a method answers `None` only after having listed one.
struct Decoder {
    mismatches: Mismatches,
}

impl Decoder {
    fn refuse(&mut self, path: &Path<'_>, expected: &str, got: &Json) -> Option<Value> {
        self.mismatches.add(path, expected, Described(got));
        None
    }

    fn value(&mut self, typ: &Type, json: &Json, path: &Path<'_>, depth: usize) -> Option<Value> {
        if depth >= MAX_DEPTH {
            self.mismatches.add(path, format_args!("at most {MAX_DEPTH} levels"), "more");
            return None;
        }
        let depth = depth + 1;
        match typ {
            Type::Bool => match json {
                Json::Bool(flag) => Some(Value::Bool(*flag)),
                _ => self.refuse(path, "bool", json),
            },
            Type::String => match json {
                Json::String(text) => Some(Value::String(text.clone())),
                _ => self.refuse(path, "string", json),
            },
            Type::List(inner) => self.list(inner, json, path, depth),
            Type::Tuple(types) => self.tuple(types, json, path, depth),
            Type::Record(fields) => self.record(fields, json, path, depth),
            Type::Variant(cases) => self.variant(cases, json, path, depth),
            Type::Option(inner) => self.option(inner, json, path, depth),
            Type::Result { ok, err } => {
                self.result(ok.as_deref(), err.as_deref(), json, path, depth)
            }
            Type::Enum(cases) => self.enumeration(cases, json, path),
            Type::Flags(names) => self.flags(names, json, path),
            scalar => {
                let value = scalar_value(scalar, json);
                value.or_else(|| self.refuse(path, expected_scalar(scalar), json))
            }
        }
    }

    fn list(&mut self, inner: &Type, json: &Json, path: &Path<'_>, depth: usize) -> Option<Value> {
        let Json::Array(items) = json else { return self.refuse(path, "array", json) };
        if *inner == Type::U8 {
            return self.bytes(items, path);
        }
        let values: Vec<_> = items
            .iter()
            .enumerate()
            .map(|(index, item)| self.value(inner, item, &path.index(index), depth))
            .collect();
        values.into_iter().collect::<Option<_>>().map(Value::List)
    }

    fn bytes(&mut self, items: &[Json], path: &Path<'_>) -> Option<Value> {
        let mut bytes = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match integer(item).and_then(|number| u8::try_from(number).ok()) {
                Some(byte) => bytes.push(byte),
                None => {
                    self.refuse(&path.index(index), "u8", item);
                }
            }
        }
        (bytes.len() == items.len()).then_some(Value::Bytes(bytes))
    }

    fn tuple(
        &mut self,
        types: &[Type],
        json: &Json,
        path: &Path<'_>,
        depth: usize,
    ) -> Option<Value> {
        let Json::Array(items) = json else { return self.refuse(path, "array", json) };
        if items.len() != types.len() {
            let expected = format!("array of {}", types.len());
            self.mismatches.add(path, expected, format_args!("array of {}", items.len()));
            return None;
        }
        let values: Vec<_> = types
            .iter()
            .zip(items)
            .enumerate()
            .map(|(index, (typ, item))| self.value(typ, item, &path.index(index), depth))
            .collect();
        values.into_iter().collect::<Option<_>>().map(Value::Tuple)
    }

    fn record(
        &mut self,
        fields: &[(String, Type)],
        json: &Json,
        path: &Path<'_>,
        depth: usize,
    ) -> Option<Value> {
        let Json::Object(object) = json else { return self.refuse(path, "object", json) };
        let values: Vec<_> = fields
            .iter()
            .map(|(name, typ)| match object.get(name) {
                Some(item) => self.value(typ, item, &path.field(name), depth),
                None if matches!(typ, Type::Option(_)) => Some(Value::none()),
                None => {
                    self.mismatches.add(&path.field(name), typ.kind(), "no such key");
                    None
                }
            })
            .collect();
        values.into_iter().collect::<Option<_>>().map(Value::Record)
    }

    fn variant(
        &mut self,
        cases: &[(String, Option<Type>)],
        json: &Json,
        path: &Path<'_>,
        depth: usize,
    ) -> Option<Value> {
        let (name, payload) = match json {
            Json::String(name) => (name, &Json::Null),
            Json::Object(object) => match sole_entry(object) {
                Some(entry) => entry,
                None => return self.refuse_keys(path, object),
            },
            _ => return self.refuse(path, "object with one key", json),
        };
        let Some(case) = cases.iter().position(|(case, _)| case == name) else {
            let names: Vec<&str> = cases.iter().map(|(case, _)| case.as_str()).collect();
            return self.refuse_name(path, &names, name);
        };
        let typ = cases.get(case).and_then(|(_, typ)| typ.as_ref());
        let value = self.payload(typ, payload, &path.field(name), depth)?;
        Some(Value::Variant { case: u32::try_from(case).ok()?, value })
    }

    fn refuse_keys(&mut self, path: &Path<'_>, object: &Map<String, Json>) -> Option<Value> {
        let got = format_args!("object with {} keys", object.len()).to_string();
        self.mismatches.add(path, "object with one key", got);
        None
    }

    fn refuse_name(&mut self, path: &Path<'_>, names: &[&str], got: &str) -> Option<Value> {
        let expected = format!("one of {}", names.join(", "));
        self.mismatches.add(path, expected, crate::path::quoted(got));
        None
    }

    fn result(
        &mut self,
        ok: Option<&Type>,
        err: Option<&Type>,
        json: &Json,
        path: &Path<'_>,
        depth: usize,
    ) -> Option<Value> {
        let expected = "object with key \"ok\" or \"err\"";
        let Json::Object(object) = json else { return self.refuse(path, expected, json) };
        if let Some(json) = object.get("ok") {
            let value = self.payload(ok, json, &path.field("ok"), depth)?;
            Some(Value::Result(Ok(value)))
        } else if let Some(json) = object.get("err") {
            let value = self.payload(err, json, &path.field("err"), depth)?;
            Some(Value::Result(Err(value)))
        } else {
            self.mismatches.add(path, expected, "neither");
            None
        }
    }

    /// The payload of a case or side: `Some(None)` where there is rightly none.
    fn payload(
        &mut self,
        typ: Option<&Type>,
        json: &Json,
        path: &Path<'_>,
        depth: usize,
    ) -> Option<Option<Box<Value>>> {
        match (typ, json) {
            (Some(typ), _) => Some(Some(Box::new(self.value(typ, json, path, depth)?))),
            (None, Json::Null) => Some(None),
            (None, _) => {
                self.refuse(path, "null", json);
                None
            }
        }
    }

    fn option(
        &mut self,
        inner: &Type,
        json: &Json,
        path: &Path<'_>,
        depth: usize,
    ) -> Option<Value> {
        let wrapped = match json {
            Json::Null => return Some(Value::none()),
            Json::Object(object) if matches!(inner, Type::Option(_)) => {
                sole_entry(object).filter(|(key, _)| *key == "some").map(|(_, json)| json)
            }
            _ => None,
        };
        self.value(inner, wrapped.unwrap_or(json), path, depth).map(Value::some)
    }

    fn enumeration(&mut self, cases: &[String], json: &Json, path: &Path<'_>) -> Option<Value> {
        let Json::String(name) = json else { return self.refuse(path, "string", json) };
        match cases.iter().position(|case| case == name) {
            Some(case) => Some(Value::Enum(u32::try_from(case).ok()?)),
            None => {
                let names: Vec<&str> = cases.iter().map(String::as_str).collect();
                self.refuse_name(path, &names, name)
            }
        }
    }

    fn flags(&mut self, names: &[String], json: &Json, path: &Path<'_>) -> Option<Value> {
        let Json::Array(items) = json else { return self.refuse(path, "array", json) };
        let mut flags = vec![false; names.len()];
        let mut good = true;
        for (index, item) in items.iter().enumerate() {
            let position =
                item.as_str().and_then(|item| names.iter().position(|name| name == item));
            match position.and_then(|position| flags.get_mut(position)) {
                Some(flag) => *flag = true,
                None => {
                    let expected = format!("one of {}", names.join(", "));
                    self.refuse(&path.index(index), &expected, item);
                    good = false;
                }
            }
        }
        good.then_some(Value::Flags(flags))
    }
}

fn sole_entry(object: &Map<String, Json>) -> Option<(&String, &Json)> {
    let mut entries = object.iter();
    entries.next().filter(|_| entries.next().is_none())
}

fn expected_scalar(typ: &Type) -> &'static str {
    match typ {
        Type::Char => "char",
        Type::Handle { .. } => "resource handle urn:worker:<component>/<worker>/<resource>",
        other => other.kind(),
    }
}

/// Numbers, characters and handles; `None` if the JSON is not one or out of range.
fn scalar_value(typ: &Type, json: &Json) -> Option<Value> {
    let number = || integer(json);
    match typ {
        Type::U8 => Some(Value::U8(number()?.try_into().ok()?)),
        Type::S8 => Some(Value::S8(number()?.try_into().ok()?)),
        Type::U16 => Some(Value::U16(number()?.try_into().ok()?)),
        Type::S16 => Some(Value::S16(number()?.try_into().ok()?)),
        Type::U32 => Some(Value::U32(number()?.try_into().ok()?)),
        Type::S32 => Some(Value::S32(number()?.try_into().ok()?)),
        Type::U64 => Some(Value::U64(number()?.try_into().ok()?)),
        Type::S64 => Some(Value::S64(number()?.try_into().ok()?)),
        Type::F64 => float(json).map(Value::F64),
        Type::F32 => single(json).map(Value::F32),
        Type::Char => character(json).map(Value::Char),
        Type::Handle { .. } => handle(json.as_str()?),
        _ => None,
    }
}

/// Wide enough for every integer type, so that one range check at the end suffices.
fn integer(json: &Json) -> Option<i128> {
    match json {
        Json::Number(number) => whole(number),
        Json::String(text) => decimal(text),
        _ => None,
    }
}

fn decimal(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// Numbers such as `1e3` arrive as floats; they count if they are exact.
fn whole(number: &Number) -> Option<i128> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    if let Some(number) = number.as_u64() {
        return Some(i128::from(number));
    }
    if let Some(number) = number.as_i64() {
        return Some(i128::from(number));
    }
    let float = number.as_f64()?;
    #[allow(clippy::cast_possible_truncation, reason = "a whole number below 2^53")]
    let exact = (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i128);
    exact
}

fn float(json: &Json) -> Option<f64> {
    match json {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => named_float(text).or_else(|| finite(text)),
        _ => None,
    }
}

fn single(json: &Json) -> Option<f32> {
    let wide = float(json)?;
    #[allow(clippy::cast_possible_truncation, reason = "rounding to single precision is meant")]
    let number = wide as f32;
    (number.is_infinite() == wide.is_infinite()).then_some(number)
}

fn named_float(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn finite(text: &str) -> Option<f64> {
    let numeric = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    text.parse().ok().filter(|number: &f64| numeric && number.is_finite())
}

fn character(json: &Json) -> Option<char> {
    match json {
        Json::String(text) => {
            let mut chars = text.chars();
            chars.next().filter(|_| chars.next().is_none())
        }
        _ => char::from_u32(integer_number(json)?),
    }
}

fn integer_number(json: &Json) -> Option<u32> {
    whole(json.as_number()?)?.try_into().ok()
}

/// The last segment is the resource; the worker name before it may hold anything but `/`.
fn handle(text: &str) -> Option<Value> {
    let (uri, resource) = text.rsplit_once('/')?;
    let (component, worker) = uri.strip_prefix("urn:worker:")?.split_once('/')?;
    let resource_id = u64::try_from(decimal(resource)?).ok()?;
    let valid = !component.is_empty() && !worker.is_empty();
    valid.then(|| Value::Handle { uri: uri.to_owned(), resource_id })
}
