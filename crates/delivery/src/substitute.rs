//! Variables in built objects: `${name}`, `${name:=default}` and their kin.
//!
//! Source: reference delivery.md section 5.4; Flux `pkg/kustomize` and `pkg/envsubst`.

mod glob;

use std::collections::BTreeMap;

use api::manifest;
use serde_json::Value;

use glob::Glob;

/// Annotation, or label, that keeps an object as it is.
const SUBSTITUTE: &str = "kustomize.toolkit.fluxcd.io/substitute";

/// Deepest nesting of defaults within defaults.
const MAX_DEPTH: usize = 16;

/// Values by name.
pub type Variables = BTreeMap<String, String>;

/// The variables of several sources, later ones winning. Line breaks are taken out of values; a name that is none errs.
pub fn variables(sources: impl IntoIterator<Item = BTreeMap<String, String>>) -> Result<Variables, String> {
    let mut variables = Variables::new();
    for (name, value) in sources.into_iter().flatten() {
        if !is_name(&name) {
            return Err(format!("'{name}' var name is invalid, must match '^[_[:alpha:]][_[:alpha:][:digit:]]*$'"));
        }
        variables.insert(name, value.replace('\n', ""));
    }
    Ok(variables)
}

/// The object with its variables replaced. One that is marked stays as it is.
///
/// Flux replaces in the YAML text and reads the result again, so what stands unquoted there may become a number, a list,
/// or nothing at all. The same comes out here, text by text.
pub fn substitute(object: &Value, variables: &Variables) -> Result<Value, String> {
    if is_disabled(object) { Ok(object.clone()) } else { walk(object, variables) }
}

fn walk(value: &Value, variables: &Variables) -> Result<Value, String> {
    match value {
        Value::String(text) if text.contains('$') => scalar(text, variables),
        Value::Array(items) => items.iter().map(|item| walk(item, variables)).collect(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| Ok((expand(key, variables, 0)?, walk(value, variables)?)));
            fields.collect::<Result<serde_json::Map<_, _>, String>>().map(Value::Object)
        }
        other => Ok(other.clone()),
    }
}

/// A text after replacement, with the type that YAML gives it.
fn scalar(text: &str, variables: &Variables) -> Result<Value, String> {
    let replaced = expand(text, variables, 0)?;
    if replaced == text || !is_plain(text) {
        return Ok(replaced.into());
    }
    let invalid =
        |problem: &str| format!("'{}' becomes '{}', which is no YAML: {problem}", text, first_line(&replaced));
    match manifest::parse(&replaced) {
        Ok(Value::Object(_)) if !replaced.trim_start().starts_with('{') => {
            Err(invalid("mapping values are not allowed in this context"))
        }
        Ok(value) => Ok(value),
        Err((_, problem)) => Err(invalid(&problem)),
    }
}

/// Whether the text stands in YAML without quotes.
fn is_plain(text: &str) -> bool {
    const INDICATORS: &[char] =
        &['!', '&', '*', '[', ']', '{', '}', ',', '#', '|', '>', '@', '`', '"', '\'', '%', ' ', '\t'];
    !text.contains(['\n', '\t'])
        && !text.starts_with(INDICATORS)
        && !text.starts_with("- ")
        && !text.starts_with("? ")
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.ends_with([':', ' '])
}

fn is_disabled(object: &Value) -> bool {
    ["/metadata/annotations", "/metadata/labels"].iter().any(|pointer| {
        let mark = object.pointer(pointer).and_then(|pairs| pairs.get(SUBSTITUTE)).and_then(Value::as_str);
        mark == Some("disabled")
    })
}

fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|first| first == '_' || first.is_alphabetic())
        && characters.all(|other| other == '_' || other.is_alphanumeric())
}

/// The text with every `${…}` replaced; `$$` before a brace stands for one `$`, any other `$` for itself.
fn expand(text: &str, variables: &Variables, depth: usize) -> Result<String, String> {
    if depth > MAX_DEPTH {
        return Err("variables are nested too deep".into());
    }
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        result.push_str(&rest[..start]);
        rest = &rest[start..];
        if let Some(after) = rest.strip_prefix("$$") {
            result.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix("${") {
            let end = closing(after).ok_or_else(|| format!("missing closing brace: {}", first_line(rest)))?;
            result.push_str(&replace(&after[..end], variables, depth)?);
            rest = &after[end + 1..];
        } else {
            result.push('$');
            rest = &rest[1..];
        }
    }
    result.push_str(rest);
    Ok(result)
}

/// Where the brace that was opened before this text is closed.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut previous = ' ';
    for (index, character) in text.char_indices() {
        match character {
            '{' if previous == '$' => depth += 1,
            '}' if depth == 0 => return Some(index),
            '}' => depth -= 1,
            _ => {}
        }
        previous = character;
    }
    None
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The value of what stands between the braces.
fn replace(inner: &str, variables: &Variables, depth: usize) -> Result<String, String> {
    let (counts, inner) = match inner.strip_prefix('#') {
        Some(name) if is_name(name) => (true, name),
        _ => (false, inner),
    };
    let end = inner.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(inner.len());
    let (name, operation) = inner.split_at(end);
    if !is_name(name) {
        return Err(format!("unable to parse variable name in '${{{}}}'", first_line(inner)));
    }
    let value = variables.get(name);
    if let Some(default) = default_of(operation, value) {
        return expand(default, variables, depth + 1);
    }
    if is_default(operation) {
        return Ok(value.cloned().unwrap_or_default());
    }
    // Differs: Flux takes the message for a default.
    if let Some(message) = operation.strip_prefix(":?") {
        let value = value.filter(|value| !value.is_empty()).cloned();
        return value.ok_or_else(|| format!("variable not set: \"{name}\": {message}"));
    }
    // Strict, as Flux is since 1.9: a variable that nobody set is a mistake, not an empty text.
    let value = value.ok_or_else(|| format!("variable not set (strict mode): \"{name}\""))?;
    if counts {
        return Ok(value.chars().count().to_string());
    }
    let operation = expand(operation, variables, depth + 1)?;
    operate(value, &operation).ok_or_else(|| format!("unsupported substitution '${{{}}}'", first_line(inner)))
}

/// Whether the operation gives a default: `-`, `=`, `:-`, `:=`.
fn is_default(operation: &str) -> bool {
    [":-", ":=", "-", "="].iter().any(|operator| operation.starts_with(operator))
}

/// The default of the operation, if it is needed. With a colon an empty value needs it as well.
fn default_of<'a>(operation: &'a str, value: Option<&String>) -> Option<&'a str> {
    let colon = operation.strip_prefix(":-").or_else(|| operation.strip_prefix(":="));
    let plain = operation.strip_prefix('-').or_else(|| operation.strip_prefix('='));
    match (colon, plain) {
        (Some(default), _) if value.is_none_or(String::is_empty) => Some(default),
        (None, Some(default)) if value.is_none() => Some(default),
        _ => None,
    }
}

/// The value after the operation; `None` if there is no such operation.
fn operate(value: &str, operation: &str) -> Option<String> {
    let first = |change: fn(char) -> String| {
        let mut characters = value.chars();
        characters.next().map_or_else(String::new, |first| change(first) + characters.as_str())
    };
    match operation {
        "" => return Some(value.to_owned()),
        "^^" => return Some(value.to_uppercase()),
        ",," => return Some(value.to_lowercase()),
        "^" => return Some(first(|c| c.to_uppercase().collect())),
        "," => return Some(first(|c| c.to_lowercase().collect())),
        _ => {}
    }
    if let Some(range) = operation.strip_prefix(':') {
        return slice(value, range);
    }
    if let Some(pattern) = operation.strip_prefix("##") {
        return Some(value[Glob::new(pattern).longest_prefix(value)..].to_owned());
    }
    if let Some(pattern) = operation.strip_prefix('#') {
        return Some(value[Glob::new(pattern).shortest_prefix(value)..].to_owned());
    }
    if let Some(pattern) = operation.strip_prefix("%%") {
        return Some(value[..Glob::new(pattern).longest_suffix(value)].to_owned());
    }
    if let Some(pattern) = operation.strip_prefix('%') {
        return Some(value[..Glob::new(pattern).shortest_suffix(value)].to_owned());
    }
    let (kind, rest) = ["//", "/#", "/%", "/"].iter().find_map(|kind| Some((*kind, operation.strip_prefix(kind)?)))?;
    let (pattern, new) = rest.split_once('/').unwrap_or((rest, ""));
    Some(match kind {
        "//" => value.replace(pattern, new),
        "/#" => value.strip_prefix(pattern).map_or_else(|| value.to_owned(), |rest| format!("{new}{rest}")),
        "/%" => value.strip_suffix(pattern).map_or_else(|| value.to_owned(), |rest| format!("{rest}{new}")),
        _ => value.replacen(pattern, new, 1),
    })
}

/// `offset` or `offset:length`, in characters. What is beyond the end is not there.
fn slice(value: &str, range: &str) -> Option<String> {
    let (offset, length) = range.split_once(':').map_or((range, None), |(offset, length)| (offset, Some(length)));
    let offset: usize = offset.trim().parse().ok()?;
    let length = length.map_or(Some(usize::MAX), |length| length.trim().parse().ok())?;
    Some(value.chars().skip(offset).take(length).collect())
}

#[cfg(test)]
mod tests;
