//! What an apply does with one object: what it adds, whether it writes at all, and what it must leave alone.
//!
//! Source: reference delivery.md sections 5.5 and 5.6; Flux `pkg/ssa`.

use api::meta::ObjectReference;
use base64::Engine as _;
use serde_json::{Map, Value};

use crate::inventory::{NAME_LABEL, NAMESPACE_LABEL};

/// Field manager of applies, as Flux's controller is known to the API server.
pub const MANAGER: &str = "kustomize-controller";

/// Annotation, or label, that says how an object is applied: `Override`, `Merge`, `IfNotPresent`, `Ignore`.
pub(crate) const SSA: &str = "kustomize.toolkit.fluxcd.io/ssa";
/// Annotation, or label, that takes an object out when it is `disabled`.
const RECONCILE: &str = "kustomize.toolkit.fluxcd.io/reconcile";
/// Annotation, or label, that keeps an object from being pruned when it is `disabled`.
const PRUNE: &str = "kustomize.toolkit.fluxcd.io/prune";
/// Annotation, or label, that allows to recreate an object when it is `enabled`.
const FORCE: &str = "kustomize.toolkit.fluxcd.io/force";

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was not there.
    Created,
    /// It was there and differed.
    Configured,
    /// It was there as it should be; nothing was written.
    Unchanged,
    /// It is left alone, as it asks for.
    Skipped,
    /// It left the source and was deleted.
    Deleted,
}

impl Action {
    /// As Flux writes it in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Skipped => "skipped",
            Self::Deleted => "deleted",
        }
    }
}

/// An object and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The object.
    pub object: ObjectReference,
    /// What became of it.
    pub action: Action,
}

/// The changes that somebody should know of, one a line; `None` if there is none.
pub fn report(changes: &[Change]) -> Option<String> {
    let told = changes.iter().filter(|change| !matches!(change.action, Action::Unchanged | Action::Skipped));
    let lines: Vec<String> = told.map(|change| format!("{} {}", change.object, change.action.as_str())).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Objects as they are applied: with the owner's labels, without what only the API server writes.
/// Errs on what must not be applied at all.
pub fn prepare(objects: Vec<Value>, namespace: &str, name: &str) -> Result<Vec<Value>, String> {
    objects
        .into_iter()
        .map(|mut object| {
            let id = ObjectReference::of(&object).map(|id| id.to_string()).unwrap_or_default();
            if object.get("sops").is_some() {
                let what = "is SOPS encrypted, configuring decryption is required for this secret to be reconciled";
                return Err(format!("{id} {what}"));
            }
            normalise(&mut object);
            let labels = &mut object["metadata"]["labels"];
            if !labels.is_object() {
                *labels = Value::Object(Map::new());
            }
            labels[NAME_LABEL] = name.into();
            labels[NAMESPACE_LABEL] = namespace.into();
            Ok(object)
        })
        .collect()
}

/// Takes out what a manifest may carry and an apply must not.
fn normalise(object: &mut Value) {
    let is_definition = object["kind"] == "CustomResourceDefinition";
    let Value::Object(fields) = object else { return };
    if !is_definition {
        fields.remove("status");
    }
    if fields.get("kind").is_some_and(|kind| kind == "Secret") {
        fold_string_data(fields);
    }
    if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
        for field in ["creationTimestamp", "managedFields", "resourceVersion", "uid", "generation"] {
            metadata.remove(field);
        }
        for field in ["labels", "annotations"] {
            if metadata.get(field).is_some_and(Value::is_null) {
                metadata.remove(field);
            }
        }
    }
}

/// Puts `stringData` into `data`, where the API server keeps it and rules about fields look for it.
fn fold_string_data(fields: &mut Map<String, Value>) {
    let Some(Value::Object(plain)) = fields.remove("stringData") else { return };
    let data = fields.entry("data").or_insert(Value::Null);
    if data.is_null() {
        *data = Value::Object(Map::new());
    }
    // Anything else than a map is refused by the API server.
    let Value::Object(data) = data else { return };
    for (key, value) in plain {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        data.insert(key, base64::engine::general_purpose::STANDARD.encode(text).into());
    }
}

/// Whether the object, as desired or as it lives, asks to be left alone.
pub fn is_skipped(desired: &Value, live: Option<&Value>) -> bool {
    let ignores = |object: &Value| is_marked(object, SSA, "Ignore");
    ignores(desired)
        || is_marked(desired, RECONCILE, "disabled")
        || live.is_some_and(|live| {
            ignores(live) || is_marked(live, RECONCILE, "disabled") || is_marked(desired, SSA, "IfNotPresent")
        })
}

/// Whether the object may be deleted and created again when a field cannot be changed.
pub fn may_recreate(desired: &Value, live: Option<&Value>) -> bool {
    is_marked(desired, FORCE, "enabled") || live.is_some_and(|live| is_marked(live, FORCE, "enabled"))
}

/// What applying would do, told from the object as it lives and as a dry run leaves it.
/// Status and the server's part of the metadata do not count.
pub fn action(live: Option<&Value>, dry_run: &Value) -> Action {
    let Some(live) = live else { return Action::Created };
    let parts = ["/metadata/labels", "/metadata/annotations", "/metadata/ownerReferences", "/metadata/finalizers"];
    let same_metadata = parts.iter().all(|part| filled(live.pointer(part)) == filled(dry_run.pointer(part)));
    if same_metadata && content(live) == content(dry_run) { Action::Unchanged } else { Action::Configured }
}

/// A value that says something.
fn filled(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| match value {
        Value::Null => false,
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    })
}

/// Everything but metadata and status.
fn content(object: &Value) -> Map<String, Value> {
    let mut fields = object.as_object().cloned().unwrap_or_default();
    fields.retain(|field, _| !matches!(field.as_str(), "metadata" | "status"));
    fields
}

/// Whether an object that left the source is deleted, given how it lives.
pub fn is_pruned(live: &Value, namespace: &str, name: &str) -> bool {
    let label = |key: &str| live.pointer("/metadata/labels").and_then(|labels| labels.get(key)).and_then(Value::as_str);
    label(NAME_LABEL) == Some(name)
        && label(NAMESPACE_LABEL) == Some(namespace)
        && !is_marked(live, PRUNE, "disabled")
        && !is_marked(live, RECONCILE, "disabled")
        && !is_marked(live, SSA, "Ignore")
}

/// Whether an error says that a field cannot be changed once it is set.
pub fn is_immutable_error(message: &str) -> bool {
    message.contains("is immutable") || message.contains("immutable field")
}

/// Whether an annotation or label of the object has the value, in whatever case.
pub(crate) fn is_marked(object: &Value, key: &str, value: &str) -> bool {
    ["/metadata/annotations", "/metadata/labels"].iter().any(|pointer| {
        let found = object.pointer(pointer).and_then(|pairs| pairs.get(key)).and_then(Value::as_str);
        found.is_some_and(|found| found.eq_ignore_ascii_case(value))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(annotations: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "annotations": annotations},
            "data": {"a": "b"}})
    }

    #[test]
    fn objects_carry_their_owners_labels_and_nothing_of_the_server() {
        let mut given = object(Value::Null);
        given["status"] = json!({"x": 1});
        given["metadata"]["creationTimestamp"] = Value::Null;
        let prepared = prepare(vec![given], "flux-system", "apps").unwrap();
        let labels = json!({NAME_LABEL: "apps", NAMESPACE_LABEL: "flux-system"});
        let expected = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "labels": labels},
            "data": {"a": "b"}});
        assert_eq!(prepared, [expected]);
    }

    #[test]
    fn texts_of_a_secret_are_applied_as_its_data() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "eA=="},
            "stringData": {"a": "hi", "b": "there"}});
        let prepared = prepare(vec![secret], "n", "k").unwrap();
        assert_eq!(prepared[0]["data"], json!({"a": "aGk=", "b": "dGhlcmU="}));
        assert_eq!(prepared[0].get("stringData"), None);
    }

    #[test]
    fn an_encrypted_secret_stops_the_apply() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "sops": {}});
        let error = prepare(vec![secret], "n", "k").unwrap_err();
        assert!(error.starts_with("Secret/s is SOPS encrypted"), "{error}");
    }

    #[test]
    fn only_a_difference_that_counts_is_written() {
        let live = json!({"kind": "ConfigMap", "metadata": {"name": "c", "resourceVersion": "1"}, "data": {"a": "b"},
            "status": {"x": 1}});
        let with = |pointer: &str, value: Value| {
            let mut changed = live.clone();
            changed["metadata"]["resourceVersion"] = "2".into();
            changed[pointer] = value;
            changed
        };
        assert_eq!(action(None, &live), Action::Created);
        assert_eq!(action(Some(&live), &with("status", json!({}))), Action::Unchanged);
        assert_eq!(action(Some(&live), &with("data", json!({"a": "c"}))), Action::Configured);
        let labelled = with("metadata", json!({"name": "c", "labels": {"a": "b"}}));
        assert_eq!(action(Some(&live), &labelled), Action::Configured);
    }

    #[test]
    fn marks_keep_an_object_from_being_applied() {
        let plain = object(json!({}));
        let cases = [
            (json!({SSA: "Ignore"}), false, true),
            (json!({SSA: "ignore"}), false, true),
            (json!({RECONCILE: "disabled"}), false, true),
            (json!({SSA: "IfNotPresent"}), false, false),
            (json!({SSA: "IfNotPresent"}), true, true),
            (json!({}), true, false),
        ];
        for (annotations, lives, expected) in cases {
            let desired = object(annotations);
            assert_eq!(is_skipped(&desired, lives.then_some(&plain)), expected, "{desired}");
        }
        assert!(is_skipped(&plain, Some(&object(json!({SSA: "Ignore"})))));
    }

    #[test]
    fn only_own_unmarked_objects_are_pruned() {
        let owned = |extra: Value| {
            let mut object = object(extra);
            object["metadata"]["labels"] = json!({NAME_LABEL: "k", NAMESPACE_LABEL: "n"});
            object
        };
        assert!(is_pruned(&owned(json!({})), "n", "k"));
        assert!(!is_pruned(&owned(json!({})), "n", "other"));
        assert!(!is_pruned(&object(json!({})), "n", "k"));
        for mark in [PRUNE, RECONCILE] {
            assert!(!is_pruned(&owned(json!({mark: "disabled"})), "n", "k"), "{mark}");
        }
    }

    #[test]
    fn only_changes_are_reported() {
        let change = |name: &str, action| Change {
            object: ObjectReference {
                api_version: "v1".into(),
                kind: "ConfigMap".into(),
                namespace: "n".into(),
                name: name.into(),
            },
            action,
        };
        let changes = [change("a", Action::Created), change("b", Action::Unchanged), change("c", Action::Configured)];
        assert_eq!(report(&changes).as_deref(), Some("ConfigMap/n/a created\nConfigMap/n/c configured"));
        assert_eq!(report(&changes[1..2]), None);
    }
}
