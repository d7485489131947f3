//! `kustomize.toolkit.fluxcd.io`: Kustomization, a folder of a source kept applied.
//!
//! Source: reference delivery.md sections 5.1, 5.6 and 5.8; Flux kustomize-controller API v1.

mod status;

use std::collections::BTreeMap;

use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Duration, meta::LocalReference};

pub use status::{KustomizationStatus, ResourceInventory, ResourceRef, Snapshot};

/// A folder of a source, built and kept applied. Source: reference delivery.md section 5.1.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "kustomize.toolkit.fluxcd.io",
    version = "v1",
    kind = "Kustomization",
    plural = "kustomizations",
    shortname = "ks",
    namespaced,
    derive = "PartialEq",
    status = "KustomizationStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub struct KustomizationSpec {
    /// Labels and annotations put on every object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub common_metadata: Option<CommonMetadata>,
    /// Kustomizations that must be ready first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<DependencyReference>,
    /// How encrypted files are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decryption: Option<Decryption>,
    /// Wait between reconciliations.
    pub interval: Duration,
    /// Wait after a failure; [`KustomizationSpec::retry_interval`] holds the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_interval: Option<Duration>,
    /// Another cluster to apply to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kube_config: Option<KubeConfigReference>,
    /// Folder of the source; empty means its root.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Variables replaced after the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_build: Option<PostBuild>,
    /// Whether objects that left the source are deleted.
    pub prune: bool,
    /// What happens to the objects when the Kustomization is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Objects that must be healthy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health_checks: Vec<HealthCheck>,
    /// CEL expressions that judge kinds by themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health_check_exprs: Vec<HealthCheckExpression>,
    /// Put before every name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name_prefix: String,
    /// Put after every name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name_suffix: String,
    /// Strategic merge and JSON patches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<Patch>,
    /// Image names, tags and digests to replace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
    /// ServiceAccount to apply as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Where the folder is.
    pub source_ref: SourceReference,
    /// Whether the Kustomization is left alone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
    /// Namespace that every namespaced object is put into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_namespace: Option<String>,
    /// Limit for apply and health checks; [`KustomizationSpec::timeout`] holds the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Whether objects are recreated when an immutable field changes.
    #[serde(default, skip_serializing_if = "is_false")]
    pub force: bool,
    /// Whether all applied objects must be healthy.
    #[serde(default, skip_serializing_if = "is_false")]
    pub wait: bool,
    /// Kustomize components, by relative path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// Whether missing components are left out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ignore_missing_components: bool,
    /// `originAnnotations`, `transformerAnnotations`: what the build notes in the objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub build_metadata: Vec<String>,
    /// Fields of live objects that are left to others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<IgnoreRule>,
}

/// Labels and annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CommonMetadata {
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A Kustomization that must be ready first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DependencyReference {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`; absent means the namespace of the dependent.
    #[serde(default, deserialize_with = "crate::meta::filled", skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// CEL expression over `self` and `dep` that replaces the check of the Ready condition.
    #[serde(default, deserialize_with = "crate::meta::filled", skip_serializing_if = "Option::is_none")]
    pub ready_expr: Option<String>,
}

/// How encrypted files are read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decryption {
    /// `sops`.
    pub provider: String,
    /// Secret with the keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,
    /// ServiceAccount that a key service is asked as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
}

/// Another cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KubeConfigReference {
    /// Secret with the kubeconfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyReference>,
    /// ConfigMap with a cloud provider's settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<LocalReference>,
}

/// One key of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyReference {
    /// `metadata.name` of the Secret.
    pub name: String,
    /// Key in it; absent means `value`, then `value.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Variables replaced after the build. Source: reference delivery.md section 5.4.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PostBuild {
    /// Values by name; they win over `substituteFrom`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub substitute: BTreeMap<String, String>,
    /// ConfigMaps and Secrets whose data are values; later ones win.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub substitute_from: Vec<SubstituteReference>,
    /// Whether to substitute when there is no variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub substitute_strategy: Option<SubstituteStrategy>,
}

/// A ConfigMap or Secret with values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubstituteReference {
    /// `ConfigMap` or `Secret`.
    pub kind: String,
    /// `metadata.name`.
    pub name: String,
    /// Whether it may be missing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
}

/// When substitution runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SubstituteStrategy {
    /// When there is at least one variable.
    #[default]
    WithVariables,
    /// Always.
    Always,
}

/// What happens to the objects when the Kustomization is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeletionPolicy {
    /// They are deleted if `spec.prune` is on.
    #[default]
    MirrorPrune,
    /// They are deleted.
    Delete,
    /// They are deleted, and the Kustomization stays until they are gone.
    WaitForTermination,
    /// They stay.
    Orphan,
}

/// An object that must be healthy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// `group/version`; absent or empty means `apps/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// The kind.
    pub kind: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl HealthCheck {
    /// The object meant; the version defaults to `apps/v1`.
    pub fn object(&self) -> crate::meta::ObjectReference {
        let version = self.api_version.as_deref().filter(|version| !version.is_empty());
        crate::meta::ObjectReference {
            api_version: version.unwrap_or("apps/v1").to_owned(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone().unwrap_or_default(),
            name: self.name.clone(),
        }
    }
}

/// CEL expressions that judge a kind. Source: reference delivery.md section 5.1; kustomize-controller 1.9,
/// `docs/spec/v1/kustomizations.md`, "Health check expressions".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheckExpression {
    /// `group/version` of the kind; the version does not count.
    pub api_version: String,
    /// The kind; absent or empty means every kind of the group that has no expressions of its own.
    #[serde(default, deserialize_with = "crate::meta::filled", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// True while the object is on its way.
    #[serde(default, deserialize_with = "crate::meta::filled", skip_serializing_if = "Option::is_none")]
    pub in_progress: Option<String>,
    /// True when the object has failed.
    #[serde(default, deserialize_with = "crate::meta::filled", skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// True when the object is healthy.
    pub current: String,
}

/// A patch and what it applies to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Patch {
    /// YAML text: a strategic merge patch, or a list of JSON patch operations.
    pub patch: String,
    /// Objects to patch; absent means the one that the patch names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Selector>,
    /// `allowNameChange`, `allowKindChange`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, Value>,
}

/// Which objects are meant: all given parts must match; texts are anchored regular expressions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Selector {
    /// API group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// API version, without the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `metadata.name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `metadata.namespace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Label selector expression over annotations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotation_selector: Option<String>,
    /// Label selector expression over labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<String>,
}

/// A replacement of an image's name, tag or digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Name as it is written in the manifests, without tag and digest.
    pub name: String,
    /// Name to write instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_name: Option<String>,
    /// Tag to write instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_tag: Option<String>,
    /// Digest to write instead; wins over the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// The source of a Kustomization.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceReference {
    /// API version, for kinds outside `source.toolkit.fluxcd.io`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// `GitRepository`, `OCIRepository`, `Bucket` or `ExternalArtifact`.
    pub kind: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`; absent means the namespace of the Kustomization.
    #[serde(default, deserialize_with = "crate::meta::filled", skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Fields of live objects that are left to others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IgnoreRule {
    /// JSON pointers.
    pub paths: Vec<String>,
    /// Objects meant; absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Selector>,
}

impl KustomizationSpec {
    /// Wait after a failure; the interval unless the manifest says otherwise.
    pub fn retry_interval(&self) -> std::time::Duration {
        self.retry_interval.unwrap_or(self.interval).get()
    }

    /// Limit for apply and health checks: `interval` − 30 s unless the manifest says otherwise, never below 30 s.
    pub fn timeout(&self) -> std::time::Duration {
        const MARGIN: std::time::Duration = std::time::Duration::from_secs(30);
        let timeout = self.timeout.map_or_else(|| self.interval.get().saturating_sub(MARGIN), Duration::get);
        timeout.max(MARGIN)
    }

    /// What happens to the objects when the Kustomization is deleted.
    pub fn deletion_policy(&self) -> DeletionPolicy {
        self.deletion_policy.unwrap_or_default()
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
    fn the_missions_kustomization_round_trips() {
        let object = json!({"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "apps", "namespace": "flux-system"},
            "spec": {"dependsOn": [{"name": "infrastructure-configs"}], "interval": "5m0s", "retryInterval": "2m0s",
                "sourceRef": {"kind": "GitRepository", "name": "flux-system"}, "path": "./apps/production",
                "prune": true, "wait": true,
                "healthChecks": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "myapp", "namespace": "default"}]}});
        let kustomization: Kustomization = crate::manifest::typed(&object).unwrap();
        assert_eq!(serde_json::to_value(&kustomization).unwrap(), object);
    }

    #[test]
    fn the_timeout_follows_the_interval_and_is_never_below_30_s() {
        let seconds = |interval: u64, timeout: Option<u64>| {
            let timeout = timeout.map(Duration::from_secs);
            KustomizationSpec { interval: Duration::from_secs(interval), timeout, ..Default::default() }
                .timeout()
                .as_secs()
        };
        assert_eq!((seconds(300, None), seconds(10, None), seconds(300, Some(60))), (270, 30, 60));
        assert_eq!(seconds(300, Some(5)), 30);
    }
}
