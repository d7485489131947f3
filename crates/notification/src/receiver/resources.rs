//! Which objects a call wakes. Pure. Source: reference image-automation.md section 9.3.

use std::collections::BTreeMap;

use api::{meta::ObjectReference, notification::ReceiverResource};
use serde_json::{Value, json};

/// Objects that a resource of a Receiver names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// This one; it must be there.
    One(ObjectReference),
    /// Those of this kind and namespace with these labels; the reference's name is empty.
    Labelled(ObjectReference, BTreeMap<String, String>),
}

/// What a resource names, or why it names nothing.
pub fn target(resource: &ReceiverResource, own: &str, no_cross_namespace_refs: bool) -> Result<Target, String> {
    let namespace = resource.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or(own);
    if no_cross_namespace_refs && namespace != own {
        return Err(format!(
            "can't access '{}/{namespace}/{}', cross-namespace references have been blocked",
            resource.kind, resource.name
        ));
    }
    let api_version =
        resource.api_version().ok_or_else(|| format!("apiVersion must be specified for kind '{}'", resource.kind))?;
    let reference = |name: &str| ObjectReference {
        api_version: api_version.to_owned(),
        kind: resource.kind.clone(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    match (resource.name.as_str(), resource.match_labels.is_empty()) {
        ("*", true) => Err("matchLabels field not set when using wildcard '*' as name".into()),
        ("*", false) => Ok(Target::Labelled(reference(""), resource.match_labels.clone())),
        ("", _) => Err(format!("a resource of kind '{}' has no name", resource.kind)),
        (name, _) => Ok(Target::One(reference(name))),
    }
}

/// Whether the object carries all of these labels.
pub fn carries(object: &Value, labels: &BTreeMap<String, String>) -> bool {
    let own = object.pointer("/metadata/labels");
    labels.iter().all(|(key, value)| own.and_then(|own| own.get(key)).and_then(Value::as_str) == Some(value))
}

/// The object as filters see it: what it is, not what is in it.
pub fn seen_by_filters(object: &Value) -> Value {
    json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": object["metadata"]})
}
