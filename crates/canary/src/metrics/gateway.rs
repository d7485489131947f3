//! The builtin metrics as implementations of the Gateway API count them.
//!
//! Differs: the original only asks what the application counts itself (reference progressive-delivery.md, C.3), so that its
//! users write templates. Here the proxies' own series are asked, and the application's where there are none.

use std::str::FromStr;

use api::{flagger::Canary, gateway::GROUP, meta::ObjectReference};
use serde_json::Value;

use super::{
    Model,
    builtin::{Observer, quantile, ratio},
};

/// Whose series the builtin metrics of Canaries read that a Gateway serves (`--gateway-metrics`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GatewayMetrics {
    /// Those of the implementation that the GatewayClass names, else the application's; standalone those of Slipway's gateway.
    #[default]
    Detect,
    /// These.
    Of(Observer),
}

impl FromStr for GatewayMetrics {
    type Err = String;

    /// `detect`, `application`, `slipway`, `haproxy`, or the name of an implementation.
    fn from_str(text: &str) -> Result<Self, String> {
        let observer = match text {
            "detect" => return Ok(Self::Detect),
            "application" => Observer::Http,
            "slipway" => Observer::Local,
            "haproxy" => Observer::HaProxy,
            name => match NAMES.iter().find(|(known, ..)| *known == name) {
                Some((.., implementation)) => Observer::Gateway(*implementation),
                None => {
                    let names: Vec<_> = NAMES.iter().map(|(name, ..)| *name).collect();
                    return Err(format!(
                        "one of detect, application, slipway, haproxy, {} is expected",
                        names.join(", ")
                    ));
                }
            },
        };
        Ok(Self::Of(observer))
    }
}

/// An implementation whose proxies count requests by backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Implementation {
    /// Envoy Gateway. It counts backends one by one where a filter of a backend makes it tell them apart (envoyproxy/gateway#7017).
    EnvoyGateway,
    /// Istio's gateways and waypoints.
    Istio,
    /// Cilium.
    Cilium,
    /// Traefik.
    Traefik,
    /// NGINX Gateway Fabric with NGINX Plus; NGINX itself does not count by backend.
    NginxGatewayFabric,
    /// kgateway.
    Kgateway,
    /// Contour.
    Contour,
}

/// Our name of each implementation, and the domain in the controller name of its GatewayClasses.
const NAMES: [(&str, &str, Implementation); 7] = [
    ("envoy-gateway", "gateway.envoyproxy.io", Implementation::EnvoyGateway),
    ("istio", "istio.io", Implementation::Istio),
    ("cilium", "io.cilium", Implementation::Cilium),
    ("traefik", "traefik.io", Implementation::Traefik),
    ("nginx-gateway-fabric", "gateway.nginx.org", Implementation::NginxGatewayFabric),
    ("kgateway", "kgateway.dev", Implementation::Kgateway),
    ("contour", "projectcontour.io", Implementation::Contour),
];

/// The first Gateway that a Canary's route belongs to.
pub fn gateway_of(canary: &Canary) -> Option<ObjectReference> {
    let is_gateway = |kind: &Option<String>| kind.as_deref().is_none_or(|kind| kind == "Gateway");
    let gateway = canary.spec.service.gateway_refs.iter().find(|gateway| is_gateway(&gateway.kind))?;
    Some(reference("Gateway", gateway.namespace.as_deref().unwrap_or(canary.namespace()), &gateway.name))
}

/// The class of a Gateway.
pub fn class_of(gateway: &Value) -> Option<ObjectReference> {
    Some(reference("GatewayClass", "", gateway["spec"]["gatewayClassName"].as_str()?))
}

fn reference(kind: &str, namespace: &str, name: &str) -> ObjectReference {
    ObjectReference {
        api_version: format!("{GROUP}/v1"),
        kind: kind.into(),
        namespace: namespace.into(),
        name: name.into(),
    }
}

impl Implementation {
    /// The implementation behind a GatewayClass, told by its `controllerName`, such as `istio.io/gateway-controller`.
    pub fn of_class(class: &Value) -> Option<Self> {
        let domain = class["spec"]["controllerName"].as_str()?.split('/').next()?;
        NAMES.iter().find(|(_, known, _)| *known == domain).map(|(.., implementation)| *implementation)
    }

    /// Query for the share of requests that did not fail, in percent.
    pub fn success_rate(self, model: &Model) -> String {
        let all = self.backend(model);
        let (series, good) = match self {
            Self::Istio => ("istio_requests_total", "response_code!~\"5.*\""),
            Self::Traefik => ("traefik_service_requests_total", "code!~\"5..\""),
            Self::NginxGatewayFabric => ("nginx_http_upstream_peer_responses_total", "nginx_status_range!=\"5xx\""),
            Self::EnvoyGateway | Self::Cilium | Self::Kgateway | Self::Contour => {
                ("envoy_cluster_upstream_rq", "envoy_response_code!~\"5.*\"")
            }
        };
        let counted = ratio(series, &format!("{all}, {good}"), &all, &model.interval);
        format!("({counted}) or ({})", Observer::Http.success_rate(model))
    }

    /// Query for the time of a request in milliseconds: a 99th percentile, or the mean where nothing better is counted.
    pub fn duration(self, model: &Model) -> String {
        let (backend, interval) = (self.backend(model), model.interval.as_str());
        let counted = match self {
            Self::Istio => quantile("istio_request_duration_milliseconds_bucket", &backend, interval),
            Self::Traefik => {
                format!("{} * 1000", quantile("traefik_service_request_duration_seconds_bucket", &backend, interval))
            }
            Self::NginxGatewayFabric => {
                format!(
                    "avg( avg_over_time( nginx_http_upstream_peer_response_time_milliseconds{{ {backend} }}[{interval}] ) )"
                )
            }
            Self::EnvoyGateway | Self::Cilium | Self::Kgateway | Self::Contour => {
                quantile("envoy_cluster_upstream_rq_time_bucket", &backend, interval)
            }
        };
        format!("({counted}) or ({} * 1000)", Observer::Http.duration(model))
    }

    /// The labels of the canary's requests.
    fn backend(self, model: &Model) -> String {
        let Model { namespace, service, .. } = model;
        match self {
            // The canary is the second backend of each rule.
            Self::EnvoyGateway => {
                format!("envoy_cluster_name=~\"httproute/{namespace}/{service}/rule/[0-9]+/backend/1\"")
            }
            Self::Istio => format!(
                "reporter=~\"source|waypoint\", destination_service_namespace=\"{namespace}\", \
                 destination_service_name=\"{service}-canary\""
            ),
            Self::Cilium => format!("envoy_cluster_name=~\"(.+/)?{namespace}[/_:]{service}-canary[_:][0-9]+\""),
            Self::Traefik => format!("service=~\"{namespace}-{service}-canary-[0-9a-zA-Z-]+@kubernetesgateway\""),
            Self::NginxGatewayFabric => format!("nginx_upstream_name=~\"{namespace}_{service}-canary_[0-9]+\""),
            Self::Kgateway => format!("envoy_cluster_name=~\"kube_{namespace}_{service}-canary_[0-9]+\""),
            Self::Contour => format!("envoy_cluster_name=~\"{namespace}_{service}-canary_[0-9a-zA-Z-]+\""),
        }
    }
}
