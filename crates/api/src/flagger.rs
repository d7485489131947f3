//! `flagger.app/v1beta1`: Canary, MetricTemplate, AlertProvider, as their manifests are written today.
//!
//! Everything optional stays optional in the types, so that an object is written back as it was read; what an absent field
//! means is said once, by the methods here. Source: reference progressive-delivery.md, section A (Flagger 1.44).

mod additions;
mod analysis;
mod canary;
mod number;
mod service;
mod status;

use std::collections::BTreeMap;

use kube::CustomResource;
use serde::{Deserialize, Serialize};

pub use additions::{
    ADDITIONS, Additions, BakedStep, Comparison, ErrorShare, Failures, FirstDeployment, MetricAddition, NoData,
};
pub use analysis::{
    Alert, Analysis, DEFAULT_INTERVAL, Hook, HookType, MIN_INTERVAL, Metric, SessionAffinity, Severity, Strategy,
    TemplateReference, ThresholdRange,
};
pub use canary::{AutoscalerReference, Canary, CanarySpec, ScalerReplicas, TargetReference, UpstreamReference};
pub use service::{
    CorsPolicy, CustomMetadata, GatewayReference, HeaderOperations, Headers, HttpMatch, HttpRetry, HttpRewrite,
    MirrorBackend, RequestMirror, Service, StringMatch, UnmanagedMetadata,
};
pub use status::{CanaryCondition, CanaryStatus, Phase};

use crate::meta::LocalReference;

/// API version of the three kinds.
pub const API_VERSION: &str = "flagger.app/v1beta1";
/// Finalizer kept while `spec.revertOnDeletion` is true.
pub const FINALIZER: &str = "finalizer.flagger.app";
/// Type of the one condition a Canary has.
pub const PROMOTED: &str = "Promoted";

/// A query that a canary's analysis refers to by name.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "flagger.app",
    version = "v1beta1",
    kind = "MetricTemplate",
    plural = "metrictemplates",
    namespaced,
    derive = "PartialEq",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub struct MetricTemplateSpec {
    /// Who answers the query.
    #[serde(default)]
    pub provider: MetricProvider,
    /// Go template of the query.
    #[serde(default)]
    pub query: String,
}

/// The server that answers a template's query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricProvider {
    /// `prometheus`, `datadog`, …; an unknown one is treated as Prometheus.
    #[serde(rename = "type")]
    pub kind: String,
    /// URL of the server.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// Extra request headers, for Prometheus only.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Vec<String>>,
    /// Secret with the credentials, in the template's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,
    /// AWS region, for CloudWatch.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// Whether certificates go unchecked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub insecure_skip_verify: bool,
}

/// A chat service that a canary's alerts are sent to.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "flagger.app",
    version = "v1beta1",
    kind = "AlertProvider",
    plural = "alertproviders",
    namespaced,
    derive = "PartialEq",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase", default)]
pub struct AlertProviderSpec {
    /// `slack`, `msteams`, `discord`, `rocket` or `gchat`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Channel; `general` when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub channel: String,
    /// Name shown as the sender; `flagger` when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// Webhook URL, unless the Secret has it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// HTTP proxy for the call.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub proxy: String,
    /// Secret with `address` and, for Slack, `token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,
}

impl AlertProviderSpec {
    /// The channel posted to.
    pub fn channel(&self) -> &str {
        if self.channel.is_empty() { "general" } else { &self.channel }
    }

    /// The name shown as the sender.
    pub fn username(&self) -> &str {
        if self.username.is_empty() { "flagger" } else { &self.username }
    }
}

#[cfg(test)]
mod tests;
