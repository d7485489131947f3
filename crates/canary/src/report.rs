//! Where a rollout stands, as one record for every face of slipway: `describe`, `watch`, and the dashboard say it in
//! the same words because they print the same value.
//!
//! Pure: a Canary, what was kept of its runs and what is known of its workloads come in, [`Row`] and [`Rollout`] come out.

mod actions;
mod checks;
mod reason;
mod sentence;
mod steps;

use api::{
    Time,
    flagger::{Canary, CanaryStatus, HookType, Phase},
};
use jiff::Timestamp;
use serde::Serialize;

pub use actions::{ActionState, Consent, Steer, refusal};
pub use checks::{Check, Sample, quantity, unit};
pub use reason::{Reason, ReasonKind};
pub use steps::{Step, StepState, ladder, reached};

use crate::{conditions, machine::Signed, trail::Run};

/// The states that people are told, in the order in which they want to see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum State {
    /// The last revision was rolled back.
    Failed,
    /// A gate waits for somebody.
    Waiting,
    /// Somebody paused the rollout.
    Paused,
    /// The new revision is being judged.
    Progressing,
    /// The primary takes the new revision over.
    Promoting,
    /// Frozen by `spec.suspend`.
    Suspended,
    /// Users get what was promoted last.
    Ready,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 7] =
        [Self::Failed, Self::Waiting, Self::Paused, Self::Progressing, Self::Promoting, Self::Suspended, Self::Ready];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "Failed",
            Self::Waiting => "Waiting",
            Self::Paused => "Paused",
            Self::Progressing => "Progressing",
            Self::Promoting => "Promoting",
            Self::Suspended => "Suspended",
            Self::Ready => "Ready",
        }
    }

    /// Whether something moves by itself.
    pub const fn is_moving(self) -> bool {
        matches!(self, Self::Progressing | Self::Promoting)
    }

    fn of(canary: &Canary) -> Self {
        let status = canary.status();
        let is_paused = conditions::message(&status.conditions, conditions::PAUSED).is_some();
        match status.phase {
            _ if canary.spec.suspend => Self::Suspended,
            Phase::Failed => Self::Failed,
            Phase::Initialized | Phase::Succeeded => Self::Ready,
            _ if is_paused => Self::Paused,
            Phase::Promoting | Phase::Finalising => Self::Promoting,
            Phase::Waiting | Phase::WaitingPromotion => Self::Waiting,
            _ if gate(canary).is_some() => Self::Waiting,
            _ => Self::Progressing,
        }
    }
}

/// What is known about a rollout beside its Canary.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// The last run that was kept.
    pub run: Option<&'a Run>,
    /// The target, if it is there.
    pub target: Option<&'a Workload>,
    /// The primary, if it is there.
    pub primary: Option<&'a Workload>,
    /// Share of traffic that the canary has in effect, in percent, where the route could be read.
    pub actual: Option<u32>,
}

/// A workload in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// Image of the first container.
    pub image: Option<String>,
    /// Pods that are ready.
    pub ready: i64,
    /// Pods that are wanted.
    pub desired: i64,
}

/// Shares of traffic of the canary, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Weight {
    /// As the machine wants it.
    pub asked: i64,
    /// As it is in effect; unknown where the route could not be read.
    pub actual: Option<u32>,
}

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// So many.
    pub n: i64,
    /// Of these; none known is 0.
    pub of: i64,
}

/// Where a rollout stands, in one line.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Namespace.
    pub ns: String,
    /// Name.
    pub name: String,
    /// State in the words for people.
    pub state: State,
    /// Phase in Flagger's words.
    pub phase: Phase,
    /// Since when it is in this phase or at this weight.
    pub since: Option<Timestamp>,
    /// Where it stands and why.
    pub sentence: String,
    /// Why it failed or is held, in parts.
    pub reason: Option<Reason>,
    /// Share of traffic of the canary.
    pub weight: Weight,
    /// Steps reached.
    pub step: Share,
    /// Failed checks against their limit.
    pub failed: Share,
    /// The version that was there before, where one comes or came.
    pub from: Option<String>,
    /// The version that comes, or that users get.
    pub to: Option<String>,
    /// The run, by the second in which it began.
    pub run_id: Option<String>,
    /// When the next check is due, while something moves.
    pub next_check_at: Option<Timestamp>,
    /// Changes whenever the rollout moves; what an action is asked on.
    pub seen: String,
}

/// A stop that waits for a person or a hook to let the rollout on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// Name of its hook.
    pub name: String,
    /// When it is asked.
    #[serde(rename = "type")]
    pub kind: HookType,
    /// Whether the rollout stands before it now.
    pub is_waiting: bool,
    /// Since when.
    pub since: Option<Timestamp>,
}

/// What somebody asked for and what is not obeyed yet, or who paused the rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// What.
    pub action: String,
    /// Who, when, why.
    #[serde(flatten)]
    pub signed: Signed,
}

/// All that is known of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// The line.
    #[serde(flatten)]
    pub row: Row,
    /// `KIND/NAME` of the workload.
    pub target: String,
    /// The router, where the Canary names one.
    pub provider: Option<String>,
    /// How traffic moves.
    pub strategy: &'static str,
    /// Seconds between checks.
    pub interval: u64,
    /// What users get.
    pub primary: Option<Workload>,
    /// What is on trial.
    pub canary: Option<Workload>,
    /// The weights or iterations on the way.
    pub steps: Vec<Step>,
    /// When it is promoted if every check passes.
    pub eta_at: Option<Timestamp>,
    /// When the run began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What it waits for, in the controller's words.
    pub waiting_for: Option<String>,
    /// The metrics with their last values.
    pub checks: Vec<Check>,
    /// The stops.
    pub gates: Vec<Gate>,
    /// Who paused it.
    pub paused: Option<Asked>,
    /// What was asked for and is not obeyed yet.
    pub pending: Option<Asked>,
    /// What can be asked for now, and why not the rest.
    pub actions: Vec<ActionState>,
}

/// The line of a rollout.
pub fn row(canary: &Canary, known: Known<'_>) -> Row {
    let (status, state) = (canary.status(), State::of(canary));
    let (from, to) = versions(state, known);
    let reason = reason::of(canary, state, known);
    let sentence = sentence::of(canary, state, known, reason.as_ref(), to.as_deref());
    let run_id = known.run.map(|run| run.began.as_second().to_string());
    let settled = status.phase.is_settled();
    Row {
        ns: canary.namespace().to_owned(),
        name: canary.name().to_owned(),
        state,
        phase: status.phase,
        since: status.last_transition_time.as_ref().map(|time| time.0),
        sentence,
        weight: Weight { asked: status.canary_weight, actual: known.actual },
        step: steps::reached(canary),
        failed: Share { n: failed(&status, state, known), of: canary.analysis().threshold() },
        from,
        to,
        next_check_at: next_check(canary, state, known),
        seen: format!(
            "{}/{}/{}/{}/{}",
            run_id.as_deref().unwrap_or("-"),
            status.phase,
            status.canary_weight,
            status.iterations,
            if settled { "-" } else { state.as_str() },
        ),
        reason,
        run_id,
    }
}

/// All that is known of a rollout.
pub fn rollout(canary: &Canary, known: Known<'_>) -> Rollout {
    let (status, analysis, row) = (canary.status(), canary.analysis(), row(canary, known));
    let steps = steps::of(canary, row.state, known.run);
    let target = &canary.spec.target_ref;
    Rollout {
        target: format!("{}/{}", target.kind.to_lowercase(), target.name),
        provider: canary.spec.provider.clone().filter(|provider| !provider.is_empty()),
        strategy: analysis.strategy().as_str(),
        interval: analysis.interval(std::time::Duration::from_secs(1)).as_secs(),
        primary: known.primary.cloned(),
        canary: known.target.cloned(),
        eta_at: steps::eta(canary, &steps, row.next_check_at),
        started_at: known.run.map(|run| run.began),
        ended_at: known.run.and_then(|run| run.ended),
        waiting_for: conditions::message(&status.conditions, conditions::WAITING).map(str::to_owned),
        checks: checks::of(canary, known.run),
        gates: gates(canary),
        paused: paused(canary),
        pending: actions::pending(canary),
        actions: actions::of(canary, &row),
        steps,
        row,
    }
}

/// The tag of an image, the beginning of its digest without one.
pub fn version(image: &str) -> String {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last = name.rsplit('/').next().unwrap_or(name);
    match (last.split_once(':'), digest) {
        (Some((_, tag)), _) => tag.to_owned(),
        (None, Some(digest)) => digest.split_once(':').map_or(digest, |(_, hex)| hex).chars().take(12).collect(),
        (None, None) => "latest".to_owned(),
    }
}

/// Versions before and after. Where nothing comes there is only the one that users get.
fn versions(state: State, known: Known<'_>) -> (Option<String>, Option<String>) {
    let image = |workload: Option<&Workload>| workload.and_then(|workload| workload.image.clone());
    let (from, to) = match known.run {
        Some(run) if run.ended.is_none() || state == State::Failed => (run.from_image.clone(), run.image.clone()),
        Some(run) if state == State::Ready && run.phase == Phase::Succeeded => (None, run.image.clone()),
        _ if state == State::Ready => (None, image(known.primary).or_else(|| image(known.target))),
        _ => (image(known.primary), image(known.target)),
    };
    let (from, to) = (from.as_deref().map(version), to.as_deref().map(version));
    let is_same = from == to;
    (from.filter(|_| !is_same), to)
}

/// Failed checks; those of a run that was rolled back are told after the status has forgotten them.
fn failed(status: &CanaryStatus, state: State, known: Known<'_>) -> i64 {
    let ticks = known.run.filter(|_| state == State::Failed).into_iter().flat_map(|run| &run.ticks);
    ticks.map(|tick| tick.failed_checks).max().unwrap_or(0).max(status.failed_checks)
}

/// When the machine looks again, while something moves.
fn next_check(canary: &Canary, state: State, known: Known<'_>) -> Option<Timestamp> {
    let status = canary.status();
    if !matches!(state, State::Progressing | State::Waiting | State::Promoting) {
        return None;
    }
    let written = status.last_transition_time.as_ref().map(|time: &Time| time.0);
    let looked = known.run.and_then(|run| run.ticks.last()).map(|tick| tick.at);
    // Shorter intervals than Flagger's are allowed by an option that only the controller knows.
    written.max(looked)?.checked_add(canary.analysis().interval(std::time::Duration::from_secs(1))).ok()
}

/// The hook that the rollout waits for, and what it is to approve.
fn gate(canary: &Canary) -> Option<(&'static str, String)> {
    let status = canary.status();
    let wait = conditions::message(&status.conditions, conditions::WAITING)?;
    let (hook, what) = wait.strip_prefix("Waits for hook ")?.split_once(" to approve ")?;
    let approves = match what {
        "the promotion." => "to promote",
        "the rollout." => "to begin",
        _ => "to send more traffic to",
    };
    Some((approves, hook.to_owned()))
}

fn gates(canary: &Canary) -> Vec<Gate> {
    let (analysis, status, at) = (canary.analysis(), canary.status(), gate(canary));
    let waiting = status.conditions.iter().find(|condition| condition.kind == conditions::WAITING);
    let since = waiting.and_then(|waiting| waiting.last_transition_time.as_ref()).map(|time| time.0);
    let kinds = [HookType::ConfirmRollout, HookType::ConfirmTrafficIncrease, HookType::ConfirmPromotion];
    let hooks = kinds.iter().flat_map(|kind| analysis.hooks(*kind));
    hooks
        .map(|hook| {
            let is_waiting = at.as_ref().is_some_and(|(_, name)| *name == hook.name);
            Gate { name: hook.name.clone(), kind: hook.kind, is_waiting, since: since.filter(|_| is_waiting) }
        })
        .collect()
}

fn paused(canary: &Canary) -> Option<Asked> {
    let status = canary.status();
    let text = conditions::message(&status.conditions, conditions::PAUSED)?;
    Some(Asked { action: "pause".into(), signed: Signed::parse(text) })
}

#[cfg(test)]
mod tests;
