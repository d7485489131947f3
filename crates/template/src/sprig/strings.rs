//! Texts: trimming, cutting, joining, indenting.

use super::{bounded, text, texts};
use crate::{Value, case, functions::Entry, print};

pub(super) const TABLE: &[Entry] = &[
    ("hello", "", |_| Ok("Hello!".into())),
    ("trim", "s", |args| Ok(text(&args[0]).trim().into())),
    ("trimAll", "ss", |args| Ok(trim_all(args))),
    ("trimall", "ss", |args| Ok(trim_all(args))),
    ("trimSuffix", "ss", |args| {
        let (suffix, whole) = (text(&args[0]), text(&args[1]));
        Ok(whole.strip_suffix(&suffix).unwrap_or(&whole).into())
    }),
    ("trimPrefix", "ss", |args| {
        let (prefix, whole) = (text(&args[0]), text(&args[1]));
        Ok(whole.strip_prefix(&prefix).unwrap_or(&whole).into())
    }),
    ("upper", "s", |args| Ok(case::each(&text(&args[0]), case::upper).into())),
    ("lower", "s", |args| Ok(case::each(&text(&args[0]), case::lower).into())),
    ("contains", "ss", |args| Ok(text(&args[1]).contains(&text(&args[0])).into())),
    ("hasPrefix", "ss", |args| Ok(text(&args[1]).starts_with(&text(&args[0])).into())),
    ("hasSuffix", "ss", |args| Ok(text(&args[1]).ends_with(&text(&args[0])).into())),
    ("replace", "sss", |args| {
        let (old, new, whole) = (text(&args[0]), text(&args[1]), text(&args[2]));
        bounded(whole.len() + (whole.len() + 1).saturating_mul(new.len()))?;
        Ok(whole.replace(&old, &new).into())
    }),
    ("repeat", "is", |args| {
        let whole = text(&args[1]);
        let times = usize::try_from(super::int(&args[0])).map_err(|_| "strings: negative Repeat count".to_owned())?;
        bounded(whole.len().saturating_mul(times))?;
        Ok(whole.repeat(times).into())
    }),
    ("nospace", "s", |args| Ok(text(&args[0]).split_whitespace().collect::<String>().into())),
    ("trunc", "is", |args| Ok(truncate(super::int(&args[0]), &text(&args[1])).into())),
    ("substr", "iis", |args| Ok(substring(super::int(&args[0]), super::int(&args[1]), &text(&args[2]))?.into())),
    ("abbrev", "is", |args| Ok(abbreviate(0, super::int(&args[0]), &text(&args[1])).into())),
    ("abbrevboth", "iis", |args| {
        let (left, right) = (super::int(&args[0]), super::int(&args[1]));
        let fits = right >= 4 && !(left > 0 && right < 7);
        Ok(if fits { abbreviate(left, right, &text(&args[2])).into() } else { args[2].clone() })
    }),
    ("quote", "a*", |args| Ok(quoted(args, print::quote).into())),
    ("squote", "a*", |args| Ok(quoted(args, |text| format!("'{text}'")).into())),
    ("cat", "a*", |args| {
        let pieces: Vec<String> = present(args).map(text).collect();
        Ok(pieces.join(" ").into())
    }),
    ("indent", "is", |args| Ok(indent(args, "")?.into())),
    ("nindent", "is", |args| Ok(indent(args, "\n")?.into())),
    ("plural", "ssi", |args| Ok(if super::int(&args[2]) == 1 { args[0].clone() } else { args[1].clone() })),
    ("join", "sa", |args| {
        let joined = texts(&args[1]).join(&text(&args[0]));
        bounded(joined.len())?;
        Ok(joined.into())
    }),
];

fn trim_all(args: &[Value]) -> Value {
    let set: Vec<char> = text(&args[0]).chars().collect();
    text(&args[1]).trim_matches(|c| set.contains(&c)).into()
}

fn present(args: &[Value]) -> impl Iterator<Item = &Value> {
    args.iter().filter(|value| !matches!(value, Value::Nil))
}

fn quoted(args: &[Value], quote: impl Fn(&str) -> String) -> String {
    let pieces: Vec<String> = present(args).map(|value| quote(&text(value))).collect();
    pieces.join(" ")
}

/// Part of a text by bytes; a character that is cut in two is replaced.
fn part(whole: &str, from: usize, to: usize) -> String {
    let to = to.min(whole.len());
    String::from_utf8_lossy(&whole.as_bytes()[from.min(to)..to]).into_owned()
}

fn truncate(limit: i64, whole: &str) -> String {
    let size = usize::try_from(limit.unsigned_abs()).unwrap_or(usize::MAX);
    match limit {
        ..0 if whole.len() > size => part(whole, whole.len() - size, whole.len()),
        0.. if whole.len() > size => part(whole, 0, size),
        _ => whole.to_owned(),
    }
}

/// Sprig's `substr`: without a start the end counts as it is, and one behind the text stands for the text's end.
fn substring(start: i64, end: i64, whole: &str) -> Result<String, String> {
    const OUT_OF_RANGE: &str = "runtime error: slice bounds out of range";
    let length = whole.len();
    let Ok(from) = usize::try_from(start) else {
        return match usize::try_from(end) {
            Ok(to) if to <= length => Ok(part(whole, 0, to)),
            Ok(to) => Err(format!("{OUT_OF_RANGE} [:{to}] with length {length}")),
            Err(_) => Err(format!("{OUT_OF_RANGE} [:{end}]")),
        };
    };
    let to = usize::try_from(end).map_or(length, |end| end.min(length));
    if from > to {
        return Err(format!("{OUT_OF_RANGE} [{from}:{to}]"));
    }
    Ok(part(whole, from, to))
}

/// At most `width` bytes beginning at about `offset`, with three dots where something is missing.
fn abbreviate(offset: i64, width: i64, whole: &str) -> String {
    let (Ok(offset), Ok(width)) = (usize::try_from(offset.max(0)), usize::try_from(width)) else {
        return whole.to_owned();
    };
    if width < 4 || whole.len() <= width {
        return whole.to_owned();
    }
    let keep = width - 3;
    let offset = offset.min(whole.len() - keep.min(whole.len()));
    if offset <= 4 {
        return part(whole, 0, keep) + "...";
    }
    if offset + keep < whole.len() {
        let rest = part(whole, offset, whole.len());
        return format!("...{}", abbreviate(0, i64::try_from(keep).unwrap_or(i64::MAX), &rest));
    }
    format!("...{}", part(whole, whole.len() - keep, whole.len()))
}

fn indent(args: &[Value], before: &str) -> Result<String, String> {
    let whole = text(&args[1]);
    let width = usize::try_from(super::int(&args[0])).map_err(|_| "strings: negative Repeat count".to_owned())?;
    bounded(width.saturating_mul(whole.matches('\n').count() + 1))?;
    let padding = " ".repeat(width);
    Ok(format!("{before}{padding}{}", whole.replace('\n', &format!("\n{padding}"))))
}
