//! DaemonSets: the primary copy, parking, readiness.

use std::borrow::Cow;

use api::flagger::Canary;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    Copied, Error, Readiness, copied_annotations, copied_labels, deployment::prefixed, not_found, pods,
    promoted_annotations, qualified,
};
use crate::path::at;

/// Node label that no node has: a DaemonSet which asks for it runs nowhere.
const PARKED: &str = "flagger.app/scale-to-zero";
/// Where that is asked for.
const NODES: &str = "/spec/template/spec/nodeSelector";
/// Members of a DaemonSet's spec that the primary takes from the target besides the template.
const COPIED: [&str; 3] = ["minReadySeconds", "revisionHistoryLimit", "updateStrategy"];

/// The primary as it is created. Only DaemonSets that the cluster rolls by itself can be.
pub fn primary(canary: &Canary, target: &Value, copied: Copied<'_>) -> Result<Value, Error> {
    let strategy = target.pointer("/spec/updateStrategy/type").and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(strategy) = strategy.filter(|&strategy| strategy != "RollingUpdate") {
        let name = qualified(canary, &canary.spec.target_ref.name);
        return Err(creating(Error::Strategy { name, strategy: strategy.into() }));
    }
    Ok(copy(canary, target, copied, copied_annotations(target)))
}

/// The primary as a promotion leaves it.
pub fn promoted(canary: &Canary, target: &Value, copied: Copied<'_>) -> Value {
    copy(canary, target, copied, promoted_annotations(target, copied.options))
}

/// Patch that stops the target.
pub fn scale_down_patch() -> Value {
    json!({"spec": {"template": {"spec": {"nodeSelector": {PARKED: "true"}}}}})
}

/// Patch that starts the target.
pub fn scale_up_patch() -> Value {
    json!({"spec": {"template": {"spec": {"nodeSelector": {PARKED: null}}}}})
}

/// Whether the target is stopped.
pub fn is_parked(target: &Value) -> bool {
    at(target, NODES).is_some_and(|nodes| nodes[PARKED] == "true")
}

/// The DaemonSet without the parking node selector: what its author wrote.
pub fn unparked(target: &Value) -> Cow<'_, Value> {
    if at(target, NODES).and_then(|nodes| nodes.get(PARKED)).is_none() {
        return Cow::Borrowed(target);
    }
    let mut target = target.clone();
    if let Some(nodes) = target.pointer_mut(NODES).and_then(Value::as_object_mut) {
        nodes.remove(PARKED);
    }
    Cow::Owned(target)
}

/// Whether the primary's rollout is complete; `None` when there is no primary.
pub fn primary_readiness(canary: &Canary, primary: Option<&Value>, now: Timestamp) -> Readiness {
    let name = canary.primary_name();
    let Some(primary) = primary else { return Readiness::Waiting(not_found(canary, &name)) };
    let threshold = canary.analysis().primary_ready_threshold();
    let who = format!("primary daemonset {} not ready", qualified(canary, &name));
    prefixed(readiness(canary, primary, threshold, now), &who)
}

/// Whether the target's rollout is complete; `None` when there is no target.
pub fn target_readiness(canary: &Canary, target: Option<&Value>, now: Timestamp) -> Readiness {
    let name = &canary.spec.target_ref.name;
    let Some(target) = target else { return Readiness::Waiting(not_found(canary, name)) };
    let readiness = readiness(canary, target, canary.analysis().canary_ready_threshold(), now);
    let retryable = !matches!(readiness, Readiness::Stuck(_));
    let who = format!("canary damonset {} not ready with retryable {retryable}", qualified(canary, name));
    prefixed(readiness, &who)
}

/// Source: reference progressive-delivery.md, B.6.
fn readiness(canary: &Canary, daemonset: &Value, threshold: i64, now: Timestamp) -> Readiness {
    let number = |pointer: &str| at(daemonset, pointer).and_then(Value::as_i64).unwrap_or_default();
    if number("/metadata/generation") > number("/status/observedGeneration") {
        let text = "waiting for rollout to finish: observed daemonset generation less then desired generation";
        return Readiness::Waiting(text.into());
    }
    let (desired, updated, available) = (
        number("/status/desiredNumberScheduled"),
        number("/status/updatedNumberScheduled"),
        number("/status/numberAvailable"),
    );
    let enough = desired * threshold / 100;
    if updated >= desired && available >= enough {
        return Readiness::Ready;
    }
    let deadline = canary.progress_deadline();
    let since = canary.status().last_transition_time.clone();
    if since.is_some_and(|since| since.0.saturating_add(deadline).is_ok_and(|end| end < now)) {
        return Readiness::Stuck(format!("exceeded its progressDeadlineSeconds: {}", deadline.as_secs()));
    }
    Readiness::Waiting(if updated < desired {
        format!("waiting for rollout to finish: {updated} out of {desired} new pods have been updated")
    } else {
        format!(
            "waiting for rollout to finish: {available} of {enough} (readyThreshold {threshold}%) updated pods are available"
        )
    })
}

fn copy(canary: &Canary, target: &Value, copied: Copied<'_>, annotations: Map<String, Value>) -> Value {
    let selector = copied.selector;
    let mut labels = copied_labels(target, copied.options);
    labels.insert(selector.label.clone(), json!(selector.primary_value()));
    let mut spec = json!({
        "selector": {"matchLabels": {&selector.label: selector.primary_value()}},
        "template": pods::template(&unparked(target), copied),
    });
    for member in COPIED {
        if let Some(value) = target.get("spec").and_then(|spec| spec.get(member)) {
            spec[member] = value.clone();
        }
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": super::metadata(canary, &canary.primary_name(), labels, annotations),
        "spec": spec,
    })
}

/// The error with the act that the reference names.
pub fn creating(error: Error) -> Error {
    Error::Primary { act: "createPrimaryDaemonSet", source: Box::new(error) }
}
