//! ImageRepository: a repository whose tags are scanned.

use std::{collections::BTreeMap, time};

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::is_false;
use crate::{
    Condition, Duration, Time,
    meta::{LocalReference, filled},
};

/// Patterns of tags that are dropped when `exclusionList` is absent: signatures stored as tags.
pub const DEFAULT_EXCLUSION_LIST: [&str; 1] = [r"^.*\.sig$"];
/// Shortest limit for a scan. Source: reference image-automation.md section 1.2.
const MIN_TIMEOUT: time::Duration = time::Duration::from_secs(1);

/// A repository whose tags are scanned. Source: reference image-automation.md section 1.2.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "image.toolkit.fluxcd.io",
    version = "v1",
    kind = "ImageRepository",
    plural = "imagerepositories",
    shortname = "imgrepo",
    shortname = "imagerepo",
    category = "all",
    category = "fluxcd",
    category = "fluxcd-images",
    namespaced,
    derive = "PartialEq",
    status = "ImageRepositoryStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub struct ImageRepositorySpec {
    /// The repository, without scheme, tag or digest.
    pub image: String,
    /// Wait between scans.
    pub interval: Duration,
    /// Limit for authentication and scan together; [`ImageRepositorySpec::timeout`] holds the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Pull secret, for `provider: generic` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,
    /// Account whose `imagePullSecrets` are used, or whose identity a cloud provider is asked for.
    #[serde(default, deserialize_with = "filled", skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Secret with `tls.crt` and `tls.key`, `ca.crt`, or all three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<LocalReference>,
    /// Secret with `address`, `username` and `password` of a proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_secret_ref: Option<LocalReference>,
    /// Whether the repository is left alone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
    /// Who may refer to this object from other namespaces; absent means nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_from: Option<AccessFrom>,
    /// RE2 patterns of tags to drop; [`ImageRepositorySpec::exclusion_list`] holds the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclusion_list: Option<Vec<String>>,
    /// Where credentials come from.
    #[serde(default, skip_serializing_if = "is_generic")]
    pub provider: ImageProvider,
    /// Whether plain HTTP is allowed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub insecure: bool,
}

impl ImageRepositorySpec {
    /// Limit for authentication and scan together: the interval unless given, never under a second.
    pub fn timeout(&self) -> time::Duration {
        self.timeout.unwrap_or(self.interval).get().max(MIN_TIMEOUT)
    }

    /// The patterns in force. An empty list means the default one, too.
    /// Source: image-reflector-controller 1.2 `api/v1/imagerepository_types.go`, `GetExclusionList`.
    pub fn exclusion_list(&self) -> Vec<String> {
        match &self.exclusion_list {
            Some(list) if !list.is_empty() => list.clone(),
            _ => DEFAULT_EXCLUSION_LIST.map(str::to_owned).to_vec(),
        }
    }
}

/// Where the credentials of a registry come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageProvider {
    /// Pull secrets.
    #[default]
    Generic,
    /// Amazon ECR.
    Aws,
    /// Azure container registry.
    Azure,
    /// Google artifact registry.
    Gcp,
}

impl ImageProvider {
    /// As manifests write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Gcp => "gcp",
        }
    }
}

/// Whether the provider is the default one.
fn is_generic(provider: &ImageProvider) -> bool {
    *provider == ImageProvider::Generic
}

/// Who may refer to an object from other namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessFrom {
    /// One of them must fit the labels of the other namespace.
    pub namespace_selectors: Vec<NamespaceSelector>,
}

/// Labels that a namespace must carry; none at all fits every namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NamespaceSelector {
    /// All of them must be present.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
}

/// What the last scans found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageRepositoryStatus {
    /// Ready, Reconciling, Stalled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Generation whose outcome is settled; −1 before the first.
    pub observed_generation: i64,
    /// Host and path in full: `index.docker.io/library/alpine`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub canonical_image_name: String,
    /// The last scan that succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_scan_result: Option<ScanResult>,
    /// Exclusion list that the last scan used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub observed_exclusion_list: Vec<String>,
    /// Value of the request annotation that was last acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}

impl Default for ImageRepositoryStatus {
    fn default() -> Self {
        Self {
            conditions: Vec::new(),
            observed_generation: -1,
            canonical_image_name: String::new(),
            last_scan_result: None,
            observed_exclusion_list: Vec::new(),
            last_handled_reconcile_at: None,
        }
    }
}

/// The outcome of a scan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScanResult {
    /// Checksum of the tag set: changes when the set does, and only then.
    #[serde(default)]
    pub revision: String,
    /// Tags that were stored.
    pub tag_count: usize,
    /// When the scan ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan_time: Option<Time>,
    /// At most ten tags, greatest first in byte order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latest_tags: Vec<String>,
}
