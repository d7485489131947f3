//! Fields of live objects that are left to others: `spec.ignore`. They are no drift, and a write keeps them as they are.
//!
//! Source: reference delivery.md section 5.5; kustomize-controller 1.9 `docs/spec/v1/kustomizations.md`, "Ignore Rules";
//! Flux `pkg/ssa`, `computeDriftedPaths`.

mod owners;
mod pointer;

use api::kustomize::{IgnoreRule, Selector};
use regex::Regex;
use serde_json::Value;

use crate::{
    apply::MANAGER,
    build::selector::{self, Requirement},
};
use owners::Owners;

/// The rules of a Kustomization.
#[derive(Debug, Default)]
pub struct IgnoreRules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    target: Option<Target>,
    paths: Vec<String>,
}

/// Which objects a rule means: all parts must match.
#[derive(Debug)]
struct Target {
    /// Group, version, kind, namespace, name.
    patterns: [Option<Regex>; 5],
    labels: Vec<Requirement>,
    annotations: Vec<Requirement>,
}

impl IgnoreRules {
    /// Reads `spec.ignore`. Errs on the first pattern, selector or path that cannot be read.
    pub fn read(rules: &[IgnoreRule]) -> Result<Self, String> {
        let read = rules.iter().enumerate().map(|(index, rule)| {
            let wrong = |field: &str, problem: String| format!("spec.ignore[{index}].{field}: {problem}");
            for (number, path) in rule.paths.iter().enumerate() {
                pointer::check(path).map_err(|problem| wrong(&format!("paths[{number}]"), problem))?;
            }
            let target = rule.target.as_ref().map(Target::read).transpose();
            let target = target.map_err(|(field, problem)| wrong(&format!("target.{field}"), problem))?;
            Ok(Rule { target, paths: rule.paths.clone() })
        });
        read.collect::<Result<_, _>>().map(Self)
    }

    /// Whether nothing is left to others.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An object without what is left to others, for comparing. `like` is the object that the targets are held against.
    #[must_use]
    pub fn without(&self, object: &Value, like: &Value) -> Value {
        let mut rest = object.clone();
        for path in self.paths(like) {
            pointer::remove(&mut rest, path);
        }
        rest
    }

    /// What is applied instead of `desired`, so that no field that is left to others changes. `live` is the object with
    /// its `metadata.managedFields`, `dry_run` what applying `desired` as it is would lead to. A field that somebody else
    /// applies too is left out, and so given up; any other is applied as it lives.
    #[must_use]
    pub fn payload(&self, desired: &Value, live: &Value, dry_run: &Value) -> Value {
        let mut payload = desired.clone();
        let owners = Owners::of(live, MANAGER);
        for path in self.paths(dry_run) {
            let lives = live.pointer(path);
            match lives {
                _ if lives == dry_run.pointer(path) => {}
                Some(value) if !owners.has(live, path) => pointer::set(&mut payload, path, value),
                // Differs: what was deleted from the live object stays away, where Flux applies a null.
                _ => pointer::remove(&mut payload, path),
            }
        }
        payload
    }

    /// What a dry run led to, without what is left to others and `desired` does not say: the fields of others that become
    /// ours would go.
    #[must_use]
    pub fn taken(&self, dry_run: &Value, desired: &Value) -> Value {
        let mut taken = dry_run.clone();
        for path in self.paths(dry_run).filter(|path| desired.pointer(path).is_none()) {
            pointer::remove(&mut taken, path);
        }
        taken
    }

    /// The paths that are left to others in this object.
    fn paths<'a>(&'a self, object: &'a Value) -> impl Iterator<Item = &'a str> {
        let rules = self.0.iter().filter(|rule| rule.target.as_ref().is_none_or(|target| target.matches(object)));
        rules.flat_map(|rule| rule.paths.iter().map(String::as_str))
    }
}

impl Target {
    /// Errs with the field that cannot be read.
    fn read(target: &Selector) -> Result<Self, (&'static str, String)> {
        let pattern = |field: &'static str, text: &Option<String>| match text.as_deref() {
            None | Some("") => Ok(None),
            Some(text) => {
                let read = Regex::new(&format!("^(?:{text})$"));
                read.map(Some).map_err(|_| (field, format!("invalid pattern {text:?}")))
            }
        };
        let requirements = |field: &'static str, text: &Option<String>| {
            selector::parse(text.as_deref().unwrap_or_default()).map_err(|problem| (field, problem))
        };
        Ok(Self {
            patterns: [
                pattern("group", &target.group)?,
                pattern("version", &target.version)?,
                pattern("kind", &target.kind)?,
                pattern("namespace", &target.namespace)?,
                pattern("name", &target.name)?,
            ],
            labels: requirements("labelSelector", &target.label_selector)?,
            annotations: requirements("annotationSelector", &target.annotation_selector)?,
        })
    }

    fn matches(&self, object: &Value) -> bool {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (group, version) = text("/apiVersion").split_once('/').unwrap_or(("", text("/apiVersion")));
        let texts = [group, version, text("/kind"), text("/metadata/namespace"), text("/metadata/name")];
        self.patterns.iter().zip(texts).all(|(pattern, text)| pattern.as_ref().is_none_or(|one| one.is_match(text)))
            && selector::matches(&self.labels, object.pointer("/metadata/labels"))
            && selector::matches(&self.annotations, object.pointer("/metadata/annotations"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(rules: Value) -> Result<IgnoreRules, String> {
        let rules: Vec<IgnoreRule> = serde_json::from_value(rules).unwrap();
        IgnoreRules::read(&rules)
    }

    fn deployment(replicas: Value, image: &str) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "team", "labels": {"tier": "front"}},
            "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "app", "image": image}]}}}})
    }

    fn owned_by(mut object: Value, manager: &str, operation: &str, fields: Value) -> Value {
        let entry = json!({"manager": manager, "operation": operation, "fieldsV1": fields});
        object["metadata"]["managedFields"] = json!([entry]);
        object
    }

    #[test]
    fn a_rule_means_the_objects_that_its_target_selects() {
        let object = deployment(json!(3), "a");
        for (target, expected) in [
            (Value::Null, true),
            (json!({"kind": "Deployment", "name": "w.*"}), true),
            (json!({"kind": "Deploy"}), false),
            (json!({"group": "apps", "version": "v1", "namespace": "team"}), true),
            (json!({"namespace": "other"}), false),
            (json!({"labelSelector": "tier in (front)"}), true),
            (json!({"annotationSelector": "tier"}), false),
        ] {
            let read = rules(json!([{"paths": ["/spec/replicas"], "target": target}])).unwrap();
            let rest = read.without(&object, &object);
            assert_eq!(rest.pointer("/spec/replicas").is_none(), expected, "{target}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (rule, expected) in [
            (json!({"paths": ["spec/replicas"]}), "spec.ignore[0].paths[0]: 'spec/replicas' does not begin with /"),
            (json!({"paths": [""]}), "spec.ignore[0].paths[0]: the whole object cannot be ignored"),
            (json!({"paths": [], "target": {"kind": "("}}), "spec.ignore[0].target.kind: invalid pattern \"(\""),
            (
                json!({"paths": [], "target": {"labelSelector": "a b"}}),
                "spec.ignore[0].target.labelSelector: invalid selector \"a b\"",
            ),
        ] {
            assert_eq!(rules(json!([rule])).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_field_is_applied_as_it_lives_unless_somebody_else_applies_it_too() {
        let rules = rules(json!([{"paths": ["/spec/replicas"]}])).unwrap();
        let (desired, dry_run) = (deployment(json!(1), "b"), deployment(json!(1), "b"));
        let fields = json!({"f:spec": {"f:replicas": {}}});
        for (manager, operation, expected) in [
            ("kube-controller-manager", "Update", json!(5)),
            (MANAGER, "Apply", json!(5)),
            ("vpa", "Apply", Value::Null),
        ] {
            let live = owned_by(deployment(json!(5), "a"), manager, operation, fields.clone());
            let payload = rules.payload(&desired, &live, &dry_run);
            assert_eq!(payload["spec"]["replicas"], expected, "{manager}");
            assert_eq!(payload["spec"]["template"], desired["spec"]["template"]);
        }
        assert_eq!(rules.payload(&desired, &deployment(json!(1), "a"), &dry_run), desired);
        let mut gone = deployment(json!(1), "a");
        pointer::remove(&mut gone, "/spec/replicas");
        assert_eq!(rules.payload(&desired, &gone, &dry_run)["spec"].get("replicas"), None);
    }

    #[test]
    fn a_field_that_is_taken_over_is_applied_as_it_lives() {
        let rules = rules(json!([{"paths": ["/spec/replicas"]}])).unwrap();
        let mut desired = deployment(json!(1), "b");
        pointer::remove(&mut desired, "/spec/replicas");
        let live = owned_by(deployment(json!(5), "a"), MANAGER, "Apply", json!({"f:spec": {"f:replicas": {}}}));
        let dry_run = deployment(json!(5), "b");
        assert_eq!(rules.payload(&desired, &live, &dry_run), desired);
        let payload = rules.payload(&desired, &live, &rules.taken(&dry_run, &desired));
        assert_eq!(payload["spec"]["replicas"], 5);
    }

    #[test]
    fn items_of_lists_are_found_by_what_makes_them_unique() {
        let rules = rules(json!([{"paths": ["/spec/template/spec/containers/0/resources"]}])).unwrap();
        let desired = deployment(json!(1), "b");
        let mut live = desired.clone();
        live["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1"}});
        let dry_run = desired.clone();
        let fields = |name: &str| {
            let key = format!("k:{{\"name\":\"{name}\"}}");
            json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {key: {".": {}, "f:resources": {}}}}}}})
        };
        let resources = |live: &Value| {
            let payload = rules.payload(&desired, live, &dry_run);
            payload["spec"]["template"]["spec"]["containers"][0].get("resources").cloned()
        };
        assert_eq!(resources(&live), Some(json!({"limits": {"cpu": "1"}})));
        assert_eq!(resources(&owned_by(live.clone(), "vpa", "Apply", fields("app"))), None);
        let elsewhere = owned_by(live.clone(), "vpa", "Apply", fields("sidecar"));
        assert_eq!(resources(&elsewhere), Some(json!({"limits": {"cpu": "1"}})));
    }

    #[test]
    fn annotations_are_named_with_their_slash_escaped() {
        let path = "/metadata/annotations/external-dns.alpha.kubernetes.io~1hostname";
        let rules = rules(json!([{"paths": [path]}])).unwrap();
        let desired = json!({"kind": "Service", "metadata": {"name": "s"}});
        let mut live = desired.clone();
        live["metadata"]["annotations"] = json!({"external-dns.alpha.kubernetes.io/hostname": "a.example"});
        assert_eq!(
            rules.without(&live, &desired),
            json!({"kind": "Service", "metadata": {"name": "s", "annotations": {}}})
        );
        // Somebody else's alone: an apply would not touch it, and does not name it.
        assert_eq!(rules.payload(&desired, &live, &live), desired);
    }
}
