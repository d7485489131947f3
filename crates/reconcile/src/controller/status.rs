//! Conditions of a run in Flux's style, as a function of the object and the outcome. Pure.
//! Source: reference image-automation.md section 2.1.

use api::{
    Condition,
    conditions::{self, New, READY, RECONCILING, STALLED, Status},
    meta::REQUESTED_AT,
};
use serde_json::{Value, json};

use super::{Announce, Done, Failure, Retry, Style};
use crate::{Notice, store::merge::merge_patch};

const PROGRESSING: &str = "Progressing";
const IN_PROGRESS: &str = "reconciliation in progress";

/// Status at the start of a run, or none where the last outcome still holds.
pub(super) fn begun(object: &Value, now: jiff::Timestamp) -> Option<Value> {
    let generation = generation(object);
    let observed = object.pointer("/status/observedGeneration").and_then(Value::as_i64);
    let mut list = current(object);
    let settled = observed == Some(generation) && conditions::find(&list, READY).is_some();
    if settled {
        return None;
    }
    let message = match observed {
        Some(observed) if observed > 0 && observed != generation => {
            format!("processing object: new generation {observed} -> {generation}")
        }
        _ => IN_PROGRESS.to_owned(),
    };
    let new = |kind, status, message| New { kind, status, reason: PROGRESSING, message, generation };
    conditions::set(&mut list, new(RECONCILING, Status::True, &message), now);
    if conditions::find(&list, READY).is_none_or(|ready| ready.status == Status::Unknown.as_str()) {
        conditions::set(&mut list, new(READY, Status::Unknown, IN_PROGRESS), now);
    }
    sort(&mut list);
    Some(json!({ "conditions": list }))
}

/// Merge patch of the status after a run.
pub(super) fn after(object: &Value, outcome: &Result<Done, Failure>, now: jiff::Timestamp) -> Value {
    let generation = generation(object);
    let mut list = current(object);
    let set = |list: &mut Vec<Condition>, kind: &str, status, reason: &str, message: &str| {
        conditions::set(list, New { kind, status, reason, message, generation }, now);
    };
    let (own, settled) = match outcome {
        Ok(done) => {
            conditions::remove(&mut list, RECONCILING);
            conditions::remove(&mut list, STALLED);
            set(&mut list, READY, Status::True, done.reason, &done.message);
            (&done.status, true)
        }
        Err(failure) => {
            let terminal = failure.retry == Retry::Never;
            if terminal {
                conditions::remove(&mut list, RECONCILING);
                set(&mut list, STALLED, Status::True, failure.reason, &failure.message);
            } else {
                conditions::remove(&mut list, STALLED);
                let message = conditions::find(&list, RECONCILING)
                    .map_or_else(|| IN_PROGRESS.to_owned(), |condition| condition.message.clone());
                set(&mut list, RECONCILING, Status::True, "ProgressingWithRetry", &message);
            }
            set(&mut list, READY, Status::False, failure.reason, &failure.message);
            (&failure.status, terminal)
        }
    };
    let mut status = if own.is_null() { json!({}) } else { own.clone() };
    // Conditions of the stage's own (ArtifactInStorage, Healthy, …) come with its patch and join ours.
    let extra = status.get("conditions").cloned().unwrap_or_default();
    for condition in serde_json::from_value::<Vec<Condition>>(extra).unwrap_or_default() {
        conditions::remove(&mut list, &condition.type_);
        list.push(condition);
    }
    sort(&mut list);
    merge_patch(&mut status, &json!({ "conditions": list }));
    if settled {
        status["observedGeneration"] = generation.into();
    }
    if let Some(requested) = requested_at(object) {
        status["lastHandledReconcileAt"] = requested.into();
    }
    status
}

/// Merge patch that an own-style reconciler asked for.
pub(super) fn own(outcome: &Result<Done, Failure>) -> Option<Value> {
    let status = match outcome {
        Ok(done) => &done.status,
        Err(failure) => &failure.status,
    };
    (!status.is_null()).then(|| status.clone())
}

/// What is told after a run. Source: reference image-automation.md section 2.5.
pub(super) fn notices(
    before: &Value,
    outcome: &Result<Done, Failure>,
    style: Style,
    announce: Announce,
) -> Vec<Notice> {
    let done = match outcome {
        Ok(done) => done,
        Err(failure) => {
            let own = || vec![Notice::error(failure.reason, failure.message.clone())];
            return failure.notices.clone().unwrap_or_else(own);
        }
    };
    let is_told = || {
        let list = current(before);
        let ready = conditions::find(&list, READY).filter(|ready| ready.status == Status::True.as_str());
        match announce {
            Announce::MessageChange => ready.is_none_or(|ready| ready.message != done.message),
            Announce::BecameReady => ready.is_none(),
            Announce::Never => false,
        }
    };
    let own = (style == Style::Flux && is_told()).then(|| Notice::info(done.reason, done.message.clone()));
    own.into_iter().chain(done.notices.clone()).collect()
}

/// Merge patch for an object that does not fit its kind: Stalled, and why.
pub(crate) fn invalid_status(object: &Value, problem: &str, now: jiff::Timestamp) -> Value {
    after(object, &Err(Failure::terminal("InvalidManifest", problem)), now)
}

/// Puts conditions in the order in which Flux keeps them, so that a list read by position reads the same.
/// Source: fluxcd/pkg `runtime/conditions/setter.go`, `lexicographicLess`.
fn sort(list: &mut [Condition]) {
    let order = [STALLED, RECONCILING, READY];
    let weight = |condition: &Condition| order.iter().position(|kind| *kind == condition.type_).unwrap_or(order.len());
    let age = |condition: &Condition| match weight(condition) == order.len() {
        true => std::cmp::Reverse(condition.observed_generation),
        false => std::cmp::Reverse(None),
    };
    list.sort_by(|one, other| (weight(one), age(one), &one.type_).cmp(&(weight(other), age(other), &other.type_)));
}

fn current(object: &Value) -> Vec<Condition> {
    let list = object.pointer("/status/conditions").cloned().unwrap_or_default();
    serde_json::from_value(list).unwrap_or_default()
}

fn generation(object: &Value) -> i64 {
    object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0)
}

fn requested_at(object: &Value) -> Option<String> {
    let annotations = object.pointer("/metadata/annotations")?;
    annotations.get(REQUESTED_AT)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(second).unwrap()
    }

    fn object() -> Value {
        json!({"metadata": {"generation": 2, "annotations": {REQUESTED_AT: "now"}}, "status": {}})
    }

    fn with(mut object: Value, status: &Value) -> Value {
        merge_patch(&mut object["status"], status);
        object
    }

    fn states(status: &Value) -> Vec<String> {
        let list: Vec<Condition> = serde_json::from_value(status["conditions"].clone()).unwrap();
        list.iter().map(|c| format!("{}={} {}: {}", c.type_, c.status, c.reason, c.message)).collect()
    }

    #[test]
    fn success_leaves_only_ready_and_settles_the_generation() {
        let begun = with(object(), &begun(&object(), at(1)).unwrap());
        assert_eq!(
            states(&begun["status"]),
            [
                "Reconciling=True Progressing: reconciliation in progress",
                "Ready=Unknown Progressing: reconciliation in progress"
            ]
        );
        let status = after(&begun, &Ok(Done::new("all fine").status(json!({"x": 1}))), at(2));
        assert_eq!(states(&status), ["Ready=True Succeeded: all fine"]);
        assert_eq!(
            (&status["observedGeneration"], &status["lastHandledReconcileAt"], &status["x"]),
            (&json!(2), &json!("now"), &json!(1))
        );
        assert_eq!(super::begun(&with(begun, &status), at(3)), None);
    }

    #[test]
    fn a_retryable_failure_keeps_reconciling_and_the_generation_open() {
        let status = after(&object(), &Err(Failure::new("ReadOperationFailed", "scan failed: x")), at(1));
        assert_eq!(
            states(&status),
            [
                "Reconciling=True ProgressingWithRetry: reconciliation in progress",
                "Ready=False ReadOperationFailed: scan failed: x"
            ]
        );
        assert_eq!(status.get("observedGeneration"), None);
    }

    #[test]
    fn a_terminal_failure_stalls() {
        let status = after(&object(), &Err(Failure::terminal("ImageURLInvalid", "bad")), at(1));
        assert_eq!(states(&status), ["Stalled=True ImageURLInvalid: bad", "Ready=False ImageURLInvalid: bad"]);
        assert_eq!(status["observedGeneration"], 2);
    }

    #[test]
    fn conditions_are_kept_in_fluxs_order() {
        let ready = with(object(), &after(&object(), &Ok(Done::new("fine")), at(1)));
        let status = after(&ready, &Err(Failure::new("Failed", "x")), at(2));
        let kinds = |status: &Value| {
            states(status).iter().map(|state| state.split('=').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(kinds(&status), ["Reconciling", "Ready"]);
        assert_eq!(kinds(&after(&ready, &Err(Failure::terminal("Failed", "x")), at(2))), ["Stalled", "Ready"]);
        let own = |kind: &str, generation: i64| {
            json!({"type": kind, "status": "True", "reason": "R", "message": "", "observedGeneration": generation,
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        let own = json!({"conditions": [own("Old", 1), own("Healthy", 2), own("ArtifactInStorage", 2)]});
        let status = after(&object(), &Ok(Done::new("fine").status(own)), at(1));
        assert_eq!(kinds(&status), ["Ready", "ArtifactInStorage", "Healthy", "Old"]);
    }

    #[test]
    fn success_is_told_when_its_message_changes() {
        let ready = with(object(), &after(&object(), &Ok(Done::new("one")), at(1)));
        let count = |announce, message: &str| notices(&ready, &Ok(Done::new(message)), Style::Flux, announce).len();
        assert_eq!(count(Announce::MessageChange, "one"), 0);
        assert_eq!(count(Announce::MessageChange, "two"), 1);
        assert_eq!(count(Announce::BecameReady, "two"), 0);
    }
}
