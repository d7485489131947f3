//! JSON pointers: taking values out of objects and putting them in. Source: RFC 6901.

use serde_json::{Map, Value};

/// Errs on what is no pointer to a part of an object.
pub(super) fn check(pointer: &str) -> Result<(), String> {
    match pointer {
        "" | "/" => Err("the whole object cannot be ignored".into()),
        _ if !pointer.starts_with('/') => Err(format!("'{pointer}' does not begin with /")),
        _ => Ok(()),
    }
}

/// The parts of a pointer, unescaped.
pub(super) fn parts(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"))
}

/// Takes out what is there, if something is.
pub(super) fn remove(object: &mut Value, pointer: &str) {
    let Some((parent, _)) = pointer.rsplit_once('/') else { return };
    let last = parts(pointer).last().unwrap_or_default();
    match object.pointer_mut(parent) {
        Some(Value::Object(fields)) => drop(fields.remove(&last)),
        Some(Value::Array(items)) => {
            if let Some(index) = last.parse().ok().filter(|index| *index < items.len()) {
                items.remove(index);
            }
        }
        _ => {}
    }
}

/// Puts a value in, with the maps above it. Items of lists are replaced where they are; none are added.
pub(super) fn set(object: &mut Value, pointer: &str, value: &Value) {
    let mut place = object;
    for part in parts(pointer) {
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        let next = match place {
            Value::Object(fields) => Some(fields.entry(part).or_insert(Value::Null)),
            Value::Array(items) => part.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
            _ => None,
        };
        let Some(next) = next else { return };
        place = next;
    }
    *place = value.clone();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_put_in_and_taken_out() {
        let mut object = json!({"a": [{"b": 1}], "x/y": 1});
        set(&mut object, "/a/0/b", &json!(2));
        set(&mut object, "/c/d", &json!(3));
        set(&mut object, "/a/7/b", &json!(4));
        set(&mut object, "/x~1y", &json!(5));
        set(&mut object, "/x~1y/z", &json!(6));
        assert_eq!(object, json!({"a": [{"b": 2}], "c": {"d": 3}, "x/y": 5}));
        for pointer in ["/a/0/b", "/c/d", "/none/at/all", "/a/9", "/x~1y", "/a/-"] {
            remove(&mut object, pointer);
        }
        assert_eq!(object, json!({"a": [{}], "c": {}}));
    }
}
