//! `image.toolkit.fluxcd.io`: ImageRepository, ImagePolicy, ImageUpdateAutomation.

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use crate::{Condition, Duration, meta::LocalReference};

/// A repository whose tags are scanned. Source: reference image-automation.md section 1.2.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "image.toolkit.fluxcd.io",
    version = "v1",
    kind = "ImageRepository",
    plural = "imagerepositories",
    namespaced,
    status = "ImageRepositoryStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub struct ImageRepositorySpec {
    /// The repository, without scheme, tag or digest.
    pub image: String,
    /// Wait between scans.
    pub interval: Duration,
    /// Pull secret, for `provider: generic` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,
}

/// What the last scans found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageRepositoryStatus {
    /// Ready, Reconciling, Stalled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Generation whose outcome is settled; −1 before the first.
    pub observed_generation: i64,
}
