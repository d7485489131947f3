//! Whether the target is a new revision.
//!
//! Differs: the original's hash depends on the client library it was built with, so that an upgrade starts runs for nothing
//! (flagger#1673). Ours is over the JSON of the pod template without empty members and carries a version; a hash of another
//! format is settled by comparing the target with the primary. Source: reference progressive-delivery.md, B.2.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::{Copied, daemonset, pods};

/// Begins every digest of ours; the number changes with the format.
const PREFIX: &str = "sw1-";

/// Digest of what a target runs.
pub fn digest(target: &Value) -> String {
    let template = daemonset::unparked(target).pointer("/spec/template").map(canonical).unwrap_or_default();
    let hash = Sha256::digest(template.to_string().as_bytes());
    format!("{PREFIX}{}", hex::encode(&hash[..16]))
}

/// Whether a digest was made here.
pub fn is_own(digest: &str) -> bool {
    digest.starts_with(PREFIX)
}

/// Whether the primary runs what the target asks for, the renaming aside.
pub fn same_as_primary(target: &Value, primary: &Value, copied: Copied<'_>) -> bool {
    let mut live = primary.pointer("/spec/template").cloned().unwrap_or_default();
    if let Some(annotations) = live.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(pods::ID);
    }
    canonical(&pods::rewritten(&daemonset::unparked(target), copied)) == canonical(&live)
}

/// The value with sorted members and without empty ones, which servers and clients add and drop as they like.
fn canonical(value: &Value) -> Value {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    match value {
        Value::Object(members) => {
            let mut kept: Vec<(String, Value)> = members
                .iter()
                .map(|(key, value)| (key.clone(), canonical(value)))
                .filter(|(key, value)| !is_empty(value) && key != "creationTimestamp")
                .collect();
            kept.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(kept.into_iter().collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(canonical).collect(),
        other => other.clone(),
    }
}
