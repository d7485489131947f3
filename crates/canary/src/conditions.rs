//! The conditions of a Canary: `Promoted`, which is Flagger's, and after it what slipway adds while there is something to add.
//! Source: reference progressive-delivery.md, A.8.

use api::{
    Time,
    flagger::{CanaryCondition, PROMOTED, Phase},
};
use jiff::Timestamp;

/// Present while a rollout waits for something; the message says for what.
///
/// Differs: the original has `Promoted` alone, whose message says no more than that something is awaited.
pub const WAITING: &str = "Waiting";
/// Present while somebody paused the rollout; the message says who and when.
pub const PAUSED: &str = "Paused";
/// The request that was obeyed or refused last.
pub const REQUESTED: &str = "Requested";
/// Present while a metric without data holds the rollout; the reason is its name.
pub const SILENT: &str = "NoData";
/// Since when a step with a time of its own is looked at; the reason is `Weight` and its weight.
pub const STEP: &str = "Step";

/// Puts the condition of that phase in place. Its times move only when its status or reason does.
pub fn set(conditions: &mut Vec<CanaryCondition>, phase: Phase, kind: &str, now: Timestamp) {
    let (status, message) = text(phase, kind);
    let previous = conditions.iter().find(|condition| condition.kind == PROMOTED);
    if previous.is_some_and(|previous| previous.status == status && previous.reason == phase.as_str()) {
        return;
    }
    let since =
        previous.filter(|previous| previous.status == status).and_then(|same| same.last_transition_time.clone());
    let condition = CanaryCondition {
        kind: PROMOTED.into(),
        status: status.into(),
        last_update_time: Some(Time(now)),
        last_transition_time: since.or(Some(Time(now))),
        reason: phase.as_str().into(),
        message,
    };
    conditions.retain(|condition| condition.kind != PROMOTED);
    conditions.insert(0, condition);
}

/// Puts a condition of ours in place, or takes it away if there is nothing to say; whether that changed anything. Its time of
/// transition moves when its reason does.
pub fn tell(
    conditions: &mut Vec<CanaryCondition>,
    kind: &str,
    reason: &str,
    message: Option<&str>,
    now: Timestamp,
) -> bool {
    let previous = conditions.iter().find(|condition| condition.kind == kind);
    let is_told = |previous: &CanaryCondition| previous.reason == reason && Some(previous.message.as_str()) == message;
    if previous.is_none() && message.is_none() || previous.is_some_and(is_told) {
        return false;
    }
    let same = previous.filter(|previous| previous.reason == reason);
    let since = same.and_then(|previous| previous.last_transition_time.clone());
    conditions.retain(|condition| condition.kind != kind);
    conditions.extend(message.map(|message| CanaryCondition {
        kind: kind.into(),
        status: "True".into(),
        last_update_time: Some(Time(now)),
        last_transition_time: since.or(Some(Time(now))),
        reason: reason.into(),
        message: message.into(),
    }));
    true
}

/// The message of a condition.
pub fn message<'a>(conditions: &'a [CanaryCondition], kind: &str) -> Option<&'a str> {
    conditions.iter().find(|condition| condition.kind == kind).map(|condition| condition.message.as_str())
}

/// Since when a condition has that reason.
pub fn since(conditions: &[CanaryCondition], kind: &str, reason: &str) -> Option<Timestamp> {
    let condition = conditions.iter().find(|condition| condition.kind == kind && condition.reason == reason)?;
    condition.last_transition_time.as_ref().map(|time| time.0)
}

fn text(phase: Phase, kind: &str) -> (&'static str, String) {
    match phase {
        Phase::Initialized => ("True", format!("{kind} initialization completed.")),
        Phase::Waiting | Phase::WaitingPromotion => ("Unknown", "Waiting for approval.".into()),
        Phase::Progressing => ("Unknown", "New revision detected, progressing canary analysis.".into()),
        Phase::Promoting => ("Unknown", "Canary analysis completed, starting primary rolling update.".into()),
        Phase::Finalising => ("Unknown", "Canary analysis completed, routing all traffic to primary.".into()),
        Phase::Succeeded => ("True", "Canary analysis completed successfully, promotion finished.".into()),
        Phase::Failed => ("False", format!("Canary analysis failed, {kind} scaled to zero.")),
        Phase::Unset | Phase::Initializing | Phase::Terminating | Phase::Terminated => {
            ("Unknown", format!("New {kind} detected, starting initialization."))
        }
    }
}
