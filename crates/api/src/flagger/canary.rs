//! The Canary's spec but for `service` and `analysis`, and what its absent fields mean.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::{Analysis, CanaryStatus, Metric, Service, Strategy, number};

/// How one workload is rolled out. Source: reference progressive-delivery.md, section A.2.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "flagger.app",
    version = "v1beta1",
    kind = "Canary",
    plural = "canaries",
    namespaced,
    status = "CanaryStatus",
    derive = "PartialEq",
    derive = "Default",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub struct CanarySpec {
    /// Router and builtin metrics of this object; absent means the controller's option.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Prometheus URL for builtin and inline queries; absent means the controller's option.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_server: Option<String>,
    /// The workload people change.
    pub target_ref: TargetReference,
    /// The scaler of the target, which gets a primary copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaler_ref: Option<AutoscalerReference>,
    /// The Ingress that is cloned (nginx, skipper).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_ref: Option<TargetReference>,
    /// The ApisixRoute that is cloned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_ref: Option<TargetReference>,
    /// The Gloo Upstream whose settings are copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_ref: Option<UpstreamReference>,
    /// The Services and the routing object.
    #[serde(default)]
    pub service: Service,
    /// How the new revision is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
    /// Longest time without progress of a rollout, in seconds; 600 when absent.
    #[serde(default, deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    pub progress_deadline_seconds: Option<i64>,
    /// Promote without judging.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_analysis: bool,
    /// Give the workload its replicas and traffic back when the Canary is deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revert_on_deletion: bool,
    /// Freeze everything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

/// Another object of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetReference {
    /// `group/version`.
    #[serde(default)]
    pub api_version: String,
    /// `Deployment`, `DaemonSet`, `Service`, `Ingress`, …
    #[serde(default)]
    pub kind: String,
    /// `metadata.name`.
    pub name: String,
}

/// The scaler of the target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalerReference {
    /// `group/version`.
    #[serde(default)]
    pub api_version: String,
    /// `HorizontalPodAutoscaler` or KEDA's `ScaledObject`.
    #[serde(default)]
    pub kind: String,
    /// `metadata.name`.
    pub name: String,
    /// Queries of the primary's triggers, by trigger name (KEDA).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub primary_scaler_queries: BTreeMap<String, String>,
    /// Bounds of the primary's scaler, when they differ from the target's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_scaler_replicas: Option<ScalerReplicas>,
}

/// Bounds of a scaler.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalerReplicas {
    /// Least replicas, at least 1.
    #[serde(default, deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<i64>,
    /// Most replicas, at least 1.
    #[serde(default, deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    pub max_replicas: Option<i64>,
}

/// A Gloo Upstream, perhaps of another namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamReference {
    /// `group/version`.
    #[serde(default)]
    pub api_version: String,
    /// `Upstream`.
    #[serde(default)]
    pub kind: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`; absent means the Canary's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl Canary {
    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// `metadata.namespace`; `default` when absent.
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or("default")
    }

    /// Name of the apex service and the routing object: `service.name`, else the target's.
    pub fn service_name(&self) -> &str {
        self.spec.service.name.as_deref().filter(|name| !name.is_empty()).unwrap_or(&self.spec.target_ref.name)
    }

    /// Name of the service that leads to the primary.
    pub fn primary_service_name(&self) -> String {
        [self.service_name(), "-primary"].concat()
    }

    /// Name of the service that leads to the canary.
    pub fn canary_service_name(&self) -> String {
        [self.service_name(), "-canary"].concat()
    }

    /// The provider in effect: this object's, else the controller's.
    pub fn provider_or<'a>(&'a self, mesh_provider: &'a str) -> &'a str {
        self.spec.provider.as_deref().filter(|provider| !provider.is_empty()).unwrap_or(mesh_provider)
    }

    /// Name of the workload Slipway copies the target to. Always built from the target's name, whatever the service's.
    pub fn primary_name(&self) -> String {
        format!("{}-primary", self.spec.target_ref.name)
    }

    /// The analysis, in which each metric has one source at most; one with nothing set when the object has none.
    pub fn analysis(&self) -> Cow<'_, Analysis> {
        match &self.spec.analysis {
            None => Cow::Owned(Analysis::default()),
            Some(analysis) if analysis.metrics.iter().all(|metric| metric.sources() <= 1) => Cow::Borrowed(analysis),
            Some(analysis) => {
                let metrics = self.metrics().into_iter().map(|(_, metric)| metric).collect();
                Cow::Owned(Analysis { metrics, ..analysis.clone() })
            }
        }
    }

    /// The metrics of [`Canary::analysis`], each with its place in `spec.analysis.metrics`.
    pub fn metrics(&self) -> Vec<(usize, Metric)> {
        let given = self.spec.analysis.iter().flat_map(|analysis| analysis.metrics.iter().enumerate());
        given.flat_map(|(place, metric)| metric.by_source().into_iter().map(move |one| (place, one))).collect()
    }

    /// Whether the new revision is promoted without judging: asked for, or no analysis is given.
    pub fn skip_analysis(&self) -> bool {
        self.spec.skip_analysis || self.spec.analysis.is_none()
    }

    /// Longest time without progress of a rollout.
    pub fn progress_deadline(&self) -> Duration {
        let seconds = self.spec.progress_deadline_seconds.unwrap_or(600);
        Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
    }

    /// The strategy the spec asks for.
    pub fn strategy(&self) -> Strategy {
        self.analysis().strategy()
    }

    /// Status as last written; the empty one before the first.
    pub fn status(&self) -> Cow<'_, CanaryStatus> {
        self.status.as_ref().map_or_else(|| Cow::Owned(CanaryStatus::default()), Cow::Borrowed)
    }
}
