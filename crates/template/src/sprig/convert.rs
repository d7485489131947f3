//! From one type to another, and questions about types.

use std::num::IntErrorKind;

use super::{float, int, text};
use crate::functions::Entry;

pub(super) const TABLE: &[Entry] = &[
    ("toString", "a", |args| Ok(text(&args[0]).into())),
    ("atoi", "s", |args| Ok(atoi(&text(&args[0])).into())),
    ("int", "a", |args| Ok(int(&args[0]).into())),
    ("int64", "a", |args| Ok(int(&args[0]).into())),
    ("float64", "a", |args| Ok(float(&args[0]).into())),
    ("toDecimal", "a", |args| Ok(i64::from_str_radix(&text(&args[0]), 8).unwrap_or(0).into())),
    ("typeOf", "a", |args| Ok(args[0].type_name().into())),
    ("typeIs", "sa", |args| Ok((text(&args[0]) == args[1].type_name()).into())),
    ("typeIsLike", "sa", |args| Ok((text(&args[0]).trim_start_matches('*') == args[1].type_name()).into())),
    ("kindOf", "a", |args| Ok(args[0].kind_name().into())),
    ("kindIs", "sa", |args| Ok((text(&args[0]) == args[1].kind_name()).into())),
    ("deepEqual", "aa", |args| Ok(args[0].same(&args[1]).into())),
];

/// What Go's `strconv.Atoi` gives even if it errs, which Sprig passes over: the nearest integer, 0 for what is no number.
fn atoi(text: &str) -> i64 {
    let is_negative = text.starts_with('-');
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let size = match digits.parse::<u64>() {
        Ok(size) if digits.starts_with(|c: char| c.is_ascii_digit()) => size,
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => u64::MAX,
        _ => 0,
    };
    match is_negative {
        true => 0i64.saturating_sub_unsigned(size),
        false => 0i64.saturating_add_unsigned(size),
    }
}
