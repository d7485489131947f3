//! In which order objects are applied: stages that wait for each other, and kinds within them.
//!
//! Source: reference delivery.md section 5.5; Flux `pkg/ssa`, sort order and `ApplyAllStaged`.

use std::cmp::Ordering;

use serde_json::Value;

/// Kinds that come first, in this order.
const FIRST: [&str; 23] = [
    "CustomResourceDefinition",
    "Namespace",
    "ClusterRole",
    "ClusterClass",
    "RuntimeClass",
    "PriorityClass",
    "StorageClass",
    "VolumeSnapshotClass",
    "IngressClass",
    "GatewayClass",
    "ClusterRoleBinding",
    "ResourceQuota",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Secret",
    "Service",
    "LimitRange",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];
/// Kinds that come last, in this order.
const LAST: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

/// What an apply goes through one after the other, waiting for the objects of each to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Definitions of kinds, namespaces and cluster roles.
    Definitions,
    /// Classes, which other objects refer to.
    Classes,
    /// Everything else.
    Rest,
}

/// The stage of a kind.
pub fn stage(kind: &str) -> Stage {
    match kind {
        "CustomResourceDefinition" | "Namespace" | "ClusterRole" => Stage::Definitions,
        kind if kind.ends_with("Class") => Stage::Classes,
        _ => Stage::Rest,
    }
}

/// The objects of every stage that has some, each in apply order.
pub fn stages(mut objects: Vec<Value>) -> Vec<(Stage, Vec<Value>)> {
    objects.sort_by(compare);
    let mut stages: Vec<(Stage, Vec<Value>)> =
        [Stage::Definitions, Stage::Classes, Stage::Rest].map(|stage| (stage, Vec::new())).into();
    for object in objects {
        let stage = stage(text(&object, "/kind"));
        if let Some((_, group)) = stages.iter_mut().find(|(other, _)| *other == stage) {
            group.push(object);
        }
    }
    stages.retain(|(_, group)| !group.is_empty());
    stages
}

/// Apply order of two objects: by kind, then group, namespace and name. Deletion goes the other way.
pub fn compare(left: &Value, right: &Value) -> Ordering {
    let key = |object| {
        let (kind, api_version) = (text(object, "/kind"), text(object, "/apiVersion"));
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        (kind, group, text(object, "/metadata/namespace"), text(object, "/metadata/name"))
    };
    compare_keys(key(left), key(right))
}

/// Apply order by kind, group, namespace and name.
pub fn compare_keys(left: (&str, &str, &str, &str), right: (&str, &str, &str, &str)) -> Ordering {
    let order = |(kind, group, namespace, name)| (rank(kind), group, kind, namespace, name);
    order(left).cmp(&order(right))
}

fn rank(kind: &str) -> usize {
    let last = || LAST.iter().position(|last| *last == kind).map(|index| FIRST.len() + 1 + index);
    FIRST.iter().position(|first| *first == kind).or_else(last).unwrap_or(FIRST.len())
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(kind: &str, name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}})
    }

    #[test]
    fn definitions_come_before_classes_before_the_rest() {
        let kinds = [
            "MutatingWebhookConfiguration",
            "Widget",
            "Deployment",
            "PodDisruptionBudget",
            "ConfigMap",
            "StorageClass",
            "Namespace",
            "CustomResourceDefinition",
            "ClusterRoleBinding",
        ];
        let stages = stages(kinds.iter().map(|kind| object(kind, "x")).collect());
        let names: Vec<Vec<&str>> =
            stages.iter().map(|(_, objects)| objects.iter().map(|object| text(object, "/kind")).collect()).collect();
        assert_eq!(
            names,
            [
                vec!["CustomResourceDefinition", "Namespace"],
                vec!["StorageClass"],
                vec![
                    "ClusterRoleBinding",
                    "ConfigMap",
                    "Deployment",
                    "PodDisruptionBudget",
                    "Widget",
                    "MutatingWebhookConfiguration"
                ],
            ]
        );
    }

    #[test]
    fn ties_go_by_namespace_and_name() {
        let mut objects = [object("Secret", "b"), object("Secret", "a"), object("ConfigMap", "z")];
        objects.sort_by(compare);
        assert_eq!(objects.map(|object| text(&object, "/metadata/name").to_owned()), ["z", "a", "b"]);
    }
}
