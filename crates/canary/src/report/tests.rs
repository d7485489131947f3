//! Rollouts as people are told of them.

use serde_json::{Value, json};

use super::*;
use crate::trail::{self, Tick, Verdict};

const GATE: &str = "Waits for hook confirm to approve the promotion.";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn canary(phase: &str, weight: i64, conditions: Value) -> Canary {
    let conditions: Vec<_> = conditions
        .as_object()
        .unwrap()
        .iter()
        .map(|(kind, text)| json!({"type": kind, "status": "True", "reason": phase, "message": text}))
        .collect();
    crate::cases::canary(&json!({
        "spec": {"analysis": {"interval": "10s", "threshold": 5, "stepWeight": 10, "maxWeight": 50,
            "metrics": [{"name": "request-duration", "thresholdRange": {"max": 500}}],
            "webhooks": [{"name": "confirm", "type": "confirm-promotion", "url": "http://gate"}]}},
        "status": {"phase": phase, "canaryWeight": weight, "failedChecks": 1, "iterations": 0,
            "lastTransitionTime": "1970-01-01T00:01:00Z", "conditions": conditions}}))
}

fn tick(second: i64, weight: i64, value: Option<f64>, events: &[&str]) -> Tick {
    let verdict = value.map_or(Verdict::NoData, |value| if value > 500.0 { Verdict::Failed } else { Verdict::Passed });
    let problem = value.is_none().then(|| "no requests".to_owned());
    let (metric, max) = ("request-duration".into(), Some(500.0));
    Tick {
        at: at(second),
        weight,
        failed_checks: 1,
        checks: vec![trail::Check { metric, value, min: None, max, verdict, problem }],
        events: events.iter().map(|text| (*text).to_owned()).collect(),
        ..Tick::default()
    }
}

fn run(phase: Phase, ended: Option<i64>, ticks: Vec<Tick>) -> Run {
    Run {
        image: Some("ghcr.io/a/app:2.0".into()),
        from_image: Some("ghcr.io/a/app:1.0".into()),
        began: at(0),
        ended: ended.map(at),
        phase,
        ticks,
        ..Run::default()
    }
}

#[test]
fn the_sentence_says_state_and_reason() {
    let passed = || tick(60, 30, Some(412.0), &[]);
    let bad = || tick(60, 30, Some(1520.0), &["Rolling back x failed checks threshold reached 5"]);
    let asked = "Request accepted: rollback at 1970-01-01T00:00:00Z by ada: errors in EU";
    let late = "canary deployment app.default not ready with retryable false: deployment \"app\" exceeded its progress deadline";
    for (phase, weight, conditions, ended, last, expected) in [
        ("Progressing", 30, json!({}), None, passed(), (State::Progressing, "Sending 30% to 2.0.")),
        (
            "Progressing",
            30,
            json!({}),
            None,
            bad(),
            (State::Progressing, "Held at 30%: request-duration is 1.52 s, limit <= 500 ms (failed 1 of 5)."),
        ),
        (
            "Progressing",
            30,
            json!({}),
            None,
            tick(60, 30, None, &[]),
            (State::Progressing, "Held at 30%: request-duration has no value: no requests (failed 1 of 5)."),
        ),
        (
            "WaitingPromotion",
            50,
            json!({"Waiting": GATE}),
            None,
            passed(),
            (State::Waiting, "Waiting for approval to promote 2.0 (gate confirm)."),
        ),
        (
            "Progressing",
            30,
            json!({"Paused": "at 1970-01-01T00:00:00Z by ada: lunch"}),
            None,
            passed(),
            (State::Paused, "Paused at 30% by ada: \"lunch\". The canary keeps its traffic until resumed."),
        ),
        (
            "Failed",
            0,
            json!({}),
            Some(90),
            bad(),
            (
                State::Failed,
                "Rolled back from 2.0 to 1.0 at 1970-01-01T00:01:30Z because request-duration was 1.52 s, limit <= 500 ms (failed 1 of 5).",
            ),
        ),
        (
            "Failed",
            0,
            json!({}),
            Some(90),
            tick(80, 30, Some(1.0), &[asked]),
            (State::Failed, "Rolled back from 2.0 to 1.0 at 1970-01-01T00:01:30Z: ada asked for it: \"errors in EU\"."),
        ),
        (
            "Failed",
            0,
            json!({}),
            Some(90),
            tick(80, 0, Some(1.0), &[late]),
            (State::Failed, &*format!("Rolled back from 2.0 to 1.0 at 1970-01-01T00:01:30Z because {late}.")),
        ),
        (
            "Succeeded",
            0,
            json!({}),
            Some(544),
            passed(),
            (State::Ready, "2.0 is primary. It took 9m4s, 1 check failed."),
        ),
    ] {
        let canary = canary(phase, weight, conditions);
        let run = run(canary.status().phase, ended, vec![last]);
        let row = row(&canary, Known { run: Some(&run), ..Known::default() });
        assert_eq!((row.state, row.sentence.as_str()), expected);
    }
}

#[test]
fn steps_gates_and_checks_are_told_with_their_times() {
    let canary = canary("Progressing", 20, json!({"Waiting": GATE}));
    let run = run(Phase::Progressing, None, vec![tick(10, 10, Some(300.0), &[]), tick(60, 20, Some(600.0), &[])]);
    let told = rollout(&canary, Known { run: Some(&run), actual: Some(20), ..Known::default() });
    let steps: Vec<_> = told.steps.iter().map(|step| (step.weight, step.state, step.at)).collect();
    assert_eq!(
        steps[..3],
        [(10, StepState::Done, Some(at(10))), (20, StepState::Now, Some(at(60))), (30, StepState::Next, None)]
    );
    assert_eq!((told.row.step, told.row.weight.actual), (Share { n: 2, of: 5 }, Some(20)));
    assert_eq!((told.row.next_check_at, told.eta_at), (Some(at(70)), Some(at(100))));
    let [check] = told.checks.as_slice() else { panic!("one check") };
    assert_eq!((check.unit, check.max, check.failed, check.measured), ("ms", Some(500.0), 1, 2));
    assert_eq!(check.canary, Some(Sample { value: Some(600.0), at: at(60) }));
    assert!(told.gates[0].is_waiting && told.gates[0].kind == HookType::ConfirmPromotion);
    let reason = told.row.reason.unwrap();
    assert_eq!((reason.check.as_deref(), reason.kind), (Some("confirm"), ReasonKind::Gate));
}

#[test]
fn only_what_would_be_taken_is_offered() {
    for (phase, conditions, expected) in [
        ("Progressing", json!({}), ["pause", "rollback", "promote-full", "skip"].as_slice()),
        ("WaitingPromotion", json!({"Waiting": GATE}), &["pause", "rollback", "promote", "promote-full", "skip"]),
        ("Failed", json!({}), &["retry"]),
        ("Succeeded", json!({}), &[]),
    ] {
        let told = rollout(&canary(phase, 30, conditions), Known::default());
        let allowed: Vec<_> = told.actions.iter().filter(|one| one.allowed).map(|one| one.name.as_str()).collect();
        assert_eq!(allowed, expected, "{phase}");
        assert!(told.actions.iter().all(|one| one.allowed == one.why.is_none()));
    }
}

#[test]
fn what_was_asked_stays_visible_until_it_is_obeyed() {
    let text = "rollback at 1970-01-01T00:00:00Z by ada: slow";
    let mut canary = canary("Progressing", 30, json!({}));
    canary.metadata.annotations = Some([(crate::machine::REQUEST.to_owned(), text.to_owned())].into());
    let pending = rollout(&canary, Known::default()).pending.unwrap();
    assert_eq!((pending.action.as_str(), pending.signed.by.as_str()), ("rollback", "ada"));
}

#[test]
fn versions_and_quantities_are_short() {
    for (image, expected) in [
        ("ghcr.io/a/app:1.2.3", "1.2.3"),
        ("127.0.0.1:5000/app", "latest"),
        ("app@sha256:0123456789abcdef", "0123456789ab"),
        ("app:1@sha256:0123456789abcdef", "1"),
    ] {
        assert_eq!(version(image), expected);
    }
    for (value, unit, expected) in [
        (97.25, "%", "97.25 %"),
        (100.0, "%", "100 %"),
        (99.998, "%", "99.998 %"),
        (412.4, "ms", "412 ms"),
        (1520.0, "ms", "1.52 s"),
        (0.0213, "", "0.02"),
        (0.0021, "", "0.0021"),
        (0.0, "", "0"),
    ] {
        assert_eq!(quantity(value, unit), expected);
    }
}
