//! Texts as words: case, initials, wrapping.

use super::{int, text};
use crate::{case, functions::Entry};

pub(super) const TABLE: &[Entry] = &[
    ("title", "s", |args| Ok(title(&text(&args[0])).into())),
    ("untitle", "s", |args| Ok(starts(&text(&args[0]), case::lower).into())),
    ("initials", "s", |args| {
        let text = text(&args[0]);
        Ok(text.split_whitespace().filter_map(|word| word.chars().next()).collect::<String>().into())
    }),
    ("swapcase", "s", |args| Ok(swap(&text(&args[0])).into())),
    ("wrap", "is", |args| Ok(wrap(&text(&args[1]), int(&args[0]), "\n", false).into())),
    ("wrapWith", "iss", |args| {
        super::bounded(text(&args[2]).len().saturating_mul(text(&args[1]).len() + 1))?;
        Ok(wrap(&text(&args[2]), int(&args[0]), &text(&args[1]), true).into())
    }),
];

/// Upper case at the start of words, as Go's `strings.Title`.
fn title(text: &str) -> String {
    let mut previous = ' ';
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let separated =
            !(previous.is_alphanumeric() || previous == '_') && (previous.is_ascii() || previous.is_whitespace());
        out.push(if separated { case::title(c) } else { c });
        previous = c;
    }
    out
}

/// Changes the first character of each word.
fn starts(text: &str, change: fn(char) -> char) -> String {
    let mut at_start = true;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        out.push(if at_start && !c.is_whitespace() { change(c) } else { c });
        at_start = c.is_whitespace();
    }
    out
}

fn swap(text: &str) -> String {
    text.chars().map(|c| if case::lower(c) == c { case::upper(c) } else { case::lower(c) }).collect()
}

/// Breaks lines at spaces; words longer than a line are broken only if asked. Width counts bytes, as in Sprig.
fn wrap(text: &str, width: i64, newline: &str, break_words: bool) -> String {
    let newline = if newline.is_empty() { "\n" } else { newline };
    let width = usize::try_from(width.max(1)).unwrap_or(1);
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while bytes.len() - at > width {
        if bytes[at] == b' ' {
            at += 1;
            continue;
        }
        let last_space = bytes[at..=at + width].iter().rposition(|&byte| byte == b' ');
        let (end, next) = match (last_space, break_words) {
            (Some(space), _) => (at + space, at + space + 1),
            (None, true) => (at + width, at + width),
            (None, false) => match bytes[at + width..].iter().position(|&byte| byte == b' ') {
                Some(space) => (at + width + space, at + width + space + 1),
                None => break,
            },
        };
        out.extend(&bytes[at..end]);
        out.extend(newline.as_bytes());
        at = next;
    }
    out.extend(&bytes[at..]);
    String::from_utf8_lossy(&out).into_owned()
}
