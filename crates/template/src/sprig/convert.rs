//! From one type to another, and questions about types.

use super::{float, int, text};
use crate::{Value, functions::Entry};

pub(super) const TABLE: &[Entry] = &[
    ("toString", "a", |args| Ok(text(&args[0]).into())),
    ("atoi", "s", |args| {
        let text = text(&args[0]);
        Ok(Value::Int(text.parse().unwrap_or(0)))
    }),
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
