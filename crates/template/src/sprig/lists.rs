//! Lists.

use super::{bounded, int, text, texts};
use crate::{List, Map, Value, functions::Entry};

pub(super) const TABLE: &[Entry] = &[
    ("list", "a*", |args| Ok(Value::list(args.to_vec()))),
    ("tuple", "a*", |args| Ok(Value::list(args.to_vec()))),
    ("splitList", "ss", |args| Ok(Value::strings(split(&text(&args[0]), &text(&args[1]))))),
    ("split", "ss", |args| Ok(numbered(split(&text(&args[0]), &text(&args[1]))))),
    ("splitn", "sis", |args| {
        let (separator, whole) = (text(&args[0]), text(&args[2]));
        let parts = match usize::try_from(int(&args[1])) {
            Ok(0) => Vec::new(),
            Ok(limit) if separator.is_empty() => characters(&whole, limit),
            Ok(limit) => whole.splitn(limit, &separator).map(str::to_owned).collect(),
            Err(_) => split(&separator, &whole),
        };
        Ok(numbered(parts))
    }),
    ("toStrings", "a", |args| Ok(Value::strings(texts(&args[0])))),
    ("sortAlpha", "a", |args| {
        let mut sorted = texts(&args[0]);
        sorted.sort();
        Ok(Value::strings(sorted))
    }),
    ("first", "a", |args| Ok(items(&args[0], "find first on")?.first().cloned().unwrap_or_default())),
    ("last", "a", |args| Ok(items(&args[0], "find last on")?.last().cloned().unwrap_or_default())),
    ("rest", "a", |args| Ok(Value::list(items(&args[0], "find rest on")?.iter().skip(1).cloned().collect()))),
    ("initial", "a", |args| {
        let items = items(&args[0], "find initial on")?;
        Ok(Value::list(items[..items.len().saturating_sub(1)].to_vec()))
    }),
    ("append", "aa", |args| with(&args[0], "push on", |items| items.push(args[1].clone()))),
    ("push", "aa", |args| with(&args[0], "push on", |items| items.push(args[1].clone()))),
    ("prepend", "aa", |args| with(&args[0], "prepend on", |items| items.insert(0, args[1].clone()))),
    ("reverse", "a", |args| with(&args[0], "find reverse on", |items| items.reverse())),
    ("compact", "a", |args| {
        with(&args[0], "compact on", |items| items.retain(|item| !super::defaults::is_empty(item)))
    }),
    ("uniq", "a", |args| {
        let mut kept: Vec<Value> = Vec::new();
        for item in items(&args[0], "find uniq on")? {
            if !kept.iter().any(|known| known.same(item)) {
                kept.push(item.clone());
            }
        }
        Ok(Value::list(kept))
    }),
    ("without", "aa*", |args| {
        with(&args[0], "find without on", |items| items.retain(|item| !args[1..].iter().any(|out| out.same(item))))
    }),
    ("has", "aa", |args| match &args[1] {
        Value::Nil => Ok(false.into()),
        haystack => Ok(items(haystack, "find has on")?.iter().any(|item| item.same(&args[0])).into()),
    }),
    ("slice", "aa*", slice),
    ("concat", "a*", |args| {
        let mut all = Vec::new();
        for list in args {
            let more = items(list, "concat").map_err(|error| error + " as list")?;
            bounded((all.len() + more.len()) * 16)?;
            all.extend_from_slice(more);
        }
        Ok(Value::list(all))
    }),
    ("chunk", "ia", |args| {
        let items = items(&args[1], "chunk")?;
        let Ok(size) = usize::try_from(int(&args[0])) else { return Ok(Value::list(Vec::new())) };
        if size == 0 {
            return Err("cannot chunk into pieces of less than one".to_owned());
        }
        let chunks = items.chunks(size);
        Ok(Value::list(chunks.map(|chunk| Value::list(chunk.to_vec())).collect()))
    }),
    ("until", "i", |args| {
        let end = int(&args[0]);
        steps(0, end, if end < 0 { -1 } else { 1 })
    }),
    ("untilStep", "iii", |args| steps(int(&args[0]), int(&args[1]), int(&args[2]))),
    ("seq", "i*", |args| {
        let (first, end, step) = match args.iter().map(int).collect::<Vec<_>>()[..] {
            [end] => (1, end, if end < 1 { -1 } else { 1 }),
            [first, end] => (first, end, if end < first { -1 } else { 1 }),
            [first, step, end] => (first, end, step),
            _ => return Ok("".into()),
        };
        let beyond = end.saturating_add(step.signum());
        let Value::List(list) = steps(first, beyond, step)? else { return Ok("".into()) };
        Ok(list.items.iter().map(text).collect::<Vec<_>>().join(" ").into())
    }),
];

fn split(separator: &str, whole: &str) -> Vec<String> {
    if separator.is_empty() {
        return whole.chars().map(String::from).collect();
    }
    whole.split(separator).map(str::to_owned).collect()
}

/// The characters of a text, the last ones together where there are more than the limit.
fn characters(whole: &str, limit: usize) -> Vec<String> {
    let mut rest = whole;
    let mut found = Vec::new();
    while let Some(first) = rest.chars().next().filter(|_| found.len() + 1 < limit) {
        let (head, tail) = rest.split_at(first.len_utf8());
        found.push(head.to_owned());
        rest = tail;
    }
    if !rest.is_empty() {
        found.push(rest.to_owned());
    }
    found
}

/// What `split` gives: a dict of `_0`, `_1`, …
fn numbered(parts: Vec<String>) -> Value {
    let entries = parts.into_iter().enumerate().map(|(index, part)| (format!("_{index}").into(), part.into()));
    Value::Map(Map::new("map[string]string", "".into(), entries))
}

/// The variants that fail where the others panic; ours fail alike.
pub(crate) const MUST: [(&str, &str); 15] = [
    ("mustAppend", "append"),
    ("mustPush", "push"),
    ("mustPrepend", "prepend"),
    ("mustFirst", "first"),
    ("mustLast", "last"),
    ("mustRest", "rest"),
    ("mustInitial", "initial"),
    ("mustReverse", "reverse"),
    ("mustCompact", "compact"),
    ("mustUniq", "uniq"),
    ("mustWithout", "without"),
    ("mustHas", "has"),
    ("mustSlice", "slice"),
    ("mustChunk", "chunk"),
    ("mustToStrings", "toStrings"),
];

/// The elements of a list, or Sprig's complaint.
fn items<'v>(value: &'v Value, act: &str) -> Result<&'v [Value], String> {
    match value {
        Value::List(List { items, .. }) => Ok(items),
        other => Err(format!("Cannot {act} type {}", other.kind_name())),
    }
}

fn with(list: &Value, act: &str, change: impl FnOnce(&mut Vec<Value>)) -> Result<Value, String> {
    let mut items = items(list, act)?.to_vec();
    change(&mut items);
    Ok(Value::list(items))
}

/// Sprig's `slice`, which takes the place of Go's: lists only, bounds optional.
fn slice(args: &[Value]) -> Result<Value, String> {
    let Value::List(list) = &args[0] else {
        return Err(format!("list should be type of slice or array but {}", args[0].kind_name()));
    };
    let length = list.items.len();
    if length == 0 {
        return Ok(Value::Nil);
    }
    let bound =
        |at: usize, default: usize| args.get(at).map_or(Some(default), |value| usize::try_from(int(value)).ok());
    match (bound(1, 0), bound(2, length)) {
        (Some(from), Some(to)) if from <= to && to <= length => Ok(Value::list(list.items[from..to].to_vec())),
        _ => Err("reflect.Value.Slice: slice index out of bounds".to_owned()),
    }
}

/// The numbers from the first to before the end.
fn steps(first: i64, end: i64, step: i64) -> Result<Value, String> {
    if step == 0 || (end > first) != (step > 0) {
        return Ok(Value::list(Vec::new()));
    }
    let size = usize::try_from(end.abs_diff(first) / step.unsigned_abs()).unwrap_or(usize::MAX);
    bounded(size.saturating_mul(16))?;
    let mut numbers = Vec::with_capacity(size + 1);
    let mut next = first;
    while (step > 0 && next < end) || (step < 0 && next > end) {
        numbers.push(Value::Int(next));
        let Some(following) = next.checked_add(step) else { break };
        next = following;
    }
    Ok(Value::List(List { type_name: "[]int", items: std::sync::Arc::new(numbers) }))
}
