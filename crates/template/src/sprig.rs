//! Sprig's functions: those of version 3.3 whose answer depends on nothing but the arguments.
//!
//! Left out besides the clock, chance, environment and network: keys, certificates, passwords.

use crate::{Value, functions::Entry, print};

mod convert;
mod dates;
mod decimal;
mod defaults;
mod dicts;
mod digest;
mod encoding;
mod identifiers;
mod json;
mod lists;
mod math;
mod paths;
mod patterns;
mod strings;
mod versions;
mod words;

/// All tables of functions.
pub(crate) const TABLES: &[&[Entry]] = &[
    convert::TABLE,
    dates::TABLE,
    defaults::TABLE,
    dicts::TABLE,
    encoding::TABLE,
    identifiers::TABLE,
    json::TABLE,
    lists::TABLE,
    math::TABLE,
    paths::TABLE,
    patterns::TABLE,
    strings::TABLE,
    versions::TABLE,
    words::TABLE,
];

pub(crate) use dates::ago;
pub(crate) use lists::MUST;

/// Longest text and list that a function builds, so that a template cannot exhaust memory.
const MAX_SIZE: usize = 4 << 20;

/// The text of an argument that is known to be one; else its printed form, as Sprig's `strval`.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_string(),
        other => print::text(other),
    }
}

/// An argument as an integer, as Sprig casts it: what is none is 0.
fn int(value: &Value) -> i64 {
    match value {
        Value::Int(value) => *value,
        // As Go's processor has it: what does not fit becomes the least integer.
        Value::Float(value) if !(-9.3e18..9.2e18).contains(value) => i64::MIN,
        #[expect(clippy::cast_possible_truncation, reason = "a cast to an integer cuts the fraction")]
        Value::Float(value) => *value as i64,
        Value::Bool(value) => i64::from(*value),
        Value::String(text) => {
            let whole = text
                .split_once('.')
                .map_or(&**text, |(whole, zeros)| if zeros.chars().all(|c| c == '0') { whole } else { text });
            crate::number::whole(whole).unwrap_or(0)
        }
        _ => 0,
    }
}

/// An argument as a float, as Sprig casts it: what is none is 0.
#[expect(clippy::cast_precision_loss, reason = "so does Go")]
fn float(value: &Value) -> f64 {
    match value {
        Value::Int(value) => *value as f64,
        Value::Float(value) => *value,
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::String(text) => text.parse().unwrap_or(0.0),
        _ => 0.0,
    }
}

/// An argument as a list of texts, as Sprig's `strslice`: nothing is left out, one thing is a list of one.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Nil => Vec::new(),
        Value::List(list) => list.items.iter().filter(|item| !matches!(item, Value::Nil)).map(text).collect(),
        other => vec![text(other)],
    }
}

/// Refuses results that are too large.
fn bounded(size: usize) -> Result<(), String> {
    if size > MAX_SIZE { Err(format!("result is larger than {MAX_SIZE}")) } else { Ok(()) }
}
