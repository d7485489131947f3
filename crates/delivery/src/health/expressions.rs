//! Kinds that a Kustomization judges itself, by expressions of `spec.healthCheckExprs`.
//!
//! Source: reference delivery.md sections 5.1 and 5.2; Flux `pkg/runtime/cel`, `StatusReader` and `StatusEvaluator`.

use api::kustomize::HealthCheckExpression;
use expression::Expression;
use jiff::Timestamp;
use serde_json::Value;

use super::{Health, group, health, number, text};

/// The expressions of a Kustomization, by the kinds that they judge.
#[derive(Debug, Default)]
pub struct Expressions(Vec<Judged>);

/// A kind, or a whole group, and what is asked of its objects, in this order.
#[derive(Debug)]
struct Judged {
    group: String,
    kind: Option<String>,
    asked: Vec<(String, Expression, Health)>,
}

impl Expressions {
    /// Reads `spec.healthCheckExprs`. Errs on the first that cannot be read, and on two of one kind.
    pub fn read(all: &[HealthCheckExpression]) -> Result<Self, String> {
        let mut read = Vec::<Judged>::with_capacity(all.len());
        for (index, one) in all.iter().enumerate() {
            let group = one.api_version.split_once('/').map_or("", |(group, _)| group).to_owned();
            if read.iter().any(|other| other.group == group && other.kind == one.kind) {
                let kind = one.kind.as_deref().unwrap_or_default();
                let dot = if group.is_empty() { "" } else { "." };
                let what = format!("duplicate custom health check for GroupKind {kind}{dot}{group}");
                return Err(format!("{what} at healthchecks[{index}]"));
            }
            let failed =
                |problem| format!("failed to create custom status evaluator for healthchecks[{index}]: {problem}");
            read.push(Judged { group, kind: one.kind.clone(), asked: asked(one).map_err(failed)? });
        }
        Ok(Self(read))
    }

    /// Where an object stands: as the expressions of its kind say, else those of its group, else as all of its kind are
    /// judged.
    pub fn health(&self, object: Option<&Value>, now: Timestamp) -> Health {
        let Some(found) = object else { return health(None, now) };
        let (group, kind) = (group(found), text(found, "/kind"));
        let of = |wanted: Option<&str>| self.0.iter().find(|one| one.group == group && one.kind.as_deref() == wanted);
        match of(Some(kind)).or_else(|| of(None)) {
            Some(judged) => judged.health(found),
            None => health(object, now),
        }
    }
}

impl Judged {
    /// In progress while the generation is not observed; then what the first expression says that holds.
    fn health(&self, object: &Value) -> Health {
        let (observed, generation) =
            (number(object, "/status/observedGeneration"), number(object, "/metadata/generation"));
        if observed.zip(generation).is_some_and(|(observed, generation)| observed != generation) {
            return Health::InProgress;
        }
        for (source, expression, health) in &self.asked {
            match expression.holds_for(object) {
                Ok(true) => return health.clone(),
                Ok(false) => {}
                // An error may hold what the expression was working on.
                Err(_) if group(object).is_empty() && text(object, "/kind") == "Secret" => {
                    return Health::Unknown(format!("failed to evaluate the CEL expression '{source}' of a Secret"));
                }
                Err(error) => {
                    return Health::Unknown(format!("failed to evaluate the CEL expression '{source}': {error}"));
                }
            }
        }
        Health::InProgress
    }
}

/// The expressions in the order of Flux's RFC 0009.
fn asked(one: &HealthCheckExpression) -> Result<Vec<(String, Expression, Health)>, String> {
    let all = [
        ("InProgress", one.in_progress.as_deref(), Health::InProgress),
        ("Failed", one.failed.as_deref(), Health::Failed),
        ("Current", Some(&*one.current), Health::Current),
    ];
    let given = all.into_iter().filter_map(|(name, source, health)| source.map(|source| (name, source, health)));
    let read = given.map(|(name, source, health)| {
        if source.is_empty() {
            return Err(format!("expression {name} not specified"));
        }
        let failed = |error| {
            format!("failed to parse the expression {name}: failed to parse the CEL expression '{source}': {error}")
        };
        Expression::open(source).map(|expression| (source.to_owned(), expression, health)).map_err(failed)
    });
    read.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn expressions(all: Value) -> Result<Expressions, String> {
        let all: Vec<HealthCheckExpression> = serde_json::from_value(all).unwrap();
        Expressions::read(&all)
    }

    fn conditions(inner: Value) -> Value {
        json!({"apiVersion": "bitnami.com/v1", "kind": "SealedSecret", "metadata": {"name": "x", "generation": 2},
            "status": inner})
    }

    /// Source: Flux `pkg/runtime/cel`, `TestStatusEvaluator_Evaluate`.
    #[test]
    fn in_progress_is_asked_first_then_failed_then_current() {
        let all = json!([{"apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "current": "data.current",
            "failed": "data.failed", "inProgress": "data.inProgress"}]);
        let all = expressions(all).unwrap();
        for (current, failed, in_progress, expected) in [
            (false, false, false, Health::InProgress),
            (true, true, true, Health::InProgress),
            (true, true, false, Health::Failed),
            (true, false, false, Health::Current),
        ] {
            let mut object = conditions(json!({"observedGeneration": 2}));
            object["data"] = json!({"current": current, "failed": failed, "inProgress": in_progress});
            assert_eq!(all.health(Some(&object), Timestamp::UNIX_EPOCH), expected, "{object}");
            object["status"]["observedGeneration"] = json!(1);
            assert_eq!(all.health(Some(&object), Timestamp::UNIX_EPOCH), Health::InProgress, "{object}");
        }
        assert_eq!(all.health(None, Timestamp::UNIX_EPOCH), Health::NotFound);
    }

    #[test]
    fn a_kind_is_judged_by_its_own_expressions_then_by_its_groups_then_as_ever() {
        let all = expressions(json!([
            {"apiVersion": "example.io/v1", "current": "true"},
            {"apiVersion": "example.io/v2", "kind": "Broken", "current": "false", "failed": "true"},
            {"apiVersion": "v1", "kind": "ConfigMap", "current": "data.ready == 'yes'"},
        ]))
        .unwrap();
        let judge = |api_version: &str, kind: &str, status: &str| {
            let conditions = json!([{"type": "Ready", "status": status}]);
            let object = json!({"apiVersion": api_version, "kind": kind, "data": {"ready": "yes"},
                "status": {"conditions": conditions}});
            all.health(Some(&object), Timestamp::UNIX_EPOCH)
        };
        assert_eq!(judge("example.io/v3", "Any", "False"), Health::Current);
        assert_eq!(judge("example.io/v3", "Broken", "True"), Health::Failed);
        assert_eq!(judge("v1", "ConfigMap", "False"), Health::Current);
        assert_eq!(judge("other.io/v1", "Broken", "False"), Health::InProgress);
    }

    #[test]
    fn an_expression_without_an_answer_says_why() {
        let source = "status.conditions.filter(e, e.type == 'Synced').all(e, e.status == 'True')";
        let all =
            expressions(json!([{"apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "current": source}]))
                .unwrap();
        let judge = |status: Value| all.health(Some(&conditions(status)), Timestamp::UNIX_EPOCH);
        let synced = |status: &str| json!({"conditions": [{"type": "Synced", "status": status}]});
        assert_eq!(judge(synced("True")), Health::Current);
        assert_eq!(judge(synced("False")), Health::InProgress);
        assert_eq!(judge(json!({"conditions": []})), Health::Current);
        let Health::Unknown(why) = judge(json!({})) else { panic!("there are no conditions") };
        assert_eq!(why, format!("failed to evaluate the CEL expression '{source}': No such key: conditions"));

        let all = expressions(json!([{"apiVersion": "v1", "kind": "Secret", "current": "data.token"}])).unwrap();
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "data": {"token": "aHVzaA=="}});
        let why = all.health(Some(&secret), Timestamp::UNIX_EPOCH);
        let text = "failed to evaluate the CEL expression 'data.token' of a Secret";
        assert_eq!(why, Health::Unknown(text.into()));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let one = |more: Value| {
            let mut one = json!({"apiVersion": "v1", "kind": "ConfigMap", "current": "true"});
            one.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
            one
        };
        let begins = "failed to create custom status evaluator for healthchecks[0]: ";
        for (all, expected) in [
            (
                json!([one(json!({"inProgress": "foo."}))]),
                format!(
                    "{begins}failed to parse the expression InProgress: failed to parse the CEL expression 'foo.': "
                ),
            ),
            (json!([one(json!({"failed": "("}))]), format!("{begins}failed to parse the expression Failed: ")),
            (json!([one(json!({"current": ""}))]), format!("{begins}expression Current not specified")),
            (
                json!([one(json!({})), one(json!({"current": "false"}))]),
                "duplicate custom health check for GroupKind ConfigMap at healthchecks[1]".into(),
            ),
            (
                json!([one(json!({"apiVersion": "a.io/v1"})), one(json!({"apiVersion": "a.io/v2"}))]),
                "duplicate custom health check for GroupKind ConfigMap.a.io at healthchecks[1]".into(),
            ),
        ] {
            let error = expressions(all).unwrap_err();
            assert!(error.starts_with(&expected), "{error}");
        }
    }
}
