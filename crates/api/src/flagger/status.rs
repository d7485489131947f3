//! The Canary's status. Source: reference progressive-delivery.md, section A.8.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::number;
use crate::Time;

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Nothing was written yet.
    #[default]
    #[serde(rename = "")]
    Unset,
    /// The primary copy is being made.
    Initializing,
    /// The primary serves; nothing to judge.
    Initialized,
    /// A gate holds a new revision back.
    Waiting,
    /// The new revision is being judged.
    Progressing,
    /// A gate holds the promotion back.
    WaitingPromotion,
    /// The primary is being rolled to the new revision.
    Promoting,
    /// All traffic is on the primary; the target goes down next.
    Finalising,
    /// The new revision was promoted.
    Succeeded,
    /// The new revision was rejected.
    Failed,
    /// The object is being deleted.
    Terminating,
    /// In the schema, never written.
    Terminated,
}

impl Phase {
    /// As it is written in the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unset => "",
            Self::Initializing => "Initializing",
            Self::Initialized => "Initialized",
            Self::Waiting => "Waiting",
            Self::Progressing => "Progressing",
            Self::WaitingPromotion => "WaitingPromotion",
            Self::Promoting => "Promoting",
            Self::Finalising => "Finalising",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Terminating => "Terminating",
            Self::Terminated => "Terminated",
        }
    }

    /// Whether no run is under way, so that only a new revision moves the machine.
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Initialized | Self::Succeeded | Self::Failed)
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the controller last wrote about a Canary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CanaryStatus {
    /// Where the rollout stands.
    pub phase: Phase,
    /// Checks that failed in this run; never goes down within a run.
    #[serde(deserialize_with = "number::or_zero")]
    pub failed_checks: i64,
    /// Share of traffic on the canary, in percent. A report: the routing object is the source of truth.
    #[serde(deserialize_with = "number::or_zero")]
    pub canary_weight: i64,
    /// Iterations done in this run.
    #[serde(deserialize_with = "number::or_zero")]
    pub iterations: i64,
    /// `configmap/NAME` or `secret/NAME` to the checksum of its data.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tracked_configs: BTreeMap<String, String>,
    /// Digest of the revision last seen.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_applied_spec: String,
    /// Digest of the revision last promoted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_promoted_spec: String,
    /// Cookie of this run, `name=value`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub session_affinity_cookie: String,
    /// Cookie of the primary in this run.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub primary_session_affinity_cookie: String,
    /// Cookie of the run before, to be taken back from browsers.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub previous_session_affinity_cookie: String,
    /// When the status was last written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// Exactly one: `Promoted`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<CanaryCondition>,
}

/// A condition as Flagger's kinds carry it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CanaryCondition {
    /// `Promoted`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// When the status or reason last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Time>,
    /// When the status last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// The phase.
    #[serde(default)]
    pub reason: String,
    /// For people.
    #[serde(default)]
    pub message: String,
}
