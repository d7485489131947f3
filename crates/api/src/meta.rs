//! What all kinds share: references to other objects, and the field's well-known annotations and names.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize};

/// Annotation that asks for a reconcile when its value changes. Source: reference image-automation.md section 2.3.
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
/// Annotation of an ImageRepository: what a webhook says was pushed. The value of [`REQUESTED_AT`] that it belongs to, then
/// tags and digests with blanks between. The request counts if the registry has one of them.
pub const ANNOUNCED: &str = "slipway.dev/announced";
/// Finalizer of Flux's kinds. Source: reference image-automation.md section 1.5.
pub const FLUX_FINALIZER: &str = "finalizers.fluxcd.io";
/// Annotations with this prefix travel into the metadata of an object's events.
pub const EVENT_ANNOTATION_PREFIX: &str = "event.toolkit.fluxcd.io/";

/// The tags and digests that have to be in the registry for a request to count; none if it counts as it is.
pub fn announced(annotations: &BTreeMap<String, String>) -> Option<Vec<&str>> {
    let mut words = annotations.get(ANNOUNCED)?.split(' ');
    (words.next() == annotations.get(REQUESTED_AT).map(String::as_str)).then(|| words.collect())
}

/// An object of the same namespace, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LocalReference {
    /// `metadata.name` of the object.
    pub name: String,
}

/// An object by name, in another namespace if one is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NamespacedReference {
    /// `metadata.name` of the object.
    pub name: String,
    /// `metadata.namespace`; absent means the namespace of the object that holds the reference.
    #[serde(default, deserialize_with = "filled", skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl NamespacedReference {
    /// The namespace meant, given the one of the object that holds the reference.
    pub fn namespace_or<'a>(&'a self, own: &'a str) -> &'a str {
        self.namespace.as_deref().unwrap_or(own)
    }
}

/// A name that may be left out. An empty one is left out too, as in Go; Helm charts like to write it.
pub(crate) fn filled<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|name| !name.is_empty()))
}

/// Which object is meant, whatever its kind: the identity the store, events and inventories use.
///
/// The API version is left out of equality on purpose where `group_kind` is compared: `v1` and `v1beta2` name the same object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    /// `group/version`, or `version` for the core group.
    #[serde(default)]
    pub api_version: String,
    /// The kind, in upper camel case.
    pub kind: String,
    /// Empty for kinds that belong to no namespace.
    #[serde(default)]
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl ObjectReference {
    /// The API group, empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// The version without the group.
    pub fn version(&self) -> &str {
        self.api_version.split_once('/').map_or(&self.api_version, |(_, version)| version)
    }

    /// The reference that an object in JSON form carries, if it has a kind and a name.
    pub fn of(object: &serde_json::Value) -> Option<Self> {
        // This is asked of every object at every tick; a JSON pointer would be taken to pieces each time.
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let metadata = &object["metadata"];
        Some(Self {
            api_version: text(&object["apiVersion"]).unwrap_or_default(),
            kind: text(&object["kind"])?,
            namespace: text(&metadata["namespace"]).unwrap_or_default(),
            name: text(&metadata["name"])?,
        })
    }
}

impl fmt::Display for ObjectReference {
    /// `Kind/namespace/name`, or `Kind/name` without a namespace, as Flux writes objects in messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{}/{}", self.kind, self.name),
            namespace => write!(f, "{}/{}/{}", self.kind, namespace, self.name),
        }
    }
}
