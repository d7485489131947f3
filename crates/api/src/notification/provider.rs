//! Provider: where notifications go.

use std::time;

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::is_false;
use crate::{Duration, meta::LocalReference};

/// Limit for all tries of one notification unless the Provider says otherwise.
const DEFAULT_TIMEOUT: time::Duration = time::Duration::from_secs(15);

/// Where notifications go. It has no status. Source: reference delivery.md section 3.3.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "notification.toolkit.fluxcd.io",
    version = "v1beta3",
    kind = "Provider",
    plural = "providers",
    namespaced,
    derive = "PartialEq",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub struct ProviderSpec {
    /// Which service. A text, not an enum: a type that we lack is told, not refused with the whole manifest.
    #[serde(rename = "type")]
    pub kind: String,
    /// Address of the service; the Secret's key `address` overrides it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// Channel, room, routing key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub channel: String,
    /// Name shown as the sender.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// Secret with `address`, `token`, `username`, `password`, `headers`, `proxy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,
    /// Secret with `ca.crt`, and `tls.crt` with `tls.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<LocalReference>,
    /// Secret with `address`, `username` and `password` of a proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_secret_ref: Option<LocalReference>,
    /// Deprecated: address of a proxy.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub proxy: String,
    /// Limit for all tries; [`ProviderSpec::timeout`] holds the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Deprecated and without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Account whose cloud identity is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// CEL expression of a commit status' context.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub commit_status_expr: String,
    /// Whether nothing is sent.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
}

impl ProviderSpec {
    /// Limit for all tries of one notification.
    pub fn timeout(&self) -> time::Duration {
        self.timeout.map_or(DEFAULT_TIMEOUT, Duration::get)
    }
}
