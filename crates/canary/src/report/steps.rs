//! The weights or iterations on the way to promotion, and how far the rollout is.

use std::time::Duration;

use api::flagger::{Canary, Phase};
use jiff::Timestamp;
use serde::Serialize;

use super::{Share, State};
use crate::{machine::next_weight, trail::Run};

/// Most steps that are listed one by one.
const MOST: usize = 100;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Share of traffic of the canary, in percent; the number of an iteration where there are no weights.
    pub weight: i64,
    /// How far it is.
    pub state: StepState,
    /// When it was reached.
    pub at: Option<Timestamp>,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum StepState {
    /// Passed.
    Done,
    /// Here the rollout is.
    Now,
    /// Not reached.
    Next,
    /// Here it failed.
    Failed,
}

/// The weights that the canary gets one after the other, in percent.
pub fn ladder(canary: &Canary) -> Vec<i64> {
    let analysis = canary.analysis();
    let analysis = canary.additions().map_or_else(|_| analysis.clone().into_owned(), |more| more.applied(&analysis));
    let next = |weight: u32| next_weight(&analysis, weight);
    std::iter::successors(next(0), |weight| next(*weight)).take(MOST).map(i64::from).collect()
}

/// How many steps were reached of all.
pub fn reached(canary: &Canary) -> Share {
    let (analysis, status) = (canary.analysis(), canary.status());
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    match (analysis.iterations(), ladder(canary)) {
        (0, ladder) => {
            let n = count(ladder.iter().filter(|weight| **weight <= status.canary_weight).count());
            Share { n, of: count(ladder.len()) }
        }
        (of, _) => Share { n: status.iterations, of },
    }
}

/// The steps. Those of a run that has ended are shown as it left them.
pub(super) fn of(canary: &Canary, state: State, run: Option<&Run>) -> Vec<Step> {
    let (analysis, status) = (canary.analysis(), canary.status());
    let by_weight = analysis.iterations() == 0;
    let wanted = match by_weight {
        true => ladder(canary),
        false => (1..=analysis.iterations()).take(MOST).collect(),
    };
    let run = run.filter(|_| status.phase != Phase::Initialized);
    let reached = |tick: &crate::trail::Tick| if by_weight { tick.weight } else { tick.iterations };
    let ticks = || run.into_iter().flat_map(|run| &run.ticks);
    let is_over = matches!(state, State::Ready | State::Failed);
    let present = if by_weight { status.canary_weight } else { status.iterations };
    let top = if is_over { ticks().map(reached).max().unwrap_or(0) } else { present };
    let passed_all = state == State::Promoting || (state == State::Ready && run.is_some());
    let step = |weight: i64| {
        let step_state = match () {
            () if passed_all || weight < top => StepState::Done,
            () if weight > top => StepState::Next,
            () if state == State::Failed => StepState::Failed,
            () => StepState::Now,
        };
        let at = ticks().find(|tick| reached(tick) >= weight).map(|tick| tick.at);
        Step { weight, state: step_state, at: at.filter(|_| weight <= top) }
    };
    wanted.into_iter().map(step).collect()
}

/// When the rollout is promoted if every check from now on passes, and no gate holds it.
pub(super) fn eta(canary: &Canary, steps: &[Step], next: Option<Timestamp>) -> Option<Timestamp> {
    let left = steps.iter().filter(|step| step.state == StepState::Next).count();
    if canary.status().phase != Phase::Progressing || steps.is_empty() {
        return None;
    }
    let interval = canary.analysis().interval(Duration::from_secs(1));
    next?.checked_add(interval.checked_mul(u32::try_from(left).ok()?)?).ok()
}
