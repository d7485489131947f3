//! JSON as Go's `encoding/json` reads and writes it.

use super::text;
use crate::{Map, Value, functions::Entry, print};

pub(super) const TABLE: &[Entry] = &[
    ("toJson", "a", |args| Ok(written(&args[0], COMPACT).unwrap_or_default().into())),
    ("mustToJson", "a", |args| written(&args[0], COMPACT).map(Value::from)),
    ("toPrettyJson", "a", |args| Ok(written(&args[0], PRETTY).unwrap_or_default().into())),
    ("mustToPrettyJson", "a", |args| written(&args[0], PRETTY).map(Value::from)),
    ("toRawJson", "a", |args| written(&args[0], RAW).map(Value::from)),
    ("mustToRawJson", "a", |args| written(&args[0], RAW).map(Value::from)),
    ("fromJson", "s", |args| Ok(from_json(&args[0]).unwrap_or_default())),
    ("mustFromJson", "s", |args| from_json(&args[0])),
];

const MAX_DEPTH: usize = 50;

/// How JSON is laid out.
#[derive(Clone, Copy)]
struct Layout {
    /// Over several lines.
    pretty: bool,
    /// With `<`, `>` and `&` as escapes.
    escaped: bool,
}

const COMPACT: Layout = Layout { pretty: false, escaped: true };
const PRETTY: Layout = Layout { pretty: true, escaped: true };
const RAW: Layout = Layout { pretty: false, escaped: false };

fn from_json(value: &Value) -> Result<Value, String> {
    serde_json::from_str(&text(value))
        .map(|json: serde_json::Value| floats(Value::from(&json)))
        .map_err(|error| error.to_string())
}

/// The value with floats for its numbers, as Go reads JSON.
fn floats(value: Value) -> Value {
    match value {
        #[expect(clippy::cast_precision_loss, reason = "so does Go")]
        Value::Int(whole) => Value::Float(whole as f64),
        Value::List(list) => Value::list(list.items.iter().cloned().map(floats).collect()),
        Value::Map(map) => Value::Map(Map::dict(map.entries().into_iter().map(|(key, value)| (key, floats(value))))),
        other => other,
    }
}

fn written(value: &Value, layout: Layout) -> Result<String, String> {
    let mut out = String::new();
    write(&mut out, value, layout, 0)?;
    Ok(out)
}

fn write(out: &mut String, value: &Value, layout: Layout, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err("json: unsupported value: encountered a cycle".to_owned());
    }
    match value {
        Value::Nil => out.push_str("null"),
        Value::Bool(_) | Value::Int(_) => out.push_str(&print::text(value)),
        Value::Float(value) => out.push_str(&number(*value)?),
        Value::String(text) => out.push_str(&quoted(text, layout.escaped)),
        Value::List(list) => {
            enclosed(out, ['[', ']'], list.items.iter(), layout, depth, |out, item| {
                write(out, item, layout, depth + 1)
            })?;
        }
        Value::Map(map) => {
            if !map.has_text_keys() {
                return Err(format!("json: unsupported type: {}", map.type_name));
            }
            let entries = map.entries();
            enclosed(out, ['{', '}'], entries.iter(), layout, depth, |out, (key, value)| {
                member(out, &text(key), value, layout, depth)
            })?;
        }
        Value::Struct(value) => {
            enclosed(out, ['{', '}'], value.fields.iter(), layout, depth, |out, field| {
                member(out, field.name, &field.value, layout, depth)
            })?;
        }
    }
    Ok(())
}

fn member(out: &mut String, name: &str, value: &Value, layout: Layout, depth: usize) -> Result<(), String> {
    out.push_str(&quoted(name, layout.escaped));
    out.push_str(if layout.pretty { ": " } else { ":" });
    write(out, value, layout, depth + 1)
}

/// Brackets with things between.
fn enclosed<T>(
    out: &mut String,
    [open, close]: [char; 2],
    things: impl ExactSizeIterator<Item = T>,
    layout: Layout,
    depth: usize,
    put: impl Fn(&mut String, T) -> Result<(), String>,
) -> Result<(), String> {
    let is_empty = things.len() == 0;
    let line = |out: &mut String, depth: usize| {
        if layout.pretty && !is_empty {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", depth));
        }
    };
    out.push(open);
    for (index, thing) in things.enumerate() {
        out.push_str(if index == 0 { "" } else { "," });
        line(out, depth + 1);
        put(out, thing)?;
    }
    line(out, depth);
    out.push(close);
    Ok(())
}

fn quoted(text: &str, escaped: bool) -> String {
    let plain = serde_json::Value::from(text).to_string();
    let plain = plain.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
    match escaped {
        true => plain.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"),
        false => plain,
    }
}

/// A float in the shortest form, with an exponent below 1e-6 and from 1e21 on.
fn number(value: f64) -> Result<String, String> {
    if !value.is_finite() {
        return Err(format!("json: unsupported value: {}", print::float(value)));
    }
    if value == 0.0 || (1e-6..1e21).contains(&value.abs()) {
        return Ok(value.to_string());
    }
    let scientific = format!("{value:e}");
    Ok(match scientific.split_once('e') {
        Some((digits, power)) if !power.starts_with('-') => format!("{digits}e+{power}"),
        _ => scientific,
    })
}
