//! The pod template of the primary: the target's, with names that lead to the primary's own pods and configs.

use serde_json::{Map, Value, json};

use super::{Options, Selector, configs::Tracked};
use crate::path::at;

/// Annotation whose change makes the primary roll.
pub const ID: &str = "flagger-id";

/// What a pod template's copy depends on besides the template.
#[derive(Clone, Copy, Debug)]
pub struct Copied<'a> {
    /// How the target's pods are found.
    pub selector: &'a Selector,
    /// The tracked configs, whose copies the primary uses.
    pub configs: &'a Tracked,
    /// The controller's options.
    pub options: &'a Options,
    /// A fresh random id, so that the primary rolls even when nothing else changed.
    pub id: &'a str,
}

/// The primary's pod template.
pub fn template(target: &Value, copied: Copied<'_>) -> Value {
    let mut template = rewritten(target, copied);
    template["metadata"]["annotations"][ID] = json!(copied.id);
    template
}

/// The primary's pod template but for the id.
pub fn rewritten(target: &Value, copied: Copied<'_>) -> Value {
    let Copied { selector, configs, options, .. } = copied;
    let source = at(target, "/spec/template").unwrap_or(&Value::Null);
    let kept = |pointer: &str, without: &str| -> Map<String, Value> {
        super::members(source, pointer).filter(|(key, _)| *key != without).map(super::owned).collect()
    };
    let mut labels = kept("/metadata/labels", &selector.label);
    labels.insert(selector.label.clone(), json!(selector.primary_value()));
    let annotations = kept("/metadata/annotations", ID);
    let mut spec = source.get("spec").cloned().unwrap_or_default();
    configs.suffix(&mut spec);
    let name = at(target, "/metadata/name").and_then(Value::as_str).unwrap_or_default();
    spread(&mut spec, name, options);
    json!({"metadata": {"labels": labels, "annotations": annotations}, "spec": spec})
}

/// Makes pod anti-affinity and topology spread count the primary's pods instead of the target's.
/// Pod affinity and node affinity are left as they are. Source: reference progressive-delivery.md, B.7.
fn spread(spec: &mut Value, name: &str, options: &Options) {
    let mut selectors: Vec<&mut Value> = Vec::new();
    let spec = spec.as_object_mut();
    let Some(spec) = spec else { return };
    for (member, value) in spec.iter_mut() {
        match member.as_str() {
            "affinity" => {
                let anti = value.get_mut("podAntiAffinity").and_then(Value::as_object_mut);
                for (member, terms) in anti.into_iter().flatten() {
                    for term in terms.as_array_mut().into_iter().flatten() {
                        let term = match member.as_str() {
                            "preferredDuringSchedulingIgnoredDuringExecution" => term.get_mut("podAffinityTerm"),
                            _ => Some(term),
                        };
                        selectors.extend(term.and_then(|term| term.get_mut("labelSelector")));
                    }
                }
            }
            "topologySpreadConstraints" => {
                let constraints = value.as_array_mut().into_iter().flatten();
                selectors.extend(constraints.filter_map(|constraint| constraint.get_mut("labelSelector")));
            }
            _ => {}
        }
    }
    for selector in selectors {
        suffix(selector, name, options);
    }
}

/// Appends `-primary` to the values of a label selector which are the target's name, under an accepted label.
fn suffix(selector: &mut Value, name: &str, options: &Options) {
    let accepted = |key: &str| options.selector_labels.iter().any(|label| label == key);
    let rename = |value: &mut Value| {
        if *value == name {
            *value = json!(format!("{name}-primary"));
        }
    };
    for (key, value) in selector.get_mut("matchLabels").and_then(Value::as_object_mut).into_iter().flatten() {
        if accepted(key) {
            rename(value);
        }
    }
    for expression in selector.get_mut("matchExpressions").and_then(Value::as_array_mut).into_iter().flatten() {
        if expression["key"].as_str().is_some_and(accepted) {
            let values = expression.get_mut("values").and_then(Value::as_array_mut);
            values.into_iter().flatten().for_each(rename);
        }
    }
}
