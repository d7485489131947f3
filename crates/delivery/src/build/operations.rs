//! JSON patch operations. Source: RFC 6902, as kustomize's JSON patch library applies it.

use serde_json::Value;

/// Applies the operations in order; the error names the operation and its path.
pub(crate) fn apply(object: &mut Value, operations: &[Value]) -> Result<(), String> {
    for operation in operations {
        let text = |field: &str| operation.get(field).and_then(Value::as_str);
        let verb = text("op").ok_or("a JSON patch operation lacks op")?;
        let path = text("path").ok_or("a JSON patch operation lacks path")?;
        perform(object, verb, path, operation).map_err(|problem| format!("{verb} {path}: {problem}"))?;
    }
    Ok(())
}

/// Whether what is left still is an object of Kubernetes.
pub(crate) fn check_shape(object: &Value) -> Result<(), String> {
    let named = object.pointer("/metadata/name").is_some_and(Value::is_string);
    if named && object.get("kind").is_some_and(Value::is_string) {
        return Ok(());
    }
    Err("the patch leaves an object without kind or metadata.name".into())
}

fn perform(object: &mut Value, verb: &str, path: &str, operation: &Value) -> Result<(), String> {
    let value = || operation.get("value").cloned().ok_or("value is missing");
    let from = || operation.get("from").and_then(Value::as_str).ok_or("from is missing");
    match verb {
        "add" => add(object, path, value()?),
        "replace" => {
            *object.pointer_mut(path).ok_or("there is nothing at the path")? = value()?;
            Ok(())
        }
        "remove" => remove(object, path).map(drop),
        "test" => match object.pointer(path).unwrap_or(&Value::Null) == &value()? {
            true => Ok(()),
            false => Err("test failed".into()),
        },
        "copy" => {
            let copied = object.pointer(from()?).cloned().ok_or("there is nothing at from")?;
            add(object, path, copied)
        }
        "move" => {
            let moved = remove(object, from()?)?;
            add(object, path, moved)
        }
        _ => Err("unknown operation".into()),
    }
}

/// The container of the last part of the path, and that part unescaped.
fn parent<'a>(object: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), String> {
    let (directory, last) = path.rsplit_once('/').ok_or("a path begins with /")?;
    let container = object.pointer_mut(directory).ok_or("its parent is missing")?;
    Ok((container, last.replace("~1", "/").replace("~0", "~")))
}

fn add(object: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *object = value;
        return Ok(());
    }
    match parent(object, path)? {
        (Value::Object(fields), last) => {
            fields.insert(last, value);
            Ok(())
        }
        (Value::Array(items), last) if last == "-" => {
            items.push(value);
            Ok(())
        }
        (Value::Array(items), last) => {
            let index: usize = last.parse().map_err(|_| "an index is expected")?;
            if index > items.len() {
                return Err("the index is out of range".into());
            }
            items.insert(index, value);
            Ok(())
        }
        _ => Err("its parent is neither object nor list".into()),
    }
}

fn remove(object: &mut Value, path: &str) -> Result<Value, String> {
    let missing = || "there is nothing at the path".to_owned();
    match parent(object, path)? {
        (Value::Object(fields), last) => fields.remove(&last).ok_or_else(missing),
        (Value::Array(items), last) => {
            let index: usize = last.parse().map_err(|_| "an index is expected")?;
            if index >= items.len() {
                return Err(missing());
            }
            Ok(items.remove(index))
        }
        _ => Err(missing()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations_do_what_the_rfc_says() {
        let mut object = json!({"a": {"b": [1, 2]}, "c/d": 1});
        let operations = json!([
            {"op": "add", "path": "/a/b/1", "value": 9},
            {"op": "add", "path": "/a/b/-", "value": 3},
            {"op": "replace", "path": "/c~1d", "value": 2},
            {"op": "test", "path": "/a/b/0", "value": 1},
            {"op": "copy", "from": "/a/b", "path": "/e"},
            {"op": "move", "from": "/a", "path": "/f"},
            {"op": "remove", "path": "/e/0"}
        ]);
        apply(&mut object, operations.as_array().unwrap()).unwrap();
        assert_eq!(object, json!({"c/d": 2, "e": [9, 2, 3], "f": {"b": [1, 9, 2, 3]}}));
    }

    #[test]
    fn a_path_to_nothing_is_an_error_that_names_it() {
        for (operation, message) in [
            (json!({"op": "remove", "path": "/x"}), "remove /x: there is nothing at the path"),
            (json!({"op": "add", "path": "/x/y", "value": 1}), "add /x/y: its parent is missing"),
            (json!({"op": "add", "path": "/l/5", "value": 1}), "add /l/5: the index is out of range"),
            (json!({"op": "test", "path": "/l", "value": 1}), "test /l: test failed"),
        ] {
            assert_eq!(apply(&mut json!({"l": []}), &[operation]).unwrap_err(), message);
        }
    }
}
