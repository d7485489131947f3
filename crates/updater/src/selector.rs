//! Label selectors, as `policySelector` uses them. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Longest name and value of a label, and longest prefix of its name. Source: Kubernetes, "Labels and Selectors".
const MAX_NAME: usize = 63;
const MAX_PREFIX: usize = 253;

/// Errs on what no object could be selected by: an operator that does not exist, values that do not fit it, names and
/// values that no label has.
pub fn check(selector: Option<&LabelSelector>) -> Result<(), String> {
    selects(selector, None)?;
    for (key, wanted) in selector.and_then(|selector| selector.match_labels.as_ref()).into_iter().flatten() {
        label(key, [wanted])?;
    }
    let mut requirements = selector.and_then(|selector| selector.match_expressions.as_ref()).into_iter().flatten();
    requirements.try_for_each(|one| label(&one.key, one.values.iter().flatten()))
}

/// Errs on a name or a value that no label can have.
fn label<'a>(key: &str, values: impl IntoIterator<Item = &'a String>) -> Result<(), String> {
    let is_edge = |c: char| c.is_ascii_alphanumeric();
    let is_word = |text: &str| {
        let inner = text.chars().all(|c| is_edge(c) || matches!(c, '-' | '_' | '.'));
        inner && text.starts_with(is_edge) && text.ends_with(is_edge)
    };
    let (prefix, name) = key.split_once('/').unwrap_or(("prefix", key));
    if !is_word(name) || !is_word(prefix) {
        return Err(format!("key: Invalid value: {key:?}: it is no name of a label"));
    }
    if name.len() > MAX_NAME || prefix.len() > MAX_PREFIX {
        return Err(format!("key: Invalid value: {key:?}: name part must be no more than {MAX_NAME} characters"));
    }
    let is_value = |value: &String| value.is_empty() || (value.len() <= MAX_NAME && is_word(value));
    match values.into_iter().find(|value| !is_value(value)) {
        Some(value) => Err(format!("values[{key}]: Invalid value: {value:?}: it is no value of a label")),
        None => Ok(()),
    }
}

/// Whether the selector takes an object with these labels; no selector takes everything. Errs on an operator that does
/// not exist or values that do not fit it.
pub fn selects(selector: Option<&LabelSelector>, labels: Option<&BTreeMap<String, String>>) -> Result<bool, String> {
    let Some(selector) = selector else { return Ok(true) };
    let value = |key: &str| labels.and_then(|labels| labels.get(key));
    let mut selected = selector.match_labels.iter().flatten().all(|(key, wanted)| value(key) == Some(wanted));
    for requirement in selector.match_expressions.iter().flatten() {
        let values = requirement.values.as_deref().unwrap_or_default();
        let found = value(&requirement.key);
        let listed = found.is_some_and(|found| values.contains(found));
        let holds = match (requirement.operator.as_str(), values.is_empty()) {
            ("In", false) => listed,
            ("NotIn", false) => !listed,
            ("Exists", true) => found.is_some(),
            ("DoesNotExist", true) => found.is_none(),
            ("In" | "NotIn", true) => {
                return Err("values: for 'in', 'notin' operators, values set can't be empty".into());
            }
            ("Exists" | "DoesNotExist", false) => {
                return Err("values: values set must be empty for exists and does not exist".into());
            }
            (other, _) => return Err(format!("{other:?} is not a valid label selector operator")),
        };
        selected &= holds;
    }
    Ok(selected)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(selector: serde_json::Value, expected: Result<bool, ()>) {
        let parsed: LabelSelector = serde_json::from_value(selector.clone()).unwrap();
        let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
        assert_eq!(selects(Some(&parsed), Some(&labels)).map_err(drop), expected, "{selector}");
    }

    #[test]
    fn labels_and_expressions_must_all_hold() {
        let expression = |operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": "app", "operator": operator, "values": values}]});
        check(json!({}), Ok(true));
        check(json!({"matchLabels": {"app": "web"}}), Ok(true));
        check(json!({"matchLabels": {"app": "web", "tier": "x"}}), Ok(false));
        check(expression("In", &["web", "api"]), Ok(true));
        check(expression("NotIn", &["web"]), Ok(false));
        check(expression("Exists", &[]), Ok(true));
        check(expression("DoesNotExist", &[]), Ok(false));
        check(expression("In", &[]), Err(()));
        check(expression("Like", &["w"]), Err(()));
        assert_eq!(selects(None, None), Ok(true));
    }

    #[test]
    fn what_no_label_can_be_is_refused() {
        let long = |length| "x".repeat(length);
        let expression = |key: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": if values.is_empty() { "Exists" } else { "In" }, "values": values}]});
        for (selector, is_good) in [
            (json!({"matchLabels": {"app.kubernetes.io/name": "", "a": "A_b.c-1"}}), true),
            (json!({"matchLabels": {long(63): long(63)}}), true),
            (json!({"matchLabels": {long(64): ""}}), false),
            (json!({"matchLabels": {"a": long(64)}}), false),
            (json!({"matchLabels": {"a": "two words"}}), false),
            (json!({"matchLabels": {"a/": "b"}}), false),
            (json!({"matchLabels": {"/a": "b"}}), false),
            (json!({"matchLabels": {format!("{}/a", long(254)): "b"}}), false),
            (json!({"matchLabels": {"-a": "b"}}), false),
            (expression("a", &["b", ""]), true),
            (expression("a", &["b", "-"]), false),
            (expression("", &[]), false),
            (json!({"matchExpressions": [{"key": "a", "operator": "Like"}]}), false),
        ] {
            let parsed: LabelSelector = serde_json::from_value(selector.clone()).unwrap();
            assert_eq!(super::check(Some(&parsed)).is_ok(), is_good, "{selector}");
        }
        assert_eq!(super::check(None), Ok(()));
    }
}
