//! `source.toolkit.fluxcd.io`: GitRepository, and the artifact that every source publishes.
//!
//! Source: reference delivery.md sections 1.B and 5.9; Flux source-controller API v1.

use std::collections::BTreeMap;

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use crate::{
    Condition, Duration, Time,
    meta::{LocalReference, filled},
};

/// A Git repository of which one revision is kept at hand. Source: reference delivery.md section 1.B.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "source.toolkit.fluxcd.io",
    version = "v1",
    kind = "GitRepository",
    plural = "gitrepositories",
    shortname = "gitrepo",
    namespaced,
    derive = "PartialEq",
    status = "GitRepositoryStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub struct GitRepositorySpec {
    /// Address of the repository: `http`, `https` or `ssh`; standalone also `file`.
    pub url: String,
    /// Secret with the credentials: `username` and `password`, `bearerToken`, or `identity` and `known_hosts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,
    /// Where credentials come from when they are not in a Secret; absent means generic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<GitProvider>,
    /// ServiceAccount that a cloud provider's credentials are asked for.
    #[serde(default, deserialize_with = "filled", skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Wait between looks at the remote.
    pub interval: Duration,
    /// Limit for one Git operation; [`GitRepositorySpec::timeout`] holds the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Which revision; absent means the branch `master`.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub reference: Option<GitRepositoryRef>,
    /// Signatures to insist on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<GitRepositoryVerification>,
    /// Secret with `address`, `username` and `password` of a proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_secret_ref: Option<LocalReference>,
    /// Paths left out of the artifact, in `.gitignore` syntax; replaces the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<String>,
    /// Whether the repository is left alone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
    /// Whether submodules belong to the artifact.
    #[serde(default, skip_serializing_if = "is_false")]
    pub recurse_submodules: bool,
    /// Other repositories whose artifacts are copied into this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<GitRepositoryInclude>,
    /// Directories that are checked out; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sparse_checkout: Vec<String>,
}

/// Who hands out credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GitProvider {
    /// The Secret.
    #[default]
    Generic,
    /// Azure workload identity.
    Azure,
    /// A GitHub App.
    Github,
    /// AWS workload identity, for CodeCommit.
    Aws,
}

/// Which revision of a repository. Precedence: `branch` < `tag` < `semver` < `name` < `commit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GitRepositoryRef {
    /// Tip of this branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// This tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Newest tag in this range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub semver: Option<String>,
    /// Full name of a reference: `refs/pull/1/head`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// This commit, on `branch` if one is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// Whose signatures are trusted, and on what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GitRepositoryVerification {
    /// What must be signed.
    #[serde(default)]
    pub mode: VerificationMode,
    /// Secret with the public keys.
    pub secret_ref: LocalReference,
}

/// What must be signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum VerificationMode {
    /// The commit; also written `head`.
    #[default]
    #[serde(rename = "HEAD", alias = "head")]
    Head,
    /// The tag.
    Tag,
    /// Both.
    #[serde(rename = "TagAndHEAD")]
    TagAndHead,
}

/// An artifact copied into this one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GitRepositoryInclude {
    /// GitRepository whose artifact is copied.
    pub repository: LocalReference,
    /// Directory there; absent means the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_path: Option<String>,
    /// Directory here; absent means the name of the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_path: Option<String>,
}

impl GitRepositoryInclude {
    /// The directory there and the directory here.
    pub fn paths(&self) -> (&str, &str) {
        (self.from_path.as_deref().unwrap_or_default(), self.to_path.as_deref().unwrap_or(&self.repository.name))
    }
}

impl GitRepositorySpec {
    /// Limit for one Git operation, 60 s unless the manifest says otherwise.
    pub fn timeout(&self) -> std::time::Duration {
        self.timeout.map_or(std::time::Duration::from_secs(60), Duration::get)
    }
}

/// What the last look at the remote found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GitRepositoryStatus {
    /// Generation whose outcome is settled; −1 before the first.
    pub observed_generation: i64,
    /// Ready, Reconciling, Stalled, ArtifactInStorage, FetchFailed, SourceVerified, …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The revision that consumers work from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// Artifacts that were copied in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub included_artifacts: Vec<Artifact>,
    /// `spec.ignore` that the artifact was made with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_ignore: Option<String>,
    /// `spec.recurseSubmodules` that the artifact was made with.
    #[serde(skip_serializing_if = "is_false")]
    pub observed_recurse_submodules: bool,
    /// `spec.include` that the artifact was made with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub observed_include: Vec<GitRepositoryInclude>,
    /// `spec.sparseCheckout` that the artifact was made with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub observed_sparse_checkout: Vec<String>,
    /// What was verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_verification_mode: Option<VerificationMode>,
    /// Value of the last `reconcile.fluxcd.io/requestedAt` that was acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}

/// One revision of a source, as its consumers see it. Source: reference delivery.md section 5.9.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Path below the root of the artifact storage.
    #[serde(default)]
    pub path: String,
    /// Address of the artifact.
    #[serde(default)]
    pub url: String,
    /// `main@sha1:<hash>`, `v1@sha1:<hash>`, `sha1:<hash>`.
    pub revision: String,
    /// `sha256:<hex>` of the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// When this revision was stored.
    pub last_update_time: Time,
    /// Bytes of the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// What the upstream says about the content, such as OCI annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

impl Artifact {
    /// Whether the content is the same: the digests agree, and so do the revisions.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.revision == other.revision && self.digest == other.digest
    }
}

/// Whether an optional switch is off, and so not written.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_repository_round_trips() {
        let object = json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": "app", "namespace": "flux-system"},
            "spec": {"url": "https://git.example/app.git", "interval": "1m0s", "ref": {"branch": "main"},
                "secretRef": {"name": "git"}, "verify": {"mode": "TagAndHEAD", "secretRef": {"name": "keys"}}},
            "status": {"observedGeneration": 1, "artifact": {"path": "", "url": "", "revision": "main@sha1:abc",
                "digest": "sha256:00", "lastUpdateTime": "2026-01-02T03:04:05Z"}}});
        let repository: GitRepository = crate::manifest::typed(&object).unwrap();
        assert_eq!(repository.spec.timeout().as_secs(), 60);
        assert_eq!(serde_json::to_value(&repository).unwrap(), object);
    }
}
