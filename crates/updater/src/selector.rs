//! Label selectors, as `policySelector` uses them. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

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
}
