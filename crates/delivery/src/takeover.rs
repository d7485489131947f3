//! Taking over what `kubectl` did to an object: its fields become ours, so that the next apply undoes what Git does not say.
//!
//! Source: reference delivery.md section 5.5; Flux `pkg/ssa`, `PatchReplaceFieldsManagers` and `cleanupMetadata`, with the
//! managers, annotations and labels that kustomize-controller 1.9 names.

use serde_json::{Map, Value, json};

use crate::apply::{MANAGER, SSA, is_marked};

/// Annotations of earlier tools, which nothing reads any more.
const ANNOTATIONS: [&str; 3] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "kustomize.toolkit.fluxcd.io/checksum",
    "fluxcd.io/sync-checksum",
];
/// Labels of earlier tools.
const LABELS: [&str; 1] = ["fluxcd.io/sync-gc-mark"];
/// Managers whose fields are taken over, by how they wrote. What begins with a name counts: `kubectl-edit`.
const MANAGERS: [(&str, &str); 3] = [("kubectl", "Apply"), ("kubectl", "Update"), ("before-first-apply", "Update")];

/// The merge patch that makes the fields of others ours, and takes off what earlier tools left; `None` if there is nothing to
/// do. `live` has its `metadata.managedFields`; `others` are managers to take over besides `kubectl`'s.
pub fn patch(desired: &Value, live: &Value, others: &[String]) -> Option<Value> {
    if is_marked(desired, SSA, "Merge") || is_marked(live, SSA, "Merge") {
        return None;
    }
    let mut metadata = Map::new();
    for (field, keys) in [("annotations", &ANNOTATIONS[..]), ("labels", &LABELS)] {
        let has = |object: &Value, key: &str| object["metadata"][field].get(key).is_some();
        // Differs: what Git itself says stays, where Flux takes it off and puts it on at every interval.
        let gone = keys.iter().filter(|key| has(live, key) && !has(desired, key));
        let gone: Map<String, Value> = gone.map(|key| ((*key).to_owned(), Value::Null)).collect();
        if !gone.is_empty() {
            metadata.insert(field.into(), Value::Object(gone));
        }
    }
    if let Some(managers) = managers(live, others) {
        metadata.insert("managedFields".into(), managers);
    }
    (!metadata.is_empty()).then(|| json!({ "metadata": metadata }))
}

/// The object's `metadata.managedFields` once all fields that are taken over are ours; `None` if there are none.
fn managers(live: &Value, others: &[String]) -> Option<Value> {
    let entries = live.pointer("/metadata/managedFields")?.as_array()?;
    let text = |entry: &Value, field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_ours = |entry: &&Value| text(entry, "manager") == MANAGER && text(entry, "operation") == "Apply";
    let ours = entries.iter().rfind(is_ours);
    let (taken, left): (Vec<&Value>, Vec<&Value>) = entries
        .iter()
        .filter(|entry| ours.is_none_or(|ours| !std::ptr::eq(ours, *entry)))
        .partition(|entry| is_taken(entry, others));
    let mut taken = taken.into_iter();
    let mut own = match ours {
        Some(ours) if taken.len() > 0 => ours.clone(),
        Some(_) => return None,
        None => {
            let mut own = taken.next()?.clone();
            own["manager"] = MANAGER.into();
            own["operation"] = "Apply".into();
            own
        }
    };
    for entry in taken {
        let fields = union(own.get("fieldsV1"), entry.get("fieldsV1"));
        own["fieldsV1"] = fields;
    }
    Some(left.into_iter().cloned().chain([own]).collect())
}

/// Whether the fields of an entry are taken over.
fn is_taken(entry: &Value, others: &[String]) -> bool {
    let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
    let (manager, operation) = (text("manager"), text("operation"));
    if !text("subresource").is_empty() {
        return false;
    }
    if manager.starts_with(MANAGER) && operation == "Update" {
        // Our own finalizer on a Kustomization that another one applies: Git does not say it, and it has to stay.
        return entry.pointer("/fieldsV1/f:metadata/f:finalizers").is_none();
    }
    let is_known = MANAGERS.iter().any(|(name, by)| manager.starts_with(name) && operation == *by);
    is_known || others.iter().any(|name| manager.starts_with(name.as_str()) && matches!(operation, "Apply" | "Update"))
}

/// All fields of two sets. An empty map is a field; a map that holds others is one only with a `.` among them.
fn union(one: Option<&Value>, other: Option<&Value>) -> Value {
    let (one, other) = match (one.and_then(Value::as_object), other.and_then(Value::as_object)) {
        (Some(one), Some(other)) => (one, other),
        (Some(fields), None) | (None, Some(fields)) => return Value::Object(fields.clone()),
        (None, None) => return json!({}),
    };
    let mut all = one.clone();
    for (name, theirs) in other {
        let merged = match all.get(name) {
            None => theirs.clone(),
            Some(ours) => {
                let is_field = |fields: &Value| fields.as_object().is_some_and(Map::is_empty);
                let mut merged = union(Some(ours), Some(theirs));
                let holds_others = merged.as_object().is_some_and(|fields| !fields.is_empty());
                if holds_others && (is_field(ours) || is_field(theirs)) {
                    merged["."] = json!({});
                }
                merged
            }
        };
        all.insert(name.clone(), merged);
    }
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1",
            "fieldsV1": fields})
    }

    fn live(managers: &[Value]) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "managedFields": managers}})
    }

    #[test]
    fn fields_of_kubectl_become_ours() {
        let (ours, edit) = (json!({"f:data": {"f:a": {}}}), json!({"f:data": {"f:b": {}}}));
        let both = json!({"f:data": {"f:a": {}, "f:b": {}}});
        let other = entry("helm", "Update", json!({"f:data": {"f:c": {}}}));
        let scale = json!({"manager": "kubectl-scale", "operation": "Update", "subresource": "scale",
            "fieldsV1": {"f:spec": {"f:replicas": {}}}});
        for (entries, expected) in [
            (
                vec![
                    entry(MANAGER, "Apply", ours.clone()),
                    other.clone(),
                    entry("kubectl-edit", "Update", edit.clone()),
                ],
                Some(vec![other.clone(), entry(MANAGER, "Apply", both.clone())]),
            ),
            (
                vec![
                    entry("kubectl-client-side-apply", "Update", ours.clone()),
                    entry("before-first-apply", "Update", edit.clone()),
                    other.clone(),
                ],
                Some(vec![other.clone(), entry(MANAGER, "Apply", both.clone())]),
            ),
            (vec![entry("kubectl", "Apply", edit.clone())], Some(vec![entry(MANAGER, "Apply", edit.clone())])),
            (
                vec![entry(MANAGER, "Update", ours.clone()), entry(MANAGER, "Apply", edit.clone())],
                Some(vec![entry(MANAGER, "Apply", both)]),
            ),
            (vec![entry(MANAGER, "Apply", ours.clone()), other.clone(), scale], None),
            (vec![entry(MANAGER, "Apply", ours.clone()), entry("before-first-apply", "Apply", edit.clone())], None),
            (vec![other], None),
            (vec![], None),
        ] {
            assert_eq!(managers(&live(&entries), &[]), expected.map(Value::Array), "{entries:?}");
        }
        let entries = [entry(MANAGER, "Apply", ours), entry("argocd-controller", "Update", edit)];
        assert_eq!(managers(&live(&entries), &[]), None);
        assert!(managers(&live(&entries), &["argocd".into()]).is_some());
    }

    #[test]
    fn our_finalizer_on_a_kustomization_stays_ours_alone() {
        let finalizers = json!({"f:metadata": {"f:finalizers": {".": {}, "v:\"finalizers.fluxcd.io\"": {}}}});
        let entries = [entry(MANAGER, "Apply", json!({"f:spec": {}})), entry(MANAGER, "Update", finalizers)];
        assert_eq!(managers(&live(&entries), &[]), None);
    }

    #[test]
    fn a_union_has_all_fields_of_both() {
        for (one, other, expected) in [
            (json!({"f:a": {}}), json!({"f:b": {}}), json!({"f:a": {}, "f:b": {}})),
            (json!({"f:a": {}}), json!({"f:a": {"f:b": {}}}), json!({"f:a": {".": {}, "f:b": {}}})),
            (json!({"f:a": {"f:b": {}}}), json!({"f:a": {".": {}}}), json!({"f:a": {".": {}, "f:b": {}}})),
            (json!({"f:a": {"f:b": {}}}), json!({"f:a": {"f:c": {}}}), json!({"f:a": {"f:b": {}, "f:c": {}}})),
            (
                json!({"f:l": {"k:{\"name\":\"a\"}": {"f:x": {}}}}),
                json!({"f:l": {"k:{\"name\":\"a\"}": {".": {}, "f:y": {}}, "k:{\"name\":\"b\"}": {}}}),
                json!({"f:l": {"k:{\"name\":\"a\"}": {".": {}, "f:x": {}, "f:y": {}}, "k:{\"name\":\"b\"}": {}}}),
            ),
        ] {
            assert_eq!(union(Some(&one), Some(&other)), expected);
            assert_eq!(union(Some(&other), Some(&one)), expected);
        }
    }

    #[test]
    fn what_earlier_tools_left_is_taken_off_unless_git_says_it() {
        let mut live = live(&[]);
        live["metadata"]["annotations"] = json!({ANNOTATIONS[0]: "{}", "mine": "1"});
        live["metadata"]["labels"] = json!({LABELS[0]: "x"});
        let mut desired = json!({"kind": "ConfigMap", "metadata": {"name": "c"}});
        let gone = json!({"metadata": {"annotations": {ANNOTATIONS[0]: null}, "labels": {LABELS[0]: null}}});
        assert_eq!(patch(&desired, &live, &[]), Some(gone));
        desired["metadata"]["annotations"] = json!({ANNOTATIONS[0]: "{}"});
        assert_eq!(patch(&desired, &live, &[]), Some(json!({"metadata": {"labels": {LABELS[0]: null}}})));
    }

    #[test]
    fn an_object_that_is_merged_is_not_taken_over() {
        let live = live(&[entry("kubectl", "Update", json!({"f:data": {}}))]);
        let mut desired = json!({"kind": "ConfigMap", "metadata": {"name": "c"}});
        assert!(patch(&desired, &live, &[]).is_some());
        desired["metadata"]["annotations"] = json!({SSA: "Merge"});
        assert_eq!(patch(&desired, &live, &[]), None);
    }
}
