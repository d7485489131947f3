//! Reads an object as the API server answers it.

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};

const METADATA: &str = "metadata";
/// Who owns which field.
const OWNERS: &str = "managedFields";

/// An object in JSON form but for `metadata.managedFields`, which is passed over, not read: who owns which field is the API
/// server's business, and the largest part of many objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored(pub Value);

/// The object of a JSON text. Not generic, so that it is built for speed here, whoever asks.
///
/// # Errors
/// The text is no JSON object.
pub fn stored(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str(text).map(|Stored(object)| object)
}

impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Members::Object.deserialize(deserializer).map(|members| Self(Value::Object(members)))
    }
}

/// Reads members; what is left out is passed over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Members {
    /// Those of an object.
    Object,
    /// Those of its metadata.
    Metadata,
}

impl<'de> Visitor<'de> for Members {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            match (self, name.as_str()) {
                (Self::Metadata, OWNERS) => drop(access.next_value::<IgnoredAny>()?),
                (Self::Object, METADATA) => {
                    members.insert(name, Value::Object(access.next_value_seed(Self::Metadata)?));
                }
                _ => drop(members.insert(name, access.next_value()?)),
            }
        }
        Ok(members)
    }
}

impl<'de> DeserializeSeed<'de> for Members {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_as_it_came_without_who_owns_which_field() {
        let text = r#"{"kind":"A","spec":{"x":[1.50,null],"managedFields":1},"metadata":{"name":"a","managedFields":[{"manager":"m"}],
            "labels":{"l":"v"}},"status":{}}"#;
        let expected = json!({"kind": "A", "spec": {"x": [1.5, null], "managedFields": 1},
            "metadata": {"name": "a", "labels": {"l": "v"}}, "status": {}});
        assert_eq!(stored(text).expect("an object"), expected);
        assert_eq!(stored(r#"{"kind":"A"}"#).expect("an object"), json!({"kind": "A"}));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "[]", "7", r#"{"metadata":[]}"#, r#"{"kind":"A"} x"#] {
            assert!(stored(text).is_err(), "{text}");
        }
    }
}
