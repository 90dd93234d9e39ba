//! A value that brings its type along: what clients send and receive.

use serde::de::Error as _;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;

use crate::{Type, Value, json};

/// A value with its type; in JSON `{"typ": .., "value": ..}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedValue {
    /// The type.
    pub typ: Type,
    /// The value.
    pub value: Value,
}

impl TypedValue {
    /// Joins the two without checking that they fit; see [`check`](crate::check).
    pub fn new(typ: Type, value: Value) -> TypedValue {
        TypedValue { typ, value }
    }

    /// Reads `{"typ": .., "value": ..}`; on failure lists everything that is wrong.
    pub fn from_json(json: &Json) -> Result<TypedValue, Vec<String>> {
        let Json::Object(object) = json else {
            return Err(vec!["expected an object with keys \"typ\" and \"value\"".to_owned()]);
        };
        let missing = |key: &str| vec![format!("missing key \"{key}\"")];
        let typ = object.get("typ").ok_or_else(|| missing("typ"))?;
        let value = object.get("value").ok_or_else(|| missing("value"))?;
        let typ = Type::from_json(typ).map_err(|error| vec![error.to_string()])?;
        let value = json::decode(&typ, value)?;
        Ok(TypedValue { typ, value })
    }
}

impl Serialize for TypedValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("TypedValue", 2)?;
        fields.serialize_field("typ", &self.typ)?;
        fields.serialize_field("value", &json::Encoder { typ: &self.typ, value: &self.value })?;
        fields.end()
    }
}

/// All mismatches end up in the one error message, separated by semicolons.
impl<'de> Deserialize<'de> for TypedValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(deserializer)?;
        TypedValue::from_json(&json).map_err(|errors| D::Error::custom(errors.join("; ")))
    }
}
