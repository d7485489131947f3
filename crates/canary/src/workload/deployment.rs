//! Deployments: the primary copy, scaling, readiness.

use api::flagger::Canary;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    Copied, Error, Readiness, copied_annotations, copied_labels, not_found, pods, promoted_annotations, qualified,
};
use crate::path::at;

/// Members of a Deployment's spec that the primary takes from the target besides the template.
const COPIED: [&str; 4] = ["progressDeadlineSeconds", "minReadySeconds", "revisionHistoryLimit", "strategy"];

/// The primary as it is created: with the target's replicas, or one.
pub fn primary(canary: &Canary, target: &Value, copied: Copied<'_>) -> Value {
    let replicas = replicas(target).filter(|&count| count > 0).unwrap_or(1);
    copy(canary, target, copied, copied_annotations(target), replicas)
}

/// The primary as a promotion leaves it. Its replicas follow the target's only when nothing scales it.
///
/// Differs: a target scaled to zero does not take the primary down with it; the primary keeps its replicas.
pub fn promoted(canary: &Canary, target: &Value, live: &Value, copied: Copied<'_>) -> Value {
    let own = replicas(live).unwrap_or(1);
    let replicas = match (&canary.spec.autoscaler_ref, replicas(target)) {
        (None, Some(count)) if count > 0 => count,
        _ => own,
    };
    copy(canary, target, copied, promoted_annotations(target, copied.options), replicas)
}

/// Patch that stops the target.
pub fn scale_down_patch() -> Value {
    json!({"spec": {"replicas": 0}})
}

/// Whether the target is stopped.
pub fn is_at_zero(target: &Value) -> bool {
    replicas(target) == Some(0)
}

/// Patch that starts the target: with the replicas it has, else those of its scaler or of the primary, else one.
/// `scaler` is the live object that `autoscalerRef` names. Source: reference progressive-delivery.md, B.7 "Scale up".
pub fn scale_up_patch(canary: &Canary, target: &Value, primary: Option<&Value>, scaler: Option<&Value>) -> Value {
    let least = |pointer: &str| scaler.and_then(|scaler| scaler.pointer(pointer)).and_then(Value::as_i64);
    let wanted = match &canary.spec.autoscaler_ref {
        None => primary.and_then(replicas).filter(|&count| count > 0),
        Some(reference) if reference.kind == "ScaledObject" => {
            least("/spec/minReplicaCount").filter(|&count| count > 1)
        }
        Some(_) => least("/spec/minReplicas").filter(|&count| count > 1),
    };
    let count = replicas(target).filter(|&count| count > 0).or(wanted).unwrap_or(1);
    json!({"spec": {"replicas": count}})
}

/// Patch that gives the target its replicas back when the Canary is deleted.
pub fn revert_patch(canary: &Canary, target: &Value, primary: Option<&Value>, scaler: Option<&Value>) -> Value {
    match primary.map(replicas) {
        Some(count) => json!({"spec": {"replicas": count.unwrap_or(1)}}),
        None => scale_up_patch(canary, target, None, scaler),
    }
}

/// Whether the primary's rollout is complete; `None` when there is no primary.
pub fn primary_readiness(canary: &Canary, primary: Option<&Value>, now: Timestamp) -> Readiness {
    let name = canary.primary_name();
    let Some(primary) = primary else { return Readiness::Waiting(not_found(canary, &name)) };
    let threshold = canary.analysis().primary_ready_threshold();
    prefixed(readiness(canary, primary, threshold, now), &format!("{} not ready", qualified(canary, &name)))
}

/// Whether the target's rollout is complete; `None` when there is no target.
pub fn target_readiness(canary: &Canary, target: Option<&Value>, now: Timestamp) -> Readiness {
    let name = &canary.spec.target_ref.name;
    let Some(target) = target else { return Readiness::Waiting(not_found(canary, name)) };
    let threshold = canary.analysis().canary_ready_threshold();
    prefixed(
        readiness(canary, target, threshold, now),
        &format!("canary deployment {} not ready", qualified(canary, name)),
    )
}

/// Adds who it is to the text.
pub(super) fn prefixed(readiness: Readiness, who: &str) -> Readiness {
    match readiness {
        Readiness::Ready => Readiness::Ready,
        Readiness::Waiting(text) => Readiness::Waiting(format!("{who}: {text}")),
        Readiness::Stuck(text) => Readiness::Stuck(format!("{who}: {text}")),
    }
}

/// Source: reference progressive-delivery.md, B.6.
fn readiness(canary: &Canary, deployment: &Value, threshold: i64, now: Timestamp) -> Readiness {
    let number = |pointer: &str| at(deployment, pointer).and_then(Value::as_i64).unwrap_or_default();
    if number("/metadata/generation") > number("/status/observedGeneration") {
        let text = "waiting for rollout to finish: observed deployment generation less than desired generation";
        return Readiness::Waiting(text.into());
    }
    let condition =
        |kind: &str| super::items(deployment, "/status/conditions").iter().find(|found| found["type"] == kind);
    let progress = condition("Progressing");
    if progress.is_some_and(|progress| progress["reason"] == "ProgressDeadlineExceeded") {
        let name = deployment.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        return Readiness::Stuck(format!("deployment {name:?} exceeded its progress deadline"));
    }
    let overdue = progress.and(condition("Available")).is_some_and(|available| {
        let since = available["lastUpdateTime"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
        available["status"] == "False"
            && available["reason"] == "MinimumReplicasUnavailable"
            && since.is_some_and(|since| since.saturating_add(canary.progress_deadline()).is_ok_and(|end| end < now))
    });
    let (updated, total, available) =
        (number("/status/updatedReplicas"), number("/status/replicas"), number("/status/availableReplicas"));
    let wanted = replicas(deployment);
    let enough = updated * threshold / 100;
    let text = if let Some(wanted) = wanted.filter(|&wanted| updated < wanted) {
        format!("waiting for rollout to finish: {updated} out of {wanted} new replicas have been updated")
    } else if total > updated {
        format!("waiting for rollout to finish: {} old replicas are pending termination", total - updated)
    } else if available < enough {
        format!(
            "waiting for rollout to finish: {available} of {enough} (readyThreshold {threshold}%) updated replicas are available"
        )
    } else {
        return Readiness::Ready;
    };
    if overdue { Readiness::Stuck(text) } else { Readiness::Waiting(text) }
}

fn replicas(deployment: &Value) -> Option<i64> {
    at(deployment, "/spec/replicas").and_then(Value::as_i64)
}

fn copy(canary: &Canary, target: &Value, copied: Copied<'_>, annotations: Map<String, Value>, replicas: i64) -> Value {
    let selector = copied.selector;
    let mut labels = copied_labels(target, copied.options);
    labels.insert(selector.label.clone(), json!(selector.primary_value()));
    let mut spec = json!({
        "replicas": replicas,
        "selector": {"matchLabels": {&selector.label: selector.primary_value()}},
        "template": pods::template(target, copied),
    });
    for member in COPIED {
        if let Some(value) = target.get("spec").and_then(|spec| spec.get(member)) {
            spec[member] = value.clone();
        }
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": super::metadata(canary, &canary.primary_name(), labels, annotations),
        "spec": spec,
    })
}

/// The error with the act that the reference names.
pub fn creating(error: Error) -> Error {
    Error::Primary { act: "createPrimaryDeployment", source: Box::new(error) }
}
