//! JSON merge patches (RFC 7386): making one, applying one.

use serde_json::Value;

/// The JSON merge patch that leads from one value to another; empty if they are equal.
pub fn difference(before: &Value, after: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (before, after) else { return after.clone() };
    let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = new.iter().filter(|(key, value)| old.get(*key) != Some(value));
    let changed = changed.map(|(key, value)| match old.get(key) {
        Some(old) => (key.clone(), difference(old, value)),
        None => (key.clone(), value.clone()),
    });
    Value::Object(gone.chain(changed).collect())
}

/// An object after a JSON merge patch (RFC 7386).
pub fn patched(object: &Value, patch: &Value) -> Value {
    let Value::Object(members) = patch else { return patch.clone() };
    let mut result = object.as_object().cloned().unwrap_or_default();
    for (key, value) in members {
        match value {
            Value::Null => drop(result.remove(key)),
            value => {
                let inner = patched(result.get(key).unwrap_or(&Value::Null), value);
                result.insert(key.clone(), inner);
            }
        }
    }
    Value::Object(result)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_difference_leads_from_one_value_to_the_other() {
        let before = json!({"a": 1, "b": {"x": 1, "y": 2}, "c": [1], "same": {"z": 1}});
        let after = json!({"b": {"y": 3}, "c": [], "d": "new", "same": {"z": 1}});
        let patch = difference(&before, &after);
        assert_eq!(patch, json!({"a": null, "b": {"x": null, "y": 3}, "c": [], "d": "new"}));
        assert_eq!(patched(&before, &patch), after);
        assert_eq!(difference(&after, &after), json!({}));
    }
}
