//! Sample cases for tests: files below `tests/cases`, and Canaries with what they leave out filled in.

use std::path::PathBuf;

use api::flagger::Canary;
use serde_json::{Value, json};

/// A file below `tests/cases`.
pub fn text(path: &str) -> String {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cases")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A file that is one JSON list.
pub fn json(path: &str) -> Vec<Value> {
    serde_json::from_str(&text(path)).unwrap()
}

/// A file with one JSON value a line.
pub fn lines(path: &str) -> Vec<Value> {
    text(path).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The items of a list; nothing for null.
pub fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// A JSON merge patch.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in members {
        match value {
            Value::Null => drop(target.as_object_mut().unwrap().remove(key)),
            value => merge(&mut target[key], value),
        }
    }
}

/// A Canary that names only what matters: default/podinfo, for the Deployment podinfo, port 9898.
pub fn canary(given: &Value) -> Canary {
    let mut object = json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": "podinfo", "namespace": "default"},
        "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"}, "service": {"port": 9898}},
    });
    merge(&mut object, given);
    api::manifest::typed(&object).unwrap()
}
