//! The JSON schema of the file, made from the same definition as the flags.

use crate::human::{HumanDuration, Size};
use crate::roles::{Roles, takes_several};
use clap::Arg;
use serde_json::{Map, Value, json};
use std::any::TypeId;

impl Roles {
    /// JSON schema of the file: every key at the top, and again in a table for each role.
    pub fn schema(&self) -> Value {
        let mut keys = Map::new();
        let mut tables = Map::new();
        for role in self.names() {
            let mut own = Map::new();
            for option in self.options(role) {
                let Some(name) = option.get_long() else { continue };
                let property = property(option);
                // Roles may differ in a default: at the top the first one's is shown.
                keys.entry(name).or_insert_with(|| property.clone());
                own.insert(name.to_owned(), property);
            }
            let text = format!("For 'emet {role}' alone; stronger than the same keys at the top.");
            tables.insert((*role).to_owned(), object(&text, own));
        }
        keys.extend(tables);
        let mut schema = object("Configuration of Emet: emet <role> --config FILE", keys);
        if let Some(schema) = schema.as_object_mut() {
            let draft = "https://json-schema.org/draft/2020-12/schema";
            schema.insert("$schema".to_owned(), json!(draft));
            schema.insert("title".to_owned(), json!("Emet"));
        }
        schema
    }
}

fn object(description: &str, properties: Map<String, Value>) -> Value {
    json!({
        "type": "object",
        "description": description,
        "additionalProperties": false,
        "properties": properties,
    })
}

fn property(option: &Arg) -> Value {
    let item = item(option);
    let mut property = if takes_several(option) {
        json!({"anyOf": [item, {"type": "array", "items": item}]})
    } else {
        item
    };
    if let Some(map) = property.as_object_mut() {
        map.insert("description".to_owned(), json!(description(option)));
        let defaults: Vec<String> =
            option.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
        match defaults.as_slice() {
            [] => {}
            [one] => drop(map.insert("default".to_owned(), typed(option, one))),
            several => drop(map.insert("default".to_owned(), json!(several))),
        }
    }
    property
}

fn description(option: &Arg) -> String {
    let help = option.get_long_help().or_else(|| option.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    match option.get_env() {
        Some(name) => format!("{help} (environment: {})", name.to_string_lossy()),
        None => help,
    }
}

/// What kind of JSON value an option is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    Integer,
    Number,
    Text,
}

/// The kind of an option, by the type that its text is parsed to.
pub(crate) fn kind(option: &Arg) -> Kind {
    let parsed = option.get_value_parser().type_id();
    let is = |types: &[TypeId]| types.iter().any(|id| parsed == *id);
    if !option.get_action().takes_values() || is(&[TypeId::of::<bool>()]) {
        return Kind::Boolean;
    }
    if is(&[TypeId::of::<u8>(), TypeId::of::<u16>(), TypeId::of::<u32>()])
        || is(&[TypeId::of::<u64>(), TypeId::of::<usize>(), TypeId::of::<i64>()])
    {
        return Kind::Integer;
    }
    if is(&[TypeId::of::<f64>(), TypeId::of::<f32>()]) { Kind::Number } else { Kind::Text }
}

/// An option's text as JSON.
pub(crate) fn typed(option: &Arg, text: &str) -> Value {
    let parsed = match kind(option) {
        Kind::Text => None,
        _ => serde_json::from_str(text).ok(),
    };
    parsed.unwrap_or_else(|| json!(text))
}

fn item(option: &Arg) -> Value {
    let parsed = option.get_value_parser().type_id();
    if parsed == TypeId::of::<HumanDuration>() {
        // A bare number is seconds.
        return json!({"anyOf": [{"type": "string", "examples": ["500ms", "10s", "1h30m"]}, {"type": "number", "minimum": 0}]});
    }
    if parsed == TypeId::of::<Size>() {
        // A bare number is bytes.
        return json!({"anyOf": [{"type": "string", "examples": ["64KiB", "512MiB", "4GiB"]}, {"type": "integer", "minimum": 0}]});
    }
    let choices = option.get_possible_values();
    match kind(option) {
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Integer => json!({"type": "integer"}),
        Kind::Number => json!({"type": "number"}),
        Kind::Text if choices.is_empty() => json!({"type": "string"}),
        Kind::Text => json!({"enum": choices.iter().map(|c| c.get_name()).collect::<Vec<_>>()}),
    }
}
