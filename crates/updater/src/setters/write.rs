//! A new value in the style of the old one.
//! Source: reference image-automation.md section 8.3.

use std::sync::LazyLock;

use granit_parser::ScalarStyle;
use regex::Regex;

use super::scan::Scalar;

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

/// The bytes that take the scalar's place.
pub(super) fn scalar(text: &str, scalar: &Scalar, new: &str) -> String {
    match scalar.style {
        ScalarStyle::SingleQuoted if !new.contains(char::is_control) => format!("'{}'", new.replace('\'', "''")),
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => quoted(new),
        ScalarStyle::Literal | ScalarStyle::Folded => {
            let old = &text[scalar.span.clone()];
            let behind = &old[old.trim_end_matches(['\n', '\r', ' ', '\t']).len()..];
            // Blanks behind the last word belong to the old value; line ends stay, and so does the indentation of
            // what follows.
            let (lines, indent) = behind.split_at(behind.rfind('\n').map_or(0, |at| at + 1));
            let indent = if scalar.span.end < text.len() && !lines.is_empty() { indent } else { "" };
            format!("{new}{}{indent}", lines.replace([' ', '\t'], ""))
        }
        _ if needs_quotes(new) => quoted(new),
        _ => new.to_owned(),
    }
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
