//! Alert: which events go to which provider.

use std::collections::BTreeMap;

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::is_false;
use crate::meta::LocalReference;

/// Which events go to a provider. It has no status. Source: reference delivery.md section 3.2.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "notification.toolkit.fluxcd.io",
    version = "v1beta3",
    kind = "Alert",
    plural = "alerts",
    namespaced,
    derive = "PartialEq",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub struct AlertSpec {
    /// The Provider, in the Alert's namespace.
    pub provider_ref: LocalReference,
    /// Least severity: `info` takes everything.
    #[serde(default)]
    pub event_severity: AlertSeverity,
    /// Whose events; one match is enough.
    #[serde(default)]
    pub event_sources: Vec<EventSource>,
    /// RE2 patterns of messages to take; empty takes all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inclusion_list: Vec<String>,
    /// RE2 patterns of messages to drop; stronger than the inclusion list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclusion_list: Vec<String>,
    /// Facts added to each event.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub event_metadata: BTreeMap<String, String>,
    /// Deprecated: the fact `summary`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Whether nothing is sent.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
}

/// Least severity of the events an Alert takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertSeverity {
    /// Everything.
    #[default]
    Info,
    /// Errors only.
    Error,
}

/// Objects whose events an Alert takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventSource {
    /// API version; it plays no part in matching.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// The kind.
    pub kind: String,
    /// The name, or `*`.
    pub name: String,
    /// The namespace; absent means the Alert's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels that the object must carry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
}
