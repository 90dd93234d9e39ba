//! The JSON form of types and exports, as clients of the REST interface know it.

use serde::de::Error as _;
use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;

use super::{Export, FunctionType, Type, TypeError};
use crate::MAX_DEPTH;

impl Serialize for Type {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", tag(self))?;
        match self {
            Type::List(inner) | Type::Option(inner) => map.serialize_entry("inner", inner)?,
            Type::Tuple(items) => map.serialize_entry("items", items)?,
            Type::Result { ok, err } => {
                map.serialize_entry("ok", ok)?;
                map.serialize_entry("err", err)?;
            }
            Type::Record(fields) => map.serialize_entry("fields", &named(fields))?,
            Type::Variant(cases) => map.serialize_entry("cases", &named(cases))?,
            Type::Enum(cases) => map.serialize_entry("cases", cases)?,
            Type::Flags(names) => map.serialize_entry("names", names)?,
            Type::Handle { resource_id, mode } => {
                map.serialize_entry("resource_id", resource_id)?;
                map.serialize_entry("mode", mode)?;
            }
            _ => {}
        }
        map.end()
    }
}

fn tag(typ: &Type) -> &'static str {
    match typ {
        Type::Bool => "Bool",
        Type::S8 => "S8",
        Type::U8 => "U8",
        Type::S16 => "S16",
        Type::U16 => "U16",
        Type::S32 => "S32",
        Type::U32 => "U32",
        Type::S64 => "S64",
        Type::U64 => "U64",
        Type::F32 => "F32",
        Type::F64 => "F64",
        Type::Char => "Chr",
        Type::String => "Str",
        Type::List(_) => "List",
        Type::Option(_) => "Option",
        Type::Result { .. } => "Result",
        Type::Tuple(_) => "Tuple",
        Type::Record(_) => "Record",
        Type::Variant(_) => "Variant",
        Type::Enum(_) => "Enum",
        Type::Flags(_) => "Flags",
        Type::Handle { .. } => "Handle",
    }
}

/// `{"name": .., "typ": ..}`: a field, case, parameter or result.
#[derive(Serialize, Deserialize)]
struct Named<N, T> {
    name: N,
    typ: T,
}

fn named<N, T>(pairs: &[(N, T)]) -> Vec<Named<&N, &T>> {
    pairs.iter().map(|(name, typ)| Named { name, typ }).collect()
}

impl<'de> Deserialize<'de> for Type {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(deserializer)?;
        type_from_json(&json, 0).map_err(D::Error::custom)
    }
}

impl Type {
    /// Reads the JSON form of a type; keys that may be null may also be absent.
    pub fn from_json(json: &Json) -> Result<Type, TypeError> {
        type_from_json(json, 0)
    }
}

fn type_from_json(json: &Json, depth: usize) -> Result<Type, TypeError> {
    if depth >= MAX_DEPTH {
        return Err(TypeError::TooDeep);
    }
    let tag = text(json, "type")?;
    let inner = |key| type_from_json(required(json, key)?, depth + 1);
    Ok(match tag {
        "Bool" => Type::Bool,
        "S8" => Type::S8,
        "U8" => Type::U8,
        "S16" => Type::S16,
        "U16" => Type::U16,
        "S32" => Type::S32,
        "U32" => Type::U32,
        "S64" => Type::S64,
        "U64" => Type::U64,
        "F32" => Type::F32,
        "F64" => Type::F64,
        "Chr" => Type::Char,
        "Str" => Type::String,
        "List" => Type::list(inner("inner")?),
        "Option" => Type::option(inner("inner")?),
        "Result" => {
            Type::result(optional_type(json, "ok", depth)?, optional_type(json, "err", depth)?)
        }
        "Tuple" => Type::Tuple(collect(json, "items", |item| type_from_json(item, depth + 1))?),
        "Record" => Type::Record(collect(json, "fields", |field| {
            let typ = type_from_json(required(field, "typ")?, depth + 1)?;
            Ok((text(field, "name")?.to_owned(), typ))
        })?),
        "Variant" => Type::Variant(collect(json, "cases", |case| {
            Ok((text(case, "name")?.to_owned(), optional_type(case, "typ", depth)?))
        })?),
        "Enum" => Type::Enum(collect(json, "cases", name)?),
        "Flags" => Type::Flags(collect(json, "names", name)?),
        "Handle" => Type::Handle {
            resource_id: required(json, "resource_id")?
                .as_u64()
                .ok_or_else(|| malformed("\"resource_id\" must be an unsigned integer"))?,
            mode: Deserialize::deserialize(required(json, "mode")?)
                .map_err(|_| malformed("\"mode\" must be \"Owned\" or \"Borrowed\""))?,
        },
        other => return Err(malformed(&format!("unknown type \"{other}\""))),
    })
}

fn malformed(message: &str) -> TypeError {
    TypeError::Malformed(message.to_owned())
}

fn required<'a>(json: &'a Json, key: &str) -> Result<&'a Json, TypeError> {
    json.get(key).ok_or_else(|| malformed(&format!("missing key \"{key}\"")))
}

fn text<'a>(json: &'a Json, key: &str) -> Result<&'a str, TypeError> {
    let value = required(json, key)?;
    value.as_str().ok_or_else(|| malformed(&format!("\"{key}\" must be a string")))
}

fn name(json: &Json) -> Result<String, TypeError> {
    json.as_str().map(str::to_owned).ok_or_else(|| malformed("names must be strings"))
}

fn optional_type(json: &Json, key: &str, depth: usize) -> Result<Option<Type>, TypeError> {
    match json.get(key) {
        None | Some(Json::Null) => Ok(None),
        Some(typ) => type_from_json(typ, depth + 1).map(Some),
    }
}

fn collect<T>(
    json: &Json,
    key: &str,
    each: impl Fn(&Json) -> Result<T, TypeError>,
) -> Result<Vec<T>, TypeError> {
    let items = required(json, key)?
        .as_array()
        .ok_or_else(|| malformed(&format!("\"{key}\" must be an array")))?;
    items.iter().map(each).collect()
}

impl Serialize for FunctionType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        function_fields(serializer, None, self)
    }
}

/// Writes a function, with the tag that sets world functions apart from interfaces.
fn function_fields<S: Serializer>(
    serializer: S,
    tag: Option<&str>,
    function: &FunctionType,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    if let Some(tag) = tag {
        map.serialize_entry("type", tag)?;
    }
    map.serialize_entry("name", &function.name)?;
    map.serialize_entry("parameters", &named(&function.params))?;
    map.serialize_entry("results", &named(&function.results))?;
    map.end()
}

#[derive(Deserialize)]
struct FunctionJson {
    name: String,
    parameters: Vec<Named<String, Type>>,
    results: Vec<ResultJson>,
}

#[derive(Deserialize)]
struct ResultJson {
    #[serde(default)]
    name: Option<String>,
    typ: Type,
}

impl From<FunctionJson> for FunctionType {
    fn from(json: FunctionJson) -> FunctionType {
        FunctionType {
            name: json.name,
            params: json.parameters.into_iter().map(|param| (param.name, param.typ)).collect(),
            results: json.results.into_iter().map(|result| (result.name, result.typ)).collect(),
        }
    }
}

impl<'de> Deserialize<'de> for FunctionType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        FunctionJson::deserialize(deserializer).map(FunctionType::from)
    }
}

impl Serialize for Export {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Export::Function(function) => function_fields(serializer, Some("Function"), function),
            Export::Instance { name, functions } => {
                let mut fields = serializer.serialize_struct("Instance", 3)?;
                fields.serialize_field("type", "Instance")?;
                fields.serialize_field("name", name)?;
                fields.serialize_field("functions", functions)?;
                fields.end()
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum ExportJson {
    Function(FunctionJson),
    Instance { name: String, functions: Vec<FunctionType> },
}

impl<'de> Deserialize<'de> for Export {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match ExportJson::deserialize(deserializer)? {
            ExportJson::Function(function) => Export::Function(function.into()),
            ExportJson::Instance { name, functions } => Export::Instance { name, functions },
        })
    }
}
