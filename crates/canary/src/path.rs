//! The way to a member deep in a JSON value.

use serde_json::Value;

/// The value at a path such as `/spec/template/metadata`; a number names an item of a list.
///
/// `Value::pointer` does the same but copies each step twice to undo escapes, which no path here has.
pub fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('/').skip(1).try_fold(value, |value, step| match value {
        Value::Object(members) => members.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_leads_where_a_pointer_does() {
        let value = json!({"a": {"b": [1, {"c": null}]}, "": 2});
        for path in ["", "/", "/a", "/a/b", "/a/b/0", "/a/b/1/c", "/a/b/2", "/a/b/x", "/a/c", "/a/b/0/d", "/x"] {
            assert_eq!(at(&value, path), value.pointer(path), "{path:?}");
        }
    }
}
