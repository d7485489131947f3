//! What to take when something is empty.

use super::text;
use crate::{Value, functions::Entry};

pub(super) const TABLE: &[Entry] = &[
    ("default", "aa*", |args| {
        let given = args.get(1).filter(|given| !is_empty(given));
        Ok(given.unwrap_or(&args[0]).clone())
    }),
    ("empty", "a", |args| Ok(is_empty(&args[0]).into())),
    ("coalesce", "a*", |args| Ok(args.iter().find(|value| !is_empty(value)).cloned().unwrap_or_default())),
    ("all", "a*", |args| Ok((!args.iter().any(is_empty)).into())),
    ("any", "a*", |args| Ok((!args.iter().all(is_empty)).into())),
    ("ternary", "aab", |args| Ok(if args[2].is_true() { args[0].clone() } else { args[1].clone() })),
    ("fail", "s", |args| Err(text(&args[0]))),
];

/// Sprig's emptiness, which is Go's falsehood.
pub(super) fn is_empty(value: &Value) -> bool {
    !value.is_true()
}
