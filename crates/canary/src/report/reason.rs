//! Why a rollout failed or is held: always with value, limit, unit and the time of the sample.

use api::flagger::Canary;
use jiff::Timestamp;
use serde::Serialize;

use super::{Known, State, checks, gate, quantity};
use crate::{
    machine::Signed,
    trail::{Check, Run, Tick, Verdict},
};

/// What it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ReasonKind {
    /// A metric was not good enough, or silent.
    Metric,
    /// Pods were not ready in time.
    Deadline,
    /// A hook failed, or asked for it.
    Webhook,
    /// Somebody asked for it.
    Manual,
    /// A gate is closed.
    Gate,
    /// Something else; the text is the controller's.
    Other,
}

/// Why a rollout failed or is held.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// What it was.
    pub kind: ReasonKind,
    /// For people, without the name of the rollout.
    pub text: String,
    /// The metric or hook.
    pub check: Option<String>,
    /// The value measured.
    pub value: Option<f64>,
    /// The limit that it broke.
    pub limit: Option<f64>,
    /// `<=` or `>=`: how the value should stand to the limit.
    pub op: Option<&'static str>,
    /// Unit of value and limit.
    pub unit: Option<&'static str>,
    /// When it was measured, or happened.
    pub sampled_at: Option<Timestamp>,
    /// Weight at that time, in percent.
    pub weight: Option<i64>,
    /// Who asked for it.
    pub by: Option<String>,
}

impl Reason {
    fn new(kind: ReasonKind, text: impl Into<String>, tick: Option<&Tick>) -> Self {
        Self {
            kind,
            text: text.into(),
            check: None,
            value: None,
            limit: None,
            op: None,
            unit: None,
            sampled_at: tick.map(|tick| tick.at),
            weight: tick.map(|tick| tick.weight),
            by: None,
        }
    }
}

/// Why it stands where it stands; nothing if all is well.
pub(super) fn of(canary: &Canary, state: State, known: Known<'_>) -> Option<Reason> {
    match (state, known.run) {
        (State::Failed, Some(run)) => Some(of_failure(canary, run)),
        (State::Waiting, _) => {
            let (_, hook) = gate(canary)?;
            let text = format!("gate {hook} is not open");
            Some(Reason { check: Some(hook), ..Reason::new(ReasonKind::Gate, text, None) })
        }
        (State::Progressing | State::Paused, Some(run)) if run.ended.is_none() => {
            let tick = run.ticks.last()?;
            let bad = tick.checks.iter().rfind(|check| check.verdict != Verdict::Passed)?;
            Some(of_check(canary, run, tick, bad))
        }
        _ => None,
    }
}

fn of_failure(canary: &Canary, run: &Run) -> Reason {
    let Some(last) = run.ticks.last() else { return Reason::new(ReasonKind::Other, "nothing more is known", None) };
    let said = |part: &str| last.events.iter().find(|text| text.contains(part));
    if let Some(request) = said("Request accepted: rollback") {
        let signed = Signed::parse(request);
        let why = signed.reason.as_ref().map(|why| format!(": {why:?}")).unwrap_or_default();
        let text = format!("{} asked for it{why}", signed.by);
        return Reason { by: Some(signed.by), ..Reason::new(ReasonKind::Manual, text, Some(last)) };
    }
    if said("manual webhook invoked").is_some() {
        return Reason::new(ReasonKind::Webhook, "the rollback hook asked for it", Some(last));
    }
    let is_counted = said("failed checks threshold reached").is_some();
    if is_counted || last.events.is_empty() {
        let bad = |tick: &'_ Tick| tick.checks.iter().rfind(|check| check.verdict != Verdict::Passed).cloned();
        if let Some((tick, check)) = run.ticks.iter().rev().find_map(|tick| Some((tick, bad(tick)?))) {
            return of_check(canary, run, tick, &check);
        }
    }
    if is_counted {
        let hook = run.ticks.iter().rev().flat_map(|tick| &tick.events).find(|text| text.contains(" failed "));
        let text = hook.map_or_else(|| "its checks failed".to_owned(), |text| plain(text));
        return Reason::new(ReasonKind::Webhook, text, Some(last));
    }
    let text = last.events.iter().find(|text| !text.starts_with("Canary failed!")).map(|text| plain(text));
    let text = text.unwrap_or_else(|| "nothing more is known".to_owned());
    let kind = if text.contains("deadline") { ReasonKind::Deadline } else { ReasonKind::Other };
    Reason::new(kind, text, Some(last))
}

fn of_check(canary: &Canary, run: &Run, tick: &Tick, check: &Check) -> Reason {
    let unit = checks::unit(canary, &check.metric);
    let is_bad = |one: &&Check| one.metric == check.metric && one.verdict != Verdict::Passed;
    let failed = run.ticks.iter().flat_map(|tick| &tick.checks).filter(is_bad).count();
    // What counts towards the rollback is the sum over all checks; a tick may have failed several.
    let counted = run.ticks.iter().map(|tick| tick.failed_checks).max().unwrap_or(0);
    let counted = counted.max(i64::try_from(failed).unwrap_or(i64::MAX));
    let counted = format!("failed {counted} of {}", canary.analysis().threshold());
    let broken = |value: f64| {
        let below = check.min.filter(|min| value < *min).map(|min| (">=", min));
        below.or_else(|| check.max.filter(|max| value > *max).map(|max| ("<=", max)))
    };
    let (op, bound) = check.value.and_then(broken).map_or((None, None), |(op, bound)| (Some(op), Some(bound)));
    let text = match (check.value, op, bound) {
        (Some(value), Some(op), Some(bound)) => {
            format!("{} is {}, limit {op} {} ({counted})", check.metric, quantity(value, unit), quantity(bound, unit))
        }
        _ => {
            let problem = check.problem.as_deref().map(|problem| format!(": {problem}")).unwrap_or_default();
            format!("{} has no value{problem} ({counted})", check.metric)
        }
    };
    Reason {
        check: Some(check.metric.clone()),
        value: check.value,
        limit: bound,
        op,
        unit: Some(unit),
        ..Reason::new(ReasonKind::Metric, text, Some(tick))
    }
}

/// An event's text without the words that only repeat which rollout it is about.
fn plain(text: &str) -> String {
    let told = text.split_once(" advancement ").map_or(text, |(_, told)| told);
    told.strip_prefix("Rolling back ").unwrap_or(told).to_owned()
}
