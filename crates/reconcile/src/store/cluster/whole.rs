//! An object of the API server as JSON, read once: `DynamicObject` reads each member twice, takes who owns which field apart,
//! and is written anew to become JSON.

use std::borrow::Cow;

use api::manifest::Stored;
use kube::{
    Resource,
    api::{ApiResource, ObjectMeta},
    core::DynamicResourceScope,
};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An object, and of its metadata what `kube` asks for.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    /// Namespace, name and version; nothing else.
    pub(super) named: ObjectMeta,
    /// All of it but `metadata.managedFields`.
    pub(super) object: Value,
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Stored(object) = Stored::deserialize(deserializer)?;
        let metadata = object.get("metadata").and_then(Value::as_object);
        let named = metadata.map_or_else(ObjectMeta::default, |metadata| {
            let text = |member: &str| metadata.get(member).and_then(Value::as_str).map(str::to_owned);
            let (namespace, name, resource_version) = (text("namespace"), text("name"), text("resourceVersion"));
            ObjectMeta { namespace, name, resource_version, ..ObjectMeta::default() }
        });
        Ok(Self { named, object })
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
    fn an_object_is_as_it_came_with_its_name_and_version() {
        let text = r#"{"kind":"A","metadata":{"name":"a","managedFields":[{"manager":"m"}],"namespace":"n",
            "resourceVersion":"7","labels":{"l":"v"}}}"#;
        let whole: Whole = serde_json::from_str(text).expect("an object");
        let metadata = json!({"name": "a", "namespace": "n", "resourceVersion": "7", "labels": {"l": "v"}});
        assert_eq!(whole.object, json!({"kind": "A", "metadata": metadata}));
        let ObjectMeta { namespace, name, resource_version, .. } = whole.named;
        assert_eq!([namespace, name, resource_version], ["n", "a", "7"].map(|text| Some(text.to_owned())));
        let bare: Whole = serde_json::from_str(r#"{"kind":"A"}"#).expect("an object");
        assert_eq!((bare.named, bare.object), (ObjectMeta::default(), json!({"kind": "A"})));
    }
}
