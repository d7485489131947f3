//! Whether an object has reached what its spec asks for, told from its JSON form.
//!
//! Source: reference delivery.md section 5.7; kstatus (fluxcd/cli-utils 1.4.0).

mod expressions;
mod workload;

use std::fmt;

use api::meta::ObjectReference;
use serde_json::Value;

pub use expressions::Expressions;

/// Where an object stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is what its spec asks for.
    Current,
    /// It is on its way.
    InProgress,
    /// It will not get there by itself.
    Failed,
    /// It is being deleted.
    Terminating,
    /// It does not exist.
    NotFound,
    /// An expression about it gave no answer: why.
    Unknown(String),
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Current => "Current",
            Self::InProgress => "InProgress",
            Self::Failed => "Failed",
            Self::Terminating => "Terminating",
            Self::NotFound => "NotFound",
            Self::Unknown(_) => "Unknown",
        })
    }
}

/// Where an object stands; `None` stands for one that does not exist.
pub fn health(object: Option<&Value>, now: jiff::Timestamp) -> Health {
    let Some(object) = object else { return Health::NotFound };
    if object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null()) {
        return Health::Terminating;
    }
    if let Some(settled) = generic(object) {
        return settled;
    }
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    match (group(object), kind) {
        ("apps" | "extensions", "Deployment") => workload::deployment(object),
        ("apps", "StatefulSet") => workload::stateful_set(object),
        ("apps" | "extensions", "DaemonSet") => workload::daemon_set(object),
        ("apps" | "extensions", "ReplicaSet") => workload::replica_set(object),
        ("", "Pod") => workload::pod(object, now),
        ("batch", "Job") => workload::job(object),
        ("", "PersistentVolumeClaim") => current_if(text(object, "/status/phase") == "Bound"),
        ("", "Service") => service(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("", "ConfigMap" | "Secret") | ("batch", "CronJob") | ("policy", "PodDisruptionBudget") => Health::Current,
        ("flagger.app", "Canary") => canary(object),
        _ => ready_condition(object),
    }
}

/// What counts for every kind: a generation not yet observed, and the conditions Reconciling and Stalled.
fn generic(object: &Value) -> Option<Health> {
    let observed = object.pointer("/status/observedGeneration").and_then(Value::as_i64);
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
    if let (Some(observed), Some(generation)) = (observed, generation)
        && observed != generation
    {
        return Some(Health::InProgress);
    }
    if condition(object, "Reconciling") == Some("True") {
        return Some(Health::InProgress);
    }
    (condition(object, "Stalled") == Some("True")).then_some(Health::Failed)
}

/// Kinds that nobody knows: a Ready condition that is not true means that they are on their way.
fn ready_condition(object: &Value) -> Health {
    current_if(matches!(condition(object, "Ready"), None | Some("True")))
}

fn service(object: &Value) -> Health {
    let balanced = text(object, "/spec/type") == "LoadBalancer";
    current_if(!balanced || !text(object, "/spec/clusterIP").is_empty())
}

fn definition(object: &Value) -> Health {
    if condition(object, "NamesAccepted") == Some("False") {
        return Health::Failed;
    }
    current_if(condition(object, "Established") == Some("True"))
}

/// A rollout that failed, ended, or goes on. Source: reference progressive-delivery.md, phases.
/// Differs: kstatus looks at the Ready condition only, which a Canary has not.
fn canary(object: &Value) -> Health {
    match text(object, "/status/phase") {
        "Failed" => Health::Failed,
        "Initialized" | "Succeeded" => Health::Current,
        _ => Health::InProgress,
    }
}

/// The error of a wait that ended at its time limit. Source: Flux `pkg/ssa`, `WaitForSet`.
pub fn timed_out(unhealthy: &[(ObjectReference, Health)]) -> String {
    format!("timeout waiting for: [{}]", list(unhealthy))
}

/// The error of a wait that ended early because objects failed. Source: Flux `pkg/ssa`, `WaitForSet`.
pub fn failed_early(failed: &[(ObjectReference, Health)]) -> String {
    format!("failed early due to stalled resources: [{}]", list(failed))
}

fn list(objects: &[(ObjectReference, Health)]) -> String {
    let text = |(object, health): &(ObjectReference, Health)| match health {
        Health::Unknown(why) => format!("{object} status: '{health}': {why}"),
        _ => format!("{object} status: '{health}'"),
    };
    objects.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn current_if(current: bool) -> Health {
    if current { Health::Current } else { Health::InProgress }
}

fn group(object: &Value) -> &str {
    text(object, "/apiVersion").split_once('/').map_or("", |(group, _)| group)
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

/// The condition of that type, whole.
fn find<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|condition| condition.get("type").and_then(Value::as_str) == Some(kind))
}

/// Status of the condition of that type.
fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    find(object, kind)?.get("status").and_then(Value::as_str)
}

#[cfg(test)]
mod tests;
