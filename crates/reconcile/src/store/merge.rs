//! How an applied object meets the stored one. Pure.
//!
//! The rules of server-side apply with force, told on JSON: a manager's fields are set; fields it applied before and
//! now leaves out go, unless another manager applied them too; everybody else's fields stay.
//! `Differs:` lists are atomic, as one machine has no schema to merge them by.

use serde_json::{Map, Value};

/// Metadata that only the store writes.
const STORE_FIELDS: [&str; 6] =
    ["uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "managedFields"];

/// The object without what only the store writes and without status: what a manager can apply.
pub(crate) fn applicable(object: &Value) -> Value {
    let mut object = object.clone();
    if let Value::Object(fields) = &mut object {
        fields.remove("status");
        if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
            metadata.retain(|key, _| !STORE_FIELDS.contains(&key.as_str()));
        }
        fold_string_data(fields);
    }
    object
}

/// A Secret's `stringData` becomes `data`, as the API server does it on write.
fn fold_string_data(fields: &mut Map<String, Value>) {
    if fields.get("kind").and_then(Value::as_str) != Some("Secret") {
        return;
    }
    let Some(Value::Object(plain)) = fields.remove("stringData") else { return };
    let data = fields.entry("data").or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(data) = data else { return };
    for (key, value) in plain {
        let text = value.as_str().map(str::to_owned).unwrap_or_else(|| value.to_string());
        data.insert(key, base64(text.as_bytes()).into());
    }
}

fn base64(bytes: &[u8]) -> String {
    // k8s-openapi's ByteString is the base64 that Kubernetes itself speaks.
    let text = serde_json::to_value(k8s_openapi::ByteString(bytes.to_vec())).unwrap_or_default();
    text.as_str().unwrap_or_default().to_owned()
}

/// The live object after `manager` applied `new`, given what the same manager applied `last` time and what the `others` applied.
pub(crate) fn apply(live: &Value, last: &Value, new: &Value, others: &[Value]) -> Value {
    let mut result = live.clone();
    drop_left_out(&mut result, last, new, &others.iter().collect::<Vec<_>>());
    overlay(&mut result, new);
    result
}

/// Takes away what is in `last` and not in `new`, unless one of the `others` has it.
fn drop_left_out(live: &mut Value, last: &Value, new: &Value, others: &[&Value]) {
    let (Value::Object(live), Value::Object(last)) = (live, last) else { return };
    for (key, before) in last {
        let elsewhere: Vec<&Value> = others.iter().filter_map(|other| other.get(key)).collect();
        let now = new.get(key);
        match live.get_mut(key) {
            Some(value) if before.is_object() && value.is_object() && now.is_none_or(Value::is_object) => {
                let had_fields = value.as_object().is_some_and(|fields| !fields.is_empty());
                drop_left_out(value, before, now.unwrap_or(&Value::Null), &elsewhere);
                let emptied = had_fields && value.as_object().is_some_and(Map::is_empty);
                if emptied && now.is_none() && elsewhere.is_empty() {
                    live.remove(key);
                }
            }
            Some(_) if now.is_none() && elsewhere.is_empty() => {
                live.remove(key);
            }
            _ => {}
        }
    }
}

/// Sets every field of `new`; objects are merged, all else is replaced.
fn overlay(live: &mut Value, new: &Value) {
    match (live, new) {
        (Value::Object(live), Value::Object(new)) => {
            for (key, value) in new {
                match live.get_mut(key) {
                    Some(existing) => overlay(existing, value),
                    None if value.is_null() => {}
                    None => {
                        live.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (live, new) => *live = new.clone(),
    }
}

/// JSON merge patch (RFC 7396): null removes, objects merge, all else replaces.
pub(crate) fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            fields.remove(key);
        } else {
            merge_patch(fields.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Whether anything but metadata and status differs: what raises the generation.
pub(crate) fn spec_differs(one: &Value, other: &Value) -> bool {
    relevant(one) != relevant(other)
}

fn relevant(object: &Value) -> Vec<(&String, &Value)> {
    let fields = object.as_object().into_iter().flatten();
    fields.filter(|(key, _)| !matches!(key.as_str(), "metadata" | "status" | "apiVersion")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_left_out_go_and_fields_of_others_stay() {
        let live = json!({"spec": {"a": 1, "b": 2, "replicas": 5}, "metadata": {"labels": {"x": "1", "y": "2"}}});
        let last = json!({"spec": {"a": 1, "b": 2}, "metadata": {"labels": {"x": "1"}}});
        let new = json!({"spec": {"a": 3}});
        let merged = apply(&live, &last, &new, &[]);
        assert_eq!(merged, json!({"spec": {"a": 3, "replicas": 5}, "metadata": {"labels": {"y": "2"}}}));
    }

    #[test]
    fn a_field_that_another_manager_applied_too_stays() {
        let live = json!({"spec": {"a": 1}});
        let merged = apply(&live, &json!({"spec": {"a": 1}}), &json!({"spec": {}}), &[json!({"spec": {"a": 1}})]);
        assert_eq!(merged, json!({"spec": {"a": 1}}));
    }

    #[test]
    fn string_data_of_a_secret_becomes_data() {
        let secret = json!({"kind": "Secret", "stringData": {"token": "abc"}, "status": {}, "metadata": {"uid": "u"}});
        assert_eq!(applicable(&secret), json!({"kind": "Secret", "data": {"token": "YWJj"}, "metadata": {}}));
    }

    #[test]
    fn merge_patch_removes_on_null() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "d": [1]});
        merge_patch(&mut target, &json!({"a": {"b": null}, "d": [2], "e": {"f": null}}));
        assert_eq!(target, json!({"a": {"c": 2}, "d": [2], "e": {}}));
    }

    fn json_value() -> impl proptest::strategy::Strategy<Value = Value> {
        use proptest::prelude::*;
        let leaf = prop_oneof![any::<i32>().prop_map(Value::from), "[a-c]".prop_map(Value::from)];
        leaf.prop_recursive(3, 24, 4, |inner| {
            proptest::collection::btree_map("[a-d]", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect()))
        })
    }

    proptest::proptest! {
        #[test]
        fn applying_twice_is_applying_once(live in json_value(), last in json_value(), new in json_value()) {
            let once = apply(&live, &last, &new, &[]);
            proptest::prop_assert_eq!(apply(&once, &new, &new, &[]), once);
        }

        #[test]
        fn an_unchanged_manager_takes_nothing_away(live in json_value(), new in json_value()) {
            let applied = apply(&live, &Value::Null, &new, &[]);
            proptest::prop_assert_eq!(apply(&applied, &new, &new, &[]), applied);
        }
    }
}
