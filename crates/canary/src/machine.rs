//! The canary machine: what one tick of a rollout does, as a pure function of the Canary, some facts, and the time.
//!
//! Which fact is needed next depends on the last one, so [`step`] either asks for one more fact or decides. The shell
//! (`controller.rs`) answers from the cluster and performs the decision; `simulate.rs` does both in memory; tests do it
//! from tables. Source: reference progressive-delivery.md, section B (Flagger 1.44 `pkg/controller/scheduler.go`).
//!
//! # Order of effects
//! [`Decision::effects`] is performed from first to last and stops at the first failure; the next tick begins afresh.
//! Every effect is idempotent, and the order is chosen so that a stop between any two of them leads to the same end:
//! - traffic, scale and copies that the *present* phase would repeat come before the status that leaves it
//!   (a rollback cut short is rolled back again; a run cut short at its beginning begins again);
//! - the promotion is the exception: `Promoting` is written before the copy is made, because a primary that runs the new
//!   revision while the phase still says `Progressing` could be "rolled back" to. `Promoting` makes the copy if it is missing;
//! - a weight that is on the route but not in the status means that a tick was cut short: the tick after only reports it,
//!   so that no step is taken twice in one interval. A weight that is in the status but not on the route was taken away by
//!   somebody else, or by a rollback that was cut short and whose cause is gone: once the checks pass it is put back;
//! - traffic leaves a workload before it is scaled down; events come before the status, alerts after it, since they may be slow.

mod answers;
mod begin;
mod decision;
mod draft;
mod initialize;
mod judging;
mod progress;
mod promote;
mod requests;
mod rollback;
mod weights;

use std::borrow::Cow;

use api::{
    Time,
    flagger::{Additions, Analysis, Canary, HookType, Phase},
};
use jiff::Timestamp;

pub use answers::{Answers, Measurement, Part, Question, Readiness, Role, Samples, Shares, Target};
pub use decision::{Decision, Effect, Options, Outcome, Step};
use draft::Draft;
pub(crate) use requests::Request;
pub use requests::{Action, PAUSED, REQUEST, Signed};
pub(crate) use weights::next as next_weight;

use crate::{
    alerts::Alert,
    conditions,
    events::{Event, Names},
    router::Weights,
    schedule,
};

/// One tick: asks for a fact, or decides. Equal arguments give equal results; nothing else is looked at.
pub fn step(canary: &Canary, options: &Options, answers: &Answers, now: Timestamp) -> Step {
    let mut tick = Tick::new(canary, options, answers, now);
    match tick.run() {
        Err(Stop::Ask(question)) => Step::Ask(question),
        Err(Stop::Done) | Ok(()) => Step::Done(Box::new(tick.decide())),
    }
}

/// Why a tick goes no further.
enum Stop {
    Ask(Question),
    Done,
}

type Flow<T = ()> = Result<T, Stop>;

/// A tick in the making.
struct Tick<'a> {
    canary: &'a Canary,
    analysis: Cow<'a, Analysis>,
    additions: Additions,
    options: &'a Options,
    answers: &'a Answers,
    now: Timestamp,
    names: Names<'a>,
    status: Draft<'a>,
    effects: Vec<Effect>,
    request: Option<Request>,
    is_changed: bool,
    is_retold: bool,
    is_full: bool,
    is_early: bool,
    is_idle: bool,
    outcome: Option<Outcome>,
    waiting_for: String,
}

impl<'a> Tick<'a> {
    fn new(canary: &'a Canary, options: &'a Options, answers: &'a Answers, now: Timestamp) -> Self {
        // What cannot be read is refused before any tick; see `validate`.
        let additions = canary.additions().unwrap_or_default();
        let analysis = match additions.steps.as_slice() {
            [] => canary.analysis(),
            _ => Cow::Owned(additions.applied(&canary.analysis())),
        };
        Self {
            canary,
            analysis,
            additions,
            options,
            answers,
            now,
            names: Names::of(canary),
            status: Draft::of(canary),
            effects: Vec::new(),
            request: Request::pending(canary),
            is_changed: false,
            is_retold: false,
            is_full: true,
            is_early: false,
            is_idle: false,
            outcome: None,
            waiting_for: String::new(),
        }
    }

    /// The order of reference progressive-delivery.md, B.3.
    fn run(&mut self) -> Flow {
        if self.status.phase == Phase::Unset || self.status.conditions.is_empty() && self.is_initializing() {
            self.enter(Phase::Initializing);
        }
        if self.canary.spec.suspend {
            self.event(self.names.suspended());
            return self.hold("spec.suspend to be taken back");
        }
        self.heed_pause()?;
        let target = self.target()?;
        self.adopt(&target);
        if self.is_early(&target) {
            (self.is_full, self.is_early) = (false, true);
            return self.hold("the next analysis");
        }
        self.prepare(&target)?;
        if self.is_initializing() {
            return self.initialized(&target);
        }
        if self.is_recovering(&target) {
            return self.recover(&target);
        }
        if self.status.phase.is_settled() && !self.is_new(&target) && !self.retries() {
            return self.settled(&target);
        }
        self.primary_ready(&target)?;
        let weights = self.weights()?;
        self.obey(&target)?;
        match self.status.phase {
            Phase::Promoting | Phase::Finalising => {}
            Phase::Progressing | Phase::WaitingPromotion if self.is_new(&target) => return self.restart(&target),
            Phase::Progressing | Phase::WaitingPromotion if self.is_reverted(&target) => return self.cancel(),
            Phase::Progressing | Phase::WaitingPromotion => {}
            _ => return self.begin(&target, weights),
        }
        self.canary_ready(&target)?;
        if self.canary.skip_analysis() {
            return self.skip(&target);
        }
        match self.status.phase {
            Phase::Promoting => self.shift(&target, weights),
            Phase::Finalising => self.finalise(weights),
            _ if self.is_promoted_already(&target) => self.promote(),
            _ => self.progress(weights),
        }
    }

    fn decide(mut self) -> Decision {
        if !self.is_early {
            self.conclude_request();
            self.tell_wait();
        }
        if self.is_changed && !self.effects.contains(&Effect::WriteStatus) {
            self.write_status();
        }
        if self.is_retold && !self.effects.contains(&Effect::WriteStatus) {
            // What is awaited is no transition: the time of the last one stays.
            self.effects.push(Effect::WriteStatus);
        }
        let interval = self.analysis.interval(self.options.min_interval);
        let next = match self.is_early {
            false if self.is_idle => interval.max(schedule::IDLE),
            false => interval,
            true => schedule::wait(&self.canary.status(), self.options.last_tick, interval, self.now),
        };
        if self.waiting_for.is_empty() {
            self.waiting_for = match self.status.phase {
                phase if phase.is_settled() => "a new revision of the target".into(),
                _ => format!("the next tick, in {}", api::Duration(next)),
            };
        }
        Decision {
            status: self.status.into_status(),
            effects: self.effects,
            next,
            outcome: self.outcome,
            waiting_for: self.waiting_for,
            is_full: self.is_full,
        }
    }

    /// Whether a run is under way, its interval has not passed, and nothing happened that must be acted on at once.
    fn is_early(&self, target: &Target) -> bool {
        let paced = match self.status.phase {
            Phase::Waiting | Phase::Progressing | Phase::WaitingPromotion | Phase::Promoting | Phase::Finalising => {
                true
            }
            Phase::Initializing => self.status.failed_checks > 0,
            _ => false,
        };
        let interval = self.analysis.interval(self.options.min_interval);
        paced
            && self.request.is_none()
            && !schedule::is_due(&self.canary.status(), self.options.last_tick, interval, self.now)
            && !match self.status.phase {
                Phase::Progressing | Phase::WaitingPromotion => self.is_new(target) || self.is_reverted(target),
                Phase::Waiting => !self.is_new(target),
                Phase::Initializing => target.is_primary_outdated,
                _ => false,
            }
    }

    fn is_initializing(&self) -> bool {
        matches!(self.status.phase, Phase::Unset | Phase::Initializing)
    }

    fn is_kubernetes(&self) -> bool {
        self.provider() == "kubernetes"
    }

    /// The provider in effect: the Canary's, else the controller's.
    fn provider(&self) -> &str {
        self.canary.provider_or(&self.options.mesh_provider)
    }

    // Facts.

    fn target(&mut self) -> Flow<Target> {
        match &self.answers.target {
            None => Err(Stop::Ask(Question::Target)),
            Some(Ok(target)) => Ok(target.clone()),
            Some(Err(problem)) => self.stop(problem.clone()),
        }
    }

    fn ensure(&mut self, part: Part) -> Flow {
        match self.answers.ensured.get(&part) {
            None => Err(Stop::Ask(Question::Ensure(part))),
            Some(Ok(())) => Ok(()),
            Some(Err(problem)) => self.stop(problem.clone()),
        }
    }

    fn ready(&self, role: Role) -> Flow<Readiness> {
        self.answers.ready.get(&role).cloned().ok_or(Stop::Ask(Question::Ready(role)))
    }

    fn weights(&mut self) -> Flow<Weights> {
        match &self.answers.weights {
            None => Err(Stop::Ask(Question::Weights)),
            Some(Ok(weights)) => Ok(*weights),
            Some(Err(problem)) => self.stop(problem.clone()),
        }
    }

    fn hook(&self, index: usize, phase: Phase) -> Flow<Result<(), String>> {
        self.answers.hooks.get(&index).cloned().ok_or(Stop::Ask(Question::Hook(index, phase)))
    }

    /// Places and names of the hooks of one type, in order.
    fn hooks(&self, kind: HookType) -> Vec<(usize, String)> {
        let hooks = self.analysis.webhooks.iter().enumerate();
        hooks.filter(|(_, hook)| hook.kind == kind).map(|(index, hook)| (index, hook.name.clone())).collect()
    }

    // The decision in the making.

    fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn event(&mut self, event: Event) {
        self.effects.push(Effect::Event(match self.status.phase {
            // The status that says so is written after its events.
            Phase::Initializing => event.or_of(Phase::Initializing),
            _ => event,
        }));
    }

    fn alert(&mut self, alert: Alert) {
        self.effects.push(Effect::Alert(alert.in_cluster(&self.options.cluster)));
    }

    /// Ends the tick with a warning; nothing moves until the cause is gone.
    fn stop<T>(&mut self, problem: String) -> Flow<T> {
        self.waiting_for = format!("this to be resolved: {problem}");
        self.is_full = false;
        self.event(Event::warning(problem));
        Err(Stop::Done)
    }

    /// Ends the tick; nothing moves until what is awaited comes.
    fn hold<T>(&mut self, awaited: impl Into<String>) -> Flow<T> {
        self.waiting_for = awaited.into();
        Err(Stop::Done)
    }

    /// Says in the status what is awaited, if anything but time and a new revision is.
    fn tell_wait(&mut self) {
        let text = Some(self.waiting_for.as_str()).filter(|text| !text.is_empty() && !self.status.phase.is_settled());
        let text = text.map(|text| format!("Waits for {text}."));
        let (reason, now) = (self.status.phase.as_str(), self.now);
        self.is_retold |=
            conditions::tell(&mut self.status.conditions, conditions::WAITING, reason, text.as_deref(), now);
    }

    /// Takes up a phase with its condition.
    fn enter(&mut self, phase: Phase) {
        self.status.phase = phase;
        let kind = &self.canary.spec.target_ref.kind;
        conditions::set(&mut self.status.conditions, phase, kind, self.now);
        self.is_changed = true;
    }

    fn write_status(&mut self) {
        self.status.last_transition_time = Some(Time(self.now));
        self.effects.push(Effect::WriteStatus);
    }

    fn post_rollout_hooks(&mut self, phase: Phase) {
        if !self.hooks(HookType::PostRollout).is_empty() {
            self.effect(Effect::PostRollout(phase));
        }
    }

    /// Notes the target's revision and configuration as the ones of this run, and starts counting anew.
    fn note(&mut self, target: &Target) {
        self.status.last_applied_spec.clone_from(&target.revision);
        self.status.tracked_configs.clone_from(&target.configs);
        self.reset_counters();
    }

    fn reset_counters(&mut self) {
        (self.status.canary_weight, self.status.failed_checks, self.status.iterations) = (0, 0, 0);
        self.forget_marks();
    }

    /// What was noted about the steps of a run ends with it.
    fn forget_marks(&mut self) {
        let marks = [conditions::SILENT, conditions::STEP];
        self.status.conditions.retain(|condition| !marks.contains(&condition.kind.as_str()));
    }
}

#[cfg(test)]
mod tests;
