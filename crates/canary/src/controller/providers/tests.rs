//! Providers over real HTTP: a real Prometheus, behind a small proxy where it needs TLS, a login, or faults.

pub(in crate::controller) mod proxy;

use std::{fmt::Write as _, sync::atomic::Ordering};

use api::flagger::Metric;
use reconcile::Directory;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::proxy::{Action, Proxy, certificate};
use super::*;
use crate::{
    cases,
    controller::tests::Prometheus,
    metrics::{Observer, Scene, query},
};

const NAMESPACE: &str = "default";

/// Providers over a store, which holds Secrets.
struct World {
    store: Store,
    providers: Providers,
    _folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = Directory::open(&folder.path().join("state.db"), Vec::new()).await.expect("a store");
        let store = Store::Directory(directory);
        let context = Context::new(store.clone(), Http::new("test"), "test");
        Self { store, providers: Providers::new(&context), _folder: folder }
    }

    /// Keeps a Secret and returns the provider with it.
    async fn with_secret(&self, name: &str, data: Value, address: &str) -> MetricProvider {
        let metadata = json!({"name": name, "namespace": NAMESPACE});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data});
        self.store.apply("test", &secret).await.expect("a Secret");
        MetricProvider { secret_ref: Some(LocalReference { name: name.into() }), ..prometheus(address) }
    }

    async fn ask(&self, provider: &MetricProvider, query: &str) -> Measurement {
        self.providers.ask(inquiry(provider, Some(query))).await
    }
}

fn inquiry(provider: &MetricProvider, query: Option<&str>) -> Inquiry {
    let (namespace, query) = (NAMESPACE.to_owned(), query.map(str::to_owned));
    Inquiry { provider: provider.clone(), namespace, query, interval: "1m".into() }
}

fn prometheus(address: &str) -> MetricProvider {
    MetricProvider { kind: "prometheus".into(), address: address.into(), ..MetricProvider::default() }
}

fn problem(measured: Measurement) -> String {
    match measured {
        Measurement::Error(problem) => problem,
        other => panic!("an error is expected, not {other:?}"),
    }
}

/// Two minutes of requests to podinfo: one in a hundred fails, all take between 0.1 and 0.2 seconds.
fn samples() -> String {
    let now = clock::now().as_second();
    let labels = r#"reporter="destination",destination_workload_namespace="default",destination_workload="podinfo""#;
    let mut text = String::new();
    let mut series = |name: &str, labels: &str, each: i64| {
        for step in 0..=8 {
            let _ = writeln!(text, "{name}{{{labels}}} {} {}", step * each, now - 120 + step * 15);
        }
    };
    series("istio_requests_total", &format!("{labels},response_code=\"200\""), 99);
    series("istio_requests_total", &format!("{labels},response_code=\"503\""), 1);
    for (bound, each) in [("100", 0), ("200", 100), ("+Inf", 100)] {
        series("istio_request_duration_milliseconds_bucket", &format!("{labels},le=\"{bound}\""), each);
    }
    text
}

#[tokio::test]
async fn a_real_prometheus_answers_builtin_and_template_queries() {
    let server = Prometheus::start_with(&samples());
    let world = World::new().await;
    let provider = prometheus(&server.address);
    let canary = cases::canary(&json!({}));
    let scene = Scene { observer: Observer::Istio, revision: None };
    let builtin = |name: &str| {
        let metric = Metric { name: name.into(), interval: Some("2m".into()), ..Metric::default() };
        query(&canary, &metric, scene, None).expect("a query")
    };
    assert_eq!(world.ask(&provider, &builtin("request-success-rate")).await, Measurement::Value(99.0));
    let Measurement::Value(duration) = world.ask(&provider, &builtin("request-duration")).await else {
        panic!("a duration is expected")
    };
    assert!((duration - 199.0).abs() < 0.01, "{duration}");

    let template = json!({"apiVersion": "flagger.app/v1beta1", "kind": "MetricTemplate", "metadata": {"name": "own"},
        "spec": {"query": "count(istio_requests_total{destination_workload=\"{{ target }}\",response_code=\"{{ variables.code }}\"})"}});
    let template = api::manifest::typed(&template).expect("a template");
    let reference = json!({"name": "own", "templateRef": {"name": "own"}, "templateVariables": {"code": "503"}});
    let metric: Metric = serde_json::from_value(reference).expect("a metric");
    let rendered = query(&canary, &metric, scene, Some(&template)).expect("a query");
    assert_eq!(world.ask(&provider, &rendered).await, Measurement::Value(1.0));

    let silence = |measured| assert!(matches!(measured, Measurement::NoData(_)), "{measured:?}");
    silence(world.ask(&provider, "nobody_counts_this").await);
    silence(world.ask(&provider, "vector(0) / vector(0)").await);
    let several = r#"label_replace(vector(1), "a", "1", "", "") or label_replace(vector(2), "a", "2", "", "")"#;
    assert_eq!(world.ask(&provider, several).await, Measurement::Value(2.0));
    assert!(problem(world.ask(&provider, "sum(").await).contains("400 Bad Request"));
    assert!(problem(world.ask(&provider, "1").await).contains("scalar"));
    assert_eq!(world.providers.ask(inquiry(&provider, None)).await, Measurement::Value(1.0));
}

#[tokio::test]
async fn a_login_and_a_private_authority_come_from_the_secret() {
    let server = Prometheus::start();
    let (authority, config) = certificate();
    let proxy = Proxy::start(Some(config), &server.address, |head, _| {
        match head.contains("authorization: Bearer right-token\r") || head.contains("authorization: Basic dTpwYXNz\r") {
            true => Action::Forward,
            // What no server should do: it repeats what it was sent.
            false => Action::Answer("401 Unauthorized", head.to_owned()),
        }
    });
    let world = World::new().await;
    let secret = |data: Value| {
        let mut data = data;
        data["ca.crt"] = json!(authority);
        data
    };
    let bearer = world.with_secret("bearer", secret(json!({"token": "right-token"})), &proxy.address).await;
    assert_eq!(world.ask(&bearer, "vector(3)").await, Measurement::Value(3.0));
    let basic = world.with_secret("basic", secret(json!({"username": "u", "password": "pass"})), &proxy.address).await;
    assert_eq!(world.ask(&basic, "vector(4)").await, Measurement::Value(4.0));
    let wrong = world.with_secret("wrong", secret(json!({"token": "wrong-token"})), &proxy.address).await;
    let told = problem(world.ask(&wrong, "vector(1)").await);
    assert!(told.contains("401 Unauthorized") && told.contains("***") && !told.contains("wrong-token"), "{told}");
    let strange = world.with_secret("strange", json!({"token": "right-token"}), &proxy.address).await;
    assert!(problem(world.ask(&strange, "vector(1)").await).contains("certificate"));
    let careless = MetricProvider { insecure_skip_verify: true, ..strange };
    assert_eq!(world.ask(&careless, "vector(5)").await, Measurement::Value(5.0));
    let lost = MetricProvider { secret_ref: Some(LocalReference { name: "lost".into() }), ..careless };
    assert_eq!(world.ask(&lost, "up").await, Measurement::Invalid("secret lost.default error: not found".into()));
}

#[tokio::test]
async fn a_server_that_fails_is_an_error_and_a_broken_connection_is_tried_again() {
    let server = Prometheus::start();
    let proxy = Proxy::start(None, &server.address, |head, count| match head {
        head if head.contains("refused") => Action::Answer("503 Service Unavailable", "down".into()),
        head if head.contains("slow") => Action::Silence,
        _ if count == 0 => Action::HangUp,
        _ => Action::Forward,
    });
    let world = World::new().await;
    let provider = prometheus(&proxy.address);
    assert_eq!(world.ask(&provider, "vector(6)").await, Measurement::Value(6.0));
    assert_eq!(proxy.count.load(Ordering::SeqCst), 2);
    let refused = problem(world.ask(&provider, "refused").await);
    assert_eq!(refused, "error response: Status 503 Service Unavailable: down");
    assert_eq!(proxy.count.load(Ordering::SeqCst), 3);
    assert_eq!(problem(world.ask(&provider, "slow").await), "request failed: no answer within 5s");
    assert_eq!(proxy.count.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn the_same_question_is_asked_once_at_a_time() {
    let server = Prometheus::start();
    let proxy = Proxy::start(None, &server.address, |_, _| Action::Forward);
    let world = World::new().await;
    let provider = prometheus(&proxy.address);
    let answers = futures::future::join_all((0..50).map(|_| world.ask(&provider, "vector(7)"))).await;
    assert!(answers.iter().all(|answer| *answer == Measurement::Value(7.0)));
    assert_eq!(proxy.count.load(Ordering::SeqCst), 1);
    assert_eq!(world.ask(&provider, "vector(7)").await, Measurement::Value(7.0));
    assert_eq!(proxy.count.load(Ordering::SeqCst), 2, "an answer is not kept");
}

#[tokio::test]
async fn amazon_is_asked_with_the_keys_of_the_environment() {
    let answer = json!({"MetricDataResults": [{"Id": "e1", "Values": [100.0, 20.0]}]}).to_string();
    let proxy = Proxy::start(None, "", move |head, _| {
        let target = head.contains("x-amz-target: GraniteServiceVersion20100801.GetMetricData\r");
        let signed = head.contains("authorization: AWS4-HMAC-SHA256 Credential=AKID/");
        if target && signed { Action::Answer("200 OK", answer.clone()) } else { Action::HangUp }
    });
    let mut world = World::new().await;
    world.providers.identities = Identities::in_environment(Http::new("test"), |name| match name {
        "AWS_ACCESS_KEY_ID" => Some("AKID".into()),
        "AWS_SECRET_ACCESS_KEY" => Some("secret".into()),
        _ => None,
    });
    let provider =
        MetricProvider { kind: "cloudwatch".into(), region: "eu-west-1".into(), ..prometheus(&proxy.address) };
    assert_eq!(world.ask(&provider, r#"[{"Id": "e1"}]"#).await, Measurement::Value(100.0));
}

#[tokio::test]
async fn keptn_is_asked_with_objects() {
    let world = World::new().await;
    let provider = MetricProvider { kind: keptn::NAME.into(), ..MetricProvider::default() };
    let id = |kind: &str, name: &str| ObjectReference {
        api_version: "metrics.keptn.sh/v1beta1".into(),
        kind: kind.into(),
        namespace: NAMESPACE.into(),
        name: name.into(),
    };
    let metric = id("KeptnMetric", "m");
    let object = json!({"apiVersion": metric.api_version, "kind": metric.kind, "metadata": {"name": "m", "namespace": NAMESPACE}});
    world.store.apply("test", &object).await.expect("a metric");
    assert!(problem(world.ask(&provider, "keptnmetric/default/m").await).contains("has no value"));
    world.store.write_status(&metric, "test", &json!({"value": "3.5"})).await.expect("a status");
    assert_eq!(world.ask(&provider, "KeptnMetric/Default/m").await, Measurement::Value(3.5));

    // Keptn in the place of its controller: it judges the first Analysis that it sees.
    let keptn = async {
        let analysis = id("Analysis", "");
        loop {
            let found = world.store.list_values(&analysis, None).await.expect("a list");
            if let Some(found) = found.first().and_then(ObjectReference::of) {
                let status = json!({"state": "Completed", "pass": true});
                break world.store.write_status(&found, "test", &status).await.expect("a status");
            }
            tokio::task::yield_now().await;
        }
    };
    let (measured, _) = futures::join!(world.ask(&provider, "analysis/default/a/5m"), keptn);
    assert_eq!(measured, Measurement::Value(1.0));
    assert!(world.store.list_values(&id("Analysis", ""), None).await.expect("a list").is_empty());
}
