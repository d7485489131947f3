//! Rollouts at random: revisions come and go, answers are anything, ticks come early or are cut short, and the process that
//! made them is forgotten. In every tick of every trace the same promises hold as in the states that are visited one by one.

use super::*;

/// Traces of each test; there are two.
const TRACES: u32 = 100_000;
/// Most ticks of a trace.
const TICKS: u64 = 6;

/// Numbers that look random and are the same in every run (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// True once in so many times.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// An answer to everything; most are good.
fn answers(state: &State, spec: &CanarySpec, random: &mut Random) -> Answers {
    let mut answers = Answers { online: Some(Ok(())), ..Answers::default() };
    let target = choices(state, Question::Target).remove(0);
    answers.target = if random.once_in(50) { Some(Err("no target".into())) } else { target.target };
    for part in [Part::Services, Part::Primary, Part::Scaler, Part::Apex, Part::Route, Part::Promotion] {
        let outcome = if random.once_in(60) { Err("not now".into()) } else { Ok(()) };
        answers.ensured.insert(part, outcome);
    }
    for role in [Role::Primary, Role::Canary] {
        let ready = match random.below(12) {
            0 => Readiness::Failed("late".into()),
            1 | 2 => Readiness::Waiting("not yet".into()),
            _ => Readiness::Ready,
        };
        answers.ready.insert(role, ready);
    }
    answers.weights = Some(if random.once_in(40) { Err("unreadable".into()) } else { Ok(state.route) });
    let analysis = spec.analysis.as_ref().expect("an analysis");
    for (index, hook) in analysis.webhooks.iter().enumerate() {
        let agrees = if hook.kind == HookType::Rollback { random.once_in(12) } else { !random.once_in(4) };
        answers.hooks.insert(index, if agrees { Ok(()) } else { Err("no".into()) });
    }
    let measured = match random.below(10) {
        0 => Measurement::NoData("no values found".into()),
        1 => Measurement::Error("refused".into()),
        2 => Measurement::Value(f64::NAN),
        3 => Measurement::Value(f64::NEG_INFINITY),
        _ => Measurement::Value(100.0),
    };
    answers.metrics.insert(0, measured);
    answers
}

/// What of the answers the machine really looked at, as far as it matters: it asks again for the metric if that is taken away.
fn looked_at(canary: &Canary, options: &Options, answers: &Answers) -> Answers {
    let without = Answers { metrics: BTreeMap::new(), ..answers.clone() };
    match step(canary, options, &without, NOW) {
        Step::Ask(Question::Metric(_)) => answers.clone(),
        _ => without,
    }
}

/// One tick at random, cut anywhere; the state after it.
fn tick(state: &State, spec: &CanarySpec, random: &mut Random) -> State {
    let is_early = state.is_in_run() && random.once_in(5);
    let age = if is_early { INTERVAL / 2 } else { INTERVAL };
    let (canary, options) = (canary(state, spec, age), Options::default());
    let answers = answers(state, spec, random);
    let decision = match step(&canary, &options, &answers, NOW) {
        Step::Done(decision) => decision,
        Step::Ask(question) => unreachable!("{question:?} has an answer"),
    };
    let mut after = *state;
    let with_copy = |part: Part| {
        let mut without = answers.clone();
        without.ensured.remove(&part);
        matches!(step(&canary, &options, &without, NOW), Step::Ask(Question::Ensure(found)) if found == part)
            && answers.ensured[&part].is_ok()
    };
    if (state.primary == 0 && with_copy(Part::Primary)) || (spec.skip_analysis && with_copy(Part::Promotion)) {
        after.primary = after.target;
    }
    let whole = decision.effects.len();
    let count = if random.once_in(5) { usize::try_from(random.below(whole as u64 + 1)).expect("few") } else { whole };
    for effect in &decision.effects[..count] {
        after.perform(effect, &decision);
    }
    let moved = after.route.canary > state.route.canary || after.primary != state.primary;
    let asked = if moved { looked_at(&canary, &options, &answers) } else { answers.clone() };
    let effects = decision.effects[..count].to_vec();
    let one = Move { after, effects, answers: asked, is_whole: count == whole };
    check(state, spec, &one, is_early);
    one.after
}

/// Plays so many traces over these specs; each begins where an earlier one has been.
fn wander(specs: &[CanarySpec], seed: u64) {
    let mut random = Random(seed);
    let mut known: Vec<Vec<State>> = vec![vec![State::START]; specs.len()];
    let mut ticks = 0_u64;
    for trace in 0..TRACES {
        let place = trace as usize % specs.len();
        let (spec, known) = (&specs[place], &mut known[place]);
        let begin = random.below(known.len() as u64);
        let mut state = known[usize::try_from(begin).expect("few states")];
        for _ in 0..=random.below(TICKS) {
            if random.once_in(6) && state.phase != Phase::Unset {
                state.target = u8::try_from(random.below(4)).expect("small") + 1;
            }
            state = tick(&state, spec, &mut random).renamed();
            ticks += 1;
        }
        if known.len() < 5000 {
            known.push(state);
        }
    }
    assert!(ticks > u64::from(TRACES) * 3, "{ticks} ticks");
    let ends = known.iter().flatten().map(|state| state.phase).collect::<HashSet<_>>();
    assert!(ends.contains(&Phase::Succeeded) && ends.contains(&Phase::Failed), "{ends:?}");
}

#[test]
fn weighted_rollouts_at_random_keep_every_promise() {
    let specs = [
        spec(json!({"stepWeight": 30, "maxWeight": 70}), &GATES),
        spec(json!({"stepWeights": [1, 10, 80]}), &[HookType::PreRollout, HookType::Rollout]),
        spec(json!({"stepWeight": 50, "maxWeight": 100, "stepWeightPromotion": 30}), &[HookType::ConfirmPromotion]),
        spec(json!({"stepWeight": 50, "maxWeight": 50, "mirror": true}), &[HookType::ConfirmTrafficIncrease]),
    ];
    wander(&specs, 0x9E37_79B9_7F4A_7C15);
}

#[test]
fn other_rollouts_at_random_keep_every_promise() {
    let blue_green = spec(json!({"iterations": 2}), &[HookType::ConfirmPromotion, HookType::PostRollout]);
    let mirrored = spec(json!({"iterations": 2, "mirror": true}), &GATES);
    let mut test = spec(json!({"iterations": 3}), &GATES);
    if let Some(analysis) = &mut test.analysis {
        analysis.matches = vec![HttpMatch::default()];
    }
    let mut skipping = spec(json!({"stepWeight": 50, "maxWeight": 50}), &GATES);
    skipping.skip_analysis = true;
    wander(&[blue_green, mirrored, test, skipping], 0xD1B5_4A32_D192_ED03);
}
