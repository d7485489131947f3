//! The one condition of a Canary: `Promoted`. Source: reference progressive-delivery.md, A.8.

use api::{
    Time,
    flagger::{CanaryCondition, PROMOTED, Phase},
};
use jiff::Timestamp;

/// Puts the condition of that phase in place. Its times move only when its status or reason does.
pub fn set(conditions: &mut Vec<CanaryCondition>, phase: Phase, kind: &str, now: Timestamp) {
    let (status, message) = text(phase, kind);
    let previous = conditions.iter().find(|condition| condition.kind == PROMOTED);
    if previous.is_some_and(|previous| previous.status == status && previous.reason == phase.as_str()) {
        return;
    }
    let since =
        previous.filter(|previous| previous.status == status).and_then(|same| same.last_transition_time.clone());
    *conditions = vec![CanaryCondition {
        kind: PROMOTED.into(),
        status: status.into(),
        last_update_time: Some(Time(now)),
        last_transition_time: since.or(Some(Time(now))),
        reason: phase.as_str().into(),
        message,
    }];
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
