//! Status of a Kustomization: outcome, inventory, history.
//!
//! Source: reference delivery.md sections 5.6 and 5.8.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Condition, Duration, Time};

/// What the last reconciliations came to. Source: reference delivery.md section 5.8.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KustomizationStatus {
    /// Generation whose outcome is settled; −1 before the first.
    pub observed_generation: i64,
    /// Ready, Reconciling, Stalled, Healthy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Revision of the last success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_applied_revision: Option<String>,
    /// Revision of the origin (OCI annotation `org.opencontainers.image.revision`) of the last success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_applied_origin_revision: Option<String>,
    /// Revision of the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_attempted_revision: Option<String>,
    /// Value of the last `reconcile.fluxcd.io/requestedAt` that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// The objects applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inventory: Option<ResourceInventory>,
    /// The last builds, newest first, at most five.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Snapshot>,
}

/// The objects that a Kustomization applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceInventory {
    /// One entry an object.
    #[serde(default)]
    pub entries: Vec<ResourceRef>,
}

/// One applied object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResourceRef {
    /// `<namespace>_<name>_<group>_<kind>`.
    pub id: String,
    /// API version, without the group.
    #[serde(rename = "v")]
    pub version: String,
}

/// One build and how its reconciliations went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// `sha256:<hex>` of the built objects.
    pub digest: String,
    /// First reconciliation of this build.
    pub first_reconciled: Time,
    /// Last reconciliation of this build.
    pub last_reconciled: Time,
    /// How long the last one took.
    pub last_reconciled_duration: Duration,
    /// Reason of the Ready condition after the last one.
    pub last_reconciled_status: String,
    /// Number of reconciliations.
    pub total_reconciliations: i64,
    /// `revision`, `originRevision`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}
