//! What is wrong with a Canary beyond its schema: what could never work, and what would do nothing. For `slipway check`.

mod around;

use api::flagger::{Canary, HookType, Strategy};
use serde_json::Value;
use url::Url;

pub use around::Surroundings;

use crate::{
    analysis, metrics, router,
    validate::{References, validate},
    workload::Kind,
};

/// Providers of metrics whose window is made of the metric's interval.
const WINDOWED: [&str; 5] = ["cloudwatch", "datadog", "dynatrace", "newrelic", "splunk"];

/// Numbers of ports.
const PORTS: std::ops::RangeInclusive<i64> = 1..=65_535;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it could never work; otherwise it is hardly meant.
    pub is_error: bool,
    /// Path of the field.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

fn error(field: impl Into<String>, message: impl Into<String>) -> Finding {
    Finding { is_error: true, field: field.into(), message: message.into() }
}

fn warning(field: impl Into<String>, message: impl Into<String>) -> Finding {
    Finding { is_error: false, ..error(field, message) }
}

/// What is wrong with a Canary among those objects.
pub fn lint(canary: &Canary, options: &router::Options, around: &Surroundings<'_>) -> Vec<Finding> {
    let mut found: Vec<_> =
        [refusal(canary), port(canary), routing(canary, options, around)].into_iter().flatten().collect();
    found.extend(numbers(canary));
    found.extend(around.rivals(canary));
    found.extend(metrics(canary, around));
    found.extend(idle(canary, options));
    found
}

fn refusal(canary: &Canary) -> Option<Finding> {
    if let Err(problem) = canary.additions() {
        return Some(error("metadata.annotations", problem));
    }
    validate(canary, References::Anywhere).err().map(|problem| error("spec", problem))
}

/// The schema lets a Canary pass that has no service at all.
fn port(canary: &Canary) -> Option<Finding> {
    let is_missing = canary.spec.service.port == 0 && Kind::of(canary) != Kind::Knative;
    is_missing.then(|| error("spec.service", "port is required"))
}

/// Names and numbers that the schema lets pass, and that no cluster could do anything with.
fn numbers(canary: &Canary) -> Vec<Finding> {
    let (service, analysis) = (&canary.spec.service, canary.analysis());
    let mut found = Vec::new();
    if canary.spec.target_ref.name.is_empty() {
        found.push(error("spec.targetRef.name", "is required"));
    }
    if service.port != 0 && !PORTS.contains(&service.port) {
        found.push(error("spec.service.port", format!("{} is no port: 1 to 65535 are", service.port)));
    }
    if let Some(weight) = analysis.step_weight.filter(|weight| *weight < 0) {
        found.push(error("spec.analysis.stepWeight", format!("{weight} is no share of requests: traffic never moves")));
    }
    if let Some(weight) = analysis.max_weight.filter(|weight| *weight < 0) {
        found.push(warning("spec.analysis.maxWeight", format!("{weight} is no share of requests: 100 counts")));
    }
    if let Some(weight) = analysis.step_weights.iter().find(|weight| !(0..=100).contains(*weight)) {
        found.push(error("spec.analysis.stepWeights", format!("{weight} is no share of requests: 0 to 100 are")));
    }
    if analysis.step_weight.is_some_and(|weight| weight > 100) {
        found.push(warning("spec.analysis.stepWeight", "is more than all traffic: the first step takes all of it"));
    }
    for (index, hook) in analysis.webhooks.iter().enumerate() {
        let is_http = Url::parse(&hook.url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        // That there is one is asked for by the schema.
        if !hook.url.is_empty() && !is_http {
            let field = format!("spec.analysis.webhooks[{index}].url");
            found.push(error(field, format!("{:?} is no http or https URL: every call fails", hook.url)));
        }
    }
    found
}

/// Objects that are not among the files may be in the cluster.
fn routing(canary: &Canary, options: &router::Options, around: &Surroundings<'_>) -> Option<Finding> {
    let needed = router::objects(canary, options).unwrap_or_default();
    let current: Vec<Value> = needed.iter().flat_map(|id| around.named(&id.kind, &id.name)).cloned().collect();
    match router::routes(canary, options, router::Weights::PRIMARY, &current, 0).err()? {
        router::Error::NotFound { .. } => None,
        problem @ router::Error::Retired { .. } => Some(error("spec.provider", problem.to_string())),
        problem => Some(error("spec", problem.to_string())),
    }
}

fn metrics(canary: &Canary, around: &Surroundings<'_>) -> Vec<Finding> {
    let metrics = canary.metrics();
    let judged = metrics.iter().filter_map(|(index, metric)| {
        let field = format!("spec.analysis.metrics[{index}]");
        let kind = analysis::kind(metric);
        if kind == analysis::Kind::Unusable {
            let name = &metric.name;
            return Some(error(field, format!("{name:?} is no builtin metric, and has neither query nor templateRef")));
        }
        if let Ok(metrics::Source::Template(namespace, name)) = metrics::source(canary, metric)
            && metric.interval.as_deref().is_none_or(str::is_empty)
            && let Some(template) = around.template(namespace, name)
            && WINDOWED.contains(&template.spec.provider.kind.as_str())
        {
            let provider = &template.spec.provider.kind;
            return Some(error(field, format!("a template of {provider} needs an interval: there is no default")));
        }
        let is_bare =
            metric.threshold.is_none() && analysis::bounds(metric) != (None, None) && metric.threshold_range.is_none();
        is_bare.then(|| match kind {
            analysis::Kind::SuccessRate => warning(field, "without thresholdRange every success rate passes"),
            _ => warning(field, "without thresholdRange every value above 0 fails"),
        })
    });
    judged.collect()
}

/// What is given and does nothing.
fn idle(canary: &Canary, options: &router::Options) -> Vec<Finding> {
    let analysis = canary.analysis();
    let provider = canary.provider_or(&options.mesh_provider);
    let is_kubernetes = router::is_kubernetes(canary, options);
    let strategy = analysis.strategy();
    let given = [
        (
            !analysis.step_weights.is_empty() && analysis.max_weight.is_some(),
            "maxWeight",
            "does nothing beside stepWeights: the last of them is the most".to_owned(),
        ),
        (
            strategy == Strategy::Canary && analysis.max_weight() > 100,
            "maxWeight",
            "is never reached: at 100% the canary waits to be promoted for ever".to_owned(),
        ),
        (
            strategy == Strategy::AbTesting && !is_kubernetes && !router::matches_requests(provider),
            "match",
            format!("is not looked at by the {provider} provider: the test sends all traffic to the canary"),
        ),
        (
            is_kubernetes && !analysis.matches.is_empty(),
            "match",
            "A/B testing is not supported when using the kubernetes provider".to_owned(),
        ),
        (
            is_kubernetes && strategy == Strategy::Canary,
            "iterations",
            "progressive traffic is not supported when using the kubernetes provider: it does 10 iterations".to_owned(),
        ),
        (
            analysis.mirror && !router::mirrors(provider),
            "mirror",
            format!("traffic mirroring is not supported when using the {provider} provider"),
        ),
        (
            // The same routers can do both.
            analysis.session_affinity.is_some() && !router::mirrors(provider),
            "sessionAffinity",
            format!("session affinity is not supported when using the {provider} provider"),
        ),
        (
            analysis.hooks(HookType::ConfirmTrafficIncrease).next().is_some()
                && (strategy != Strategy::Canary || is_kubernetes),
            "webhooks",
            "confirm-traffic-increase is never asked where traffic does not move step by step".to_owned(),
        ),
    ];
    let idle = given.into_iter().filter(|(is_idle, ..)| *is_idle);
    idle.map(|(_, field, message)| warning(format!("spec.analysis.{field}"), message)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::patch::patched;

    fn base() -> Value {
        json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": "app"}, "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"}, "service": {"port": 80},
            "analysis": {"interval": "1m", "threshold": 5, "stepWeight": 10, "metrics": [
                {"name": "request-success-rate", "thresholdRange": {"min": 99}}]}}})
    }

    fn check(spec: Value, others: &[Value], expected: &[(&str, &str)]) {
        let object = patched(&base(), &json!({ "spec": spec }));
        let canary = api::manifest::typed(&object).unwrap();
        let all: Vec<_> = others.iter().cloned().chain([object]).collect();
        let found = lint(&canary, &router::Options::default(), &Surroundings::of(&all));
        let found: Vec<_> = found
            .iter()
            .map(|one| {
                (format!("{} {}", if one.is_error { "error" } else { "warning" }, one.field), one.message.clone())
            })
            .collect();
        assert_eq!(found.len(), expected.len(), "{spec}: {found:?}");
        for ((place, message), (expected_place, text)) in found.iter().zip(expected) {
            assert!(place == expected_place && message.contains(text), "{spec}: {place}: {message}");
        }
    }

    #[test]
    fn what_could_never_work_is_an_error() {
        check(json!({}), &[], &[]);
        check(json!({"service": null}), &[], &[("error spec.service", "port is required")]);
        check(json!({"provider": "appmesh"}), &[], &[("error spec.provider", "AWS ended App Mesh")]);
        check(json!({"provider": "knative"}), &[], &[("error spec", "provider is set to knative")]);
        check(json!({"provider": "gatewayapi:v1"}), &[], &[("error spec", "GatewayRefs must be specified")]);
        check(json!({"provider": "nginx"}), &[], &[("error spec", "ingress")]);
        check(
            json!({"provider": "nginx", "ingressRef": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "in-the-cluster"}}),
            &[],
            &[],
        );
        check(json!({"targetRef": {"name": ""}}), &[], &[("error spec.targetRef.name", "is required")]);
        check(json!({"service": {"port": 99_999}}), &[], &[("error spec.service.port", "99999 is no port")]);
        check(json!({"analysis": {"stepWeight": -5}}), &[], &[("error spec.analysis.stepWeight", "-5 is no share")]);
        let steps = json!({"analysis": {"stepWeight": null, "stepWeights": [50, 500]}});
        check(steps, &[], &[("error spec.analysis.stepWeights", "500 is no share")]);
        let hooks = json!({"analysis": {"webhooks": [{"name": "gate", "url": "gate.test/"}]}});
        check(hooks, &[], &[("error spec.analysis.webhooks[0].url", "is no http or https URL")]);
        let cookies = json!({"analysis": {"sessionAffinity": {"cookieName": "a", "primaryCookieName": "a"}}});
        check(cookies, &[], &[("error spec", "can't use the same cookie name")]);
    }

    #[test]
    fn canaries_that_would_fight_are_named() {
        let other = |spec: Value| patched(&base(), &json!({"metadata": {"name": "other"}, "spec": spec}));
        check(json!({}), &[other(json!({}))], &[("error spec.targetRef", "canary other has the same target")]);
        let elsewhere = json!({"targetRef": {"name": "web"}, "service": {"name": "app"}});
        check(json!({}), &[other(elsewhere)], &[("error spec.service.name", "canary other has the same service")]);
        check(json!({}), &[other(json!({"targetRef": {"name": "web"}}))], &[]);
        check(json!({}), &[patched(&other(json!({})), &json!({"metadata": {"namespace": "b"}}))], &[]);
    }

    #[test]
    fn what_never_ends_or_is_never_asked_is_told() {
        let analysis = |more: Value| json!({"provider": "traefik", "analysis": more});
        check(analysis(json!({"maxWeight": 100})), &[], &[]);
        check(analysis(json!({"maxWeight": 150})), &[], &[("warning spec.analysis.maxWeight", "is never reached")]);
        let test = json!({"stepWeight": null, "iterations": 3, "match": [{"headers": {"a": {"exact": "b"}}}]});
        check(analysis(test), &[], &[("warning spec.analysis.match", "not looked at by the traefik provider")]);
    }

    #[test]
    fn metrics_that_judge_nothing_are_told() {
        let metrics = |metric: Value| json!({"analysis": {"metrics": [metric]}});
        let template = |kind: &str| {
            json!({"apiVersion": "flagger.app/v1beta1", "kind": "MetricTemplate", "metadata": {"name": "t", "namespace": "default"},
                "spec": {"provider": {"type": kind}, "query": "x"}})
        };
        let of_template = metrics(json!({"name": "own", "templateRef": {"name": "t"}, "thresholdRange": {"max": 1}}));
        let place = "error spec.analysis.metrics[0]";
        check(metrics(json!({"name": "own"})), &[], &[(place, "neither query nor templateRef")]);
        check(of_template.clone(), &[template("datadog")], &[(place, "a template of datadog needs an interval")]);
        check(of_template, &[template("prometheus")], &[]);
        let place = "warning spec.analysis.metrics[0]";
        check(metrics(json!({"name": "request-success-rate"})), &[], &[(place, "every success rate passes")]);
        check(metrics(json!({"name": "own", "query": "x"})), &[], &[(place, "every value above 0 fails")]);
        check(metrics(json!({"name": "own", "query": "x", "threshold": 5})), &[], &[]);
    }

    #[test]
    fn what_does_nothing_is_a_warning() {
        let kubernetes = |analysis: Value| json!({"provider": "kubernetes", "analysis": analysis});
        check(
            json!({"analysis": {"stepWeight": null, "stepWeights": [1, 2], "maxWeight": 50}}),
            &[],
            &[("warning spec.analysis.maxWeight", "stepWeights")],
        );
        check(kubernetes(json!({})), &[], &[("warning spec.analysis.iterations", "10 iterations")]);
        let test = json!({"stepWeight": null, "iterations": 5, "match": [{"headers": {"x": {"exact": "y"}}}]});
        check(kubernetes(test), &[], &[("warning spec.analysis.match", "A/B testing is not supported")]);
        let both = json!({"mirror": true, "sessionAffinity": {"cookieName": "a"}});
        check(
            json!({"provider": "traefik", "analysis": both}),
            &[],
            &[("warning spec.analysis.mirror", "traefik"), ("warning spec.analysis.sessionAffinity", "traefik")],
        );
        check(json!({"analysis": both}), &[], &[]);
        let gate = json!([{"name": "gate", "type": "confirm-traffic-increase", "url": "http://gate"}]);
        check(json!({"analysis": {"webhooks": gate}}), &[], &[]);
        check(
            json!({"analysis": {"stepWeight": null, "iterations": 5, "webhooks": gate}}),
            &[],
            &[("warning spec.analysis.webhooks", "never asked")],
        );
    }
}
