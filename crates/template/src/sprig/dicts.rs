//! Dicts, which are changed in place as in Go.

use super::text;
use crate::{Map, Value, functions::Entry};

pub(super) const TABLE: &[Entry] = &[
    ("dict", "a*", |args| {
        let pairs = args.chunks(2).map(|pair| (text(&pair[0]).into(), pair.get(1).cloned().unwrap_or("".into())));
        Ok(Value::Map(Map::dict(pairs)))
    }),
    ("get", "ms", |args| Ok(map(&args[0])?.get(&args[1]).unwrap_or("".into()))),
    ("set", "msa", |args| {
        map(&args[0])?.insert(args[1].clone(), args[2].clone());
        Ok(args[0].clone())
    }),
    ("unset", "ms", |args| {
        map(&args[0])?.remove(&args[1]);
        Ok(args[0].clone())
    }),
    ("hasKey", "ms", |args| Ok(map(&args[0])?.get(&args[1]).is_some().into())),
    ("pluck", "sm*", |args| {
        let mut found = Vec::new();
        for dict in &args[1..] {
            found.extend(map(dict)?.get(&args[0]));
        }
        Ok(Value::list(found))
    }),
    ("keys", "m*", |args| {
        let mut keys = Vec::new();
        for dict in args {
            keys.extend(map(dict)?.entries().into_iter().map(|(key, _)| text(&key)));
        }
        Ok(Value::strings(keys))
    }),
    ("values", "m", |args| Ok(Value::list(map(&args[0])?.entries().into_iter().map(|(_, value)| value).collect()))),
    ("pick", "ms*", |args| chosen(args, true)),
    ("omit", "ms*", |args| chosen(args, false)),
    ("merge", "mm*", |args| merge(args, false)),
    ("mergeOverwrite", "mm*", |args| merge(args, true)),
    ("mustMerge", "mm*", |args| merge(args, false)),
    ("mustMergeOverwrite", "mm*", |args| merge(args, true)),
    ("deepCopy", "a", |args| Ok(copy(&args[0], 0))),
    ("mustDeepCopy", "a", |args| Ok(copy(&args[0], 0))),
    ("dig", "aaa*", dig),
];

fn map(value: &Value) -> Result<&Map, String> {
    match value {
        Value::Map(map) => Ok(map),
        _ => Err("assignment to entry in nil map".to_owned()),
    }
}

fn chosen(args: &[Value], listed: bool) -> Result<Value, String> {
    let mut entries = map(&args[0])?.entries();
    entries.retain(|(key, _)| args[1..].iter().any(|wanted| wanted.same(key)) == listed);
    Ok(Value::Map(Map::dict(entries)))
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
    let (keys, default, mut current) = (&args[..args.len() - 2], &args[args.len() - 2], args[args.len() - 1].clone());
    for key in keys {
        let found = match &current {
            Value::Map(map) => map.get(&text(key).into()),
            other => {
                return Err(format!(
                    "interface conversion: interface {{}} is {}, not map[string]interface {{}}",
                    other.type_name()
                ));
            }
        };
        match found {
            Some(value) => current = value,
            None => return Ok(default.clone()),
        }
    }
    Ok(current)
}
