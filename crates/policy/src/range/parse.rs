//! The grammar of ranges: hyphens rewritten, groups, terms, versions with wildcards.

use super::{Group, Open, Operator, Range, Term};
use crate::{
    Version,
    version::{InvalidVersion, Parts, scan},
};

/// Longest range read, in bytes.
///
/// Differs: Masterminds has no limit. A range is checked against every tag, so a huge one would stall the controller.
const MAX_BYTES: usize = 4096;

/// Why a text is not a range. The texts are Masterminds'.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRange {
    /// A group has another form; it is quoted as Go quotes it, hyphens already rewritten.
    #[error("improper constraint: {0}")]
    Improper(String),
    /// A version within a well-formed group cannot be read.
    #[error("constraint parser error")]
    Version(#[source] InvalidVersion),
    /// It is unreasonably long.
    #[error("improper constraint: longer than {MAX_BYTES} bytes")]
    TooLong,
}

/// Reads a range.
pub(super) fn range(text: &str) -> Result<Range, InvalidRange> {
    if text.len() > MAX_BYTES {
        return Err(InvalidRange::TooLong);
    }
    let groups = rewrite_hyphens(text).split("||").map(group).collect::<Result<_, _>>()?;
    Ok(Range { groups })
}

/// Replaces each `a - b` by `>= a, <= b `. What follows a rewritten hyphen range keeps its separator.
pub(super) fn rewrite_hyphens(text: &str) -> String {
    let mut rewritten = text.to_owned();
    let mut from = 0;
    while let Some(found) = hyphen(text, from) {
        // The first occurrence of the text is replaced, not the place where it was found: Masterminds does the same.
        rewritten = rewritten.replacen(&text[found.start..found.end], &found.replacement, 1);
        from = found.end;
    }
    rewritten
}

/// A hyphen range within a text.
struct Hyphen {
    start: usize,
    end: usize,
    replacement: String,
}

/// The leftmost hyphen range at or after a position, with the blanks around it.
fn hyphen(text: &str, from: usize) -> Option<Hyphen> {
    // Without this quick test a long text is scanned from every position for nothing.
    text.get(from..)?.contains('-').then_some(())?;
    (from..text.len()).filter(|&start| text.is_char_boundary(start)).find_map(|start| {
        let left_at = skip_blanks(text, start);
        let left = left_at + term_version(&text[left_at..])?.length;
        let sign = skip_blanks(text, left);
        if sign == left || text.as_bytes().get(sign) != Some(&b'-') {
            return None;
        }
        let right_at = skip_blanks(text, sign + 1);
        if right_at == sign + 1 {
            return None;
        }
        let right = right_at + term_version(&text[right_at..])?.length;
        let replacement = format!(">= {}, <= {} ", &text[left_at..left], &text[right_at..right]);
        Some(Hyphen { start, end: skip_blanks(text, right), replacement })
    })
}

/// Reads the terms between two `||`.
fn group(text: &str) -> Result<Group, InvalidRange> {
    let written = split(text).ok_or_else(|| InvalidRange::Improper(quoted(text)))?;
    let terms = written.into_iter().map(term).collect::<Result<Vec<_>, _>>().map_err(InvalidRange::Version)?;
    let prereleases = terms.iter().any(|term| !term.pre.is_empty());
    Ok(Group { terms, prereleases })
}

/// The operators and versions of a group, separated by blanks or single commas; `None` if it has another form.
fn split(text: &str) -> Option<Vec<(Operator, &str, Parts<'_>)>> {
    let mut terms = Vec::new();
    let mut at = skip_blanks(text, 0);
    loop {
        let signs = text[at..].bytes().take_while(|byte| b"=!<>~^".contains(byte)).count();
        let operator = operator(&text[at..at + signs])?;
        at = skip_blanks(text, at + signs);
        let parts = term_version(&text[at..])?;
        terms.push((operator, &text[at..at + parts.length], parts));
        let end = at + parts.length;
        at = skip_blanks(text, end);
        if at == text.len() {
            return Some(terms);
        }
        match text.as_bytes().get(at) {
            Some(b',') => at = skip_blanks(text, at + 1),
            _ if at > end => {}
            _ => return None,
        }
    }
}

/// The operator that is written so.
fn operator(text: &str) -> Option<Operator> {
    Some(match text {
        "" => Operator::Equal(""),
        "=" => Operator::Equal("="),
        "!=" => Operator::NotEqual,
        ">" => Operator::Greater,
        "<" => Operator::Less,
        ">=" => Operator::GreaterOrEqual(">="),
        "=>" => Operator::GreaterOrEqual("=>"),
        "<=" => Operator::LessOrEqual("<="),
        "=<" => Operator::LessOrEqual("=<"),
        "~" => Operator::Tilde("~"),
        "~>" => Operator::Tilde("~>"),
        "^" => Operator::Caret,
        _ => return None,
    })
}

/// Gives a written term its meaning. Fields after a wildcard are not looked at, and metadata only in a full version.
fn term((operator, text, parts): (Operator, &str, Parts<'_>)) -> Result<Term, InvalidVersion> {
    let is_open = |field: &str| matches!(field, "" | "x" | "X" | "*");
    let open = match parts.fields {
        [major, ..] if is_open(major) => Open::Major,
        [_, minor, _] if is_open(minor) => Open::Minor,
        [_, _, patch] if is_open(patch) => Open::Patch,
        _ => Open::Nowhere,
    };
    let [major, minor, patch] = parts.fields;
    let fields = match open {
        Open::Nowhere => format!("{major}.{minor}.{patch}"),
        Open::Patch => format!("{major}.{minor}.0"),
        Open::Minor => format!("{major}.0.0"),
        Open::Major => "0.0.0".to_owned(),
    };
    let full = match parts.pre {
        "" => fields,
        pre => format!("{fields}-{pre}"),
    };
    let Version { major, minor, patch, pre, .. } = Version::loose(&full)?;
    Ok(Term { operator, text: text.to_owned(), major, minor, patch, pre: pre.to_owned(), open })
}

/// The version at the start of a term. A `|` counts as part of a field, as it does in Masterminds' pattern; it is refused
/// later, with the other text.
fn term_version(text: &str) -> Option<Parts<'_>> {
    scan(text, |byte| byte.is_ascii_digit() || b"xX*|".contains(&byte))
}

/// Position after the blanks at a position.
fn skip_blanks(text: &str, at: usize) -> usize {
    at + text[at..].bytes().take_while(|byte| b" \t\n\r\x0c".contains(byte)).count()
}

/// The text in double quotes with Go's escapes, as `%q` prints it.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            '\0'..='\x1f' | '\x7f' => out.push_str(&format!("\\x{:02x}", u32::from(char))),
            char if is_printable(char) => out.push(char),
            char if u32::from(char) > 0xffff => out.push_str(&format!("\\U{:08x}", u32::from(char))),
            char => out.push_str(&format!("\\u{:04x}", u32::from(char))),
        }
    }
    out.push('"');
    out
}

/// Whether a character is shown as itself.
fn is_printable(char: char) -> bool {
    // The leading letter keeps combining characters from being escaped.
    char.is_ascii() || format!("{:?}", format!("a{char}")).chars().nth(2) == Some(char)
}
