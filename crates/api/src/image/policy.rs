//! ImagePolicy: which of a repository's tags is wanted.

use std::{collections::BTreeMap, fmt};

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::{ImageRef, is_false};
use crate::{Condition, Duration, meta::NamespacedReference};

/// Annotation of an ImagePolicy: `true` if the labels of the chosen image are wanted in its status.
pub const IMAGE_LABELS: &str = "slipway.dev/image-labels";

/// How often a digest is refreshed when the interval is zero. Source: reference image-automation.md section 1.3.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(600);

/// Which of a repository's tags is wanted. Source: reference image-automation.md section 1.3.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "image.toolkit.fluxcd.io",
    version = "v1",
    kind = "ImagePolicy",
    plural = "imagepolicies",
    shortname = "imgpol",
    shortname = "imagepol",
    category = "all",
    category = "fluxcd",
    category = "fluxcd-images",
    namespaced,
    derive = "PartialEq",
    status = "ImagePolicyStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub struct ImagePolicySpec {
    /// The repository whose tags are considered.
    pub image_repository_ref: NamespacedReference,
    /// The order that decides.
    pub policy: PolicyChoice,
    /// Which tags are considered, and what part of them is compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter_tags: Option<TagFilter>,
    /// Whether the digest of the chosen tag is looked up.
    #[serde(default, skip_serializing_if = "is_never")]
    pub digest_reflection_policy: DigestReflectionPolicy,
    /// How often the digest is refreshed; only with `digestReflectionPolicy: Always`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Whether the policy is left alone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
}

impl ImagePolicySpec {
    /// Wait between refreshes of the digest; `None` when the policy runs on triggers alone.
    pub fn refresh_interval(&self) -> Option<Duration> {
        match (self.digest_reflection_policy, self.interval) {
            (DigestReflectionPolicy::Always, Some(interval)) if interval.get().is_zero() => Some(DEFAULT_INTERVAL),
            (DigestReflectionPolicy::Always, interval) => interval,
            _ => None,
        }
    }
}

/// The order that decides. If several are given the first in the order of the fields counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyChoice {
    /// The highest version in a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub semver: Option<SemVerPolicy>,
    /// First or last in byte order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alphabetical: Option<OrderPolicy>,
    /// Least or greatest number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numerical: Option<OrderPolicy>,
}

/// The highest version in a range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SemVerPolicy {
    /// Constraint, reference image-automation.md section 5.2.
    pub range: String,
}

/// Which end of an order wins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OrderPolicy {
    /// Which end.
    pub order: Order,
}

/// Which end of an order wins. An unknown word is kept, so that one object with a typing mistake is an invalid policy and
/// not an unreadable list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Order {
    /// The greatest.
    #[default]
    Asc,
    /// The least.
    Desc,
    /// Neither; the policy is invalid.
    Unknown(String),
}

impl From<String> for Order {
    fn from(text: String) -> Self {
        // Flux compares without regard to case where the API server let the word through.
        match text.to_ascii_lowercase().as_str() {
            "" | "asc" => Self::Asc,
            "desc" => Self::Desc,
            _ => Self::Unknown(text),
        }
    }
}

impl From<Order> for String {
    fn from(order: Order) -> Self {
        order.to_string()
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asc => "asc",
            Self::Desc => "desc",
            Self::Unknown(text) => text,
        })
    }
}

/// Which tags are considered, and what part of them is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TagFilter {
    /// RE2, unanchored; tags that do not match are dropped.
    pub pattern: String,
    /// Template of what is compared in place of the tag; empty means the tag itself.
    pub extract: String,
}

/// Whether the digest of the chosen tag is looked up. Source: reference image-automation.md section 5.7.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DigestReflectionPolicy {
    /// At every reconcile.
    Always,
    /// When the tag changed or no digest is stored.
    IfNotPresent,
    /// Not at all.
    #[default]
    Never,
}

/// Whether the policy is the default one.
fn is_never(policy: &DigestReflectionPolicy) -> bool {
    *policy == DigestReflectionPolicy::Never
}

/// What the policy chose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "StoredStatus")]
pub struct ImagePolicyStatus {
    /// Ready, Reconciling, Stalled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Generation whose outcome is settled; −1 before the first.
    pub observed_generation: i64,
    /// The chosen image. A policy that fails later keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_ref: Option<ImageRef>,
    /// The chosen image before the last change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_previous_ref: Option<ImageRef>,
    /// Labels of the chosen image, where the annotation [`IMAGE_LABELS`] asks for them: `source`, `revision`, `created`
    /// and `version`, as far as the image has them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub latest_labels: BTreeMap<String, String>,
    /// Value of the request annotation that was last acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}

impl Default for ImagePolicyStatus {
    fn default() -> Self {
        StoredStatus::default().into()
    }
}

/// The status as any version of Flux may have left it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StoredStatus {
    conditions: Vec<Condition>,
    observed_generation: i64,
    latest_ref: Option<ImageRef>,
    observed_previous_ref: Option<ImageRef>,
    latest_labels: Option<BTreeMap<String, String>>,
    last_handled_reconcile_at: Option<String>,
    latest_image: Option<String>,
    observed_previous_image: Option<String>,
}

impl Default for StoredStatus {
    fn default() -> Self {
        Self {
            conditions: Vec::new(),
            observed_generation: -1,
            latest_ref: None,
            observed_previous_ref: None,
            latest_labels: None,
            last_handled_reconcile_at: None,
            latest_image: None,
            observed_previous_image: None,
        }
    }
}

impl From<StoredStatus> for ImagePolicyStatus {
    fn from(stored: StoredStatus) -> Self {
        let legacy = |text: Option<String>| text.as_deref().and_then(ImageRef::from_legacy);
        Self {
            conditions: stored.conditions,
            observed_generation: stored.observed_generation,
            latest_ref: stored.latest_ref.or_else(|| legacy(stored.latest_image)),
            observed_previous_ref: stored.observed_previous_ref.or_else(|| legacy(stored.observed_previous_image)),
            latest_labels: stored.latest_labels.unwrap_or_default(),
            last_handled_reconcile_at: stored.last_handled_reconcile_at,
        }
    }
}
