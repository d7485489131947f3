//! Dicts, which are changed in place as in Go.

use super::text;
use crate::{Kind, Map, Value, functions::Entry};

pub(super) const TABLE: &[Entry] = &[
    ("dict", "a*", |args| {
        let pairs = args.chunks(2).map(|pair| (text(&pair[0]).into(), pair.get(1).cloned().unwrap_or("".into())));
        Ok(Value::Map(Map::dict(pairs)))
    }),
    ("get", "ms", |args| Ok(found(&args[0], &args[1]).unwrap_or("".into()))),
    ("set", "msa", |args| {
        map(&args[0])?.insert(args[1].clone(), args[2].clone());
        Ok(args[0].clone())
    }),
    ("unset", "ms", |args| {
        let dict = readable(&args[0]);
        dict.remove(&args[1]);
        Ok(Value::Map(dict))
    }),
    ("hasKey", "ms", |args| Ok(found(&args[0], &args[1]).is_some().into())),
    ("pluck", "sm*", |args| Ok(Value::list(args[1..].iter().filter_map(|dict| found(dict, &args[0])).collect()))),
    ("keys", "m*", |args| {
        let entries = args.iter().flat_map(|dict| readable(dict).entries());
        Ok(Value::strings(entries.map(|(key, _)| text(&key))))
    }),
    ("values", "m", |args| Ok(Value::list(readable(&args[0]).entries().into_iter().map(|(_, value)| value).collect()))),
    ("pick", "ms*", |args| Ok(chosen(args, true))),
    ("omit", "ms*", |args| Ok(chosen(args, false))),
    ("merge", "mm*", |args| merge(args, false)),
    ("mergeOverwrite", "mm*", |args| merge(args, true)),
    ("mustMerge", "mm*", |args| merge(args, false)),
    ("mustMergeOverwrite", "mm*", |args| merge(args, true)),
    ("deepCopy", "a", |args| deep_copy(&args[0])),
    ("mustDeepCopy", "a", |args| deep_copy(&args[0])),
    ("dig", "a*", dig),
];

fn map(value: &Value) -> Result<&Map, String> {
    match value {
        Value::Map(map) => Ok(map),
        _ => Err("assignment to entry in nil map".to_owned()),
    }
}

/// A dict that is read only: nil is one without entries, as in Go.
fn readable(value: &Value) -> Map {
    match value {
        Value::Map(map) => map.clone(),
        _ => Map::dict([]),
    }
}

fn found(dict: &Value, key: &Value) -> Option<Value> {
    readable(dict).get(key)
}

fn chosen(args: &[Value], listed: bool) -> Value {
    let mut entries = readable(&args[0]).entries();
    entries.retain(|(key, _)| args[1..].iter().any(|wanted| wanted.same(key)) == listed);
    Value::Map(Map::dict(entries))
}

fn merge(args: &[Value], overwrite: bool) -> Result<Value, String> {
    for source in &args[1..] {
        merge_into(map(&args[0])?, map(source)?, overwrite, 0);
    }
    Ok(args[0].clone())
}

fn merge_into(into: &Map, from: &Map, overwrite: bool, depth: usize) {
    if into.is(from) || depth > 50 {
        return;
    }
    for (key, value) in from.entries() {
        match (into.get(&key), &value) {
            (Some(Value::Map(inner)), Value::Map(more)) => merge_into(&inner, more, overwrite, depth + 1),
            (Some(known), _) if super::defaults::is_empty(&known) => into.insert(key, value),
            (Some(_), value) if !overwrite || super::defaults::is_empty(value) => {}
            (None, Value::Nil) => {}
            _ => into.insert(key, value),
        }
    }
}

fn deep_copy(value: &Value) -> Result<Value, String> {
    match value {
        Value::Nil => Err("reflect: call of reflect.Value.Type on zero Value".to_owned()),
        value => Ok(copy(value, 0)),
    }
}

fn copy(value: &Value, depth: usize) -> Value {
    match value {
        Value::Map(map) if depth < 50 => {
            let entries = map.entries().into_iter().map(|(key, value)| (key, copy(&value, depth + 1)));
            Value::Map(Map::new(map.type_name, (*map.zero).clone(), entries))
        }
        Value::List(list) if depth < 50 => {
            let items = std::sync::Arc::new(list.items.iter().map(|item| copy(item, depth + 1)).collect());
            Value::List(crate::List { type_name: list.type_name, items })
        }
        other => other.clone(),
    }
}

/// `dig "a" "b" default dict`
fn dig(args: &[Value]) -> Result<Value, String> {
    let [keys @ .., default, dict] = args else { return Err(DIG_NEEDS.to_owned()) };
    if keys.is_empty() {
        return Err(DIG_NEEDS.to_owned());
    }
    let mut current = as_dict(dict)?.clone();
    if let Some(key) = keys.iter().find(|key| !matches!(key, Value::String(_))) {
        return Err(not_a(key, "string"));
    }
    let mut found = Value::Nil;
    for (index, key) in keys.iter().enumerate() {
        let Some(value) = current.get(key) else { return Ok(default.clone()) };
        if index + 1 < keys.len() {
            current = as_dict(&value)?.clone();
        }
        found = value;
    }
    Ok(found)
}

const DIG_NEEDS: &str = "dig needs at least three arguments";

/// A map of texts to texts is no dict to Sprig.
fn as_dict(value: &Value) -> Result<&Map, String> {
    match value {
        Value::Map(map) if map.type_name == Kind::Map.name() => Ok(map),
        other => Err(not_a(other, Kind::Map.name())),
    }
}

fn not_a(value: &Value, wanted: &str) -> String {
    let found = if matches!(value, Value::Nil) { "nil" } else { value.type_name() };
    format!("interface conversion: interface {{}} is {found}, not {wanted}")
}
