//! Single rules of the machine, each by the smallest state that shows it: what is done, what is told, and what is not.

use api::flagger::ADDITIONS;

use super::*;

const SETTLED: State =
    State { phase: Phase::Succeeded, applied: 1, promoted: 1, primary: 1, is_up: false, ..State::START };
const RUNNING: State = State { phase: Phase::Progressing, applied: 2, target: 2, is_up: true, ..SETTLED };
const PROMOTING: State = State { phase: Phase::Promoting, weight: 50, route: HALF, ..RUNNING };
const HALF: Weights = Weights { primary: 50, canary: 50, mirrored: false };
const TO_CANARY: Weights = Weights { primary: 0, canary: 100, mirrored: false };

fn halves() -> CanarySpec {
    spec(json!({"stepWeight": 50, "maxWeight": 50}), &[])
}

/// The decision when every question is answered by `pick`.
fn decided_by(state: &State, canary: &Canary, pick: Pick) -> Decision {
    let mut answers = Answers::default();
    loop {
        match step(canary, &Options::default(), &answers, NOW) {
            Step::Ask(question) => {
                let offered = choices(state, question);
                answers = merged(answers, offered[pick(state, question, &offered)].clone());
            }
            Step::Done(decision) => return *decision,
        }
    }
}

/// The decision when everything is well.
fn decided(state: &State, canary: &Canary) -> Decision {
    decided_by(state, canary, all_pass)
}

/// The decision a whole interval after the last tick.
fn due(state: &State, spec: &CanarySpec, pick: Pick) -> Decision {
    decided_by(state, &canary(state, spec, INTERVAL), pick)
}

/// The effects in short, without events and alerts.
fn acts(decision: &Decision) -> Vec<String> {
    let acts = decision.effects.iter().filter_map(|effect| match effect {
        Effect::Event(_) | Effect::Alert(_) => None,
        Effect::SetWeights(weights) => Some(format!("weights {} {}", weights.primary, weights.canary)),
        other => Some(format!("{other:?}")),
    });
    acts.collect()
}

/// The texts of its events.
fn told(decision: &Decision) -> Vec<&str> {
    let events = decision.effects.iter().filter_map(|effect| match effect {
        Effect::Event(event) => Some(event.text.as_str()),
        _ => None,
    });
    events.collect()
}

fn closed(_: &State, question: Question, _: &[Answers]) -> usize {
    usize::from(matches!(question, Question::Hook(..)))
}

fn primary_waits(state: &State, question: Question, offered: &[Answers]) -> usize {
    if question == Question::Ready(Role::Primary) { 1 } else { all_pass(state, question, offered) }
}

fn primary_is_late(state: &State, question: Question, offered: &[Answers]) -> usize {
    if question == Question::Ready(Role::Primary) { 2 } else { all_pass(state, question, offered) }
}

// Pace.

#[test]
fn the_first_phase_is_written_once() {
    let mut spec = spec(json!({"stepWeight": 50}), &[]);
    spec.suspend = true;
    let mut canary = canary(&State::START, &spec, INTERVAL);
    // The condition may be missing where somebody else began.
    canary.status = Some(CanaryStatus { phase: Phase::Initializing, ..CanaryStatus::default() });
    let first = decided(&State::START, &canary);
    assert_eq!(first.status.conditions[0].reason, "Initializing");
    assert_eq!(first.status.last_transition_time, Some(Time(NOW)));
    assert!(first.effects.contains(&Effect::WriteStatus));
    canary.status = Some(first.status);
    assert!(!decided(&State::START, &canary).effects.contains(&Effect::WriteStatus));
}

#[test]
fn a_tick_says_when_to_look_again_and_what_is_awaited() {
    for (state, kind, age, next, is_full, awaited) in [
        (SETTLED, "Deployment", 10, 60, true, "a new revision of the target"),
        (SETTLED, "Service", 10, 10, true, "a new revision of the target"),
        (RUNNING, "Deployment", 10, 10, true, "the next tick, in 10s"),
        (RUNNING, "Deployment", 4, 6, false, "the next analysis"),
        (State { is_up: false, ..RUNNING }, "Deployment", 10, 10, true, "the target's pods"),
    ] {
        let mut spec = spec(json!({"stepWeight": 50}), &[]);
        spec.target_ref.kind = kind.into();
        if let Some(analysis) = &mut spec.analysis {
            analysis.interval = "10s".into();
        }
        let decision = decided(&state, &canary(&state, &spec, Duration::from_secs(age)));
        let found = (decision.next.as_secs(), decision.is_full, decision.waiting_for.as_str());
        assert_eq!(found, (next, is_full, awaited), "{state:?} of a {kind}");
    }
}

#[test]
fn what_may_be_gone_in_a_moment_takes_no_interval() {
    let not_ready: Pick = |state, question, offered| match question {
        Question::Ready(Role::Primary) => 1,
        _ => all_pass(state, question, offered),
    };
    let decision = decided_by(&RUNNING, &canary(&RUNNING, &spec(json!({"stepWeight": 50}), &[]), INTERVAL), not_ready);
    assert_eq!((decision.is_full, decision.waiting_for.as_str()), (false, "this to be resolved: not yet"));
}

#[test]
fn what_somebody_else_noted_is_taken_over_whole() {
    let mut canary = canary(&SETTLED, &spec(json!({"stepWeight": 50}), &[]), INTERVAL);
    if let Some(status) = &mut canary.status {
        (status.last_applied_spec, status.last_promoted_spec) = ("5f6b7c".into(), "5f6b7c".into());
        status.tracked_configs = [("configmap/x".to_owned(), "1".to_owned())].into();
    }
    let decision = decided(&SETTLED, &canary);
    assert_eq!(acts(&decision), ["WriteStatus"]);
    let status = decision.status;
    assert_eq!((status.last_applied_spec.as_str(), status.last_promoted_spec.as_str()), ("r-1", "r-1"));
    assert_eq!((status.phase, status.tracked_configs.len()), (Phase::Succeeded, 0));
}

#[test]
fn every_part_is_kept_in_place_in_every_phase() {
    let parts = [Part::Services, Part::Primary, Part::Scaler, Part::Apex, Part::Route];
    for state in [State::START, SETTLED, RUNNING] {
        let all = moves(&state, &spec(json!({"stepWeight": 50}), &[]), INTERVAL);
        let most = all.into_iter().map(|one| one.answers.ensured.into_keys().collect::<Vec<_>>()).max_by_key(Vec::len);
        assert_eq!(most.as_deref(), Some(&parts[..]), "{state:?}");
    }
}

#[test]
fn what_must_be_acted_on_at_once_does_not_wait_for_the_interval() {
    let waiting = State { phase: Phase::Waiting, target: 2, ..SETTLED };
    let first = State { phase: Phase::Initializing, applied: 0, promoted: 0, is_up: true, ..SETTLED };
    for (state, is_early) in [
        (RUNNING, true),
        (State { target: 3, ..RUNNING }, false),
        (State { target: 1, ..RUNNING }, false),
        (State { phase: Phase::Promoting, target: 3, ..RUNNING }, true),
        (waiting, true),
        (State { target: 1, ..waiting }, false),
        (first, false),
        (State { failed: 1, ..first }, true),
        (State { failed: 1, target: 2, ..first }, false),
        (SETTLED, false),
    ] {
        let mut canary = canary(&state, &spec(json!({"stepWeight": 50}), &[]), INTERVAL / 2);
        let decision = decided(&state, &canary);
        assert_eq!(decision.waiting_for == "the next analysis", is_early, "{state:?}");
        assert!(!is_early || decision.effects.is_empty(), "{:?}", decision.effects);
        let request = (REQUEST.to_owned(), "promote at 1 by ada".to_owned());
        canary.metadata.annotations = Some([request].into());
        assert_ne!(decided(&state, &canary).waiting_for, "the next analysis", "{state:?}, asked for something");
    }
}

#[test]
fn a_weight_that_was_not_reported_is_only_reported() {
    let spec = spec(json!({"stepWeight": 30, "maxWeight": 90}), &[]);
    let reported = State { route: HALF, weight: 50, ..RUNNING };
    for (state, moved) in [(State { weight: 20, ..reported }, None), (reported, Some(80))] {
        let decision = decided(&state, &canary(&state, &spec, INTERVAL));
        let found = decision.effects.iter().find_map(|effect| match effect {
            Effect::SetWeights(weights) => Some(weights.canary),
            _ => None,
        });
        assert_eq!((found, decision.status.canary_weight), (moved, i64::from(moved.unwrap_or(50))));
    }
}

#[test]
fn a_weight_that_somebody_changed_goes_back_to_the_step() {
    let spec = spec(json!({"stepWeight": 10, "maxWeight": 90}), &[]);
    let waiting = State { phase: Phase::WaitingPromotion, ..RUNNING };
    for (state, found) in [(RUNNING, 50), (RUNNING, 5), (RUNNING, 0), (waiting, 50), (waiting, 5)] {
        let route = Weights { primary: 100 - found, canary: found, mirrored: false };
        let decision = due(&State { route, weight: 20, ..state }, &spec, all_pass);
        assert_eq!(acts(&decision), ["weights 80 20"], "{found}");
        assert_eq!((decision.status.canary_weight, decision.status.failed_checks), (20, 0));
        let text = format!("Route of app.default sent {found}% to the canary, put back to its step of 20%");
        assert_eq!(told(&decision).last(), Some(&text.as_str()));
    }
}

#[test]
fn a_weight_that_somebody_lowered_goes_back_only_when_the_checks_pass() {
    let spec = spec(json!({"stepWeight": 10, "maxWeight": 90}), &[]);
    let route = Weights { primary: 95, canary: 5, mirrored: false };
    let decision = due(&State { route, weight: 20, ..RUNNING }, &spec, all_fail);
    assert_eq!((acts(&decision), decision.status.failed_checks), (vec!["WriteStatus".to_owned()], 1));
}

#[test]
fn a_weight_that_flagger_hid_while_it_waited_stays() {
    let state = State { phase: Phase::WaitingPromotion, route: HALF, ..RUNNING };
    let spec = spec(json!({"stepWeight": 10, "maxWeight": 50}), &[HookType::ConfirmPromotion]);
    assert_eq!(acts(&due(&state, &spec, closed)), ["WriteStatus"]);
}

#[test]
fn a_gate_that_stays_closed_is_told_once() {
    let spec = spec(json!({"stepWeight": 50, "maxWeight": 50}), &[HookType::ConfirmPromotion]);
    let state = State { route: HALF, weight: 50, ..RUNNING };
    let closed: Pick = |_, question, _| usize::from(matches!(question, Question::Hook(..)));
    let mut canary = canary(&state, &spec, INTERVAL);
    let tells = |effect: &Effect| matches!(effect, Effect::WriteStatus | Effect::Alert(_));
    let first = decided_by(&state, &canary, closed);
    assert_eq!(
        (first.status.phase, first.effects.iter().filter(|effect| tells(effect)).count()),
        (Phase::WaitingPromotion, 2)
    );
    let before = NOW.saturating_sub(INTERVAL).expect("a valid time");
    canary.status = Some(CanaryStatus { last_transition_time: Some(Time(before)), ..first.status });
    assert!(!decided_by(&state, &canary, closed).effects.iter().any(tells));
}

// How runs begin, begin again, and end.

#[test]
fn what_was_noted_of_a_run_ends_with_it() {
    let lost = State { failed: 2, is_up: false, ..RUNNING };
    for state in [State { target: 2, ..SETTLED }, State { target: 3, ..RUNNING }, State { target: 1, ..RUNNING }, lost]
    {
        let mut canary = canary(&state, &halves(), INTERVAL);
        let conditions = canary.status.as_mut().map(|status| &mut status.conditions).expect("a status");
        for kind in [conditions::SILENT, conditions::STEP] {
            conditions::tell(conditions, kind, "good", Some("noted"), NOW);
        }
        let kinds = decided(&state, &canary).status.conditions.into_iter().map(|condition| condition.kind);
        assert!(!kinds.into_iter().any(|kind| [conditions::SILENT, conditions::STEP].contains(&kind.as_str())));
    }
}

#[test]
fn a_newer_revision_begins_the_run_again_from_every_phase_of_it() {
    let new = State { target: 3, ..PROMOTING };
    let waiting = State { phase: Phase::WaitingPromotion, ..new };
    let mut skipping = halves();
    skipping.skip_analysis = true;
    for (state, spec) in [
        (State { phase: Phase::Progressing, ..new }, halves()),
        (waiting, halves()),
        (new, halves()),
        (waiting, skipping.clone()),
        (new, skipping),
    ] {
        let decision = due(&state, &spec, all_pass);
        assert_eq!(acts(&decision), ["weights 100 0", "WriteStatus"], "{state:?}");
        assert_eq!(told(&decision), ["New revision detected! Restarting analysis for app.default"]);
        let CanaryStatus { phase, canary_weight, last_applied_spec, .. } = decision.status;
        assert_eq!((phase, canary_weight, last_applied_spec.as_str()), (Phase::Progressing, 0, "r-3"));
    }
}

#[test]
fn a_revision_taken_back_ends_the_run_and_calls_its_hooks() {
    let state = State { target: 1, route: HALF, ..RUNNING };
    let decision = due(&state, &spec(json!({"stepWeight": 50}), &[HookType::PostRollout]), all_pass);
    let expected = ["weights 100 0", "PauseScaler", "ScaleToZero", "PostRollout(Succeeded)", "WriteStatus"];
    assert_eq!(acts(&decision), expected);
}

#[test]
fn a_revision_taken_back_before_its_gate_opened_is_called_off() {
    let waiting = State { phase: Phase::Waiting, route: HALF, is_up: true, ..SETTLED };
    let decision = due(&waiting, &halves(), all_pass);
    assert_eq!(acts(&decision), ["weights 100 0", "ScaleToZero", "WriteStatus"]);
    assert_eq!(told(&decision), ["Promoted revision restored! Scaling down app.default"]);
    assert_eq!(decision.status.phase, Phase::Succeeded);
}

#[test]
fn a_gate_that_is_muted_holds_without_a_word_to_people() {
    for is_muted in [false, true] {
        let mut spec = spec(json!({"stepWeight": 50}), &[HookType::ConfirmRollout]);
        let analysis = spec.analysis.as_mut().expect("an analysis");
        analysis.webhooks.iter_mut().for_each(|hook| hook.mute_alert = is_muted);
        let decision = due(&State { target: 2, ..SETTLED }, &spec, closed);
        let alerts = decision.effects.iter().filter(|effect| matches!(effect, Effect::Alert(_))).count();
        assert_eq!((decision.status.phase, alerts), (Phase::Waiting, usize::from(!is_muted)));
    }
}

#[test]
fn a_target_without_pods_gets_them_back_unless_its_run_has_failed() {
    let decision = |failed| due(&State { is_up: false, failed, ..RUNNING }, &halves(), all_pass);
    assert_eq!(acts(&decision(1)), ["ScaleUp", "WriteStatus"]);
    assert_eq!(decision(2).status.phase, Phase::Failed);
    assert_eq!(acts(&decision(2)), ["weights 100 0", "PauseScaler", "ScaleToZero", "WriteStatus"]);
}

#[test]
fn a_primary_that_breaks_during_a_run_ends_it_and_says_why() {
    let decision = due(&RUNNING, &halves(), primary_is_late);
    assert_eq!(decision.status.phase, Phase::Failed);
    assert_eq!(told(&decision), ["late", "Canary failed! Scaling down app.default"]);
}

#[test]
fn a_target_that_changes_while_it_is_initialized_is_copied_and_counted_anew() {
    let state =
        State { phase: Phase::Initializing, applied: 0, promoted: 0, failed: 1, target: 2, is_up: true, ..SETTLED };
    let decision = due(&state, &halves(), all_pass);
    assert_eq!(acts(&decision), ["CopyToPrimary", "WriteStatus"]);
    assert_eq!((decision.status.failed_checks, decision.status.last_transition_time), (0, Some(Time(NOW))));
}

#[test]
fn a_revision_that_was_never_noted_is_new() {
    let decision = due(&State { applied: 0, ..SETTLED }, &halves(), all_pass);
    assert_eq!((decision.status.phase, decision.status.last_applied_spec.as_str()), (Phase::Progressing, "r-1"));
}

#[test]
fn of_what_somebody_else_noted_only_what_the_primary_runs_counts_as_promoted() {
    let state = State { phase: Phase::Failed, target: 2, ..SETTLED };
    let mut canary = canary(&state, &halves(), INTERVAL);
    let status = canary.status.as_mut().expect("a status");
    (status.last_applied_spec, status.last_promoted_spec) = ("5f6b7c".into(), "7d8c9b".into());
    let status = decided(&state, &canary).status;
    assert_eq!((status.last_applied_spec.as_str(), status.last_promoted_spec.as_str()), ("r-2", "7d8c9b"));
}

// The promotion.

#[test]
fn what_the_primary_runs_already_is_not_judged_again() {
    let decision = due(&State { primary: 2, ..RUNNING }, &halves(), all_pass);
    assert_eq!(
        (decision.status.phase, acts(&decision)),
        (Phase::Promoting, vec!["WriteStatus".into(), "CopyToPrimary".into()])
    );
}

#[test]
fn a_copy_that_was_not_made_is_made_again() {
    let mut canary = canary(&PROMOTING, &halves(), INTERVAL);
    let decision = decided(&PROMOTING, &canary);
    assert_eq!((decision.status.phase, acts(&decision)), (Phase::Promoting, vec!["CopyToPrimary".into()]));
    assert_eq!(told(&decision), ["Copying app.default template spec to app-primary.default"]);
    // What was judged was another configuration.
    canary.status.as_mut().expect("a status").tracked_configs = [("configmap/x".to_owned(), "1".to_owned())].into();
    assert_eq!(decided(&PROMOTING, &canary).status.phase, Phase::Progressing);
}

#[test]
fn a_promotion_fails_only_with_a_healthy_target_to_serve_instead() {
    let stuck = |is_up| due(&State { primary: 2, is_up, ..PROMOTING }, &halves(), primary_is_late);
    assert_eq!(acts(&stuck(false)), ["ScaleUp", "WriteStatus"]);
    assert_eq!((stuck(false).status.phase, stuck(true).status.phase), (Phase::Promoting, Phase::Failed));
    assert_eq!(acts(&stuck(true)), ["weights 0 100", "WriteStatus"]);
}

#[test]
fn after_a_failed_promotion_the_promoted_revision_goes_back_to_the_primary_unjudged() {
    let failed = State { phase: Phase::Failed, weight: 100, route: TO_CANARY, primary: 2, ..RUNNING };
    let decision = due(&State { target: 1, ..failed }, &halves(), all_pass);
    assert_eq!(acts(&decision), ["WriteStatus", "CopyToPrimary"]);
    let CanaryStatus { phase, canary_weight, last_applied_spec, .. } = decision.status;
    assert_eq!((phase, canary_weight, last_applied_spec.as_str()), (Phase::Promoting, 100, "r-1"));
    assert_eq!(acts(&due(&failed, &halves(), all_pass)), [""; 0]);
}

#[test]
fn after_a_failed_promotion_the_next_run_begins_without_traffic() {
    let failed = State { phase: Phase::Failed, weight: 100, route: TO_CANARY, primary: 2, ..RUNNING };
    let decision = due(&State { target: 3, ..failed }, &halves(), all_pass);
    assert_eq!(acts(&decision), ["weights 100 0", "ResumeScaler", "ScaleUp", "WriteStatus"]);
    assert_eq!((decision.status.phase, decision.status.canary_weight), (Phase::Progressing, 0));
}

#[test]
fn a_promotion_that_ends_is_noted_and_what_was_noted_of_its_run_is_gone() {
    let state = State { phase: Phase::Finalising, primary: 2, ..RUNNING };
    let mut canary = canary(&state, &halves(), INTERVAL);
    let conditions = canary.status.as_mut().map(|status| &mut status.conditions).expect("a status");
    conditions::tell(conditions, conditions::STEP, "Weight50", Some("noted"), NOW);
    let status = decided(&state, &canary).status;
    assert_eq!((status.phase, status.last_promoted_spec.as_str()), (Phase::Succeeded, "r-2"));
    assert_eq!(conditions::message(&status.conditions, conditions::STEP), None);
}

#[test]
fn an_iteration_that_is_to_be_done_again_is_written() {
    let spec = spec(json!({"iterations": 2}), &[HookType::ConfirmPromotion]);
    let status = due(&State { phase: Phase::WaitingPromotion, iterations: 2, ..RUNNING }, &spec, closed).status;
    assert_eq!((status.iterations, status.last_transition_time), (1, Some(Time(NOW))));
}

#[test]
fn skipping_the_analysis_tells_of_its_copy_once() {
    let mut spec = halves();
    spec.skip_analysis = true;
    const COPYING: &str = "Copying app.default template spec to app-primary.default";
    const DONE: &str = "Promotion completed! Canary analysis was skipped for app.default";
    let copied = State { primary: 2, ..RUNNING };
    let promoting = State { primary: 2, ..PROMOTING };
    for (state, pick, texts) in [
        (RUNNING, primary_waits as Pick, &[COPYING, "not yet"][..]),
        (RUNNING, all_pass, &[COPYING, DONE]),
        (copied, primary_waits, &["not yet"]),
        (copied, all_pass, &[DONE]),
        (promoting, primary_waits, &["not yet"]),
        (promoting, all_pass, &[COPYING, DONE]),
        (State { phase: Phase::Finalising, ..promoting }, all_pass, &[COPYING, DONE]),
    ] {
        assert_eq!(told(&due(&state, &spec, pick)), texts, "{state:?}");
    }
}

// The analysis.

#[test]
fn without_a_router_there_is_blue_and_green_and_it_is_told_once() {
    let by_kubernetes = |analysis: Value, iterations| {
        let mut spec = spec(analysis, &[]);
        spec.provider = Some("kubernetes".into());
        let decision = due(&State { iterations, ..RUNNING }, &spec, all_pass);
        let texts = told(&decision).into_iter().map(str::to_owned).collect::<Vec<_>>();
        (decision.status.phase, decision.status.iterations, texts, acts(&decision))
    };
    let test = json!({"iterations": 1, "match": [{}]});
    let (_, iterations, texts, _) = by_kubernetes(test.clone(), 0);
    let expected = [
        "Rollback hook rollback not signaling a rollback",
        "Starting canary analysis for app.default",
        "A/B testing is not supported when using the kubernetes provider",
        "Advance app.default canary iteration 1/1",
    ];
    assert_eq!((iterations, &texts[..]), (1, &expected.map(str::to_owned)[..]));
    let last = (Phase::Progressing, 2, texts[..1].to_vec(), vec!["WriteStatus".to_owned()]);
    assert_eq!(by_kubernetes(test, 1), last);
    let (_, _, texts, _) = by_kubernetes(json!({"stepWeight": 50}), 1);
    assert_eq!(texts[1..], ["Advance app.default canary iteration 2/10"]);
}

#[test]
fn without_a_step_the_rollout_waits_for_one() {
    let decision = due(&RUNNING, &spec(json!({}), &[]), all_pass);
    assert_eq!(decision.waiting_for, "spec.analysis to set stepWeight, stepWeights or iterations");
    assert_eq!(told(&decision)[1..], ["Starting canary analysis for app.default"]);
}

#[test]
fn a_pass_that_ends_failures_in_a_row_is_written_though_a_gate_holds() {
    let state = State { failed: 1, route: HALF, weight: 50, ..RUNNING };
    let mut canary = canary(&state, &spec(json!({"stepWeight": 50}), &[HookType::ConfirmTrafficIncrease]), INTERVAL);
    for (failures, failed, expected) in
        [("consecutive", 1, (0, true)), ("consecutive", 0, (0, false)), ("cumulative", 1, (1, false))]
    {
        let annotation = (ADDITIONS.to_owned(), json!({ "failures": failures }).to_string());
        canary.metadata.annotations = Some([annotation].into());
        canary.status = Some(State { failed, ..state }.status(INTERVAL));
        let status = decided_by(&state, &canary, closed).status;
        assert_eq!((status.failed_checks, status.last_transition_time == Some(Time(NOW))), expected, "{failures}");
    }
}

#[test]
fn silence_that_says_something_else_is_written_and_told_again() {
    let state = State { route: HALF, weight: 50, ..RUNNING };
    let mut canary = canary(&state, &halves(), INTERVAL);
    let more = json!({"metrics": {"good": {"noData": "hold", "requests": "sum(all)", "minRequests": 2e6}}});
    canary.metadata.annotations = Some([(ADDITIONS.to_owned(), more.to_string())].into());
    let first = decided(&state, &canary);
    let said = conditions::message(&first.status.conditions, conditions::SILENT).map(str::to_owned);
    assert_eq!(said.as_deref(), Some("Halt advancement no values found for metric: good"));
    assert_eq!(acts(&first), ["WriteStatus"]);
    // The next tick finds what was said before, and then something else that was said before.
    let before = NOW.saturating_sub(INTERVAL).expect("a valid time");
    canary.status = Some(CanaryStatus { last_transition_time: Some(Time(before)), ..first.status });
    assert_eq!(acts(&decided(&state, &canary)), [""; 0]);
    let conditions = canary.status.as_mut().map(|status| &mut status.conditions).expect("a status");
    conditions::tell(conditions, conditions::SILENT, "good", Some("no values"), NOW);
    let again = decided(&state, &canary);
    assert_eq!((acts(&again), told(&again).last().copied()), (vec!["WriteStatus".to_owned()], said.as_deref()));
}

#[test]
fn a_comparison_that_cannot_be_asked_for_fails_the_check() {
    let state = State { route: HALF, weight: 50, ..RUNNING };
    let mut canary = canary(&state, &halves(), INTERVAL);
    let refused: Pick = |_, question, _| {
        usize::from(matches!(question, Question::Samples(_) | Question::Shares(_) | Question::Hook(..)))
    };
    for more in [json!({"compare": {}}), json!({"errors": {"failed": "sum(errors)", "total": "sum(all)"}})] {
        let annotation = (ADDITIONS.to_owned(), json!({"metrics": {"good": more}}).to_string());
        canary.metadata.annotations = Some([annotation].into());
        let decision = decided_by(&state, &canary, refused);
        assert_eq!((decision.status.failed_checks, decision.status.phase), (1, Phase::Progressing), "{more}");
        assert_eq!(told(&decision).last(), Some(&"Metric query failed for good: refused"));
    }
}

// Requests.

/// The decision when that is asked for.
fn asked(state: &State, request: &str, pick: Pick) -> Decision {
    let mut canary = canary(state, &halves(), INTERVAL);
    canary.metadata.annotations = Some([(REQUEST.to_owned(), format!("{request} at 1 by ada"))].into());
    decided_by(state, &canary, pick)
}

#[test]
fn requests_are_obeyed_while_the_promotion_waits() {
    let waiting = State { phase: Phase::WaitingPromotion, route: HALF, weight: 50, ..RUNNING };
    for (request, phase) in
        [("rollback", Phase::Failed), ("skip", Phase::Succeeded), ("promote-full", Phase::Promoting)]
    {
        assert_eq!(asked(&waiting, request, all_pass).status.phase, phase, "{request}");
    }
}

#[test]
fn promote_opens_the_gate_before_the_promotion() {
    let state = State { phase: Phase::WaitingPromotion, route: HALF, weight: 50, ..RUNNING };
    let gated = spec(json!({"stepWeight": 50, "maxWeight": 50}), &[HookType::ConfirmPromotion]);
    let mut canary = canary(&state, &gated, INTERVAL);
    assert_eq!(decided_by(&state, &canary, closed).status.phase, Phase::WaitingPromotion);
    canary.metadata.annotations = Some([(REQUEST.to_owned(), "promote at 1 by ada".to_owned())].into());
    assert_eq!(decided_by(&state, &canary, closed).status.phase, Phase::Promoting);
}

#[test]
fn promote_opens_the_gate_before_the_next_step() {
    let gated = spec(json!({"stepWeight": 50}), &[HookType::ConfirmTrafficIncrease]);
    let mut canary = canary(&RUNNING, &gated, INTERVAL);
    assert_eq!(decided_by(&RUNNING, &canary, closed).status.canary_weight, 0);
    canary.metadata.annotations = Some([(REQUEST.to_owned(), "promote at 1 by ada".to_owned())].into());
    let decision = decided_by(&RUNNING, &canary, closed);
    assert_eq!(
        (acts(&decision), decision.status.canary_weight),
        (vec!["weights 50 50".into(), "WriteStatus".into()], 50)
    );
    assert!(told(&decision).iter().any(|text| text.starts_with("Request accepted")), "{:?}", told(&decision));
}

#[test]
fn a_request_is_refused_only_when_it_makes_no_sense() {
    let waiting = State { phase: Phase::WaitingPromotion, route: HALF, weight: 50, ..RUNNING };
    let refused = |state: &State, pick| {
        let decision = asked(state, "promote", pick);
        told(&decision).iter().find(|text| text.starts_with("Request refused")).map(|text| (*text).to_owned())
    };
    // Its gate was not reached in this tick.
    assert_eq!(refused(&waiting, all_fail), None);
    assert_eq!(refused(&RUNNING, primary_waits), None);
    let why = |why: &str| Some(format!("Request refused, {why}: promote at 1 by ada"));
    assert_eq!(refused(&RUNNING, all_pass), why("no gate holds the rollout back"));
    assert_eq!(refused(&SETTLED, all_pass), why("no rollout is in flight"));
}
