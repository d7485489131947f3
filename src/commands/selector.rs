//! Which objects of a list are shown: by labels, as kubectl selects, and by what their status says, as Flux does.

use anyhow::{Context as _, bail};
use serde_json::Value;

/// A selector over labels and status; an empty one takes everything.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    labels: Vec<Requirement>,
    status: Option<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    Is(String, Vec<String>),
    IsNot(String, Vec<String>),
    Has(String),
    HasNot(String),
}

impl Selector {
    /// Reads `a=b,c!=d,e in (f,g),h,!i` and `ready=false`.
    pub fn parse(labels: &str, status: Option<&str>) -> anyhow::Result<Self> {
        let labels = split(labels).into_iter().map(requirement).collect::<anyhow::Result<Vec<_>>>()?;
        let status = status.map(|text| {
            let (kind, value) =
                text.split_once('=').with_context(|| format!("--status-selector {text}: say ready=false"))?;
            anyhow::Ok((kind.trim().to_lowercase(), value.trim().to_lowercase()))
        });
        Ok(Self { labels, status: status.transpose()? })
    }

    /// Whether everything is taken.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.status.is_none()
    }

    /// Whether the object is taken.
    pub fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| object.pointer("/metadata/labels").and_then(|labels| labels.get(key)?.as_str());
        let labels = self.labels.iter().all(|requirement| match requirement {
            Requirement::Is(key, values) => label(key).is_some_and(|found| values.iter().any(|value| value == found)),
            Requirement::IsNot(key, values) => {
                !label(key).is_some_and(|found| values.iter().any(|value| value == found))
            }
            Requirement::Has(key) => label(key).is_some(),
            Requirement::HasNot(key) => label(key).is_none(),
        });
        labels && self.status.as_ref().is_none_or(|(kind, value)| condition(object, kind) == *value)
    }
}

/// The status of a condition, in lower case; `unknown` where there is none. A Canary's phase answers to `phase`.
fn condition(object: &Value, kind: &str) -> String {
    if kind == "phase" {
        return object.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    }
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"].as_str().is_some_and(|found| found.eq_ignore_ascii_case(kind)));
    found.and_then(|condition| condition["status"].as_str()).unwrap_or("unknown").to_lowercase()
}

/// The requirements, at commas outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    let at_comma = |c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    };
    text.split(at_comma).map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn requirement(text: &str) -> anyhow::Result<Requirement> {
    let values = |list: &str| {
        let inner = list.trim().strip_prefix('(').and_then(|list| list.strip_suffix(')'));
        inner.map(|inner| inner.split(',').map(|value| value.trim().to_owned()).collect::<Vec<_>>())
    };
    if let Some((key, list)) = text.split_once(" notin ") {
        return values(list)
            .map(|values| Requirement::IsNot(key.trim().into(), values))
            .with_context(|| format!("--selector: {text:?} is no requirement; say KEY notin (A,B)"));
    }
    if let Some((key, list)) = text.split_once(" in ") {
        return values(list)
            .map(|values| Requirement::Is(key.trim().into(), values))
            .with_context(|| format!("--selector: {text:?} is no requirement; say KEY in (A,B)"));
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Ok(Requirement::IsNot(key.trim().into(), vec![value.trim().into()]));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Ok(Requirement::Is(key.trim().into(), vec![value.trim().into()]));
    }
    match text.strip_prefix('!') {
        _ if text.contains([' ', '(', ')']) => bail!("--selector: {text:?} is no requirement; say KEY=VALUE"),
        Some(key) => Ok(Requirement::HasNot(key.trim().into())),
        None => Ok(Requirement::Has(text.into())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_are_selected_as_kubectl_does() {
        let object = json!({"metadata": {"labels": {"app": "podinfo", "team": "a"}}});
        for (selector, expected) in [
            ("", true),
            ("app=podinfo", true),
            ("app==podinfo,team!=b", true),
            ("app in (redis, podinfo),team", true),
            ("app notin (redis)", true),
            ("!zone", true),
            ("zone", false),
            ("zone!=x", true),
            ("team in (b,c)", false),
        ] {
            assert_eq!(Selector::parse(selector, None).unwrap().matches(&object), expected, "{selector}");
        }
        assert!(Selector::parse("a b", None).is_err());
    }

    #[test]
    fn status_is_selected_by_condition() {
        let object = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}], "phase": "Failed"}});
        for (selector, expected) in
            [("ready=false", true), ("Ready=True", false), ("stalled=unknown", true), ("phase=failed", true)]
        {
            assert_eq!(Selector::parse("", Some(selector)).unwrap().matches(&object), expected, "{selector}");
        }
        assert!(Selector::parse("", Some("ready")).is_err());
    }
}
