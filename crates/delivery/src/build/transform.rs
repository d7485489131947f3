//! The transformers of a kustomization, each over all its objects: namespace, names, labels, annotations, replicas.
//!
//! Source: kustomize 5.8 `kusttarget_configplugin.go` and the built-in transformers.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    fields::{self, ANNOTATIONS, Place, SELECTOR_LABELS, TEMPLATE_LABELS},
    kustomization::{LabelRule, ReplicaRule},
    resource::Resource,
};
use crate::scope;

/// Puts every namespaced object into the namespace. A `Namespace` object takes it as its name.
pub(crate) fn set_namespace(resources: &mut [Resource], namespace: &str) {
    if namespace.is_empty() {
        return;
    }
    for resource in resources {
        resource.remember();
        let kind = resource.kind().to_owned();
        match kind.as_str() {
            "Namespace" => resource.object["metadata"]["name"] = namespace.into(),
            kind if scope::is_cluster_scoped(kind) => {}
            _ => resource.object["metadata"]["namespace"] = namespace.into(),
        }
        match kind.as_str() {
            "RoleBinding" | "ClusterRoleBinding" => set_subjects(&mut resource.object, namespace),
            "APIService" => set_text(&mut resource.object, "spec/service/namespace", namespace),
            "CustomResourceDefinition" => {
                set_text(&mut resource.object, "spec/conversion/webhook/clientConfig/service/namespace", namespace);
            }
            _ => {}
        }
    }
}

/// The ServiceAccount `default` of a binding is the one of the namespace. Others follow when they are renamed.
fn set_subjects(object: &mut Value, namespace: &str) {
    for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
        let is = |field: &str, text: &str| subject.get(field).and_then(Value::as_str) == Some(text);
        if is("kind", "ServiceAccount") && is("name", "default") {
            subject["namespace"] = namespace.into();
        }
    }
}

fn set_text(object: &mut Value, path: &str, text: &str) {
    fields::visit(object, path, false, &mut |value| *value = text.into());
}

/// Puts texts before and behind every name, but for kinds whose names mean something.
pub(crate) fn set_names(resources: &mut [Resource], prefix: &str, suffix: &str) {
    if prefix.is_empty() && suffix.is_empty() {
        return;
    }
    for resource in resources {
        if matches!(resource.kind(), "CustomResourceDefinition" | "APIService" | "Namespace") {
            continue;
        }
        resource.remember();
        let name = format!("{prefix}{}{suffix}", resource.name());
        resource.object["metadata"]["name"] = name.into();
    }
}

/// Adds the labels of `commonLabels`: on objects, templates and selectors.
pub(crate) fn add_common_labels(resources: &mut [Resource], labels: &BTreeMap<String, String>) {
    let rule = LabelRule { pairs: labels.clone(), include_selectors: true, include_templates: true };
    add_labels(resources, &rule);
}

/// Adds the labels of one rule.
pub(crate) fn add_labels(resources: &mut [Resource], rule: &LabelRule) {
    if rule.pairs.is_empty() {
        return;
    }
    for resource in resources {
        set_pairs(&mut resource.object, "metadata/labels", true, &rule.pairs);
        if rule.include_selectors || rule.include_templates {
            set_at(resource, &TEMPLATE_LABELS, &rule.pairs);
        }
        if rule.include_selectors {
            set_at(resource, &SELECTOR_LABELS, &rule.pairs);
        }
    }
}

/// Adds annotations, on objects and on pod templates.
pub(crate) fn add_annotations(resources: &mut [Resource], annotations: &BTreeMap<String, String>) {
    if annotations.is_empty() {
        return;
    }
    for resource in resources {
        set_at(resource, &ANNOTATIONS, annotations);
    }
}

/// Adds labels and annotations to the objects themselves, nothing below them.
pub(crate) fn add_metadata(
    objects: &mut [Value],
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
) {
    for object in objects {
        for (path, pairs) in [("metadata/labels", labels), ("metadata/annotations", annotations)] {
            if !pairs.is_empty() {
                set_pairs(object, path, true, pairs);
            }
        }
    }
}

fn set_at(resource: &mut Resource, places: &[Place], pairs: &BTreeMap<String, String>) {
    let kind = resource.kind().to_owned();
    for place in places.iter().filter(|place| place.is_in(&kind)) {
        set_pairs(&mut resource.object, place.path, place.create, pairs);
    }
}

fn set_pairs(object: &mut Value, path: &str, create: bool, pairs: &BTreeMap<String, String>) {
    fields::visit(object, path, create, &mut |value| {
        if value.is_null() {
            *value = Value::Object(Map::new());
        }
        if let Value::Object(existing) = value {
            existing.extend(pairs.iter().map(|(key, text)| (key.clone(), text.as_str().into())));
        }
    });
}

/// Sets `spec.replicas` of the workloads with that name; an error if there is none.
pub(crate) fn set_replicas(resources: &mut [Resource], rule: &ReplicaRule) -> Result<(), String> {
    const SCALABLE: [&str; 4] = ["Deployment", "ReplicationController", "ReplicaSet", "StatefulSet"];
    let mut found = false;
    for resource in resources {
        let named = resource.identities().iter().any(|id| id.name == rule.name);
        if named && SCALABLE.contains(&resource.kind()) {
            fields::visit(&mut resource.object, "spec/replicas", true, &mut |value| *value = rule.count.into());
            found = true;
        }
    }
    if found { Ok(()) } else { Err(format!("no Deployment, ReplicaSet or StatefulSet is named {:?}", rule.name)) }
}
