//! Regular expressions.

use regex::{NoExpand, Regex, RegexBuilder};

use super::{bounded, int, text};
use crate::{Value, functions::Entry};

pub(super) const TABLE: &[Entry] = &[
    ("regexMatch", "ss", |args| Ok(compile(&args[0]).is_ok_and(|regex| regex.is_match(&text(&args[1]))).into())),
    ("mustRegexMatch", "ss", |args| Ok(compile(&args[0])?.is_match(&text(&args[1])).into())),
    ("regexFind", "ss", find),
    ("mustRegexFind", "ss", find),
    ("regexFindAll", "ssi", find_all),
    ("mustRegexFindAll", "ssi", find_all),
    ("regexReplaceAll", "sss", replace),
    ("mustRegexReplaceAll", "sss", replace),
    ("regexReplaceAllLiteral", "sss", replace_literally),
    ("mustRegexReplaceAllLiteral", "sss", replace_literally),
    ("regexSplit", "ssi", split),
    ("mustRegexSplit", "ssi", split),
    ("regexQuoteMeta", "s", |args| Ok(quote_meta(&text(&args[0])).into())),
];

/// A pattern in RE2's meaning: `\d`, `\w` and `\s` are ASCII, as the pattern of an image tag is anyway.
fn compile(pattern: &Value) -> Result<Regex, String> {
    let pattern = text(pattern);
    let ascii = ["d", "D", "w", "W", "s", "S"].iter().fold(pattern.clone(), |text, class| {
        // A doubled backslash is a literal one; only a single one begins a class.
        let mut out = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(at) = rest.find('\\') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let next = rest.chars().next().map_or(0, char::len_utf8);
            match &rest[..next] {
                found if found == *class => out.push_str(ascii_class(class)),
                other => {
                    out.push('\\');
                    out.push_str(other);
                }
            }
            rest = &rest[next..];
        }
        out + rest
    });
    let build = |text: &str| RegexBuilder::new(text).size_limit(1 << 20).build();
    build(&ascii)
        .or_else(|_| build(&pattern))
        .map_err(|_| format!("error parsing regexp: invalid pattern: `{pattern}`"))
}

fn ascii_class(class: &str) -> &'static str {
    match class {
        "d" => "[0-9]",
        "D" => "[^0-9]",
        "w" => "[0-9A-Za-z_]",
        "W" => "[^0-9A-Za-z_]",
        "s" => "[\\t\\n\\x0C\\r ]",
        _ => "[^\\t\\n\\x0C\\r ]",
    }
}

fn find(args: &[Value]) -> Result<Value, String> {
    let text = text(&args[1]);
    Ok(compile(&args[0])?.find(&text).map_or("", |found| found.as_str()).into())
}

fn find_all(args: &[Value]) -> Result<Value, String> {
    let text = text(&args[1]);
    let limit = usize::try_from(int(&args[2])).unwrap_or(usize::MAX);
    Ok(Value::strings(compile(&args[0])?.find_iter(&text).take(limit).map(|found| found.as_str())))
}

/// `$1`, `${name}` in the replacement stand for groups; the syntax is Go's.
fn replace(args: &[Value]) -> Result<Value, String> {
    let (whole, new) = (text(&args[1]), text(&args[2]));
    bounded((whole.len() + 1).saturating_mul(new.len() + 1))?;
    Ok(compile(&args[0])?.replace_all(&whole, new.as_str()).into_owned().into())
}

fn replace_literally(args: &[Value]) -> Result<Value, String> {
    let (whole, new) = (text(&args[1]), text(&args[2]));
    bounded((whole.len() + 1).saturating_mul(new.len() + 1))?;
    Ok(compile(&args[0])?.replace_all(&whole, NoExpand(&new)).into_owned().into())
}

fn split(args: &[Value]) -> Result<Value, String> {
    let (regex, whole) = (compile(&args[0])?, text(&args[1]));
    let limit = usize::try_from(int(&args[2])).unwrap_or(usize::MAX);
    Ok(Value::strings(pieces(&regex, &whole, limit)))
}

/// What stands between the matches. An empty match at either end of the text divides nothing.
/// Source: Go `regexp`, `Regexp.Split`.
fn pieces<'t>(regex: &Regex, whole: &'t str, limit: usize) -> Vec<&'t str> {
    let mut found = Vec::new();
    if limit == 0 {
        return found;
    }
    let (mut begin, mut end) = (0, 0);
    for matched in regex.find_iter(whole) {
        if found.len() + 1 >= limit {
            break;
        }
        end = matched.start();
        if matched.end() > 0 {
            found.push(&whole[begin..end]);
        }
        begin = matched.end();
    }
    if end != whole.len() || whole.is_empty() {
        found.push(&whole[begin..]);
    }
    found
}

fn quote_meta(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
