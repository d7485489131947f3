//! How an applied object meets the stored one. Pure.
//!
//! The rules of server-side apply with force, told on JSON: a manager's fields are set; fields it applied before and
//! now leaves out go, unless another manager applied them too; everybody else's fields stay.
//! `Differs:` lists are atomic, as one machine has no schema to merge them by.

use serde_json::{Map, Value};

/// Metadata that only the store writes.
const STORE_FIELDS: [&str; 6] =
    ["uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "managedFields"];

/// Whether something in an object was altered, told apart by what that means for its version and its generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Altered {
    /// Anything.
    pub(crate) any: bool,
    /// Anything but metadata and status: what raises the generation.
    pub(crate) spec: bool,
}

impl Altered {
    /// Takes note of a member of the object.
    fn note(&mut self, member: &str, is_altered: bool) {
        self.any |= is_altered;
        self.spec |= is_altered && !matches!(member, "metadata" | "status" | "apiVersion");
    }
}

/// The object without what only the store writes and without status: what a manager can apply.
pub(crate) fn applicable(mut object: Value) -> Value {
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

/// Applies `new` to the live object, an empty one if there is none, given what the same manager applied `last` time and what the
/// `others` applied.
pub(crate) fn apply(live: &mut Value, last: &Value, new: &Value, others: &[Value]) -> Altered {
    let mut altered = Altered::default();
    let Value::Object(members) = live else { return altered };
    let others: Vec<&Value> = others.iter().collect();
    for (key, before) in last.as_object().into_iter().flatten() {
        altered.note(key, drop_member(members, key, before, new.get(key), &others));
    }
    for (key, value) in new.as_object().into_iter().flatten() {
        altered.note(key, overlay_member(members, key, value));
    }
    altered
}

/// Takes away what is in `last` and not in `new`, unless one of the `others` has it. Whether there was such a thing.
fn drop_left_out(live: &mut Value, last: &Value, new: &Value, others: &[&Value]) -> bool {
    let (Value::Object(live), Value::Object(last)) = (live, last) else { return false };
    last.iter().fold(false, |dropped, (key, before)| drop_member(live, key, before, new.get(key), others) | dropped)
}

fn drop_member(
    live: &mut Map<String, Value>,
    key: &str,
    before: &Value,
    now: Option<&Value>,
    others: &[&Value],
) -> bool {
    let elsewhere: Vec<&Value> = others.iter().filter_map(|other| other.get(key)).collect();
    match live.get_mut(key) {
        Some(value) if before.is_object() && value.is_object() && now.is_none_or(Value::is_object) => {
            let had_fields = value.as_object().is_some_and(|fields| !fields.is_empty());
            let dropped = drop_left_out(value, before, now.unwrap_or(&Value::Null), &elsewhere);
            let emptied = had_fields && value.as_object().is_some_and(Map::is_empty);
            if emptied && now.is_none() && elsewhere.is_empty() {
                live.remove(key);
            }
            dropped
        }
        Some(_) if now.is_none() && elsewhere.is_empty() => live.remove(key).is_some(),
        _ => false,
    }
}

/// Sets every field of `new`; objects are merged, all else is replaced. Whether that made a difference.
fn overlay(live: &mut Value, new: &Value) -> bool {
    match (live, new) {
        (Value::Object(live), Value::Object(new)) => {
            new.iter().fold(false, |altered, (key, value)| overlay_member(live, key, value) | altered)
        }
        (live, new) => replace(live, new),
    }
}

fn overlay_member(live: &mut Map<String, Value>, key: &str, new: &Value) -> bool {
    match live.get_mut(key) {
        Some(existing) => overlay(existing, new),
        None if new.is_null() => false,
        None => live.insert(key.to_owned(), new.clone()).is_none(),
    }
}

/// A JSON merge patch (RFC 7396) of a whole object.
pub(crate) fn patch(object: &mut Value, patch: &Value) -> Altered {
    let mut altered = Altered::default();
    let Value::Object(members) = object else { return altered };
    for (key, value) in patch.as_object().into_iter().flatten() {
        altered.note(key, merge_member(members, key, value));
    }
    altered
}

/// JSON merge patch (RFC 7396): null removes, objects merge, all else replaces. Whether that made a difference.
pub(crate) fn merge_patch(target: &mut Value, patch: &Value) -> bool {
    let Value::Object(patch) = patch else { return replace(target, patch) };
    let becomes_object = !target.is_object();
    if becomes_object {
        *target = Value::Object(Map::new());
    }
    let Value::Object(members) = target else { return false };
    patch.iter().fold(becomes_object, |altered, (key, value)| merge_member(members, key, value) | altered)
}

fn merge_member(members: &mut Map<String, Value>, key: &str, patch: &Value) -> bool {
    match (members.get_mut(key), patch) {
        (_, Value::Null) => members.remove(key).is_some(),
        (Some(member), patch) => merge_patch(member, patch),
        (None, patch) => merge_patch(members.entry(key.to_owned()).or_insert(Value::Null), patch),
    }
}

fn replace(old: &mut Value, new: &Value) -> bool {
    let is_other = old != new;
    if is_other {
        *old = new.clone();
    }
    is_other
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_left_out_go_and_fields_of_others_stay() {
        let mut live = json!({"spec": {"a": 1, "b": 2, "replicas": 5}, "metadata": {"labels": {"x": "1", "y": "2"}}});
        let last = json!({"spec": {"a": 1, "b": 2}, "metadata": {"labels": {"x": "1"}}});
        let new = json!({"spec": {"a": 3}});
        assert_eq!(apply(&mut live, &last, &new, &[]), Altered { any: true, spec: true });
        assert_eq!(live, json!({"spec": {"a": 3, "replicas": 5}, "metadata": {"labels": {"y": "2"}}}));
    }

    #[test]
    fn a_field_that_another_manager_applied_too_stays() {
        let mut live = json!({"spec": {"a": 1}});
        let one = json!({"spec": {"a": 1}});
        assert_eq!(apply(&mut live, &one, &json!({"spec": {}}), std::slice::from_ref(&one)), Altered::default());
        assert_eq!(live, one);
    }

    #[test]
    fn string_data_of_a_secret_becomes_data() {
        let secret = json!({"kind": "Secret", "stringData": {"token": "abc"}, "status": {}, "metadata": {"uid": "u"}});
        assert_eq!(applicable(secret), json!({"kind": "Secret", "data": {"token": "YWJj"}, "metadata": {}}));
    }

    #[test]
    fn merge_patch_removes_on_null() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "d": [1]});
        merge_patch(&mut target, &json!({"a": {"b": null}, "d": [2], "e": {"f": null}}));
        assert_eq!(target, json!({"a": {"c": 2}, "d": [2], "e": {}}));
    }

    fn json_value() -> impl proptest::strategy::Strategy<Value = Value> {
        use proptest::prelude::*;
        let leaf = prop_oneof![any::<i32>().prop_map(Value::from), "[a-c]".prop_map(Value::from), Just(Value::Null)];
        leaf.prop_recursive(3, 24, 4, |inner| {
            proptest::collection::btree_map("[a-d]", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect()))
        })
    }

    fn object() -> impl proptest::strategy::Strategy<Value = Value> {
        use proptest::prelude::*;
        let members = prop_oneof![Just("metadata"), Just("status"), Just("spec"), Just("data")].prop_map(str::to_owned);
        proptest::collection::btree_map(members, json_value(), 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    /// What differs between two objects, by comparing them.
    fn compared(before: &Value, after: &Value) -> Altered {
        let spec = |object: &Value| [object.get("spec").cloned(), object.get("data").cloned()];
        Altered { any: before != after, spec: spec(before) != spec(after) }
    }

    proptest::proptest! {
        #[test]
        fn applying_twice_is_applying_once(live in object(), last in object(), new in object()) {
            let mut after = live.clone();
            let altered = apply(&mut after, &last, &new, &[]);
            proptest::prop_assert_eq!(altered, compared(&live, &after));
            proptest::prop_assert_eq!(apply(&mut after, &new, &new, &[]), Altered::default());
        }

        #[test]
        fn an_unchanged_manager_takes_nothing_away(live in object(), last in object(), new in object()) {
            let mut after = live;
            apply(&mut after, &Value::Null, &new, &[]);
            let once = after.clone();
            proptest::prop_assert_eq!(apply(&mut after, &new, &new, &[last]), Altered::default());
            proptest::prop_assert_eq!(after, once);
        }

        #[test]
        fn a_patch_tells_what_it_alters(before in object(), patch in object()) {
            let mut after = before.clone();
            let altered = super::patch(&mut after, &patch);
            proptest::prop_assert_eq!(altered, compared(&before, &after));
            let mut merged = before.clone();
            proptest::prop_assert_eq!(merge_patch(&mut merged, &patch), altered.any);
            proptest::prop_assert_eq!(merged, after);
        }
    }
}
