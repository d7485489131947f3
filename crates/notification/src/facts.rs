//! What a message about a Canary tells beside its words: the image that is tried, how far it got, where to look. Pure.
//!
//! Differs: Flagger's messages name neither image nor link, which its users ask for.

use std::collections::BTreeMap;

use serde_json::Value;

/// Facts of a Canary and the workload that it rolls out. Those that are not known are left out.
pub fn of_canary(canary: &Value, target: &Value, external_url: Option<&str>) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let containers = target.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let images: Vec<&str> =
        containers.into_iter().flatten().filter_map(|container| container["image"].as_str()).collect();
    if !images.is_empty() {
        facts.insert("image".to_owned(), images.join(", "));
    }
    let number = |pointer: &str| canary.pointer(pointer).and_then(Value::as_i64);
    if let Some(weight) = number("/status/canaryWeight") {
        facts.insert("canaryWeight".into(), format!("{weight}%"));
    }
    if let Some(failed) = number("/status/failedChecks").filter(|failed| *failed > 0) {
        let limit = number("/spec/analysis/threshold").map(|limit| format!(" of {limit}")).unwrap_or_default();
        facts.insert("failedChecks".into(), format!("{failed}{limit}"));
    }
    let name = |pointer: &str| canary.pointer(pointer).and_then(Value::as_str);
    if let (Some(url), Some(namespace), Some(name)) =
        (external_url, name("/metadata/namespace"), name("/metadata/name"))
    {
        facts.insert("link".into(), format!("{}/r/{namespace}/{name}", url.trim_end_matches('/')));
    }
    facts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_canary_is_told_with_image_progress_and_link() {
        let canary = json!({"metadata": {"namespace": "apps", "name": "app"}, "spec": {"analysis": {"threshold": 5}},
            "status": {"canaryWeight": 20, "failedChecks": 2}});
        let target =
            json!({"spec": {"template": {"spec": {"containers": [{"image": "r/app:1.1.0"}, {"image": "r/side:2"}]}}}});
        let facts: Vec<_> = of_canary(&canary, &target, Some("https://slipway.example/")).into_iter().collect();
        let text = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            facts,
            [
                text("canaryWeight", "20%"),
                text("failedChecks", "2 of 5"),
                text("image", "r/app:1.1.0, r/side:2"),
                text("link", "https://slipway.example/r/apps/app")
            ]
        );
        assert!(of_canary(&Value::Null, &Value::Null, None).is_empty());
    }
}
