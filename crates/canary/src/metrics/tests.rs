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

fn provider(case: &Value) -> MetricProvider {
    let text = |field: &str| case[field].as_str().unwrap_or_default().to_owned();
    MetricProvider { kind: text("provider"), address: "http://prometheus:9090".into(), ..Default::default() }
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
fn prometheus_is_asked_and_read_as_in_the_reference() {
    let ours = |case: &Value| ["prometheus", "mystery"].contains(&case["provider"].as_str().unwrap());
    for case in of_kind("query").into_iter().filter(ours) {
        let (provider, id) = (provider(&case), &case["id"]);
        let secret = case.get("credentials").map(|data| -> Credentials {
            data.as_object().unwrap().iter().map(|(key, value)| (key.clone(), value.as_str().unwrap().into())).collect()
        });
        let query = if case["isOnline"] == true { ONLINE.0 } else { case["query"].as_str().unwrap() };
        let request = match request(&provider, secret.as_ref(), query) {
            Ok(request) => request,
            Err(error) => {
                assert_eq!(error.to_string(), case["constructorError"], "{id}");
                continue;
            }
        };
        let sent = &case["request"][0];
        let expected = sent["query"]["query"].as_str().unwrap();
        assert_eq!(request.uri().path(), sent["path"], "{id}");
        assert_eq!(decoded(request.uri().query().unwrap()), format!("query={expected}"), "{id}");
        let status = u16::try_from(case["responseStatus"].as_u64().unwrap_or(200)).unwrap();
        let body = Bytes::from(case["responseBody"].as_str().unwrap().to_owned());
        let response = http::Response::builder().status(status).body(body).unwrap();
        match value(&provider, &response) {
            Ok(value) => assert_eq!(Some(value), case["value"].as_f64(), "{id}"),
            Err(error) => {
                assert!(case.get("error").is_some(), "{id}: {error}");
                assert_eq!(error == Error::NoValues, case["noValues"] == true, "{id}: {error}");
            }
        }
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                u8::from_str_radix(&String::from_utf8(vec![bytes.next().unwrap(), bytes.next().unwrap()]).unwrap(), 16)
                    .unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).unwrap()
}

#[test]
fn a_request_carries_path_headers_and_credentials() {
    let mut server = provider(&json!({"provider": "prometheus"}));
    server.address = "https://p.example.com/prom/".into();
    server.headers = [("X-Scope-OrgID".to_owned(), vec!["a".to_owned()])].into();
    let secret = |pairs: &[(&str, &str)]| -> Credentials {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
    };
    let sent = request(&server, Some(&secret(&[("token", "t")])), "up").unwrap();
    assert_eq!(sent.uri().to_string(), "https://p.example.com/prom/api/v1/query?query=up");
    assert_eq!(
        (&sent.headers()["x-scope-orgid"], &sent.headers()["authorization"]),
        (&"a".parse().unwrap(), &"Bearer t".parse().unwrap())
    );
    let sent = request(&server, Some(&secret(&[("username", "u"), ("password", "p")])), "up").unwrap();
    assert_eq!(sent.headers()["authorization"], "Basic dTpw");
    server.address = "p.example.com:9090".into();
    assert_eq!(
        request(&server, None, "up").unwrap_err().to_string(),
        "prometheus address p.example.com:9090 is not a valid URL"
    );
}

#[test]
fn an_answer_is_the_last_series() {
    let read = |body: Value| value(&MetricProvider::default(), &http::Response::new(Bytes::from(body.to_string())));
    let vector = |values: &[Value]| {
        let series: Vec<_> = values.iter().map(|value| json!({"metric": {}, "value": [1, value]})).collect();
        json!({"data": {"result": series}})
    };
    assert_eq!(read(vector(&[json!("1"), json!("2")])), Ok(2.0));
    assert_eq!(read(vector(&[json!("+Inf")])), Ok(f64::INFINITY));
    assert_eq!(read(vector(&[json!(5)])), Err(Error::NoValues));
    assert_eq!(read(vector(&[])), Err(Error::NoValues));
    assert_eq!(read(json!({"data": {"result": [{"values": [[1, "2"], [2, "3"]]}]}})), Err(Error::MultipleValues));
}

#[test]
fn a_provider_that_is_not_built_in_is_named() {
    let datadog = MetricProvider { kind: "datadog".into(), ..Default::default() };
    let error = request(&datadog, None, "q").unwrap_err();
    assert_eq!(error.to_string(), "metrics provider \"datadog\" is not supported; use prometheus");
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
    let found = queries(&canary, Observer::Local, "gatewayapi:v1", std::slice::from_ref(&template)).unwrap();
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
    let missing = queries(&canary, Observer::Http, "", &[]).unwrap_err();
    assert_eq!(missing.to_string(), "Metric template errors.default error: not found");
}

#[test]
fn a_metric_with_neither_name_nor_query_is_an_error() {
    let canary = cases::canary(&json!({"spec": {"analysis": {"metrics": [{"name": "nothing"}]}}}));
    assert_eq!(queries(&canary, Observer::Istio, "istio", &[]), Err(Error::NoQuery));
}

#[test]
fn a_controller_for_linkerd_asks_linkerd() {
    assert_eq!(Observer::of(Some("gatewayapi:v1"), "linkerd"), Observer::Linkerd);
    assert_eq!(Observer::of(None, "crossover"), Observer::Istio);
}
