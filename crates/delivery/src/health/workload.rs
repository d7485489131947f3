//! Health of what runs: Deployment, StatefulSet, DaemonSet, ReplicaSet, Pod, Job.
//!
//! Source: reference delivery.md section 5.7; kstatus `core.go`.

use jiff::Timestamp;
use serde_json::Value;

use super::{Health, condition, current_if, find, number, text};

/// How long a Pod that fits on no node is still on its way, in seconds.
const UNSCHEDULABLE_SECONDS: i64 = 15;

fn status(object: &Value, field: &str) -> i64 {
    number(object, &format!("/status/{field}")).unwrap_or_default()
}

/// Replicas asked for; one unless the manifest says otherwise.
fn replicas(object: &Value) -> i64 {
    number(object, "/spec/replicas").unwrap_or(1)
}

pub(super) fn deployment(object: &Value) -> Health {
    let wanted = replicas(object);
    let progressing = find(object, "Progressing").and_then(|condition| condition.get("reason")).and_then(Value::as_str);
    if progressing == Some("ProgressDeadlineExceeded") {
        return Health::Failed;
    }
    let has_deadline =
        number(object, "/spec/progressDeadlineSeconds").is_some_and(|limit| limit != i64::from(i32::MAX));
    let rolled_out = !has_deadline
        || (condition(object, "Progressing") == Some("True") && progressing == Some("NewReplicaSetAvailable"));
    let (all, updated) = (status(object, "replicas"), status(object, "updatedReplicas"));
    let (ready, available) = (status(object, "readyReplicas"), status(object, "availableReplicas"));
    current_if(
        all >= wanted
            && updated >= wanted
            && all <= wanted
            && available >= updated
            && ready >= wanted
            && rolled_out
            && condition(object, "Available") == Some("True"),
    )
}

pub(super) fn stateful_set(object: &Value) -> Health {
    if text(object, "/spec/updateStrategy/type") == "OnDelete" {
        return Health::Current;
    }
    let wanted = replicas(object);
    let (all, ready) = (status(object, "replicas"), status(object, "readyReplicas"));
    if all < wanted || ready < wanted || all > wanted {
        return Health::InProgress;
    }
    if let Some(partition) = number(object, "/spec/updateStrategy/rollingUpdate/partition").filter(|&count| count > 0) {
        return current_if(status(object, "updatedReplicas") >= wanted - partition);
    }
    let same = text(object, "/status/currentRevision") == text(object, "/status/updateRevision");
    current_if(status(object, "currentReplicas") >= wanted && same)
}

pub(super) fn daemon_set(object: &Value) -> Health {
    let observed = object.pointer("/status/observedGeneration").is_some();
    let Some(wanted) = number(object, "/status/desiredNumberScheduled") else { return Health::InProgress };
    let enough = ["currentNumberScheduled", "updatedNumberScheduled", "numberAvailable", "numberReady"]
        .iter()
        .all(|field| status(object, field) >= wanted);
    current_if(observed && enough)
}

pub(super) fn replica_set(object: &Value) -> Health {
    if condition(object, "ReplicaFailure") == Some("True") {
        return Health::InProgress;
    }
    let wanted = replicas(object);
    let enough = ["fullyLabeledReplicas", "availableReplicas", "readyReplicas"]
        .iter()
        .all(|field| status(object, field) >= wanted);
    current_if(enough && status(object, "replicas") <= wanted)
}

pub(super) fn pod(object: &Value, now: Timestamp) -> Health {
    match text(object, "/status/phase") {
        "Succeeded" | "Failed" => Health::Current,
        "Running" if condition(object, "Ready") == Some("True") => Health::Current,
        "Running" if crash_loops(object) => Health::Failed,
        "Pending" if is_unschedulable(object, now) => Health::Failed,
        _ => Health::InProgress,
    }
}

fn crash_loops(pod: &Value) -> bool {
    let containers = pod.pointer("/status/containerStatuses").and_then(Value::as_array);
    containers.into_iter().flatten().any(|container| text(container, "/state/waiting/reason") == "CrashLoopBackOff")
}

fn is_unschedulable(pod: &Value, now: Timestamp) -> bool {
    let Some(scheduled) = find(pod, "PodScheduled") else { return false };
    let since = text(scheduled, "/lastTransitionTime").parse::<Timestamp>();
    text(scheduled, "/status") == "False"
        && text(scheduled, "/reason") == "Unschedulable"
        && since.is_ok_and(|since| now.as_second() - since.as_second() > UNSCHEDULABLE_SECONDS)
}

/// Differs from kstatus as Flux does: a Job that runs is on its way until it is complete.
pub(super) fn job(object: &Value) -> Health {
    let suspended = object.pointer("/spec/suspend") == Some(&Value::Bool(true));
    if suspended || condition(object, "Complete") == Some("True") {
        return Health::Current;
    }
    if condition(object, "Failed") == Some("True") { Health::Failed } else { Health::InProgress }
}
