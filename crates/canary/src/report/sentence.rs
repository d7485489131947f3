//! The sentence that says where a rollout stands: state, because, what is awaited. Times to come are no part of it, so that
//! it stays true while nobody looks.

use api::flagger::{Canary, Phase, Strategy};

use super::{Known, Reason, ReasonKind, State, gate, steps};
use crate::{conditions, machine::Signed};

/// The sentence.
pub(super) fn of(
    canary: &Canary,
    state: State,
    known: Known<'_>,
    reason: Option<&Reason>,
    version: Option<&str>,
) -> String {
    let status = canary.status();
    let weight = status.canary_weight;
    let version = version.unwrap_or("the new revision");
    match (state, status.phase) {
        (State::Suspended, _) if weight > 0 => format!("Suspended: the canary keeps {weight}% of traffic."),
        (State::Suspended, _) => "Suspended: no new revision is tried.".into(),
        (State::Paused, _) => paused(canary, weight),
        (State::Failed, _) => failed(known, reason, version),
        (State::Ready, Phase::Initialized) => format!("Users get {version}. No other revision was tried yet."),
        (State::Ready, _) => ready(known, version),
        (State::Promoting, Phase::Finalising) => format!("Promoting {version}: all traffic is on the primary again."),
        (State::Promoting, _) => format!("Promoting {version}: the primary takes it over."),
        (State::Waiting, _) => waiting(canary, version),
        (State::Progressing, Phase::Unset | Phase::Initializing) => "The primary is being made.".into(),
        (State::Progressing, Phase::Terminating | Phase::Terminated) => "The Canary is being deleted.".into(),
        (State::Progressing, _) => progressing(canary, reason, version),
    }
}

fn paused(canary: &Canary, weight: i64) -> String {
    let status = canary.status();
    let text = conditions::message(&status.conditions, conditions::PAUSED).unwrap_or_default();
    let Signed { by, reason, .. } = Signed::parse(text);
    let why = reason.map(|reason| format!(": {reason:?}")).unwrap_or_default();
    format!("Paused at {weight}% by {by}{why}. The canary keeps its traffic until resumed.")
}

fn failed(known: Known<'_>, reason: Option<&Reason>, version: &str) -> String {
    let from = known.run.and_then(|run| run.from_image.as_deref()).map(super::version);
    let at = known.run.and_then(|run| run.ended).map(|at| format!(" at {at:.0}")).unwrap_or_default();
    let why = match reason {
        Some(Reason { kind: ReasonKind::Manual, text, .. }) => format!(": {text}"),
        Some(Reason { text, .. }) => format!(" because {}", text.replacen(" is ", " was ", 1)),
        None => String::new(),
    };
    match from {
        Some(from) => format!("Rolled back from {version} to {from}{at}{why}."),
        None => format!("Rolled back{at}{why}."),
    }
}

fn ready(known: Known<'_>, version: &str) -> String {
    let Some(run) = known.run.filter(|run| run.phase == Phase::Succeeded) else {
        return format!("Users get {version}.");
    };
    let failed = run.ticks.iter().map(|tick| tick.failed_checks).max().unwrap_or(0);
    let checks = match failed {
        0 => "no check failed".to_owned(),
        1 => "1 check failed".to_owned(),
        many => format!("{many} checks failed"),
    };
    let took = run.ended.map(|ended| ended.duration_since(run.began).as_secs().max(0).unsigned_abs());
    let took =
        took.map(|seconds| format!(" It took {}, {checks}.", api::Duration(std::time::Duration::from_secs(seconds))));
    format!("{version} is primary.{}", took.unwrap_or_default())
}

fn waiting(canary: &Canary, version: &str) -> String {
    match gate(canary) {
        Some((what, hook)) => format!("Waiting for approval {what} {version} (gate {hook})."),
        None => {
            let status = canary.status();
            let wait = conditions::message(&status.conditions, conditions::WAITING);
            wait.map_or_else(|| format!("{version} waits for approval."), str::to_owned)
        }
    }
}

fn progressing(canary: &Canary, reason: Option<&Reason>, version: &str) -> String {
    let (analysis, status) = (canary.analysis(), canary.status());
    let (weight, step) = (status.canary_weight, steps::reached(canary));
    let by_weight = analysis.strategy() == Strategy::Canary;
    if let Some(reason) = reason {
        let at = if by_weight { format!("{weight}%") } else { format!("iteration {} of {}", step.n, step.of) };
        return format!("Held at {at}: {}.", reason.text);
    }
    let told = match (by_weight, weight) {
        (true, 0) => format!("Trying {version}: it gets no traffic yet."),
        (true, weight) => format!("Sending {weight}% to {version}."),
        (false, _) => format!("Trying {version}: {} of {} iterations passed.", step.n, step.of),
    };
    let wait = conditions::message(&status.conditions, conditions::WAITING);
    wait.map_or(told.clone(), |wait| format!("{told} {wait}"))
}
