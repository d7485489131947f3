//! Autoscalers of the target: the primary's copy, pause and resume. Source: reference progressive-delivery.md, B.9.

use api::flagger::{AutoscalerReference, Canary};
use regex::Regex;
use serde_json::{Map, Value, json};

/// KEDA's annotation that holds a workload at a number of replicas.
const PAUSED: &str = "autoscaling.keda.sh/paused-replicas";
/// KEDA's label that holds the name of its own object.
const NAMED: &str = "scaledobject.keda.sh/name";

/// The primary's scaler, given the target's.
pub fn primary(canary: &Canary, reference: &AutoscalerReference, target: &Value) -> Value {
    let labels = super::members(target, "/metadata/labels").filter(|(key, _)| *key != NAMED);
    let labels: Map<_, _> = labels.map(super::owned).collect();
    let annotations = super::members(target, "/metadata/annotations").filter(|(key, _)| *key != PAUSED);
    let annotations: Map<_, _> = annotations.map(super::owned).collect();
    let mut spec = target.get("spec").cloned().unwrap_or_else(|| json!({}));
    spec["scaleTargetRef"]["name"] = json!(canary.primary_name());
    let bounds = reference.primary_scaler_replicas.clone().unwrap_or_default();
    let (least, most) =
        if is_keda(reference) { ("minReplicaCount", "maxReplicaCount") } else { ("minReplicas", "maxReplicas") };
    for (member, value) in [(least, bounds.min_replicas), (most, bounds.max_replicas)] {
        if let Some(value) = value {
            spec[member] = json!(value);
        }
    }
    if is_keda(reference) {
        let name = spec.pointer_mut("/advanced/horizontalPodAutoscalerConfig/name");
        if let Some(name) = name
            && let Some(text) = name.as_str().filter(|text| !text.is_empty())
        {
            *name = json!(format!("{text}-primary"));
        }
        for trigger in spec.get_mut("triggers").and_then(Value::as_array_mut).into_iter().flatten() {
            redirect(canary, reference, trigger);
        }
    }
    json!({
        "apiVersion": reference_version(reference),
        "kind": reference.kind,
        "metadata": super::metadata(canary, &format!("{}-primary", reference.name), labels, annotations),
        "spec": spec,
    })
}

/// Patch that keeps the target at zero replicas. An HPA needs none: it leaves a workload with zero replicas alone.
pub fn pause_patch(reference: &AutoscalerReference) -> Option<Value> {
    is_keda(reference).then(|| json!({"metadata": {"annotations": {PAUSED: "0"}}}))
}

/// Patch that lets the scaler work again.
pub fn resume_patch(reference: &AutoscalerReference) -> Option<Value> {
    is_keda(reference).then(|| json!({"metadata": {"annotations": {PAUSED: null}}}))
}

fn is_keda(reference: &AutoscalerReference) -> bool {
    reference.kind == "ScaledObject"
}

/// The API version to write: HPAs always in the one whose metrics and behaviour are copied.
fn reference_version(reference: &AutoscalerReference) -> &str {
    if is_keda(reference) { &reference.api_version } else { "autoscaling/v2" }
}

/// Makes a trigger's query about the primary: the one given for its name, or the target's with the names replaced.
fn redirect(canary: &Canary, reference: &AutoscalerReference, trigger: &mut Value) {
    let given = trigger["name"].as_str().and_then(|name| reference.primary_scaler_queries.get(name)).cloned();
    let Some(query) = trigger.get_mut("metadata").and_then(|metadata| metadata.get_mut("query")) else { return };
    let Some(text) = query.as_str() else { return };
    let replaced = match given {
        Some(given) => given,
        None if reference.primary_scaler_queries.is_empty() => renamed(text, &canary.spec.target_ref.name),
        None => return,
    };
    *query = json!(replaced);
}

/// The query with `TARGET-canary` and `TARGET`, as whole words, replaced by `TARGET-primary`.
pub fn renamed(query: &str, target: &str) -> String {
    let pattern = format!(r"\b{}(-canary\b|-primary\b)?\b", regex::escape(target));
    match Regex::new(&pattern) {
        Ok(names) => names.replace_all(query, format!("{target}-primary").as_str()).into_owned(),
        Err(_) => query.to_owned(),
    }
}
