//! Label selectors in text form: `app=web,tier!=db,env in (a,b),!legacy`.
//!
//! Source: Kubernetes `apimachinery/pkg/labels`, `Parse`.

use serde_json::Value;

/// One requirement of a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Requirement {
    /// The key is there.
    Exists(String),
    /// The key is not there.
    Absent(String),
    /// The value is one of these.
    In(String, Vec<String>),
    /// The key is not there, or its value is none of these.
    NotIn(String, Vec<String>),
}

/// The requirements of a selector; the empty text has none.
pub(crate) fn parse(text: &str) -> Result<Vec<Requirement>, String> {
    split(text).into_iter().map(requirement).collect()
}

/// Whether labels, or annotations, in JSON form meet all requirements.
pub(crate) fn matches(requirements: &[Requirement], pairs: Option<&Value>) -> bool {
    let value = |key: &str| pairs.and_then(|pairs| pairs.get(key)).and_then(Value::as_str);
    requirements.iter().all(|requirement| match requirement {
        Requirement::Exists(key) => value(key).is_some(),
        Requirement::Absent(key) => value(key).is_none(),
        Requirement::In(key, values) => value(key).is_some_and(|value| values.iter().any(|one| one == value)),
        Requirement::NotIn(key, values) => value(key).is_none_or(|value| values.iter().all(|one| one != value)),
    })
}

/// The pieces between commas that are not within parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut pieces, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    for (index, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                pieces.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[start..]);
    pieces.into_iter().map(str::trim).filter(|piece| !piece.is_empty()).collect()
}

fn requirement(text: &str) -> Result<Requirement, String> {
    let key = |key: &str| match key.trim() {
        key if key.is_empty() || key.contains(char::is_whitespace) => Err(format!("invalid selector {text:?}")),
        key => Ok(key.to_owned()),
    };
    let one = |value: &str| vec![value.trim().to_owned()];
    if let Some(absent) = text.strip_prefix('!') {
        return Ok(Requirement::Absent(key(absent)?));
    }
    if let Some(open) = text.find('(') {
        let values = text[open + 1..].strip_suffix(')').ok_or_else(|| format!("invalid selector {text:?}"))?;
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        return match text[..open].trim().rsplit_once(char::is_whitespace) {
            Some((name, "in")) => Ok(Requirement::In(key(name)?, values)),
            Some((name, "notin")) => Ok(Requirement::NotIn(key(name)?, values)),
            _ => Err(format!("invalid selector {text:?}")),
        };
    }
    for (operator, negated) in [("!=", true), ("==", false), ("=", false)] {
        if let Some((name, value)) = text.split_once(operator) {
            let name = key(name)?;
            return Ok(if negated { Requirement::NotIn(name, one(value)) } else { Requirement::In(name, one(value)) });
        }
    }
    Ok(Requirement::Exists(key(text)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_match_as_kubernetes_does() {
        let labels = serde_json::json!({"app": "web", "env": "b"});
        let cases = [
            ("", true),
            ("app=web", true),
            ("app==web,env!=a", true),
            ("app!=web", false),
            ("env in (a, b)", true),
            ("env notin (a,b)", false),
            ("legacy", false),
            ("!legacy", true),
            ("none notin (x)", true),
        ];
        for (text, expected) in cases {
            assert_eq!(matches(&parse(text).unwrap(), Some(&labels)), expected, "{text}");
        }
        assert!(parse("a b").is_err() && parse("a in (b").is_err() && parse("=x").is_err());
    }
}
