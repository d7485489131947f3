//! Whether the target is a new revision.
//!
//! Differs: the original's hash depends on the client library it was built with, so that an upgrade starts runs for nothing
//! (flagger#1673). Ours is over the JSON of the pod template without empty members and carries a version; a hash of another
//! format is settled by comparing the target with the primary. Source: reference progressive-delivery.md, B.2.

use serde::{Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Copied, daemonset, items, pods};
use crate::path::at;

/// Begins every digest of ours; the number changes with the format.
const PREFIX: &str = "sw1-";

/// Digest of what a target runs.
pub fn digest(target: &Value) -> String {
    digest_of(at(&daemonset::unparked(target), "/spec/template").unwrap_or(&Value::Null))
}

/// Digest of what stands in for a template.
pub fn digest_of(template: &Value) -> String {
    let hash = Sha256::digest(canonical(template));
    format!("{PREFIX}{}", hex::encode(&hash[..16]))
}

/// Whether a digest was made here.
pub fn is_own(digest: &str) -> bool {
    digest.starts_with(PREFIX)
}

/// Whether the primary runs what the target asks for, the renaming aside.
pub fn same_as_primary(target: &Value, primary: &Value, copied: Copied<'_>) -> bool {
    // Most often they run another image, and the rest need not be compared.
    if !images(target).eq(images(primary)) {
        return false;
    }
    let mut live = at(primary, "/spec/template").cloned().unwrap_or_default();
    if let Some(annotations) = live.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(pods::ID);
    }
    canonical(&pods::rewritten(&daemonset::unparked(target), copied)) == canonical(&live)
}

/// What a workload's containers run.
fn images(workload: &Value) -> impl Iterator<Item = Option<&str>> {
    items(workload, "/spec/template/spec/containers").iter().map(|container| container["image"].as_str())
}

/// The text of a value with sorted members and without empty ones, which servers and clients add and drop as they like.
fn canonical(value: &Value) -> String {
    serde_json::to_string(&Canonical(value)).expect("because a value is written to memory")
}

struct Canonical<'a>(&'a Value);

impl Serialize for Canonical<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(members) => {
                let mut kept: Vec<_> = members.iter().filter(|(key, value)| is_kept(key, value)).collect();
                kept.sort_unstable_by_key(|(key, _)| *key);
                serializer.collect_map(kept.into_iter().map(|(key, value)| (key, Canonical(value))))
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Canonical)),
            other => other.serialize(serializer),
        }
    }
}

fn is_kept(key: &str, value: &Value) -> bool {
    key != "creationTimestamp"
        && match value {
            Value::Null => false,
            Value::Object(members) => members.iter().any(|(key, value)| is_kept(key, value)),
            Value::Array(items) => !items.is_empty(),
            _ => true,
        }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A digest that changed would start a run of every Canary at the next upgrade.
    #[test]
    fn digests_are_those_of_earlier_versions() {
        let template = json!({
            "metadata": {"labels": {"app": "podinfo"}, "annotations": {}, "creationTimestamp": null},
            "spec": {
                "nodeSelector": {"a": {"b": null, "creationTimestamp": "x"}},
                "containers": [{"name": "app", "image": "podinfo:1", "args": [], "ports": [{"containerPort": 80, "name": "ü\n"}, {}, null]}],
                "securityContext": {}, "terminationGracePeriodSeconds": 0, "hostNetwork": false,
            },
        });
        assert_eq!(digest(&json!({"spec": {"template": template}})), "sw1-498fb8567acfc23a254eef7714bb1153");
        assert_eq!(digest(&json!({"kind": "Deployment"})), "sw1-74234e98afe7498fb5daf1f36ac2d78a");
    }
}
