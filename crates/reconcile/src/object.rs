//! What the store holds: Kubernetes objects, typed or as JSON.

use std::fmt::Debug;

use api::meta::ObjectReference;
use kube::{Resource, ResourceExt as _};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Error, Result};

/// A kind with a Rust type.
pub trait Object:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize + Send + Sync + 'static
{
}

impl<K> Object for K where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize + Send + Sync + 'static
{
}

/// Which object it is.
pub fn reference<K: Object>(object: &K) -> ObjectReference {
    named::<K>(&object.namespace().unwrap_or_default(), &object.name_any())
}

/// The reference to an object of that kind by name.
pub fn named<K: Object>(namespace: &str, name: &str) -> ObjectReference {
    ObjectReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

/// The object in JSON form, with its `apiVersion` and `kind`.
pub fn to_value<K: Object>(object: &K) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        fields.entry("apiVersion").or_insert_with(|| K::api_version(&()).into());
        fields.entry("kind").or_insert_with(|| K::kind(&()).into());
    }
    value
}

/// The object as its Rust type; the error names the field.
pub fn from_value<K: Object>(value: &Value) -> Result<K> {
    api::manifest::typed(value).map_err(|problem| Error::Invalid {
        object: ObjectReference::of(value).map(|id| id.to_string()).unwrap_or_default(),
        problem,
    })
}

/// The version of an object in JSON form.
pub(crate) fn version(object: &Value) -> Option<&str> {
    object.pointer("/metadata/resourceVersion")?.as_str()
}

/// The reference that an object in JSON form carries.
pub fn require_reference(object: &Value) -> Result<ObjectReference> {
    ObjectReference::of(object).ok_or_else(|| Error::Invalid {
        object: object.get("kind").and_then(Value::as_str).unwrap_or("object").to_owned(),
        problem: "kind and metadata.name are required".into(),
    })
}

/// Kinds of the core APIs and of those we handle that belong to no namespace.
const CLUSTER_SCOPED: [&str; 14] = [
    "Namespace",
    "Node",
    "PersistentVolume",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "StorageClass",
    "PriorityClass",
    "RuntimeClass",
    "IngressClass",
    "GatewayClass",
    "APIService",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

/// The namespace an object of that kind is kept under: empty for kinds without one, `default` where none is given.
pub(crate) fn effective_namespace<'a>(kind: &str, namespace: &'a str) -> &'a str {
    match namespace {
        _ if CLUSTER_SCOPED.contains(&kind) => "",
        "" => "default",
        namespace => namespace,
    }
}
