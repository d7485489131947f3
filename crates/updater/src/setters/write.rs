//! A new value in the style of the old one.
//! Source: reference image-automation.md section 8.3.

use std::{ops::Range, sync::LazyLock};

use granit_parser::ScalarStyle;
use regex::Regex;

use super::{Splice, lines, scan::Scalar};

/// Plain texts that YAML 1.1 reads as something else than a string: booleans, null, merge key, value key.
const WORDS: [&str; 17] =
    ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", "<<", "=", ".nan", ".inf", "+.inf", "-.inf", ""];

/// Numbers of all bases, floats, base-60 numbers and dates of YAML 1.1; underscores are taken out before.
static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
    let patterns = [
        r"[-+]?(0b[01]+|0o?[0-7]+|0[xX][0-9a-fA-F]+|[0-9]+)",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?",
        r"[-+]?[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?",
        r"[0-9]{4}-(0?[1-9]|1[0-2])-(0?[1-9]|[12][0-9]|3[01])([Tt][0-9]+:[0-9:.]+(Z|[-+][0-9:]+)| +[0-9]+:[0-9:.]+)?",
    ];
    Regex::new(&format!("^({})$", patterns.join("|"))).expect("because the pattern is fixed and a test compiles it")
});

/// How much deeper than its key the first line of a block is written.
const DEEPER: usize = 2;

/// The bytes that a scalar's new value replaces, and by what.
pub(super) fn splice(text: &str, scalar: &Scalar, new: &str) -> Splice {
    if scalar.is_block() {
        return block(text, scalar, new);
    }
    let written = match scalar.style {
        ScalarStyle::SingleQuoted if !new.contains(char::is_control) => format!("'{}'", new.replace('\'', "''")),
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => quoted(new),
        _ if needs_quotes(new) => quoted(new),
        _ => new.to_owned(),
    };
    (scalar.span.clone(), written)
}

/// A block from the line behind its header on: the empty lines with which it begins are part of its value.
fn block(text: &str, scalar: &Scalar, new: &str) -> Splice {
    let header = text[..scalar.span.start].trim_end();
    let header_end = lines::end(text, header.len());
    if scalar.is_empty_block() {
        return first_line(text, header, header_end, scalar.span.end, new);
    }
    let from = header_end.map_or(scalar.span.start, |end| end.end.min(scalar.span.start));
    let indent = text[from..scalar.span.start].rsplit(lines::ENDS).next().unwrap_or_default();
    let old = &text[scalar.span.clone()];
    let behind = &old[old.trim_end_matches(['\n', '\r', ' ', '\t']).len()..];
    (from..scalar.span.end, format!("{indent}{new}{}", ends(behind)))
}

/// The first line of a block that has none. It is deeper than whatever the header's line may hold.
fn first_line(text: &str, header: &str, header_end: Option<Range<usize>>, end: usize, new: &str) -> Splice {
    let line = &header[lines::start(header, header.len())..];
    let lead = line.len() - line.trim_start_matches(['\u{feff}', ' ', '-', '?', ':']).len();
    let indent = " ".repeat(lead + DEEPER);
    match header_end {
        Some(Range { start, end: from }) => {
            (from..end, format!("{indent}{new}{}{}", &text[start..from], ends(&text[from..end])))
        }
        // The file ends with the header's line: it gets a line end as the others have it.
        None => (end..end, format!("{}{indent}{new}", lines::end(text, 0).map_or("\n", |first| &text[first]))),
    }
}

/// The line ends of what follows a block's value. The blanks before them belong to the old value.
fn ends(behind: &str) -> String {
    behind.replace([' ', '\t'], "")
}

/// Double-quoted, as JSON writes it, which YAML reads alike.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether a plain scalar of this text would not be read as this string.
fn needs_quotes(text: &str) -> bool {
    let indicator = text
        .starts_with(['-', '?', ':', ',', '[', ']', '{', '}', '#', '&', '*', '!', '|', '>', '\'', '"', '%', '@', '`']);
    WORDS.contains(&text.to_ascii_lowercase().as_str())
        || (!text.starts_with('_') && NUMBER.is_match(&text.replace('_', "")))
        || indicator
        || text.contains(": ")
        || text.contains(" #")
        || text.ends_with(':')
        || text.contains([',', '[', ']', '{', '}'])
        || text.contains(char::is_control)
        || text.trim() != text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_string_to_yaml_is_quoted() {
        for text in [
            "7",
            "3.10",
            "on",
            "yes",
            "Off",
            "2024-01-02",
            "0x1F",
            "1e3",
            "",
            "0o17",
            "017",
            "1_000",
            "1:20",
            "~",
            "null",
            ".5",
            "5.",
            "+1",
            "-1",
            "TRUE",
            ".inf",
            ".NaN",
            "0b101",
        ] {
            assert!(needs_quotes(text), "{text}");
        }
        for text in [
            "v3",
            "1.2.3",
            "1.2.3-rc.1",
            "latest",
            "a:b",
            "ghcr.io/a/b:1.0",
            "sha256:aa",
            "20240101T1",
            "nope",
            "0x",
            "_1",
            "2024-01-02T10-20",
            "2024-13-01",
            "2024-01-02-abc",
        ] {
            assert!(!needs_quotes(text), "{text}");
        }
    }
}
