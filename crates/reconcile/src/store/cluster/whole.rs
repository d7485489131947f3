//! An object of the API server as JSON, read once: `DynamicObject` reads each member twice, takes who owns which field apart,
//! and is written anew to become JSON.

use std::borrow::Cow;

use kube::{
    Resource,
    api::{ApiResource, ObjectMeta},
    core::DynamicResourceScope,
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};

const METADATA: &str = "metadata";
/// Who owns which field.
const OWNERS: &str = "managedFields";

/// An object, and of its metadata what `kube` asks for.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    /// Namespace, name and version; nothing else.
    pub(super) named: ObjectMeta,
    /// All of it but `metadata.managedFields`: who owns which field is the API server's business, and the largest part of many
    /// objects.
    pub(super) object: Value,
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Value::Object(Members::Object.deserialize(deserializer)?);
        let metadata = object.get(METADATA).and_then(Value::as_object);
        let named = metadata.map_or_else(ObjectMeta::default, |metadata| {
            let text = |member: &str| metadata.get(member).and_then(Value::as_str).map(str::to_owned);
            let (namespace, name, resource_version) = (text("namespace"), text("name"), text("resourceVersion"));
            ObjectMeta { namespace, name, resource_version, ..ObjectMeta::default() }
        });
        Ok(Self { named, object })
    }
}

/// Reads members; what is left out is passed over, not read.
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

impl Resource for Whole {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(kind: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&kind.kind)
    }

    fn group(kind: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&kind.group)
    }

    fn version(kind: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&kind.version)
    }

    fn api_version(kind: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&kind.api_version)
    }

    fn plural(kind: &ApiResource) -> Cow<'_, str> {
        Cow::Borrowed(&kind.plural)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.named
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.named
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_as_it_came_without_who_owns_which_field() {
        let text = r#"{"kind":"A","spec":{"x":[1.50,null]},"metadata":{"name":"a","managedFields":[{"manager":"m"}],
            "namespace":"n","resourceVersion":"7","labels":{"l":"v"}},"status":{}}"#;
        let whole: Whole = serde_json::from_str(text).expect("an object");
        let metadata = json!({"name": "a", "namespace": "n", "resourceVersion": "7", "labels": {"l": "v"}});
        assert_eq!(whole.object, json!({"kind": "A", "spec": {"x": [1.5, null]}, "metadata": metadata, "status": {}}));
        let ObjectMeta { namespace, name, resource_version, .. } = whole.named;
        assert_eq!([namespace, name, resource_version], ["n", "a", "7"].map(|text| Some(text.to_owned())));
        let bare: Whole = serde_json::from_str(r#"{"kind":"A"}"#).expect("an object");
        assert_eq!((bare.named, bare.object), (ObjectMeta::default(), json!({"kind": "A"})));
    }
}
