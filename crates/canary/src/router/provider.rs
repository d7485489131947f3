//! The providers that a Canary can name.

use std::fmt;

use api::flagger::Canary;

use super::Options;

/// Providers that are known but for which no router is built in.
const NOT_YET: [&str; 9] = ["apisix", "appmesh", "gloo", "knative", "kuma", "linkerd", "osm", "skipper", "smi"];

/// Who routes. Source: reference progressive-delivery.md, A.2 `provider`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Nobody: the apex service always points at the primary.
    Kubernetes,
    /// Any implementation of the Gateway API.
    GatewayApi(Version),
    /// Istio; unknown names mean it too.
    Istio,
    /// ingress-nginx.
    Nginx,
    /// Contour.
    Contour,
    /// Traefik.
    Traefik,
    /// Known, but no router is built in for it. The text is the one given.
    Other(String),
}

/// Version of the Gateway API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `v1`
    V1,
    /// `v1beta1`
    V1Beta1,
}

impl Version {
    /// As in `apiVersion`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1Beta1 => "v1beta1",
        }
    }
}

impl Provider {
    /// The provider in effect: the Canary's, else the controller's.
    pub fn of(canary: &Canary, options: &Options) -> Self {
        let given = canary.spec.provider.as_deref().filter(|provider| !provider.is_empty());
        Self::parse(given.unwrap_or(&options.mesh_provider))
    }

    /// The provider of that name.
    pub fn parse(name: &str) -> Self {
        match name {
            "kubernetes" => Self::Kubernetes,
            "gatewayapi:v1beta1" | "gatewayapi:v1alpha2" => Self::GatewayApi(Version::V1Beta1),
            name if name.starts_with("gatewayapi") => Self::GatewayApi(Version::V1),
            "nginx" => Self::Nginx,
            "contour" => Self::Contour,
            "traefik" => Self::Traefik,
            name if NOT_YET.iter().any(|known| name == *known || name.starts_with(&format!("{known}:"))) => {
                Self::Other(name.to_owned())
            }
            _ => Self::Istio,
        }
    }

    /// Whether the provider moves no traffic by itself, so that only blue/green without traffic is possible.
    pub const fn is_kubernetes(&self) -> bool {
        matches!(self, Self::Kubernetes)
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubernetes => f.write_str("kubernetes"),
            Self::GatewayApi(version) => write!(f, "gatewayapi:{}", version.as_str()),
            Self::Istio => f.write_str("istio"),
            Self::Nginx => f.write_str("nginx"),
            Self::Contour => f.write_str("contour"),
            Self::Traefik => f.write_str("traefik"),
            Self::Other(name) => f.write_str(name),
        }
    }
}
