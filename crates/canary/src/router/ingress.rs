//! What the routers have in common that copy the user's Ingress.

use std::collections::BTreeMap;

use api::meta::ObjectReference;
use serde_json::{Value, json};

use super::{Error, Given, KUBECTL};

/// API version of an Ingress.
pub const API_VERSION: &str = "networking.k8s.io/v1";
/// Its kind.
pub const KIND: &str = "Ingress";

/// The user's Ingress and the copy.
pub fn references(given: &Given<'_>) -> Result<[ObjectReference; 2], Error> {
    let name = given.canary.spec.ingress_ref.as_ref().map(|reference| reference.name.as_str());
    let name = name.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Error::Invalid("ingress selector is empty".into()))?;
    let reference = |name: &str| given.reference(API_VERSION, KIND, name);
    Ok([reference(name), reference(&format!("{name}-canary"))])
}

/// The annotations of the user's object that a copy may have.
pub fn annotations(ingress: &Value) -> BTreeMap<String, String> {
    let mut annotations = texts(ingress, "/metadata/annotations");
    // Not true of a copy.
    annotations.remove(KUBECTL);
    annotations
}

/// The copy: the user's labels, and annotations and spec as given.
pub fn copy(
    given: &Given<'_>,
    ingress: &Value,
    annotations: &BTreeMap<String, String>,
    spec: Value,
) -> Result<Value, Error> {
    let [_, reference] = references(given)?;
    let mut copy = given.object(&reference, spec);
    copy["metadata"]["annotations"] = json!(annotations);
    let labels = texts(ingress, "/metadata/labels");
    if !labels.is_empty() {
        copy["metadata"]["labels"] = json!(labels);
    }
    Ok(copy)
}

/// The lists of paths in an Ingress' spec, one of each rule that has any.
pub fn paths(spec: &mut Value) -> impl Iterator<Item = &mut Vec<Value>> {
    let rules = spec.get_mut("rules").and_then(Value::as_array_mut).into_iter().flatten();
    rules.filter_map(|rule| rule.pointer_mut("/http/paths")?.as_array_mut())
}

/// The service that a path leads to.
pub fn service(path: &mut Value) -> Option<&mut Value> {
    path.pointer_mut("/backend/service/name")
}

/// No path of the user's Ingress leads to the apex service.
pub fn no_backend(given: &Given<'_>, source: &ObjectReference) -> Error {
    Error::Invalid(format!("backend {} not found in ingress {}", given.canary.service_name(), source.name))
}

/// Whether an object is an Ingress, whose spec is replaced whole; see [`drop_stale`].
pub fn is_copy(ours: &Value) -> bool {
    ours["kind"] == KIND
}

/// Takes away what a copy no longer has: its spec is all ours, and so are the annotations that make it a canary.
pub fn drop_stale(ours: &Value, merged: &mut Value) {
    let (Some(spec), true) = (ours.get("spec"), is_copy(ours)) else { return };
    merged["spec"] = spec.clone();
    let given = texts(ours, "/metadata/annotations");
    let prefix = given.iter().find(|(key, value)| key.ends_with("/canary") && *value == "true").map(|(key, _)| key);
    let annotations = merged.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    if let (Some(prefix), Some(annotations)) = (prefix, annotations) {
        annotations.retain(|key, _| !key.starts_with(prefix.as_str()) || given.contains_key(key));
    }
}

fn texts(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    let members = object.pointer(pointer).and_then(Value::as_object).into_iter().flatten();
    members.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
