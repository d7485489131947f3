//! Queries, requests and values as the reference has them: `tests/cases/canary/metrics_providers.jsonl`.

use super::*;
use crate::cases;
use serde_json::{Value, json};

fn of_kind(kind: &str) -> Vec<Value> {
    cases::lines("canary/metrics_providers.jsonl").into_iter().filter(|case| case["kind"] == kind).collect()
}

fn model(case: &Value) -> Model {
    let text = |field: &str| case["model"][field].as_str().unwrap().to_owned();
    Model {
        name: text("name"),
        namespace: text("namespace"),
        target: text("target"),
        service: text("service"),
        ingress: text("ingress"),
        route: text("route"),
        interval: text("interval"),
        variables: serde_json::from_value(case["model"]["variables"].clone()).unwrap(),
    }
}

const fn scene(observer: Observer) -> Scene<'static> {
    Scene { observer, revision: None }
}

#[test]
fn builtin_queries_are_those_of_the_reference() {
    for case in of_kind("builtin-query") {
        let observer = Observer::of(case["provider"].as_str(), "istio");
        assert_eq!(observer.success_rate(&model(&case)), case["successRateQuery"], "{}", case["id"]);
        assert_eq!(observer.duration(&model(&case)), case["durationQuery"], "{}", case["id"]);
        let answer: f64 = case["durationValueReturnedByServer"].as_str().unwrap().parse().unwrap();
        assert_eq!(observer.milliseconds(answer).trunc(), case["durationMs"].as_f64().unwrap(), "{}", case["id"]);
    }
}

#[test]
fn templates_render_as_in_the_reference() {
    for case in of_kind("template") {
        match model(&case).render(case["template"].as_str().unwrap()) {
            Ok(rendered) => assert_eq!(rendered, case["rendered"], "{}", case["id"]),
            Err(error) => assert_eq!(error.to_string(), case["error"], "{}", case["id"]),
        }
    }
}

#[test]
fn queries_come_in_the_order_in_which_they_are_asked() {
    let canary = cases::canary(&json!({"spec": {"provider": "gatewayapi:v1", "analysis": {"metrics": [
        {"name": "errors", "templateRef": {"name": "errors"}, "interval": "2m", "templateVariables": {"code": "500"}},
        {"name": "request-success-rate"},
        {"name": "inline", "query": "up{ns=\"{{ namespace }}\"}[{{ interval }}]"}]}}}));
    let template = json!({"apiVersion": "flagger.app/v1beta1", "kind": "MetricTemplate", "metadata": {"name": "errors"},
        "spec": {"provider": {"type": "datadog"}, "query": "e{c={{ variables.code }}}[{{ interval }}]"}});
    let template: MetricTemplate = api::manifest::typed(&template).unwrap();
    let found = queries(&canary, scene(Observer::Local), "gatewayapi:v1", std::slice::from_ref(&template)).unwrap();
    let found: Vec<_> =
        found.iter().map(|query| (query.metric.as_str(), query.provider.as_str(), query.query.as_str())).collect();
    let success = "sum( rate( envoy_cluster_upstream_rq{ envoy_cluster_name=~\"default_podinfo-canary_[0-9]+\", envoy_response_code!~\"5.*\" }[1m] ) ) \
        / sum( rate( envoy_cluster_upstream_rq{ envoy_cluster_name=~\"default_podinfo-canary_[0-9]+\" }[1m] ) ) * 100";
    assert_eq!(
        found,
        [
            ("request-success-rate", "gatewayapi:v1", success),
            ("inline", "prometheus", "up{ns=\"default\"}[1m]"),
            ("errors", "datadog", "e{c=500}[2m]"),
        ]
    );
    let missing = queries(&canary, scene(Observer::Http), "", &[]).unwrap_err();
    assert_eq!(missing.to_string(), "Metric template errors.default error: not found");
}

#[test]
fn a_metric_with_neither_name_nor_query_is_an_error() {
    let canary =
        cases::canary(&json!({"spec": {"analysis": {"metrics": [{"name": "request-duration"}, {"name": "nothing"}]}}}));
    let unaskable = Unaskable { index: 1, problem: Error::NoQuery };
    assert_eq!(queries(&canary, scene(Observer::Istio), "istio", &[]), Err(unaskable));
}

#[test]
fn a_controller_for_linkerd_asks_linkerd() {
    assert_eq!(Observer::of(Some("gatewayapi:v1"), "linkerd"), Observer::Linkerd);
    assert_eq!(Observer::of(None, "crossover"), Observer::Istio);
}

#[test]
fn a_gateway_is_asked_as_its_class_tells() {
    let class = |controller: &str| Implementation::of_class(&json!({"spec": {"controllerName": controller}}));
    assert_eq!(class("gateway.envoyproxy.io/gatewayclass-controller"), Some(Implementation::EnvoyGateway));
    assert_eq!(class("istio.io/gateway-controller"), Some(Implementation::Istio));
    assert_eq!(class("io.cilium/gateway-controller"), Some(Implementation::Cilium));
    assert_eq!(class("gateway.nginx.org/nginx-gateway-controller"), Some(Implementation::NginxGatewayFabric));
    assert_eq!((class("example.com/other"), Implementation::of_class(&json!({}))), (None, None));
    assert_eq!("kgateway".parse(), Ok(GatewayMetrics::Of(Observer::Gateway(Implementation::Kgateway))));
    assert!("envoy".parse::<GatewayMetrics>().unwrap_err().contains("envoy-gateway"));
}

#[test]
fn a_gateways_own_series_come_before_the_applications() {
    let canary = cases::canary(&json!({"spec": {"analysis": {"metrics": [{"name": "request-duration"}]}}}));
    let observer = Observer::Gateway(Implementation::Kgateway);
    let found = queries(&canary, scene(observer), "gatewayapi:v1", &[]).unwrap();
    assert_eq!(
        found[0].query,
        "(histogram_quantile( 0.99, sum( rate( envoy_cluster_upstream_rq_time_bucket{ \
         envoy_cluster_name=~\"kube_default_podinfo-canary_[0-9]+\" }[1m] ) ) by (le) )) or \
         (histogram_quantile( 0.99, sum( rate( http_request_duration_seconds_bucket{ kubernetes_namespace=\"default\", \
         kubernetes_pod_name=~\"podinfo-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)\" }[1m] ) ) by (le) ) * 1000)"
    );
}

#[test]
fn a_knative_service_is_measured_by_its_latest_revision() {
    let canary = cases::canary(&json!({"spec": {"provider": "knative",
        "targetRef": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "hello"},
        "analysis": {"metrics": [{"name": "own", "query": "up{route=\"{{ route }}\"}"}]}}}));
    let service = json!({"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "hello"},
        "status": {"latestCreatedRevisionName": "hello-00002"}});
    let objects = [service];
    let scene = Scene { observer: Observer::Knative, revision: revision(&canary, &objects) };
    assert_eq!(queries(&canary, scene, "knative", &[]).unwrap()[0].query, "up{route=\"hello-00002\"}");
    assert_eq!(revision(&cases::canary(&json!({})), &objects), None);
}
