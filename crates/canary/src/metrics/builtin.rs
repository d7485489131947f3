//! The builtin metrics in PromQL, one set of queries for each kind of data plane; always about the canary alone.
//!
//! Source: reference progressive-delivery.md, C.3.

use api::flagger::Canary;

use super::{Model, gateway::Implementation, haproxy, local};
use crate::workload::Kind;

/// Whose series the builtin queries read.
///
/// The controller picks it once for each Canary: [`Observer::of_canary`]. For `gatewayapi:*`
/// it is [`Observer::Local`] standalone, where Slipway's own gateway serves the routes, and [`Observer::Gateway`] on a
/// cluster, when the implementation that serves the Canary's Gateway is a known one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observer {
    /// Istio, and everything unknown.
    Istio,
    /// Linkerd.
    Linkerd,
    /// Open Service Mesh.
    Osm,
    /// AWS App Mesh.
    AppMesh,
    /// ingress-nginx.
    Nginx,
    /// Contour.
    Contour,
    /// Gloo.
    Gloo,
    /// Kuma.
    Kuma,
    /// Knative.
    Knative,
    /// Traefik.
    Traefik,
    /// Skipper.
    Skipper,
    /// APISIX.
    Apisix,
    /// The application itself: `kubernetes` and `gatewayapi:*`.
    Http,
    /// The proxies of an implementation of the Gateway API.
    Gateway(Implementation),
    /// Slipway's own gateway, and Envoy in its place.
    Local,
    /// HAProxy in the place of Slipway's own gateway.
    HaProxy,
}

/// What events call the source of a Canary's builtin metrics: the provider, with `:service` behind it when the target is a
/// plain Service. Source: Flagger 1.44 `pkg/controller/scheduler_metrics.go`.
pub fn provider_name(canary: &Canary, mesh_provider: &str) -> String {
    let provider = named(canary.spec.provider.as_deref(), mesh_provider);
    let suffix = if Kind::of(canary) == Kind::Service { ":service" } else { "" };
    format!("{provider}{suffix}")
}

fn named<'a>(provider: Option<&'a str>, mesh_provider: &'a str) -> &'a str {
    match provider.filter(|provider| !provider.is_empty()) {
        Some(_) if mesh_provider.contains("linkerd") => "linkerd",
        Some(provider) => provider,
        None if mesh_provider.contains("crossover") => "crossover",
        None => mesh_provider,
    }
}

impl Observer {
    /// The one for a provider, else for the controller's `--mesh-provider`. A controller for Linkerd asks Linkerd whatever
    /// the Canary says.
    pub fn of(provider: Option<&str>, mesh_provider: &str) -> Self {
        Self::named(named(provider, mesh_provider))
    }

    /// The one for a Canary.
    pub fn of_canary(canary: &Canary, mesh_provider: &str) -> Self {
        Self::named(&provider_name(canary, mesh_provider))
    }

    fn named(provider: &str) -> Self {
        match provider {
            "linkerd" => Self::Linkerd,
            "osm" => Self::Osm,
            "nginx" => Self::Nginx,
            "contour" => Self::Contour,
            "kuma" => Self::Kuma,
            "knative" => Self::Knative,
            "traefik" => Self::Traefik,
            "skipper" => Self::Skipper,
            "apisix" => Self::Apisix,
            "kubernetes" => Self::Http,
            provider if provider.starts_with("gatewayapi") => Self::Http,
            provider if provider.starts_with("appmesh") => Self::AppMesh,
            provider if provider.starts_with("gloo") => Self::Gloo,
            _ => Self::Istio,
        }
    }

    /// Query for the share of requests that did not fail, in percent.
    pub fn success_rate(self, model: &Model) -> String {
        let interval = &model.interval;
        // What counts, the label that tells good from bad, and the labels of all requests.
        let (series, good, all) = match self {
            Self::Istio => ("istio_requests_total", "response_code!~\"5.*\"", istio(model)),
            Self::Linkerd => {
                let Model { namespace, target, .. } = model;
                let both = format!("namespace=\"{namespace}\", deployment=~\"{target}\"");
                let good = format!("{both}, classification!=\"failure\", direction=\"inbound\"");
                return ratio("response_total", &good, &format!("{both}, direction=\"inbound\""), interval);
            }
            Self::Osm => ("osm_request_total", "response_code!~\"5.*\"", osm(model)),
            Self::Nginx => ("nginx_ingress_controller_requests", "status!~\"5.*\"", nginx(model)),
            Self::Traefik => {
                let (service, all) = (traefik(model), "le=\"+Inf\"");
                let good = format!("{service}, code!~\"5..\", {all}");
                let series = "traefik_service_request_duration_seconds_bucket";
                return ratio(series, &good, &format!("{service}, {all}"), interval);
            }
            Self::Skipper => {
                let route = skipper(model);
                let series = "skipper_response_duration_seconds_bucket";
                return format!(
                    "sum(rate({series}{{{route},code!~\"5..\",le=\"+Inf\"}}[{interval}])) / \
                     sum(rate({series}{{{route},le=\"+Inf\"}}[{interval}])) * 100"
                );
            }
            Self::Apisix => ("apisix_http_status", "code!~\"5..\"", apisix(model)),
            Self::Http => ("http_request_duration_seconds_count", "status!~\"5.*\"", pods(model)),
            Self::AppMesh => ("envoy_cluster_upstream_rq", "envoy_response_code!~\"5.*\"", pods(model)),
            Self::Contour | Self::Gloo | Self::Kuma | Self::Knative => {
                let cluster = cluster(self, model);
                let good = format!("{cluster}, envoy_response_code!~\"5.*\"");
                return ratio("envoy_cluster_upstream_rq", &good, &format!("{cluster},"), interval);
            }
            Self::Gateway(implementation) => return implementation.success_rate(model),
            Self::Local => return local::success_rate(model),
            Self::HaProxy => return haproxy::success_rate(model),
        };
        ratio(series, &format!("{all}, {good}"), &all, interval)
    }

    /// Query for the time of a request: a 99th percentile, or the mean where nothing better is counted.
    pub fn duration(self, model: &Model) -> String {
        let interval = &model.interval;
        match self {
            Self::Istio => quantile("istio_request_duration_milliseconds_bucket", &istio(model), interval),
            Self::Linkerd => {
                let Model { namespace, target, .. } = model;
                let labels = format!("namespace=\"{namespace}\", deployment=~\"{target}\", direction=\"inbound\"");
                quantile("response_latency_ms_bucket", &labels, interval)
            }
            Self::Osm => quantile("osm_request_duration_ms_bucket", &osm(model), interval),
            Self::Nginx => {
                let (series, labels) = ("nginx_ingress_controller_response_duration_seconds", nginx(model));
                let rate = |part: &str| rate(&format!("{series}_{part}"), &labels, interval);
                format!("{} / {} * 1000", rate("sum"), rate("count"))
            }
            Self::Traefik => {
                let series = "traefik_service_request_duration_seconds_bucket";
                format!("{} * 1000", quantile(series, &traefik(model), interval))
            }
            Self::Skipper => {
                let (series, route) = ("skipper_serve_route_duration_seconds", skipper(model));
                format!(
                    "sum(rate({series}_sum{{{route}}}[{interval}])) / sum(rate({series}_count{{{route}}}[{interval}])) * 1000"
                )
            }
            Self::Apisix => {
                let labels = format!("type=~\"request\", {}", apisix(model));
                quantile("apisix_http_latency_bucket", &labels, interval)
            }
            Self::Http => quantile("http_request_duration_seconds_bucket", &pods(model), interval),
            Self::AppMesh => quantile("envoy_cluster_upstream_rq_time_bucket", &pods(model), interval),
            Self::Contour | Self::Gloo | Self::Kuma | Self::Knative => {
                quantile("envoy_cluster_upstream_rq_time_bucket", &format!("{},", cluster(self, model)), interval)
            }
            Self::Gateway(implementation) => implementation.duration(model),
            Self::Local => local::duration(model),
            Self::HaProxy => haproxy::duration(model),
        }
    }

    /// The answer to [`Observer::duration`] in milliseconds.
    ///
    /// Differs: the original cuts off fractions of a millisecond (reference progressive-delivery.md, B.8 defect 8).
    pub fn milliseconds(self, value: f64) -> f64 {
        if self == Self::Http { value * 1000.0 } else { value }
    }
}

/// Requests per second of all series together.
fn rate(series: &str, labels: &str, interval: &str) -> String {
    format!("sum( rate( {series}{{ {labels} }}[{interval}] ) )")
}

/// A share in percent.
pub fn ratio(series: &str, good: &str, all: &str, interval: &str) -> String {
    format!("{} / {} * 100", rate(series, good, interval), rate(series, all, interval))
}

/// A 99th percentile.
pub fn quantile(series: &str, labels: &str, interval: &str) -> String {
    format!("histogram_quantile( 0.99, sum( rate( {series}{{ {labels} }}[{interval}] ) ) by (le) )")
}

fn istio(model: &Model) -> String {
    let Model { namespace, target, .. } = model;
    format!(
        "reporter=\"destination\", destination_workload_namespace=\"{namespace}\", destination_workload=~\"{target}\""
    )
}

fn osm(model: &Model) -> String {
    let Model { namespace, target, .. } = model;
    format!("destination_namespace=\"{namespace}\", destination_kind=\"Deployment\", destination_name=\"{target}\"")
}

fn nginx(model: &Model) -> String {
    let Model { namespace, ingress, .. } = model;
    format!("namespace=\"{namespace}\", ingress=\"{ingress}\", canary!=\"\"")
}

fn traefik(model: &Model) -> String {
    let Model { namespace, target, .. } = model;
    format!("service=~\"{namespace}-{target}-canary-[0-9a-zA-Z-]+@kubernetescrd\"")
}

fn apisix(model: &Model) -> String {
    let Model { namespace, target, route, .. } = model;
    format!("route=~\"{namespace}_{route}-{target}-canary_.+\"")
}

fn pods(model: &Model) -> String {
    let Model { namespace, target, .. } = model;
    format!("kubernetes_namespace=\"{namespace}\", kubernetes_pod_name=~\"{target}-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)\"")
}

/// Envoy's cluster, as each product names it.
fn cluster(observer: Observer, model: &Model) -> String {
    let Model { namespace, target, service, route, .. } = model;
    let any = "[0-9a-zA-Z-]+";
    match observer {
        Observer::Gloo => format!("envoy_cluster_name=~\"{namespace}-{target}-canaryupstream-{any}_{any}\""),
        Observer::Kuma => format!("service=~\"{target}-canary_{namespace}_svc_{any}\""),
        Observer::Knative => format!("envoy_cluster_name=~\"{namespace}/{route}\""),
        _ => format!("envoy_cluster_name=~\"{namespace}_{service}-canary_{any}\""),
    }
}

/// Skipper names routes after namespace, ingress and service, with `_` for all that is not a letter, digit or `_`.
fn skipper(model: &Model) -> String {
    let word = |text: &str| -> String {
        text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
    };
    let (namespace, ingress, service) = (word(&model.namespace), word(&model.ingress), word(&model.service));
    format!("route=~\"kube(ew)?_{namespace}__{ingress}_canary__.*__{service}_canary(_[0-9]+)?\"")
}
