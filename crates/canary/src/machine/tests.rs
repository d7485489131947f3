//! Every state that a rollout can come to is visited, with every answer to every question, and every decision cut after each
//! of its effects. In all of them the promises S1 to S12 of reference reliability.md, 1.4, hold.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::Duration,
};

use api::flagger::{Analysis, CanarySpec, CanaryStatus, Hook, HttpMatch, Metric, ThresholdRange};
use serde_json::{Value, json};

use super::*;

mod rules;
mod traces;

const INTERVAL: Duration = Duration::from_secs(60);
const NOW: Timestamp = Timestamp::constant(1_700_000_000, 0);

/// The world in short. Revisions are small numbers; 0 is no primary yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    phase: Phase,
    weight: i64,
    failed: i64,
    iterations: i64,
    applied: u8,
    promoted: u8,
    route: Weights,
    target: u8,
    primary: u8,
    is_up: bool,
}

/// What one tick led to, cut or whole.
struct Move {
    after: State,
    effects: Vec<Effect>,
    answers: Answers,
    is_whole: bool,
}

fn revision(number: u8) -> String {
    if number == 0 { String::new() } else { format!("r-{number}") }
}

fn number(revision: &str) -> u8 {
    revision.strip_prefix("r-").and_then(|text| text.parse().ok()).unwrap_or_default()
}

impl State {
    const START: Self = Self {
        phase: Phase::Unset,
        weight: 0,
        failed: 0,
        iterations: 0,
        applied: 0,
        promoted: 0,
        route: Weights::PRIMARY,
        target: 1,
        primary: 0,
        is_up: true,
    };

    fn status(&self, age: Duration) -> CanaryStatus {
        let mut conditions = Vec::new();
        conditions::set(&mut conditions, self.phase, "Deployment", NOW);
        CanaryStatus {
            phase: self.phase,
            canary_weight: self.weight,
            failed_checks: self.failed,
            iterations: self.iterations,
            last_applied_spec: revision(self.applied),
            last_promoted_spec: revision(self.promoted),
            last_transition_time: Some(Time(NOW.saturating_sub(age).expect("a valid time"))),
            conditions,
            ..CanaryStatus::default()
        }
    }

    fn write(&mut self, status: &CanaryStatus) {
        self.phase = status.phase;
        self.weight = status.canary_weight;
        self.failed = status.failed_checks;
        self.iterations = status.iterations;
        self.applied = number(&status.last_applied_spec);
        self.promoted = number(&status.last_promoted_spec);
    }

    /// What the questions of a tick have made sure of.
    fn ensure(&mut self, answers: &Answers) {
        let is_missing = answers.ensured.contains_key(&Part::Primary) && self.primary == 0;
        if is_missing || answers.ensured.contains_key(&Part::Promotion) {
            self.primary = self.target;
        }
    }

    fn perform(&mut self, effect: &Effect, decision: &Decision) {
        match effect {
            Effect::SetWeights(weights) => self.route = *weights,
            Effect::ScaleUp => self.is_up = true,
            Effect::ScaleToZero => self.is_up = false,
            Effect::CopyToPrimary => self.primary = self.target,
            Effect::WriteStatus => self.write(&decision.status),
            _ => {}
        }
    }

    /// The same state with its revisions renamed in the order of their appearance: their names do not matter.
    fn renamed(mut self) -> Self {
        let mut names = Vec::new();
        for revision in [&mut self.promoted, &mut self.applied, &mut self.primary, &mut self.target] {
            if *revision == 0 {
                continue;
            }
            let place = names.iter().position(|name| name == revision).unwrap_or_else(|| {
                names.push(*revision);
                names.len() - 1
            });
            *revision = u8::try_from(place + 1).expect("few revisions");
        }
        self
    }

    fn is_in_run(&self) -> bool {
        matches!(self.phase, Phase::Progressing | Phase::WaitingPromotion | Phase::Promoting | Phase::Finalising)
    }
}

/// The answers that a question may get. The first is the one that lets everything go on.
fn choices(state: &State, question: Question) -> Vec<Answers> {
    let mut found = Vec::new();
    let mut offer = |set: &dyn Fn(&mut Answers)| {
        let mut answers = Answers::default();
        set(&mut answers);
        found.push(answers);
    };
    match question {
        Question::Target => {
            let target = Target {
                revision: revision(state.target),
                is_at_zero: !state.is_up,
                equals_primary: state.primary == state.target,
                is_applied_to_primary: state.primary == state.applied,
                is_primary_outdated: state.primary != 0 && state.primary != state.target,
                is_serving: state.is_up,
                configs: BTreeMap::new(),
            };
            offer(&|answers| answers.target = Some(Ok(target.clone())));
        }
        Question::Ensure(part) => {
            offer(&|answers| drop(answers.ensured.insert(part, Ok(()))));
            if part == Part::Route {
                offer(&|answers| drop(answers.ensured.insert(part, Err("no route".into()))));
            }
        }
        Question::MetricsOnline => offer(&|answers| answers.online = Some(Ok(()))),
        Question::Ready(role) => {
            for ready in [Readiness::Ready, Readiness::Waiting("not yet".into()), Readiness::Failed("late".into())] {
                offer(&|answers| drop(answers.ready.insert(role, ready.clone())));
            }
        }
        Question::Weights => {
            offer(&|answers| answers.weights = Some(Ok(state.route)));
            offer(&|answers| answers.weights = Some(Err("unreadable".into())));
        }
        Question::Hook(index, _) => {
            for outcome in [Ok(()), Err("no".to_owned())] {
                offer(&|answers| drop(answers.hooks.insert(index, outcome.clone())));
            }
        }
        Question::Metric(index) => {
            let silence = Measurement::NoData("no values found".into());
            let error = Measurement::Error("refused".into());
            let bad = [Measurement::Value(f64::NAN), Measurement::Value(f64::NEG_INFINITY)];
            // To save time, what fails in the same way is only tried where nothing has failed yet.
            let bad = if state.failed == 0 && state.iterations == 0 { &bad[..] } else { &[] };
            for measured in [Measurement::Value(100.0), silence, error].into_iter().chain(bad.iter().cloned()) {
                offer(&|answers| drop(answers.metrics.insert(index, measured.clone())));
            }
        }
        Question::Requests(index) => {
            offer(&|answers| drop(answers.requests.insert(index, Measurement::Value(1e6))));
        }
        Question::Samples(index) => {
            for samples in [Ok(Samples::default()), Err("refused".to_owned())] {
                offer(&|answers| drop(answers.samples.insert(index, samples.clone())));
            }
        }
        Question::Shares(index) => {
            for shares in [Ok(Shares::default()), Err("refused".to_owned())] {
                offer(&|answers| drop(answers.shares.insert(index, shares.clone())));
            }
        }
    }
    found
}

fn merged(mut answers: Answers, more: Answers) -> Answers {
    answers.target = more.target.or(answers.target);
    answers.online = more.online.or(answers.online);
    answers.weights = more.weights.or(answers.weights);
    answers.ensured.extend(more.ensured);
    answers.ready.extend(more.ready);
    answers.hooks.extend(more.hooks);
    answers.metrics.extend(more.metrics);
    answers.requests.extend(more.requests);
    answers.samples.extend(more.samples);
    answers.shares.extend(more.shares);
    answers
}

fn canary(state: &State, spec: &CanarySpec, age: Duration) -> Canary {
    let mut canary = Canary::new("app", spec.clone());
    canary.status = (state.phase != Phase::Unset).then(|| state.status(age));
    canary
}

/// Everything one tick can lead to, each decision cut after each of its effects, the whole one last.
fn moves(state: &State, spec: &CanarySpec, age: Duration) -> Vec<Move> {
    let canary = canary(state, spec, age);
    let options = Options::default();
    let mut found = Vec::new();
    let mut open = vec![Answers::default()];
    while let Some(answers) = open.pop() {
        let step = step(&canary, &options, &answers, NOW);
        assert_eq!(step, super::step(&canary, &options, &answers, NOW), "S11: equal facts, equal decisions");
        match step {
            Step::Ask(question) => {
                open.extend(choices(state, question).into_iter().map(|choice| merged(answers.clone(), choice)));
            }
            Step::Done(decision) => {
                let mut after = *state;
                after.ensure(&answers);
                let push = |after: State, count: usize, found: &mut Vec<Move>| {
                    let effects = decision.effects[..count].to_vec();
                    let is_whole = count == decision.effects.len();
                    found.push(Move { after, effects, answers: answers.clone(), is_whole });
                };
                push(after, 0, &mut found);
                for (index, effect) in decision.effects.iter().enumerate() {
                    after.perform(effect, &decision);
                    push(after, index + 1, &mut found);
                }
            }
        }
    }
    found
}

fn has_passed(answers: &Answers) -> bool {
    !answers.metrics.is_empty() && answers.metrics.values().all(|value| *value == Measurement::Value(100.0))
}

/// Whether every hook of that type said yes.
fn agreed(spec: &CanarySpec, answers: &Answers, kind: HookType) -> bool {
    let hooks = spec.analysis.iter().flat_map(|analysis| analysis.webhooks.iter().enumerate());
    hooks.filter(|(_, hook)| hook.kind == kind).all(|(index, _)| answers.hooks.get(&index) == Some(&Ok(())))
}

/// No gate and no hook is passed by: not at the beginning of a run, nor for more traffic, nor for the promotion.
fn check_gates(before: &State, spec: &CanarySpec, one: &Move, place: &dyn Fn() -> String) {
    let Move { after, answers, .. } = one;
    let agreed = |kind: HookType| agreed(spec, answers, kind);
    let is_judged = matches!(before.phase, Phase::Progressing | Phase::WaitingPromotion);
    let begins = after.phase == Phase::Progressing && (before.phase.is_settled() || before.phase == Phase::Waiting);
    assert!(!begins || agreed(HookType::ConfirmRollout), "begun against its gate: {}", place());
    if is_judged && after.route.canary > before.route.canary {
        let is_first = before.route == Weights::PRIMARY && before.iterations == 0;
        let hooks = if is_first { HookType::PreRollout } else { HookType::Rollout };
        assert!(agreed(hooks) && !agreed(HookType::Rollback), "more traffic against a hook: {}", place());
        let analysis = spec.analysis.as_ref().expect("an analysis");
        let is_gated = analysis.strategy() == api::flagger::Strategy::Canary && before.phase == Phase::Progressing;
        let is_open = !is_gated || before.route.mirrored || agreed(HookType::ConfirmTrafficIncrease);
        assert!(is_open, "more traffic against its gate: {}", place());
    }
    let promotes = after.phase == Phase::Promoting && is_judged && before.primary != before.applied;
    assert!(!promotes || agreed(HookType::ConfirmPromotion), "promoted against its gate: {}", place());
}

/// The promises about one move.
fn check(before: &State, spec: &CanarySpec, one: &Move, is_early: bool) {
    let Move { after, effects, answers, is_whole } = one;
    let place = || format!("{before:?}\n-> {after:?}\nby {effects:?}\non {answers:?}");
    let skips = spec.skip_analysis;
    // S1
    assert_eq!(after.route.primary + after.route.canary, 100, "S1: {}", place());
    assert!((0..=100).contains(&after.weight) && after.failed >= 0 && after.iterations >= 0, "S1: {}", place());
    // S2, S3, S8: more traffic only when due, on a ready target, and after a pass in this very tick, but for the first step.
    let grew = after.route.canary > before.route.canary;
    if grew && before.phase != Phase::Promoting && before.phase != Phase::Finalising {
        assert!(!is_early, "S2: {}", place());
        assert_eq!(answers.ready.get(&Role::Canary), Some(&Readiness::Ready), "S4: {}", place());
        let is_first = before.route.canary == 0 && before.iterations == 0 && !before.route.mirrored;
        assert!(is_first || has_passed(answers), "S3: {}", place());
        assert!(before.target == before.applied, "S3: another revision: {}", place());
        let analysis = spec.analysis.as_ref().expect("an analysis");
        if analysis.strategy() == api::flagger::Strategy::Canary && analysis.step_weights.is_empty() {
            let step = analysis.step_weight.expect("a step");
            // What the run has reached already, and somebody took from the route, comes back at once.
            let reached = before.weight.max(before.route.canary.into());
            assert!(i64::from(after.route.canary) - reached <= step, "S2: {}", place());
        }
    }
    // A promotion needs a pass in the same tick, or a gate's patience after one; never an unjudged revision.
    if before.primary != 0 && after.primary != before.primary && before.phase != Phase::Initializing {
        let is_known = after.primary == before.promoted;
        let is_judged = before.phase == Phase::Promoting || has_passed(answers) || skips || is_known;
        assert!(is_judged && after.primary == after.applied, "promoted unjudged: {}", place());
        assert!(after.phase == Phase::Promoting || skips, "S6: {}", place());
    }
    check_gates(before, spec, one, &place);
    // S4: traffic on the target only while it has pods.
    assert!(after.route.canary == 0 || after.is_up, "S4, S5: {}", place());
    // S7
    if *is_whole && after.phase.is_settled() && !before.phase.is_settled() {
        let failed_promotion = after.phase == Phase::Failed && after.weight == 100;
        let expected = if failed_promotion { (0, 100) } else { (100, 0) };
        assert_eq!((after.route.primary, after.route.canary), expected, "S7: {}", place());
        assert_eq!(after.is_up, failed_promotion, "S7: {}", place());
    }
    // S6: traffic goes back to a primary only once it is ready, unless it is a rollback.
    if before.phase == Phase::Promoting
        && after.route.primary > before.route.primary
        && !skips
        && after.phase != Phase::Failed
        && before.primary == before.applied
        && before.target == before.applied
    {
        assert_eq!(answers.ready.get(&Role::Primary), Some(&Readiness::Ready), "S6: {}", place());
    }
    // S10
    if before.phase.is_settled() && before.target == before.applied {
        assert!(effects.iter().all(|effect| matches!(effect, Effect::Event(_))), "S10: {}", place());
    }
}

/// Picks an answer by its place.
type Pick = fn(&State, Question, &[Answers]) -> usize;

/// The next state when every question is answered by `pick`.
fn follow(state: &State, spec: &CanarySpec, pick: Pick) -> State {
    let canary = canary(state, spec, INTERVAL);
    let mut answers = Answers::default();
    loop {
        match step(&canary, &Options::default(), &answers, NOW) {
            Step::Ask(question) => {
                let offered = choices(state, question);
                let chosen = offered[pick(state, question, &offered)].clone();
                answers = merged(answers, chosen);
            }
            Step::Done(decision) => {
                let mut after = *state;
                after.ensure(&answers);
                decision.effects.iter().for_each(|effect| after.perform(effect, &decision));
                return after;
            }
        }
    }
}

/// Gates agree and nothing asks for a rollback.
fn agree(spec_rollback: usize, question: Question, good: usize) -> usize {
    match question {
        Question::Hook(index, _) => usize::from(index == spec_rollback),
        Question::Metric(_) => good,
        _ => 0,
    }
}

/// Place of the rollback hook in every spec of these tests.
const ROLLBACK: usize = 0;

fn all_pass(_: &State, question: Question, _: &[Answers]) -> usize {
    agree(ROLLBACK, question, 0)
}

fn all_fail(_: &State, question: Question, _: &[Answers]) -> usize {
    agree(ROLLBACK, question, 1)
}

/// Where it ends when every question is answered by `pick`; the state that it does not leave any more.
fn end(state: &State, spec: &CanarySpec, pick: Pick, known: &mut HashMap<State, State>) -> State {
    let analysis = spec.analysis.as_ref().expect("an analysis");
    let bound = 120 + 2 * analysis.iterations() + analysis.threshold();
    let mut path = vec![*state];
    for _ in 0..bound {
        let last = path[path.len() - 1];
        let next = known.get(&last).copied().unwrap_or_else(|| follow(&last, spec, pick));
        if next == last || known.contains_key(&last) {
            known.extend(path.into_iter().map(|passed| (passed, next)));
            return next;
        }
        path.push(next);
    }
    panic!("no end: {:?}", &path[path.len() - 5..]);
}

/// Where the states seen so far end, if all checks pass and if all fail.
#[derive(Default)]
struct Ends {
    passing: HashMap<State, State>,
    failing: HashMap<State, State>,
}

/// From there, everything that passes is promoted, and everything that fails is rolled back.
fn check_liveness(state: &State, spec: &CanarySpec, ends: &mut Ends) {
    let now = end(state, spec, all_pass, &mut ends.passing);
    assert!(now.phase.is_settled(), "passes, but ends in {now:?}\nfrom {state:?}");
    // A failed promotion stays with the only healthy copy until there is a new revision.
    let stays = now.phase == Phase::Failed && now.weight == 100 && now.route.canary == 100;
    assert!(stays || now.route == Weights::PRIMARY, "passes, but ends in {now:?}\nfrom {state:?}");
    if now.phase != Phase::Failed {
        assert_eq!(now.primary, now.target, "passes, but ends in {now:?}\nfrom {state:?}");
        // A run that was cut short at its very beginning and then taken back may leave the target running, without traffic:
        // whose replicas it is cannot be told from a user's.
        assert!(!now.is_up || now == *state, "passes, but ends in {now:?}\nfrom {state:?}");
    }
    if !matches!(state.phase, Phase::Progressing | Phase::WaitingPromotion | Phase::Waiting) || spec.skip_analysis {
        return;
    }
    let now = end(state, spec, all_fail, &mut ends.failing);
    assert!(now.phase.is_settled() && now.route == Weights::PRIMARY, "fails, but ends in {now:?}\nfrom {state:?}");
    assert!(now.phase == Phase::Failed || now.primary == now.target, "fails, but ends in {now:?}\nfrom {state:?}");
}

/// Visits every reachable state.
fn explore(spec: &CanarySpec) -> usize {
    let mut seen = HashSet::from([State::START]);
    let mut open = VecDeque::from([State::START]);
    let mut ends = Ends::default();
    while let Some(state) = open.pop_front() {
        check_liveness(&state, spec, &mut ends);
        for target in [1, 2, 3, 4] {
            // A revision may change at any time, as long as the rollout has begun.
            let state = if state.phase == Phase::Unset { state } else { State { target, ..state } };
            for (age, is_early) in [(INTERVAL, false), (INTERVAL / 2, true)] {
                if is_early && !state.is_in_run() {
                    continue;
                }
                for one in moves(&state, spec, age) {
                    check(&state, spec, &one, is_early);
                    let after = one.after.renamed();
                    if seen.insert(after) {
                        open.push_back(after);
                    }
                }
            }
        }
    }
    seen.len()
}

fn spec(analysis: Value, kinds: &[HookType]) -> CanarySpec {
    let mut analysis: Analysis = serde_json::from_value(analysis).expect("an analysis");
    analysis.interval = "60s".into();
    analysis.threshold = Some(2);
    analysis.metrics = vec![Metric {
        name: "good".into(),
        query: Some("up".into()),
        threshold_range: Some(ThresholdRange { min: Some(99.0), max: None }),
        ..Metric::default()
    }];
    let kinds = [HookType::Rollback].into_iter().chain(kinds.iter().copied());
    analysis.webhooks = kinds.map(|kind| Hook { kind, name: kind.as_str().into(), ..Hook::default() }).collect();
    CanarySpec {
        target_ref: api::flagger::TargetReference {
            kind: "Deployment".into(),
            name: "app".into(),
            ..Default::default()
        },
        analysis: Some(analysis),
        ..CanarySpec::default()
    }
}

const GATES: [HookType; 3] = [HookType::ConfirmRollout, HookType::ConfirmTrafficIncrease, HookType::ConfirmPromotion];

#[test]
fn weighted_canaries_keep_every_promise() {
    let mut states = 0;
    for analysis in [
        json!({"stepWeight": 50, "maxWeight": 100}),
        json!({"stepWeight": 30, "maxWeight": 50}),
        json!({"stepWeights": [10, 80]}),
        json!({"stepWeight": 40, "maxWeight": 40, "stepWeightPromotion": 30}),
        json!({"stepWeight": 50, "maxWeight": 50, "mirror": true}),
    ] {
        states += explore(&spec(analysis, &[]));
    }
    assert!(states > 300, "{states} states");
}

#[test]
fn gates_and_hooks_keep_every_promise() {
    let states = explore(&spec(json!({"stepWeight": 50, "maxWeight": 50}), &GATES));
    assert!(states > 100, "{states} states");
    explore(&spec(
        json!({"stepWeight": 50, "maxWeight": 50}),
        &[HookType::PreRollout, HookType::Rollout, HookType::PostRollout],
    ));
}

#[test]
fn iterations_keep_every_promise() {
    let blue_green = spec(json!({"iterations": 2}), &[HookType::ConfirmPromotion]);
    explore(&blue_green);
    explore(&spec(json!({"iterations": 1, "mirror": true}), &[]));
    let mut test = blue_green;
    if let Some(analysis) = &mut test.analysis {
        analysis.matches = vec![HttpMatch::default()];
    }
    explore(&test);
}

#[test]
fn skipping_the_analysis_keeps_every_promise() {
    let mut skipping = spec(json!({"stepWeight": 50, "maxWeight": 50}), &GATES[..1]);
    skipping.skip_analysis = true;
    explore(&skipping);
}

#[test]
fn a_suspended_canary_stays_as_it_is() {
    let mut suspended = spec(json!({"stepWeight": 50}), &[]);
    suspended.suspend = true;
    let state = State { phase: Phase::Progressing, weight: 50, ..State::START };
    for one in moves(&state, &suspended, INTERVAL) {
        assert_eq!(one.after, state);
        assert_eq!(one.answers, Answers::default());
        let moves = |effect: &Effect| !matches!(effect, Effect::Event(_) | Effect::WriteStatus);
        assert!(!one.effects.iter().any(moves), "{:?}", one.effects);
    }
}

#[test]
fn a_clock_that_goes_back_breaks_nothing() {
    let spec = spec(json!({"stepWeight": 50}), &[]);
    let state = State { phase: Phase::Progressing, applied: 1, promoted: 2, primary: 2, weight: 50, ..State::START };
    let mut canary = canary(&state, &spec, Duration::ZERO);
    for ahead in [1, 59, 61, 1_000_000] {
        let written = NOW + Duration::from_secs(ahead);
        if let Some(status) = &mut canary.status {
            status.last_transition_time = Some(Time(written));
        }
        let answers = choices(&state, Question::Target).remove(0);
        match step(&canary, &Options::default(), &answers, NOW) {
            Step::Done(decision) => assert!(!decision.is_full && decision.next <= INTERVAL, "{ahead}"),
            Step::Ask(_) => assert!(ahead > 60, "{ahead}: a tick too early"),
        }
    }
}
