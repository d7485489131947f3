//! Every decision of whole rollouts, effect by effect and in order, as `decisions.txt` has it: what no field of a tick
//! shows (a status that is written too late, an event that is gone, an interval that is not waited for) shows there.
//!
//! `SLIPWAY_UPDATE=1 cargo test -p canary --lib decisions` writes it anew; its change is then to be read line by line.

use std::fmt::Write as _;

use super::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/simulate/tests/decisions.txt");

/// A rollout: what it shows, the Canary's spec, and the script.
type Rollout = (&'static str, Value, Value);

fn patch(spec: Value) -> Value {
    json!({ "patch": { "spec": spec } })
}

fn annotate(key: &str, text: Value) -> Value {
    json!({"patch": {"metadata": {"annotations": {key: text}}}})
}

fn hooks(status: u16, names: &[&str]) -> Value {
    json!({"hooks": names.iter().map(|name| ((*name).to_owned(), json!(status))).collect::<serde_json::Map<_, _>>()})
}

fn success(rate: Value) -> Value {
    json!({"metrics": {"request-success-rate": rate}})
}

/// `gated`, whose hooks say nothing to people.
fn mute(kinds: &[&str]) -> Value {
    let mut spec = gated(kinds);
    for hook in spec["analysis"]["webhooks"].as_array_mut().unwrap() {
        hook["muteAlert"] = json!(true);
    }
    spec
}

fn with(mut spec: Value, more: Value) -> Value {
    cases::merge(&mut spec, &more);
    spec
}

fn judged() -> Vec<Rollout> {
    let iterations = |more: Value| with(halves(), json!({"analysis": more}));
    vec![
        ("promoted", halves(), json!([image(1), {"tick": 2}, image(2), {"tick": 6}])),
        (
            "rolled back by a metric",
            halves(),
            from_initialized(json!([image(2), {"tick": 1}, success(json!(1)), {"tick": 5}])),
        ),
        (
            "rolled back at the last weight",
            halves(),
            from_initialized(json!([image(2), {"tick": 3}, success(json!(1)), {"tick": 4}])),
        ),
        (
            "without data",
            halves(),
            from_initialized(
                json!([image(2), {"tick": 1}, success(Value::Null), {"tick": 1}, success(json!(100)), {"tick": 5}]),
            ),
        ),
        (
            "promoted in steps",
            with(halves(), json!({"analysis": {"stepWeights": [10, 80], "stepWeightPromotion": 60}})),
            from_initialized(json!([image(2), {"tick": 9}])),
        ),
        (
            "an A/B test",
            iterations(
                json!({"stepWeight": null, "maxWeight": null, "iterations": 2, "match": [{"headers": {"x-canary": {"exact": "yes"}}}]}),
            ),
            from_initialized(json!([image(2), {"tick": 7}])),
        ),
        (
            "blue and green",
            iterations(json!({"stepWeight": null, "maxWeight": null, "iterations": 2})),
            from_initialized(json!([image(2), {"tick": 7}])),
        ),
        (
            "blue and green, once, with a copy of the traffic",
            iterations(
                json!({"stepWeight": null, "maxWeight": null, "iterations": 1, "mirror": true, "mirrorWeight": 30}),
            ),
            from_initialized(json!([image(2), {"tick": 7}])),
        ),
        (
            "blue and green by Kubernetes",
            with(
                iterations(json!({"stepWeight": null, "maxWeight": null, "iterations": 2})),
                json!({"provider": "kubernetes"}),
            ),
            from_initialized(json!([image(2), {"tick": 3}, success(json!(1)), {"tick": 4}])),
        ),
        (
            "a copy of the traffic first",
            iterations(json!({"mirror": true})),
            from_initialized(json!([image(2), {"tick": 7}])),
        ),
        (
            "without analysis",
            with(halves(), json!({"skipAnalysis": true})),
            from_initialized(json!([image(2), {"tick": 4}])),
        ),
        (
            "without analysis from the middle on",
            halves(),
            from_initialized(json!([image(2), {"tick": 2}, patch(json!({"skipAnalysis": true})), {"tick": 3}])),
        ),
    ]
}

fn held() -> Vec<Rollout> {
    const ALL: [&str; 8] = [
        "confirm-rollout",
        "pre-rollout",
        "rollout",
        "confirm-traffic-increase",
        "confirm-promotion",
        "post-rollout",
        "rollback",
        "event",
    ];
    let held = |kind: &'static str| {
        let closed = |status| hooks(status, &[kind]);
        from_initialized(
            json!([hooks(403, &["rollback"]), closed(403), image(2), {"tick": 4}, closed(200), {"tick": 7}]),
        )
    };
    let taken_back = |kind: &'static str| {
        from_initialized(
            json!([hooks(403, &["rollback", kind]), image(2), {"tick": 3}, hooks(200, &["rollback"]), {"tick": 3}]),
        )
    };
    let mut rollouts = Vec::new();
    for kind in &ALL[..6] {
        rollouts.push((*kind, gated(&ALL), held(kind)));
    }
    rollouts.extend(["confirm-traffic-increase", "confirm-promotion"].map(|kind| (kind, mute(&ALL), held(kind))));
    rollouts.extend(["confirm-rollout", "confirm-promotion"].map(|kind| (kind, gated(&ALL), taken_back(kind))));
    rollouts
}

fn disturbed() -> Vec<Rollout> {
    let scaled = json!({"autoscalerRef": {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "podinfo"}});
    let daemons = json!({"targetRef": {"kind": "DaemonSet", "apiVersion": "apps/v1", "name": "podinfo"}});
    let asked = |texts: &[&str]| {
        let mut script = vec![image(2), json!({"tick": 2})];
        for text in texts {
            script.extend([annotate("slipway.dev/request", json!(text)), json!({"tick": 2})]);
        }
        from_initialized(json!(script))
    };
    let paused = |text: Value| annotate("slipway.dev/paused", text);
    vec![
        (
            "a new revision in the middle",
            halves(),
            from_initialized(json!([image(2), {"tick": 2}, image(3), {"tick": 5}])),
        ),
        ("taken back in the middle", halves(), from_initialized(json!([image(2), {"tick": 2}, image(1), {"tick": 3}]))),
        (
            "a new revision while promoting",
            halves(),
            from_initialized(json!([image(2), {"tick": 4}, image(3), {"tick": 6}])),
        ),
        (
            "tried again after a failure",
            halves(),
            from_initialized(
                json!([image(2), {"tick": 1}, success(json!(1)), {"tick": 3}, success(json!(100)), image(3), {"tick": 6}]),
            ),
        ),
        (
            "a target that comes late",
            halves(),
            from_initialized(
                json!([image(2), {"tick": 1}, {"target": "updating"}, {"tick": 2}, {"target": "ready"}, {"tick": 5}]),
            ),
        ),
        (
            "a target that never comes",
            halves(),
            from_initialized(json!([image(2), {"tick": 1}, {"target": "stuck"}, {"tick": 3}])),
        ),
        (
            "a primary that comes late",
            halves(),
            from_initialized(
                json!([image(2), {"tick": 3}, {"primary": "updating"}, {"tick": 2}, {"primary": "ready"}, {"tick": 4}]),
            ),
        ),
        (
            "a primary that never comes",
            halves(),
            from_initialized(json!([image(2), {"tick": 3}, {"primary": "stuck"}, {"tick": 4}])),
        ),
        (
            "a first primary that never comes",
            halves(),
            json!([image(1), {"primary": "stuck"}, {"tick": 3}, {"primary": "ready"}, {"tick": 2}]),
        ),
        (
            "suspended",
            halves(),
            from_initialized(
                json!([image(2), {"tick": 2}, patch(json!({"suspend": true})), {"tick": 2}, patch(json!({"suspend": false})), {"tick": 4}]),
            ),
        ),
        ("with a scaler", with(halves(), scaled), json!([image(1), {"tick": 2}, image(2), {"tick": 6}])),
        ("daemons", with(halves(), daemons), json!([image(1), {"tick": 2}, image(2), {"tick": 6}])),
        (
            "asked to promote, and to go on",
            gated(&["confirm-rollout"]),
            from_initialized(json!([hooks(403, &["confirm-rollout"]), image(2), {"tick": 2},
            annotate("slipway.dev/request", json!("promote at 1 by ada")), {"tick": 2}])),
        ),
        ("asked to promote at once", halves(), asked(&["promote-full at 1 by ada"])),
        ("asked to skip", halves(), asked(&["skip at 1 by ada"])),
        (
            "asked to roll back, and to try again",
            halves(),
            asked(&["rollback at 1 by ada", "retry at 2 by ada", "retry at 3 by ada"]),
        ),
        (
            "paused",
            halves(),
            from_initialized(
                json!([image(2), {"tick": 2}, paused(json!("at 1 by ada")), {"tick": 2}, paused(Value::Null), {"tick": 3}]),
            ),
        ),
    ]
}

/// A tick in one line, and its effects.
fn told(decision: &Decision) -> String {
    let Decision { status, effects, next, outcome, waiting_for, is_full } = decision;
    let mut text = format!(
        "{:?} {}% iteration {} failed {}, next in {}s{}",
        status.phase,
        status.canary_weight,
        status.iterations,
        status.failed_checks,
        next.as_secs(),
        if *is_full { "" } else { ", not full" }
    );
    if let Some(outcome) = outcome {
        let _ = write!(text, ", {outcome:?}");
    }
    if !waiting_for.is_empty() {
        let _ = write!(text, ", waits for: {waiting_for}");
    }
    for effect in effects {
        let _ = match effect {
            Effect::SetWeights(weights) => {
                write!(text, "\n    weights {} {} mirror {}", weights.primary, weights.canary, weights.mirrored)
            }
            Effect::WriteStatus => {
                let conditions: Vec<_> =
                    status.conditions.iter().map(|one| format!("{}={} {}", one.kind, one.status, one.reason)).collect();
                write!(text, "\n    status {}", conditions.join(", "))
            }
            Effect::Event(event) => write!(text, "\n    event {event}"),
            Effect::Alert(alert) => {
                let alert = alert_entry(alert);
                write!(text, "\n    alert {} {}", alert["severity"], alert["message"])
            }
            other => write!(text, "\n    {other:?}"),
        };
    }
    text
}

#[test]
fn decisions_are_those_that_were_read_and_kept() {
    let mut text = String::new();
    for (name, spec, script) in judged().into_iter().chain(held()).chain(disturbed()) {
        let _ = writeln!(text, "# {name}");
        let scenario = Scenario::parse(&script).unwrap();
        let mut rehearsal = Rehearsal::new(canary(spec), Vec::new(), &scenario, Default::default());
        // The way to an initialized Canary is told once.
        let common = Scenario::parse(&from_initialized(json!([]))).unwrap().steps;
        let rest = scenario.steps.strip_prefix(common.as_slice());
        if rest.is_some() {
            common.iter().for_each(|step| rehearsal.play(step, &mut |_, _| {}));
        }
        for step in rest.unwrap_or(&scenario.steps) {
            let Step::Tick(count) = step else {
                let _ = writeln!(text, "- {step:?}");
                rehearsal.play(step, &mut |_, _| {});
                continue;
            };
            for _ in 0..*count {
                let (_, decision) = rehearsal.decide();
                rehearsal.perform(&decision);
                let _ = writeln!(text, "{}", told(&decision));
            }
        }
        text.push('\n');
    }
    if std::env::var_os("SLIPWAY_UPDATE").is_some() {
        std::fs::write(FILE, &text).unwrap();
    }
    let kept = std::fs::read_to_string(FILE).unwrap();
    let changed = text.lines().zip(kept.lines()).position(|(now, then)| now != then);
    let at = changed.unwrap_or_else(|| text.lines().count().min(kept.lines().count()));
    let around = |text: &str| text.lines().skip(at.saturating_sub(3)).take(6).collect::<Vec<_>>().join("\n");
    assert_eq!(around(&text), around(&kept), "line {}", at + 1);
}
