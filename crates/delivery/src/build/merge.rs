//! Strategic merge: a patch that looks like the object. Lists of built-in kinds merge by key, others are replaced.
//!
//! Source: Kubernetes strategic merge patch; kustomize 5.8 for the order, in which the patch's items come first.

use serde_json::{Map, Value};

use crate::scope;

/// What changes from kind to kind in how lists merge.
#[derive(Clone, Copy)]
struct Rules {
    /// Lists have merge keys at all.
    keyed: bool,
    /// `ports` is such a list.
    ports: bool,
}

/// Merges the patch into the object.
pub(crate) fn strategic(object: &mut Value, patch: &Value) {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
    let ports = !matches!(text("kind"), "NetworkPolicy" | "Endpoints");
    let rules = Rules { keyed: scope::is_built_in(group), ports };
    merge(object, patch, "", rules);
}

fn merge(target: &mut Value, patch: &Value, field: &str, rules: Rules) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => merge_fields(target, patch, rules),
        (Value::Array(target), Value::Array(patch)) => merge_items(target, patch, field, rules),
        (target, patch) => *target = without_directives(patch),
    }
}

fn merge_fields(target: &mut Map<String, Value>, patch: &Map<String, Value>, rules: Rules) {
    if directive(patch) == Some("replace") {
        target.clear();
    }
    for (name, value) in patch.iter().filter(|(name, _)| *name != "$patch") {
        let deleted = value.is_null() || value.as_object().and_then(directive) == Some("delete");
        match target.get_mut(name) {
            _ if deleted => {
                target.remove(name);
            }
            Some(existing) => merge(existing, value, name, rules),
            None => {
                target.insert(name.clone(), without_directives(value));
            }
        }
    }
}

fn merge_items(target: &mut Vec<Value>, patch: &[Value], field: &str, rules: Rules) {
    let replace = patch.iter().any(is_bare_replace);
    let keyed = rules.keyed && !replace && (field != "ports" || rules.ports);
    if keyed && field == "finalizers" {
        let rest: Vec<Value> = target.drain(..).filter(|item| !patch.contains(item)).collect();
        *target = patch.iter().cloned().chain(rest).collect();
        return;
    }
    let Some(key) = keyed.then(|| merge_key(field, target, patch)).flatten() else {
        *target = patch.iter().filter(|item| !is_bare_replace(item)).map(without_directives).collect();
        return;
    };
    let mut merged = Vec::with_capacity(target.len() + patch.len());
    for item in patch {
        let existing = target.iter().position(|candidate| candidate.get(key) == item.get(key));
        let existing = existing.map(|index| target.remove(index));
        if item.as_object().and_then(directive) == Some("delete") {
            continue;
        }
        merged.push(match existing {
            Some(mut existing) => {
                merge(&mut existing, item, "", rules);
                existing
            }
            None => without_directives(item),
        });
    }
    merged.append(target);
    *target = merged;
}

/// The field that tells the items of a list apart, if the list has one and every item carries it.
fn merge_key(field: &str, target: &[Value], patch: &[Value]) -> Option<&'static str> {
    let keys: &[&'static str] = match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "env"
        | "volumes"
        | "imagePullSecrets"
        | "secrets"
        | "webhooks"
        | "claims"
        | "resourceClaims" => &["name"],
        "volumeMounts" => &["mountPath"],
        "volumeDevices" => &["devicePath"],
        "ports" => &["containerPort", "port"],
        "conditions" => &["type"],
        "hostAliases" => &["ip"],
        "topologySpreadConstraints" => &["topologyKey"],
        "ownerReferences" => &["uid"],
        _ => return None,
    };
    keys.iter().copied().find(|key| target.iter().chain(patch).all(|item| item.get(key).is_some()))
}

fn directive(fields: &Map<String, Value>) -> Option<&str> {
    fields.get("$patch").and_then(Value::as_str)
}

/// Whether a list item only says that the list is to be replaced: `- $patch: replace`.
fn is_bare_replace(item: &Value) -> bool {
    item.as_object().is_some_and(|fields| fields.len() == 1 && directive(fields) == Some("replace"))
}

/// The patch as content: directives and fields set to null are not part of it.
fn without_directives(patch: &Value) -> Value {
    match patch {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, value)| *name != "$patch" && !value.is_null())
            .map(|(name, value)| (name.clone(), without_directives(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_directives).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(group_kind: (&str, &str), spec: Value, patch: Value, expected: Value) {
        let mut object = json!({"apiVersion": group_kind.0, "kind": group_kind.1, "spec": spec});
        strategic(&mut object, &json!({"spec": patch}));
        assert_eq!(object["spec"], expected);
    }

    #[test]
    fn lists_of_built_in_kinds_merge_by_key_with_the_patch_first() {
        check(
            ("apps/v1", "Deployment"),
            json!({"containers": [{"name": "app", "ports": [{"containerPort": 1}, {"containerPort": 2}]}, {"name": "z"}]}),
            json!({"containers": [{"name": "app", "ports": [{"containerPort": 2, "name": "x"}]}, {"name": "side"},
                {"name": "z", "$patch": "delete"}]}),
            json!({"containers": [{"name": "app", "ports": [{"containerPort": 2, "name": "x"}, {"containerPort": 1}]},
                {"name": "side"}]}),
        );
    }

    #[test]
    fn lists_of_other_kinds_are_replaced() {
        check(
            ("example.io/v1", "Thing"),
            json!({"containers": [{"name": "a"}], "map": {"x": 1, "y": 2}}),
            json!({"containers": [{"name": "b"}], "map": {"x": null, "z": 3}}),
            json!({"containers": [{"name": "b"}], "map": {"y": 2, "z": 3}}),
        );
    }

    #[test]
    fn a_replace_directive_replaces() {
        check(
            ("apps/v1", "Deployment"),
            json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {}}, "env": [{"name": "a"}]}),
            json!({"strategy": {"$patch": "replace", "type": "Recreate"}, "env": [{"$patch": "replace"}, {"name": "b"}]}),
            json!({"strategy": {"type": "Recreate"}, "env": [{"name": "b"}]}),
        );
    }
}
