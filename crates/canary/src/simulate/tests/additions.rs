//! What the annotation `slipway.dev/analysis` adds; without it nothing of this happens.

use super::*;

/// A Canary with that annotation.
fn with(annotation: Value, spec: Value) -> Canary {
    let mut canary = canary(spec);
    let annotations = [(api::flagger::ADDITIONS.to_owned(), annotation.to_string())];
    canary.metadata.annotations = Some(annotations.into());
    canary
}

fn play_with(annotation: Value, spec: Value, steps: Value) -> Vec<Tick> {
    let script = Scenario::parse(&from_initialized(steps)).unwrap();
    run(with(annotation, spec), Vec::new(), &script, Default::default())
}

const GOOD: &str = "request-success-rate";

fn small_steps() -> Value {
    let mut spec = halves();
    spec["analysis"]["stepWeight"] = json!(10);
    spec
}

#[test]
fn failures_in_a_row_begin_anew_after_a_pass() {
    let bad_and_good = |ticks: u32| {
        let mut steps = vec![image(2), json!({"tick": 2})];
        for tick in 0..ticks {
            steps.extend([json!({"metrics": {GOOD: if tick % 2 == 0 { 1 } else { 100 }}}), json!({"tick": 1})]);
        }
        json!(steps)
    };
    let consecutive = play_with(json!({"failures": "consecutive"}), small_steps(), bad_and_good(6));
    assert_eq!(states(&consecutive).last(), Some(&(Phase::Progressing, 40, 0)));
    let cumulative = play_with(json!({}), small_steps(), bad_and_good(6));
    assert_eq!(cumulative.last().map(|tick| tick.phase), Some(Phase::Failed));
    let in_a_row = json!([image(2), {"tick": 2}, {"metrics": {GOOD: 1}}, {"tick": 3}]);
    let failed = play_with(json!({"failures": "consecutive"}), small_steps(), in_a_row);
    assert_eq!(failed.last().map(|tick| tick.phase), Some(Phase::Failed));
}

#[test]
fn silence_holds_fails_or_passes_as_asked() {
    let silent =
        json!([image(2), {"tick": 2}, {"metrics": {GOOD: null}}, {"tick": 5}, {"metrics": {GOOD: 100}}, {"tick": 1}]);
    let policy = |policy: Value| play_with(json!({"metrics": {GOOD: policy}}), small_steps(), silent.clone());
    let held = policy(json!({"noData": "hold"}));
    assert_eq!(states(&held)[3..8], [(Phase::Progressing, 10, 0); 5]);
    assert_eq!(held[4].waiting_for, "metric request-success-rate to have data");
    assert_eq!((held[3].events.len(), held[4].events.len()), (1, 0), "told once");
    assert_eq!(states(&held)[8], (Phase::Progressing, 20, 0));
    assert_eq!(states(&policy(json!({"noData": "pass"})))[7], (Phase::Promoting, 50, 0));
    let limited = policy(json!({"noData": "hold", "deadline": "30s"}));
    let failed: Vec<_> = limited[3..].iter().map(|tick| tick.failed_checks).collect();
    assert_eq!(failed[..5], [0, 0, 0, 1, 2]);
}

#[test]
fn silence_that_ends_and_begins_again_is_told_and_timed_anew() {
    let silent = |ticks: u32| {
        vec![
            json!({"metrics": {GOOD: null}}),
            json!({"tick": ticks}),
            json!({"metrics": {GOOD: 100}}),
            json!({"tick": 1}),
        ]
    };
    let steps = [vec![image(2), json!({"tick": 2})], silent(3), silent(3)].concat();
    let hold = json!({"metrics": {GOOD: {"noData": "hold", "deadline": "30s"}}});
    let ticks = play_with(hold, small_steps(), json!(steps));
    assert!(ticks.iter().all(|tick| tick.failed_checks == 0), "{:?}", states(&ticks));
    assert_eq!(ticks.iter().filter(|tick| has_event(tick, "no values found")).count(), 2);
}

#[test]
fn data_of_one_metric_does_not_end_the_silence_of_another() {
    let mut spec = small_steps();
    spec["analysis"]["metrics"] = json!([
        {"name": GOOD, "thresholdRange": {"min": 99}}, {"name": "late", "query": "x", "thresholdRange": {"max": 5}}]);
    let hold = json!({"metrics": {"late": {"noData": "hold", "deadline": "30s"}}});
    let ticks = play_with(hold, spec, json!([image(2), {"tick": 2}, {"metrics": {"late": null}}, {"tick": 4}]));
    assert_eq!(ticks.last().map(|tick| tick.failed_checks), Some(1), "{:?}", states(&ticks));
}

#[test]
fn an_error_of_the_provider_is_no_silence() {
    let script = json!([image(2), {"tick": 2}, {"metrics": {GOOD: "error"}}, {"tick": 3}]);
    let ticks = play_with(json!({"metrics": {GOOD: {"noData": "pass"}}}), small_steps(), script);
    assert_eq!(ticks.last().map(|tick| tick.phase), Some(Phase::Failed));
}

#[test]
fn too_few_requests_are_no_data() {
    let annotation = json!({"metrics": {GOOD: {"noData": "hold", "requests": "sum(requests)", "minRequests": 100}}});
    let key = format!("{GOOD}.requests");
    let script = json!([image(2), {"tick": 2}, {"metrics": {GOOD: 0, (key.as_str()): 99}}, {"tick": 2}, {"metrics": {(key.as_str()): 100}}, {"tick": 1}]);
    let ticks = play_with(annotation, small_steps(), script);
    assert_eq!(
        states(&ticks)[2..6],
        [
            (Phase::Progressing, 10, 0),
            (Phase::Progressing, 10, 0),
            (Phase::Progressing, 10, 0),
            (Phase::Progressing, 10, 1)
        ]
    );
    assert!(has_event(&ticks[3], "99 of at least 100 requests"), "{:?}", ticks[3].events);
}

#[test]
fn a_step_is_looked_at_for_its_own_time_by_its_own_metrics() {
    let mut spec = halves();
    spec["analysis"]["metrics"] = json!([
        {"name": GOOD, "thresholdRange": {"min": 99}}, {"name": "late", "query": "x", "thresholdRange": {"max": 5}}]);
    let annotation = json!({"steps": [{"weight": 5, "bake": "30s", "metrics": [GOOD]}, {"weight": 60}]});
    let script = json!([{"metrics": {"late": 1000}}, image(2), {"tick": 6}]);
    let ticks = play_with(annotation, spec, script);
    assert_eq!(
        states(&ticks)[1..],
        [
            (Phase::Progressing, 0, 0),
            (Phase::Progressing, 5, 0),
            (Phase::Progressing, 5, 0),
            (Phase::Progressing, 5, 0),
            (Phase::Progressing, 60, 0),
            (Phase::Progressing, 60, 1),
        ]
    );
    assert_eq!(ticks[3].waiting_for, "the step at 5% to be looked at long enough");
}

#[test]
fn a_metric_can_be_judged_by_the_primarys() {
    let annotation = json!({"metrics": {GOOD: {"compare": {"minSamples": 5}}}});
    let samples = |factor: f64| {
        let primary: Vec<f64> = (0..30).map(|place| 100.0 + f64::from(place)).collect();
        let canary: Vec<f64> = primary.iter().map(|value| value * factor).collect();
        json!({"metrics": {(format!("{GOOD}.samples")): {"canary": canary, "primary": primary}}})
    };
    let end = |step: Value| play_with(annotation.clone(), small_steps(), json!([step, image(2), {"tick": 9}]));
    let worse = end(samples(1.5));
    assert_eq!(worse.last().map(|tick| tick.phase), Some(Phase::Failed));
    assert!(worse.iter().any(|tick| has_event(tick, "advancement request-success-rate is 1.50 times the primary's")));
    assert_eq!(end(samples(1.02)).last().map(|tick| tick.phase), Some(Phase::Succeeded));
    let few = end(json!({"metrics": {(format!("{GOOD}.samples")): {"canary": [1], "primary": [1]}}}));
    assert!(
        few.iter().any(|tick| has_event(tick, "1 samples of the canary, 1 of the primary")),
        "silence never passes"
    );
}

#[test]
fn which_change_is_bad_is_asked_for() {
    for (direction, factor, phase) in [
        ("increase", 0.5, Phase::Succeeded),
        ("decrease", 0.5, Phase::Failed),
        ("decrease", 2.0, Phase::Succeeded),
        ("either", 0.5, Phase::Failed),
        ("either", 2.0, Phase::Failed),
    ] {
        let annotation = json!({"metrics": {GOOD: {"compare": {"direction": direction}}}});
        let primary: Vec<f64> = (0..30).map(|place| 100.0 + f64::from(place)).collect();
        let canary: Vec<f64> = primary.iter().map(|value| value * factor).collect();
        let samples = json!({"metrics": {(format!("{GOOD}.samples")): {"canary": canary, "primary": primary}}});
        let ticks = play_with(annotation, small_steps(), json!([samples, image(2), {"tick": 9}]));
        assert_eq!(ticks.last().map(|tick| tick.phase), Some(phase), "{direction} {factor}");
    }
}

#[test]
fn a_change_counts_from_the_size_that_is_asked_for() {
    for (factor, compare, phase) in [
        (1.05, json!({}), Phase::Succeeded),
        (1.05, json!({"allowedIncrease": 1.02}), Phase::Failed),
        (1.3, json!({"allowedIncrease": 1.5}), Phase::Succeeded),
        (0.95, json!({"direction": "decrease"}), Phase::Succeeded),
        (0.95, json!({"direction": "decrease", "allowedDecrease": 0.98}), Phase::Failed),
        (0.7, json!({"direction": "decrease", "allowedDecrease": 0.5}), Phase::Succeeded),
    ] {
        let annotation = json!({"metrics": {GOOD: {"compare": compare}}});
        let primary: Vec<f64> = (0..30).map(|place| 100.0 + f64::from(place) / 100.0).collect();
        let canary: Vec<f64> = primary.iter().map(|value| value * factor).collect();
        let samples = json!({"metrics": {(format!("{GOOD}.samples")): {"canary": canary, "primary": primary}}});
        let ticks = play_with(annotation.clone(), small_steps(), json!([samples, image(2), {"tick": 9}]));
        assert_eq!(ticks.last().map(|tick| tick.phase), Some(phase), "{factor} {annotation}");
    }
}

#[test]
fn as_many_samples_as_asked_for_are_enough() {
    for (least, phase) in [(5, Phase::Succeeded), (6, Phase::Failed)] {
        let annotation = json!({"metrics": {GOOD: {"compare": {"minSamples": least}}}});
        let samples = json!({"metrics": {(format!("{GOOD}.samples")): {"canary": [1, 1, 1, 1, 1], "primary": [1, 1, 1, 1, 1, 1]}}});
        let ticks = play_with(annotation, small_steps(), json!([samples, image(2), {"tick": 9}]));
        assert_eq!(ticks.last().map(|tick| tick.phase), Some(phase), "{least}");
    }
}

#[test]
fn error_counts_are_compared_as_shares() {
    let annotation =
        json!({"metrics": {GOOD: {"errors": {"failed": "sum(errors)", "total": "sum(all)", "minRequests": 50}}}});
    for (canary, primary, phase) in [
        ([1, 1000], [1, 9000], Phase::Succeeded),
        ([60, 1000], [9, 9000], Phase::Failed),
        ([49, 49], [0, 9000], Phase::Failed),
    ] {
        let step = json!({"metrics": {(format!("{GOOD}.errors")): {"canary": canary, "primary": primary}}});
        let ticks = play_with(annotation.clone(), small_steps(), json!([step, image(2), {"tick": 9}]));
        assert_eq!(ticks.last().map(|tick| tick.phase), Some(phase), "{canary:?} {primary:?}");
        let halted = format!("{GOOD} 6.00% of requests fail, 0.10% of the primary's");
        assert_eq!(ticks.iter().any(|tick| has_event(tick, &halted)), canary[0] == 60, "{canary:?}");
    }
}

#[test]
fn the_first_deployment_can_be_analysed_before_anything_is_taken_from_it() {
    let analyse = json!({"firstDeployment": "analyse"});
    let script = json!([image(1), {"replicas": 2}, {"metrics": {GOOD: 1}}, {"tick": 3}, image(2), {"metrics": {GOOD: 100}}, {"tick": 3}]);
    let scenario = Scenario::parse(&script).unwrap();
    let ticks = run(with(analyse, halves()), Vec::new(), &scenario, Default::default());
    let found: Vec<_> = ticks.iter().map(|tick| (tick.phase, tick.failed_checks, tick.target_replicas)).collect();
    assert_eq!(
        found[..3],
        [(Phase::Initializing, 1, Some(2)), (Phase::Initializing, 2, Some(2)), (Phase::Initializing, 2, Some(2))]
    );
    assert_eq!(ticks[0].alerts, [Value::Null; 0]);
    assert_eq!(ticks[1].alerts, [json!({"severity": "error", "message": "Failed checks threshold reached 2"})]);
    assert_eq!(ticks[2].waiting_for, "another revision of the target: the first one failed its checks");
    assert_eq!(
        ticks.last().map(|tick| (tick.phase, tick.primary_image.clone(), tick.target_replicas)),
        Some((Phase::Initialized, Some("podinfo:2".into()), Some(0)))
    );
}

#[test]
fn the_first_deployment_is_analysed_by_its_hooks_too() {
    let mut spec = halves();
    spec["analysis"]["webhooks"] = json!([{"name": "load", "url": "http://t"}]);
    let script = json!([image(1), {"hooks": {"load": 500}}, {"tick": 1}, {"hooks": {"load": 200}}, {"tick": 1}]);
    let ticks = run(
        with(json!({"firstDeployment": "analyse"}), spec),
        Vec::new(),
        &Scenario::parse(&script).unwrap(),
        Default::default(),
    );
    assert_eq!(states(&ticks), [(Phase::Initializing, 0, 1), (Phase::Initialized, 0, 0)]);
    assert!(
        has_event(&ticks[0], "Halt podinfo.default advancement external check load failed"),
        "{:?}",
        ticks[0].events
    );
}
