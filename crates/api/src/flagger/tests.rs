//! What absent and loosely written fields mean.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::manifest::typed;

fn analysis(value: serde_json::Value) -> Analysis {
    typed(&value).expect("an analysis")
}

#[test]
fn numbers_are_read_as_the_schema_allows() {
    let read =
        analysis(json!({"threshold": 5.0, "stepWeight": "10", "stepWeights": [1, 2.0, "50"], "maxWeight": null}));
    assert_eq!((read.threshold(), read.step_weight, read.max_weight()), (5, Some(10), 50));
    assert_eq!(read.step_weights, [1, 2, 50]);
    assert!(typed::<Analysis>(&json!({"threshold": 1.5})).is_err());
}

#[test]
fn interval_has_a_default_and_a_floor() {
    for (text, seconds) in [("", 60), ("5s", 10), ("1m30s", 90), ("soon", 60), ("-5s", 10)] {
        let read = analysis(json!({"interval": text}));
        assert_eq!(read.interval(MIN_INTERVAL), Duration::from_secs(seconds), "{text:?}");
    }
    assert_eq!(analysis(json!({"interval": "2s"})).interval(Duration::from_secs(1)), Duration::from_secs(2));
}

#[test]
fn strategy_follows_iterations_and_match() {
    let test = json!([{"headers": {"x-canary": {"exact": "insider"}}}]);
    for (value, name) in [
        (json!({}), "canary"),
        (json!({"match": test}), "canary"),
        (json!({"iterations": 5}), "blue-green"),
        (json!({"iterations": 5, "match": test}), "ab-testing"),
    ] {
        assert_eq!(analysis(value.clone()).strategy().as_str(), name, "{value}");
    }
}

#[test]
fn alerts_receive_their_severity_and_worse() {
    let alert = |severity: Option<&str>| -> Alert {
        typed(&json!({"name": "a", "severity": severity, "providerRef": {"name": "p"}})).expect("an alert")
    };
    assert!(alert(Some("warn")).receives(Severity::Warn) && alert(Some("warn")).receives(Severity::Error));
    assert!(!alert(Some("error")).receives(Severity::Warn) && !alert(Some("error")).receives(Severity::Info));
    assert!(alert(None).receives(Severity::Info) && alert(Some("")).receives(Severity::Info));
}

#[test]
fn a_canary_is_written_back_as_it_was_read() {
    let object = json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": "podinfo", "namespace": "test"},
        "spec": {
            "provider": "gatewayapi:v1",
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
            "service": {"port": 9898, "targetPort": "http", "hosts": ["a.example"], "gatewayRefs": [{"name": "gw"}]},
            "analysis": {
                "interval": "1m", "threshold": 5, "maxWeight": 50, "stepWeight": 10,
                "metrics": [{"name": "request-success-rate", "thresholdRange": {"min": 99.0}, "interval": "1m"}],
                "webhooks": [{"type": "pre-rollout", "name": "w", "url": "http://t", "disableTLS": true}]
            }
        },
        "status": {"phase": "", "failedChecks": 0, "canaryWeight": 0, "iterations": 0}
    });
    let canary: Canary = typed(&object).expect("a canary");
    assert_eq!(serde_json::to_value(&canary).expect("JSON"), object);
    assert_eq!((canary.service_name(), canary.primary_name().as_str()), ("podinfo", "podinfo-primary"));
    assert_eq!(canary.progress_deadline(), Duration::from_secs(600));
    assert!(!canary.skip_analysis());
}

#[test]
fn additions_are_read_from_one_annotation() {
    let canary = |text: &str| -> Canary {
        typed(&json!({
            "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": "a", "annotations": {(ADDITIONS): text}},
            "spec": {"targetRef": {"name": "a"}, "service": {"port": 80}, "analysis": {"stepWeight": 5, "metrics": [{"name": "errors"}]}},
        }))
        .expect("a canary")
    };
    let read = canary(
        "failures: consecutive\nsteps:\n- {weight: 10, bake: 5m}\n- {weight: 50, metrics: [errors]}\nmetrics: {errors: {noData: hold, deadline: 10m}}\n",
    );
    let additions = read.additions().expect("additions");
    assert_eq!(additions.applied(&read.analysis()).step_weights, [10, 50]);
    assert_eq!(additions.step(10).and_then(|step| step.bake).map(|bake| bake.get().as_secs()), Some(300));
    assert_eq!((additions.failures, additions.metrics["errors"].no_data), (Failures::Consecutive, NoData::Hold));
    assert_eq!(canary("").additions(), Ok(Additions::default()));
    for (text, problem) in [
        ("steps: [{weight: 10}, {weight: 5}]", "steps: weight 5 does not lie above 10 and up to 100"),
        ("metrics: {latency: {noData: hold}}", "latency: spec.analysis.metrics has no metric of that name"),
        ("failure: consecutive", "unknown field"),
        ("[", "line 1"),
    ] {
        let told = canary(text).additions().expect_err(text);
        assert!(told.starts_with("annotation slipway.dev/analysis: ") && told.contains(problem), "{told}");
    }
}
