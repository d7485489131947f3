//! Whether an object says which it is: a kind that its group has, and a name.

use api::meta::ObjectReference;
use serde_json::Value;

use super::{CHECKS, Complaint, GROUPS};
use crate::commands::kinds::similar;

/// Kinds of Flux's that slipway does not act on, and that are no mistakes.
const OTHERS: [&str; 5] = ["Bucket", "ExternalArtifact", "HelmChart", "HelmRepository", "OCIRepository"];

/// What is known of an object that may lack some of it.
pub fn of(object: &Value) -> ObjectReference {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    ObjectReference {
        api_version: text("/apiVersion"),
        kind: text("/kind"),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
    }
}

/// Why nobody would take the object for one of its kind. Other files than manifests of ours are left alone.
pub fn check(object: &Value) -> Option<Complaint> {
    let id = of(object);
    let is_ours = |kind: &str| CHECKS.iter().any(|check| check.kind == kind);
    if id.api_version.is_empty() {
        // A text of another program may have a `kind` too, but hardly one of ours with a spec.
        return (is_ours(&id.kind) && object["spec"].is_object())
            .then(|| Complaint::error("apiVersion", "is required"));
    }
    if !GROUPS.contains(&id.group()) {
        return None;
    }
    if id.kind.is_empty() {
        return Some(Complaint::error("kind", "is required"));
    }
    if !is_ours(&id.kind) && !OTHERS.contains(&id.kind.as_str()) {
        let known = similar(&id.kind, CHECKS.iter().map(|check| check.kind));
        let meant = known.map(|known| format!("; {known} is one")).unwrap_or_default();
        return Some(Complaint::error("kind", format!("{} has no kind {:?}{meant}", id.group(), id.kind)));
    }
    let is_generated = object.pointer("/metadata/generateName").is_some();
    (id.name.is_empty() && !is_generated).then(|| Complaint::error("metadata.name", "is required"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_says_which_it_is() {
        let flagger = "flagger.app/v1beta1";
        for (object, expected) in [
            (json!({"apiVersion": flagger, "kind": "Canary", "metadata": {"name": "a"}}), None),
            (json!({"apiVersion": flagger, "kind": "Canry", "metadata": {"name": "a"}}), Some("kind")),
            (json!({"apiVersion": flagger, "metadata": {"name": "a"}}), Some("kind")),
            (json!({"apiVersion": flagger, "kind": "Canary", "metadata": {}}), Some("metadata.name")),
            (json!({"apiVersion": flagger, "kind": "Canary"}), Some("metadata.name")),
            (json!({"kind": "Canary", "metadata": {"name": "a"}, "spec": {}}), Some("apiVersion")),
            (json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "a"}}), None),
            (json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "Bucket", "metadata": {"name": "a"}}), None),
            (json!({"resources": ["a.yaml"]}), None),
        ] {
            assert_eq!(check(&object).map(|complaint| complaint.field).as_deref(), expected, "{object}");
        }
    }
}
