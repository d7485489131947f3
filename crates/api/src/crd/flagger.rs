//! `flagger.app`: everything but the Canary's `service`. Source: reference progressive-delivery.md, section A.

use super::{
    Kind, Schema, Subresource, column,
    flagger_service::{matching, service},
    schema::{choice, flag, list, local, map, may, must, namespaced, number, object, text, texts, time, whole},
    wide,
};
use crate::flagger::{AlertProvider, Canary, MetricTemplate};

/// Not anchored at the end, as Flagger's: `1m30s` passes, `1h` does not.
const MINUTES_OR_SECONDS: &str = "^[0-9]+(m|s)";
const ROUTERS: [&str; 19] = [
    "apisix",
    "appmesh",
    "appmesh:v1beta2",
    "contour",
    "gatewayapi:v1",
    "gatewayapi:v1beta1",
    "gloo",
    "istio",
    "knative",
    "kubernetes",
    "kuma",
    "linkerd",
    "nginx",
    "osm",
    "skipper",
    "smi:v1alpha1",
    "smi:v1alpha2",
    "smi:v1alpha3",
    "traefik",
];
const METRICS: [&str; 11] = [
    "prometheus",
    "influxdb",
    "datadog",
    "externalmetrics",
    "stackdriver",
    "cloudwatch",
    "newrelic",
    "graphite",
    "dynatrace",
    "keptn",
    "splunk",
];
const HOOKS: [&str; 9] = [
    "",
    "confirm-rollout",
    "pre-rollout",
    "rollout",
    "confirm-promotion",
    "post-rollout",
    "event",
    "rollback",
    "confirm-traffic-increase",
];
const PHASES: [&str; 12] = [
    "",
    "Initializing",
    "Initialized",
    "Waiting",
    "Progressing",
    "WaitingPromotion",
    "Promoting",
    "Finalising",
    "Succeeded",
    "Failed",
    "Terminating",
    "Terminated",
];

pub(super) fn kinds() -> Vec<Kind> {
    vec![canary(), metric_template(), alert_provider()]
        .into_iter()
        .map(|kind| Kind { categories: &["all"], ..kind })
        .collect()
}

fn canary() -> Kind {
    let flagged = |name, path| super::Column { kind: "boolean", ..wide(name, path) };
    let columns = vec![
        column("Status", ".status.phase"),
        column("Weight", ".status.canaryWeight"),
        flagged("Suspended", ".spec.suspend"),
        wide("FailedChecks", ".status.failedChecks"),
        wide("Interval", ".spec.analysis.interval"),
        flagged("Mirror", ".spec.analysis.mirror"),
        wide("StepWeight", ".spec.analysis.stepWeight"),
        wide("StepWeights", ".spec.analysis.stepWeights"),
        wide("MaxWeight", ".spec.analysis.maxWeight"),
        column("LastTransitionTime", ".status.lastTransitionTime"),
    ];
    let kind = Kind::of::<Canary>("How one workload is rolled out.", columns, canary_spec());
    Kind { status: Subresource::Status(Some(canary_status())), ..kind }
}

/// An object of the same namespace, of one of these kinds.
fn target(kinds: &[&str]) -> Schema {
    object([
        must("apiVersion", text(), "API version of the object."),
        must("kind", choice(kinds), "Kind of the object."),
        must("name", text(), "Name of the object."),
    ])
}

fn canary_spec() -> Schema {
    let upstream = object([
        must("apiVersion", text(), "API version of the object."),
        must("kind", choice(&["Upstream"]), "Kind of the object."),
        must("name", text(), "Name of the object."),
        may("namespace", text(), "Namespace of the object; its own one when absent."),
    ]);
    object([
        may("provider", choice(&ROUTERS), "Router and builtin metrics; the controller's option when absent."),
        may("metricsServer", text(), "Prometheus URL; the controller's option when absent."),
        must("targetRef", target(&["DaemonSet", "Deployment", "Service"]), "The workload that people change."),
        may("autoscalerRef", autoscaler(), "The scaler of the target, which gets a primary copy."),
        may("ingressRef", target(&["Ingress"]), "The Ingress that is cloned."),
        may("routeRef", target(&["ApisixRoute"]), "The APISIX route that is cloned."),
        may("upstreamRef", upstream, "The Gloo Upstream whose settings are copied."),
        may("service", service(), "The Services and the routing object."),
        must("analysis", analysis(), "How a new revision is judged."),
        may("progressDeadlineSeconds", number(), "Longest time without progress of a rollout; 600 when absent."),
        may("skipAnalysis", flag(), "Promote without judging."),
        may("revertOnDeletion", flag(), "Give the workload its replicas and traffic back when the Canary is deleted."),
        may("suspend", flag(), "Freeze everything."),
    ])
}

fn autoscaler() -> Schema {
    let least_one = || whole().with("minimum", 1);
    let replicas =
        object([may("minReplicas", least_one(), "Least replicas."), may("maxReplicas", least_one(), "Most replicas.")]);
    object([
        must("apiVersion", text(), "API version of the scaler."),
        must("kind", choice(&["HorizontalPodAutoscaler", "ScaledObject"]), "Kind of the scaler."),
        must("name", text(), "Name of the scaler."),
        may("primaryScalerQueries", texts(), "Queries of the primary's triggers, by trigger name."),
        may("primaryScalerReplicas", replicas, "Bounds of the primary's scaler, when they differ from the target's."),
    ])
}

fn analysis() -> Schema {
    object([
        may("interval", minutes(), "Time between checks."),
        may("threshold", number(), "Failed checks that cause a rollback."),
        may("iterations", number(), "Checks of a blue/green or A/B rollout."),
        may("mirror", flag(), "Send copies of requests to the canary before real ones."),
        may("mirrorWeight", number(), "Share of requests mirrored, in percent; all when absent."),
        may("maxWeight", number(), "Weight at which the canary is promoted; 100 when absent."),
        may("stepWeight", number(), "Weight added at each check."),
        may("stepWeights", list(number()), "Weights one after the other."),
        may(
            "stepWeightPromotion",
            number(),
            "Weight given back at each step of the promotion; all at once when absent.",
        ),
        may("primaryReadyThreshold", number(), "Share of the primary's pods that must be available, in percent."),
        may("canaryReadyThreshold", number(), "Share of the canary's pods that must be available, in percent."),
        may("alerts", list(alert()), "Who is told."),
        may("metrics", list(metric()), "What is measured."),
        may("webhooks", list(hook()), "Gates, tests, load."),
        may("match", list(matching()), "Requests of an A/B test that go to the canary."),
        may("sessionAffinity", session_affinity(), "Keep a user on the version they saw first."),
    ])
    .one_of(&[
        &["interval", "threshold", "iterations"],
        &["interval", "threshold", "stepWeight"],
        &["interval", "threshold", "stepWeights"],
    ])
}

fn minutes() -> Schema {
    text().pattern(MINUTES_OR_SECONDS)
}

fn alert() -> Schema {
    object([
        must("name", text(), "Name of the alert."),
        may("severity", choice(&["", "info", "warn", "error"]), "Least severity that is sent; info when absent."),
        must("providerRef", namespaced(), "The AlertProvider."),
    ])
}

fn metric() -> Schema {
    let range = object([may("min", number(), "Least good value."), may("max", number(), "Greatest good value.")]);
    object([
        must("name", text(), "request-success-rate, request-duration, or any name with a query."),
        may("interval", minutes(), "Window of the query."),
        may("threshold", number(), "Deprecated: use thresholdRange."),
        may("thresholdRange", range, "Bounds, inclusive."),
        may("query", text(), "Deprecated: use templateRef."),
        may("templateRef", namespaced(), "The MetricTemplate with the query."),
        may("templateVariables", texts(), "Values of variables in the template."),
    ])
}

fn hook() -> Schema {
    object([
        may("type", choice(&HOOKS), "When it is called; rollout when absent."),
        must("name", text(), "Name of the hook."),
        must("url", text(), "Where to."),
        may("muteAlert", flag(), "Whether waiting for approval sends no alert."),
        may("timeout", minutes(), "Longest time for one call; 10 s when absent."),
        may("retries", number(), "Further attempts after a connection error, 5xx or 429."),
        may("disableTLS", flag(), "Whether certificates go unchecked."),
        may("metadata", texts(), "Sent along."),
    ])
}

fn session_affinity() -> Schema {
    object([
        must("cookieName", text(), "Name of the canary's cookie."),
        may("primaryCookieName", text(), "Name of the primary's cookie; none when absent."),
        may("domain", text(), "Domain of the cookie."),
        may("httpOnly", flag(), "Whether scripts cannot read the cookie."),
        may("maxAge", number().or(86400), "Seconds until the cookie expires."),
        may("partitioned", flag(), "Whether the cookie is kept per site."),
        may("path", text(), "Path of the cookie."),
        may("sameSite", choice(&["Strict", "Lax", "None"]), "Whether other sites' requests carry the cookie."),
        may("secure", flag(), "Whether the cookie is sent over HTTPS only."),
    ])
}

fn canary_status() -> Schema {
    let condition = object([
        must("type", text(), "Promoted."),
        must("status", text(), "True, False or Unknown."),
        may("lastUpdateTime", time(), "When status or reason last changed."),
        may("lastTransitionTime", time(), "When the status last changed."),
        must("reason", text(), "The phase."),
        may("message", text(), "What it means, for people."),
    ]);
    object([
        may("phase", choice(&PHASES), "Where the rollout stands."),
        may("failedChecks", number(), "Checks that failed in this run."),
        may("canaryWeight", number(), "Share of traffic on the canary, in percent."),
        may("iterations", number(), "Iterations done in this run."),
        may("trackedConfigs", texts(), "Checksums of the tracked ConfigMaps and Secrets."),
        may("lastAppliedSpec", text(), "Digest of the revision last seen."),
        may("lastPromotedSpec", text(), "Digest of the revision last promoted."),
        may("sessionAffinityCookie", text(), "Cookie of this run."),
        may("primarySessionAffinityCookie", text(), "Cookie of the primary in this run."),
        may("previousSessionAffinityCookie", text(), "Cookie of the run before."),
        may("lastTransitionTime", time(), "When the status was last written."),
        may("conditions", list(condition), "Exactly one: Promoted."),
    ])
}

fn metric_template() -> Kind {
    let provider = object([
        must("type", choice(&METRICS), "Who answers the query."),
        may("address", text(), "URL of the server."),
        may("headers", map(list(text())), "Extra request headers."),
        may("secretRef", local(), "Secret with the credentials."),
        may("region", text(), "Region of the service."),
        may("insecureSkipVerify", flag(), "Whether certificates go unchecked."),
    ]);
    let spec = object([
        must("provider", provider, "The server that answers the query."),
        must("query", text(), "Go template of the query."),
    ]);
    let columns = vec![column("Provider", ".spec.provider.type")];
    let kind = Kind::of::<MetricTemplate>("A query that a canary's analysis refers to by name.", columns, spec);
    Kind { status: Subresource::Status(None), ..kind }
}

fn alert_provider() -> Kind {
    let spec = object([
        may("type", choice(&["slack", "msteams", "discord", "rocket", "gchat"]), "Which service is told."),
        may("channel", text(), "Channel; general when absent."),
        may("username", text(), "Name shown as the sender; flagger when absent."),
        may("address", text(), "Address of the service."),
        may("proxy", text(), "HTTP proxy for the call."),
        may("secretRef", local(), "Secret with address and, for Slack, token."),
    ])
    .one_of(&[&["type", "address"], &["type", "secretRef"]]);
    let columns = vec![column("Type", ".spec.type")];
    let kind = Kind::of::<AlertProvider>("A chat service that a canary's alerts are sent to.", columns, spec);
    Kind { status: Subresource::Status(None), ..kind }
}
