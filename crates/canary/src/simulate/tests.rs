//! The sample scenarios of Flagger's own state machine, played through the simulator and compared field by field.

use serde_json::{Value, json};

mod additions;
mod adoption;
mod better;
mod decisions;
mod requests;

use super::*;
use crate::{cases, metrics};

/// A Canary for podinfo with that analysis, by Istio unless the spec says otherwise, in a scripted world.
fn play(spec: Value, script: Value) -> Vec<Tick> {
    run(canary(spec), Vec::new(), &Scenario::parse(&script).unwrap(), Default::default())
}

fn canary(spec: Value) -> Canary {
    let mut given = json!({"spec": {"provider": "istio", "analysis": {"interval": "10s", "threshold": 2}}});
    cases::merge(&mut given, &json!({"spec": spec}));
    cases::canary(&given)
}

/// Weight 50, then promotion, judged by the success rate.
fn halves() -> Value {
    json!({"analysis": {"stepWeight": 50, "maxWeight": 50,
        "metrics": [{"name": "request-success-rate", "thresholdRange": {"min": 99}}]}})
}

/// `halves` with hooks, each named by its type.
fn gated(kinds: &[&str]) -> Value {
    let hooks: Vec<_> =
        kinds.iter().map(|kind| json!({"type": kind, "name": kind, "url": format!("http://hooks/{kind}")})).collect();
    let mut spec = halves();
    spec["analysis"]["webhooks"] = json!(hooks);
    spec
}

fn image(version: u32) -> Value {
    json!({"image": format!("podinfo:{version}")})
}

/// The steps that lead to an initialized Canary, and then these.
fn from_initialized(steps: Value) -> Value {
    let mut all = vec![image(1), json!({"tick": 1})];
    all.extend(cases::list(&steps));
    json!(all)
}

/// Phase, share of the canary, failed checks.
fn states(ticks: &[Tick]) -> Vec<(Phase, u32, i64)> {
    let share = |tick: &Tick| tick.route.map_or(0, |route| route.canary);
    ticks.iter().map(|tick| (tick.phase, share(tick), tick.failed_checks)).collect()
}

fn has_event(tick: &Tick, text: &str) -> bool {
    tick.events.iter().any(|event| event.contains(text))
}

/// Scenarios whose ticks differ from the reference's on purpose, and why.
const DIFFERS: [(&str, &str); 1] = [(
    "hook-rollback-while-waiting-rollout",
    "rollback hooks are honoured while a gate holds the rollout back (B.8 defect 6)",
)];

/// A sample's steps in the scenario language.
fn scenario(case: &Value) -> Scenario {
    let steps = cases::list(&case["steps"]).into_iter().map(|step| match step["op"].as_str().unwrap() {
        "tick" => json!({"tick": step["n"].as_u64().unwrap_or(1)}),
        "targetImage" => json!({"image": step["value"]}),
        "targetReplicas" => json!({"replicas": step["count"]}),
        "configMap" => json!({"config": {"configmap/podinfo-config-env": {"color": step["value"]}}}),
        "patchCanary" => json!({"patch": step["patch"]}),
        "primary" => json!({"primary": step["state"]}),
        "target" => json!({"target": step["state"]}),
        "hooks" => json!({"hooks": step["set"]}),
        "metrics" => {
            let names = [("success", "request-success-rate"), ("duration", "request-duration"), ("custom", "custom")];
            let set = step["set"].as_object().unwrap().iter().map(|(name, value)| {
                let name = names.iter().find(|(short, _)| short == name).unwrap().1;
                let value = if value == "nodata" { Value::Null } else { value.clone() };
                (name.to_owned(), value)
            });
            json!({"metrics": set.collect::<Map<_, _>>()})
        }
        other => panic!("unknown step {other}"),
    });
    let steps: Vec<_> = steps.collect();
    Scenario::parse(&json!({"world": {"readiness": "manual"}, "steps": steps})).unwrap()
}

/// The fields that the sample gives, in the simulator's form.
fn expected(tick: &Value) -> Vec<(&'static str, Value)> {
    let mut fields = Vec::new();
    // On a real cluster the first phase is written before the first tick.
    if tick["phase"] == "" {
        fields.push(("phase", json!("Initializing")));
    } else {
        fields.push(("phase", tick["phase"].clone()));
        fields.push(("condition", tick["condition"].clone()));
    }
    for field in ["canaryWeight", "failedChecks", "iterations", "primaryReplicas", "targetReplicas", "route"] {
        fields.push((field, tick[field].clone()));
    }
    if tick.get("primaryImage").is_some_and(|image| image != "") {
        fields.push(("primaryImage", tick["primaryImage"].clone()));
    }
    fields.push(("events", json!(cases::list(&tick["events"]))));
    fields.push(("alerts", json!(cases::list(&tick["alerts"]))));
    let calls = cases::list(&tick["webhookCalls"]);
    let calls: Vec<_> = calls.iter().map(|call| json!([call["hook"], call["payload"]["phase"]])).collect();
    fields.push(("webhookCalls", json!(calls)));
    fields
}

fn differences(case: &Value) -> Vec<String> {
    let mut given = case["canary"].clone();
    given["spec"]["provider"] = case["provider"].clone();
    let ticks = run(cases::canary(&given), Vec::new(), &scenario(case), Default::default());
    let wanted = cases::list(&case["ticks"]);
    let mut found = Vec::new();
    if ticks.len() != wanted.len() {
        found.push(format!("{} ticks instead of {}", ticks.len(), wanted.len()));
    }
    for (index, (tick, wanted)) in ticks.iter().zip(&wanted).enumerate() {
        let mut tick = serde_json::to_value(tick).unwrap();
        tick["webhookCalls"] =
            cases::list(&tick["webhookCalls"]).iter().map(|call| json!([call["name"], call["phase"]])).collect();
        for (field, wanted) in expected(wanted) {
            if tick[field] != wanted {
                found.push(format!("tick {index}: {field} is {} instead of {wanted}", tick[field]));
            }
        }
    }
    found
}

#[test]
fn an_event_hook_is_told_the_phase_that_the_event_announces() {
    let mut spec = halves();
    spec["analysis"]["webhooks"] = json!([{"type": "event", "name": "e", "url": "http://hooks/e"}]);
    let ticks = play(
        spec,
        from_initialized(
            json!([image(2), {"tick": 5}, {"metrics": {"request-success-rate": 1}}, image(3), {"tick": 6}]),
        ),
    );
    let told = ticks.iter().flat_map(|tick| tick.events.iter().zip(&tick.webhook_calls));
    let phases = told.filter_map(|(event, call)| {
        let known =
            ["providers", "Initialization done", "Scaling up", "Copying", "Promotion completed", "Canary failed"];
        known.iter().any(|part| event.contains(part)).then_some(call.phase)
    });
    use Phase::{Failed, Initialized, Initializing, Progressing, Succeeded};
    assert_eq!(
        phases.collect::<Vec<_>>(),
        [Initializing, Initialized, Progressing, Progressing, Succeeded, Progressing, Failed]
    );
}

/// B.8: the canary is the only healthy copy, as long as it is one.
#[test]
fn a_promotion_whose_primary_is_stuck_leaves_all_traffic_on_a_healthy_canary() {
    let stuck = |target: &str, ticks: u32| {
        let script = json!([image(2), {"tick": 3}, {"primary": "stuck"}, {"target": target}, {"tick": ticks}]);
        play(halves(), from_initialized(script)).pop().unwrap()
    };
    let failed = stuck("ready", 1);
    let problem = "podinfo-primary.default not ready: deployment \"podinfo-primary\" exceeded its progress deadline";
    assert_eq!(
        (failed.phase, failed.canary_weight, failed.route.map(|route| route.canary)),
        (Phase::Failed, 100, Some(100))
    );
    assert_eq!(failed.target_replicas, Some(1));
    let told = format!("Warning Synced Promotion of podinfo.default failed, primary not ready: {problem}");
    assert_eq!(failed.events, [format!("Warning Synced {problem}"), told]);
    let message = format!("Promotion failed, primary not ready: {problem}");
    assert_eq!(failed.alerts, [json!({"severity": "error", "message": message})]);
    let waiting = stuck("updating", 2);
    assert_eq!((waiting.phase, waiting.route.map(|route| route.canary)), (Phase::Promoting, Some(50)));
}

/// C.1.
#[test]
fn a_metric_that_nothing_measures_fails_the_check() {
    let mut spec = halves();
    spec["analysis"]["metrics"] = json!([{"name": "mystery"}]);
    let last = play(spec, from_initialized(json!([image(2), {"tick": 3}]))).pop().unwrap();
    assert_eq!((last.phase, last.failed_checks), (Phase::Progressing, 1));
    assert_eq!(last.events, [format!("Warning Synced {}", analysis::UNUSABLE)]);
}

/// B.8: a target put back to the promoted revision stays Failed, and the revision that failed is new again.
#[test]
fn a_revision_that_failed_is_tried_again_after_another() {
    let script = json!([image(2), {"metrics": {"request-success-rate": 1}}, {"tick": 5}, image(1), {"tick": 1}, image(2), {"tick": 1}]);
    let phases: Vec<_> = play(halves(), from_initialized(script))[5..].iter().map(|tick| tick.phase).collect();
    assert_eq!(phases, [Phase::Failed, Phase::Failed, Phase::Progressing]);
}

/// B.2.
#[test]
fn a_changed_config_begins_a_run_and_begins_it_again() {
    let config = |color: &str| json!({"config": {"configmap/settings": {"color": color}}});
    let ticks = play(halves(), from_initialized(json!([config("blue"), {"tick": 2}, config("green"), {"tick": 6}])));
    assert_eq!(
        states(&ticks)[1..4],
        [(Phase::Progressing, 0, 0), (Phase::Progressing, 50, 0), (Phase::Progressing, 0, 0)]
    );
    assert!(has_event(&ticks[3], "Restarting analysis"), "{:?}", ticks[3].events);
    assert_eq!(ticks.last().map(|tick| tick.phase), Some(Phase::Succeeded));
}

#[test]
fn a_new_canary_that_is_suspended_is_initializing() {
    let ticks = play(json!({"suspend": true, "analysis": {"stepWeight": 50}}), json!([{"tick": 2}]));
    assert!(ticks.iter().all(|tick| tick.phase == Phase::Initializing && tick.primary_image.is_none()));
    assert_eq!(ticks[0].condition.as_ref().unwrap()["reason"], "Initializing");
}

#[test]
fn a_router_that_tests_all_or_nothing_is_believed() {
    let ingress = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "podinfo"});
    let ticks = play(
        json!({"provider": "nginx", "ingressRef": ingress,
            "analysis": {"stepWeight": 25, "maxWeight": 50, "match": [{"headers": {"x": {"exact": "y"}}}]}}),
        from_initialized(json!([image(2), {"tick": 3}])),
    );
    assert_eq!(ticks.last().map(|tick| (tick.phase, tick.canary_weight)), Some((Phase::Promoting, 25)));
}

#[test]
fn silence_and_errors_are_told_as_the_source_of_the_metric_tells_them() {
    let told = |spec: Value, value: Value| {
        let mut all = json!({"analysis": {"stepWeight": 50, "metrics": [{"name": "request-success-rate", "thresholdRange": {"min": 99}}]},
            "service": {"port": 80, "gatewayRefs": [{"name": "gw"}]}});
        cases::merge(&mut all, &spec);
        let script = json!([image(2), {"metrics": {"request-success-rate": value}}, {"tick": 3}]);
        play(all, from_initialized(script)).pop().unwrap().events.pop().unwrap()
    };
    let (gateway, service) = (
        json!({"provider": "gatewayapi:v1"}),
        json!({"targetRef": {"apiVersion": "v1", "kind": "Service", "name": "podinfo"}}),
    );
    assert!(told(gateway.clone(), Value::Null).ends_with("is not receiving traffic: no values found"));
    assert!(told(json!({}), Value::Null).ends_with("is not receiving traffic: running query failed: no values found"));
    assert!(
        told(gateway, json!("error")).starts_with("Warning Synced Prometheus query failed: error response: Status 500")
    );
    assert!(told(service, Value::Null).contains("no values found for istio:service metric request-success-rate"));
}

#[test]
fn a_route_without_a_namespace_is_moved() {
    let ticks = play(
        json!({"provider": "kuma", "analysis": {"stepWeight": 50, "maxWeight": 50}}),
        from_initialized(json!([image(2), {"tick": 2}])),
    );
    assert_eq!(states(&ticks).last(), Some(&(Phase::Progressing, 50, 0)));
}

#[test]
fn rollouts_go_as_flagger_lets_them_go() {
    let mut wrong = Vec::new();
    for line in cases::text("canary/state_machine.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = case["name"].as_str().unwrap();
        let found = differences(&case);
        match DIFFERS.iter().find(|(differs, _)| *differs == name) {
            None if !found.is_empty() => wrong.push(format!("{name}:\n    {}", found.join("\n    "))),
            Some(_) if found.is_empty() => wrong.push(format!("{name} no longer differs")),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{} scenarios differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_metric_is_judged_by_each_of_its_sources() {
    let metric = json!({"name": "request-success-rate", "query": "up", "templateRef": {"name": "own"}, "interval": "1m",
        "thresholdRange": {"min": 99}});
    let canary = canary(json!({"analysis": {"stepWeight": 50, "metrics": [metric]}}));
    let options = world::Options::default();
    let scene = metrics::Scene { observer: metrics::Observer::Istio, revision: None };
    let template: api::flagger::MetricTemplate = api::manifest::typed(&template("own", "vector(1)")).unwrap();
    let queries = metrics::queries(&canary, scene, "istio", &[template]).unwrap();
    let providers: Vec<_> = queries.iter().map(|query| query.provider.as_str()).collect();
    assert_eq!(providers, ["istio", "prometheus", "prometheus"]);
    assert!(queries[0].query.contains("istio_requests_total"), "{}", queries[0].query);
    assert_eq!([&queries[1].query, &queries[2].query], ["up", "vector(1)"]);
    let script =
        from_initialized(json!([image(2), {"tick": 2}, {"metrics": {"request-success-rate": 5}}, {"tick": 1}]));
    let ticks = run(canary, Vec::new(), &Scenario::parse(&script).unwrap(), options);
    assert!(has_event(ticks.last().unwrap(), "success rate 5.00% < 99%"), "{:?}", ticks.last().unwrap().events);
}

fn template(name: &str, query: &str) -> Value {
    json!({"apiVersion": "flagger.app/v1beta1", "kind": "MetricTemplate",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"provider": {"type": "prometheus", "address": "http://prometheus"}, "query": query}})
}

#[test]
fn a_template_that_cannot_be_rendered_fails_its_check() {
    let metric = json!({"name": "own", "templateRef": {"name": "own"}, "interval": "1m", "thresholdRange": {"max": 5}});
    let given = json!({"analysis": {"stepWeight": 50, "metrics": [metric]}});
    let script = Scenario::parse(&from_initialized(json!([image(2), {"tick": 3}]))).unwrap();
    for (query, is_halted) in [("{{ target }}", false), ("{{ .Name }}", true)] {
        let ticks = run(canary(given.clone()), vec![template("own", query)], &script, Default::default());
        let is_told =
            ticks.iter().any(|tick| has_event(tick, "Metric template own.default query render error: template"));
        assert_eq!(is_told, is_halted, "{query}: {:?}", ticks.last().unwrap().events);
        assert_eq!(ticks.last().unwrap().failed_checks > 0, is_halted, "{query}");
    }
}

#[test]
fn events_name_whom_the_flag_makes_them_ask() {
    let script =
        from_initialized(json!([image(2), {"tick": 2}, {"metrics": {"request-success-rate": null}}, {"tick": 1}]));
    let script = Scenario::parse(&script).unwrap();
    for (flag, provider, named) in
        [("linkerd", "istio", "linkerd"), ("smi:crossover", "", "crossover"), ("istio", "", "istio")]
    {
        let mut given = halves();
        given["provider"] = json!(provider);
        let mut options = world::Options::default();
        options.router.mesh_provider = flag.into();
        let ticks = run(canary(given), Vec::new(), &script, options);
        let text = format!("no values found for {named} metric request-success-rate");
        assert!(has_event(ticks.last().unwrap(), &text), "{flag}: {:?}", ticks.last().unwrap().events);
    }
}
