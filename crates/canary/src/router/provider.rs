//! The providers that a Canary can name.

use std::fmt;

use api::flagger::Canary;

use super::Options;

/// Who routes. Source: reference progressive-delivery.md, A.2 `provider`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Nobody: the apex service always points at the primary.
    Kubernetes,
    /// Any implementation of the Gateway API.
    GatewayApi(Version),
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
            name => Self::Other(name.to_owned()),
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
            Self::Other(name) => f.write_str(name),
        }
    }
}
