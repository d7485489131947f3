//! What the API server would say about an object, from the schema alone: no server is asked.
//!
//! CEL rules are not run; whoever needs one checks it by itself.

use std::fmt;

use serde_json::{Map, Value};

use super::definition;
use crate::meta::ObjectReference;

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field, such as `spec.policy.semver.range`.
    pub field: String,
    /// What is wrong, without the field.
    pub message: String,
    /// Whether the object is refused; else the field is dropped in silence.
    pub is_refused: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// The problems of an object of one of our kinds; none for other kinds.
pub fn problems(object: &Value) -> Vec<Problem> {
    let Some(id) = ObjectReference::of(object) else { return Vec::new() };
    let Some(definition) = definition(id.group(), &id.kind) else { return Vec::new() };
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut problems = Vec::new();
    let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    let served: Vec<&str> = versions.filter_map(|version| version["name"].as_str()).collect();
    if !served.contains(&id.version()) {
        let message = format!("{} is not served; use {}/{}", id.api_version, id.group(), served.join(" or "));
        refuse(&mut problems, "apiVersion", message);
    }
    for part in ["spec", "status"] {
        match (given(object.get(part)), &schema["properties"][part]) {
            (Some(value), schema @ Value::Object(_)) => check(value, schema, part, &mut problems),
            (None, Value::Object(_)) if part == "spec" => refuse(&mut problems, part, "is missing".into()),
            _ => {}
        }
    }
    problems
}

/// A value that counts: a null is dropped, so that it is as if it were not there.
fn given(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

fn refuse(problems: &mut Vec<Problem>, field: &str, message: String) {
    problems.push(Problem { field: field.to_owned(), message, is_refused: true });
}

fn check(value: &Value, schema: &Value, field: &str, problems: &mut Vec<Problem>) {
    let wanted = schema["type"].as_str().unwrap_or_default();
    match (value, wanted) {
        (Value::Object(fields), "object") => object(fields, schema, field, problems),
        (Value::Array(items), "array") => {
            if schema["maxItems"].as_u64().is_some_and(|most| items.len() as u64 > most) {
                refuse(problems, field, format!("at most {} entries are allowed", schema["maxItems"]));
            }
            if schema["minItems"].as_u64().is_some_and(|least| (items.len() as u64) < least) {
                refuse(problems, field, format!("at least {} entries are needed", schema["minItems"]));
            }
            for (index, item) in items.iter().enumerate() {
                check(item, &schema["items"], &format!("{field}[{index}]"), problems);
            }
        }
        (Value::String(text), "string") => string(text, schema, field, problems),
        (Value::Bool(_), "boolean") => {}
        (Value::Number(number), "number" | "integer") => {
            let number = number.as_f64().unwrap_or_default();
            if wanted == "integer" && number.fract() != 0.0 {
                refuse(problems, field, "a whole number is expected".into());
            }
            if schema["minimum"].as_f64().is_some_and(|least| number < least) {
                refuse(problems, field, format!("{number} is less than {}", schema["minimum"]));
            }
            if schema["maximum"].as_f64().is_some_and(|most| number > most) {
                refuse(problems, field, format!("{number} is more than {}", schema["maximum"]));
            }
        }
        (Value::String(_) | Value::Number(_), "") => {}
        _ => refuse(problems, field, format!("a value of type {wanted} is expected")),
    }
}

fn object(fields: &Map<String, Value>, schema: &Value, field: &str, problems: &mut Vec<Problem>) {
    let has = |name: &Value| name.as_str().is_some_and(|name| given(fields.get(name)).is_some());
    for name in schema["required"].as_array().into_iter().flatten().filter(|name| !has(name)) {
        // A default stands in for it.
        let name = name.as_str().unwrap_or_default();
        if schema["properties"][name].get("default").is_none() {
            refuse(problems, &format!("{field}.{name}"), "is required".into());
        }
    }
    sets(fields, schema, field, problems);
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        let path = format!("{field}.{name}");
        match (schema["properties"].get(name), schema.get("additionalProperties")) {
            (Some(schema), _) | (None, Some(schema)) => check(value, schema, &path, problems),
            (None, None) if schema.get("x-kubernetes-preserve-unknown-fields").is_some() => {}
            (None, None) => problems.push(Problem {
                field: path,
                message: "the field is unknown and ignored: the API server drops it".into(),
                is_refused: false,
            }),
        }
    }
}

/// Exactly one of the sets of fields that the schema names must be there.
fn sets(fields: &Map<String, Value>, schema: &Value, field: &str, problems: &mut Vec<Problem>) {
    let Some(sets) = schema["oneOf"].as_array() else { return };
    let names = |set: &Value| -> Vec<String> {
        let names = set["required"].as_array().into_iter().flatten();
        names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
    };
    let has = |set: &Value| names(set).iter().all(|name| given(fields.get(name)).is_some());
    let holds = |set: &&Value| match set.get("not") {
        Some(none) => !none["anyOf"].as_array().into_iter().flatten().any(has),
        None => has(set),
    };
    if sets.iter().filter(holds).count() != 1 {
        let choices: Vec<String> = sets
            .iter()
            .map(names)
            .filter(|names| !names.is_empty())
            .map(|names| format!("[{}]", names.join(", ")))
            .collect();
        refuse(problems, field, format!("exactly one of {} must be given", choices.join(", ")));
    }
}

fn string(text: &str, schema: &Value, field: &str, problems: &mut Vec<Problem>) {
    if let Some(values) = schema["enum"].as_array()
        && !values.iter().any(|value| value == text)
    {
        let values: Vec<&str> = values.iter().filter_map(Value::as_str).filter(|value| !value.is_empty()).collect();
        refuse(problems, field, format!("{text:?} is none of {}", values.join(", ")));
    }
    let length = text.chars().count() as u64;
    if schema["minLength"].as_u64().is_some_and(|least| length < least) {
        refuse(problems, field, "must not be empty".into());
    }
    if schema["maxLength"].as_u64().is_some_and(|most| length > most) {
        refuse(problems, field, format!("is longer than {} characters", schema["maxLength"]));
    }
    if let Some(pattern) = schema["pattern"].as_str()
        && !regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
    {
        refuse(problems, field, format!("{text:?} does not match {pattern}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn canary(analysis: Value) -> Value {
        json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": "a"},
            "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}, "service": {"port": 80},
                "analysis": analysis}})
    }

    fn told(object: &Value) -> Vec<String> {
        problems(object).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_the_server_refuses_is_told() {
        assert_eq!(told(&canary(json!({"interval": "1m30s", "threshold": 5, "stepWeight": 10}))), [""; 0]);
        for (analysis, expected) in [
            (
                json!({"interval": "1h", "threshold": 5, "stepWeight": 10}),
                "spec.analysis.interval: \"1h\" does not match ^[0-9]+(m|s)",
            ),
            (
                json!({"interval": "1m", "threshold": 5, "stepWeight": 10, "iterations": 3}),
                "spec.analysis: exactly one of [interval, threshold, iterations], [interval, threshold, stepWeight], \
                 [interval, threshold, stepWeights] must be given",
            ),
            (
                json!({"interval": "1m", "threshold": "5", "stepWeight": 10}),
                "spec.analysis.threshold: a value of type number is expected",
            ),
            (
                json!({"interval": "1m", "threshold": 5, "stepWeight": 10, "webhooks": [{"name": "a", "url": "b", "type": "loud"}]}),
                "spec.analysis.webhooks[0].type: \"loud\" is none of confirm-rollout, pre-rollout, rollout, confirm-promotion, \
                 post-rollout, event, rollback, confirm-traffic-increase",
            ),
            (
                json!({"interval": "1m", "threshold": 5, "stepWeight": 10, "metrics": [{"interval": "1m"}]}),
                "spec.analysis.metrics[0].name: is required",
            ),
        ] {
            assert_eq!(told(&canary(analysis.clone())), [expected], "{analysis}");
        }
    }

    #[test]
    fn a_version_that_is_not_served_is_told() {
        let mut old = canary(json!({"interval": "1m", "threshold": 5, "stepWeight": 10}));
        old["apiVersion"] = "flagger.app/v1alpha3".into();
        assert_eq!(told(&old), ["apiVersion: flagger.app/v1alpha3 is not served; use flagger.app/v1beta1"]);
        old["apiVersion"] = "foo.app/v1beta1".into();
        assert_eq!(told(&old), [""; 0], "another kind of the same name");
    }

    #[test]
    fn what_the_server_drops_is_told_and_not_refused() {
        let found = problems(&canary(json!({"interval": "1m", "threshold": 5, "stepWeight": 10, "canaryWeight": 1})));
        assert_eq!(
            (found.len(), found[0].field.as_str(), found[0].is_refused),
            (1, "spec.analysis.canaryWeight", false)
        );
    }

    #[test]
    fn defaults_stand_in_for_what_is_required() {
        let automation = json!({"apiVersion": "image.toolkit.fluxcd.io/v1beta2", "kind": "ImageUpdateAutomation", "metadata": {"name": "a"},
            "spec": {"sourceRef": {"name": "a"}, "interval": "1m", "git": {"commit": {"author": {"email": "a@b.c"}}}}});
        assert_eq!(told(&automation), [""; 0]);
    }
}
