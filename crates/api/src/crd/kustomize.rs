//! `kustomize.toolkit.fluxcd.io`. Source: reference delivery.md sections 5.1, 5.6 and 5.8.

use super::{
    AGE, Kind, READY, STATUS, Schema,
    schema::{
        anything, choice, conditions, duration, flag, list, local, long, map, may, must, object, text, texts, time,
    },
};
use crate::kustomize::Kustomization;

const SOURCES: [&str; 4] = ["OCIRepository", "GitRepository", "Bucket", "ExternalArtifact"];
const BUILD_METADATA: [&str; 2] = ["originAnnotations", "transformerAnnotations"];
const DELETION: [&str; 4] = ["MirrorPrune", "Delete", "WaitForTermination", "Orphan"];

pub(super) fn kinds() -> Vec<Kind> {
    let says = "A folder of a source, built and kept applied.";
    let kind = Kind::of::<Kustomization>(says, vec![AGE, READY, STATUS], spec());
    vec![Kind { categories: super::FLUX, older: &["v1beta2"], ..kind }.status(status())]
}

fn spec() -> Schema {
    let source = object([
        may("apiVersion", text(), "API version of the source."),
        must("kind", choice(&SOURCES), "Kind of the source."),
        must("name", text(), "Name of the source."),
        may("namespace", text(), "Namespace of the source; its own one when absent."),
    ]);
    object([
        may("commonMetadata", common_metadata(), "Labels and annotations put on every object."),
        may("dependsOn", list(dependency()), "Kustomizations that must be ready first."),
        may("decryption", decryption(), "How encrypted files are read."),
        must("interval", duration(), "Wait between reconciliations."),
        may("retryInterval", duration(), "Wait after a failure; the interval when absent."),
        may("kubeConfig", kube_config(), "Another cluster to apply to."),
        may("path", text(), "Folder of the source; its root when absent."),
        may("postBuild", post_build(), "Variables replaced after the build."),
        must("prune", flag(), "Whether objects that left the source are deleted."),
        may("deletionPolicy", choice(&DELETION), "What happens to the objects when the Kustomization is deleted."),
        may("healthChecks", list(health_check()), "Objects that must be healthy."),
        may("healthCheckExprs", list(health_expression()), "CEL expressions that judge kinds by themselves."),
        may("namePrefix", text().length(1, 200), "Put before every name."),
        may("nameSuffix", text().length(1, 200), "Put after every name."),
        may("patches", list(patch()), "Strategic merge and JSON patches."),
        may("images", list(image()), "Image names, tags and digests to replace."),
        may("serviceAccountName", text(), "ServiceAccount to apply as."),
        must("sourceRef", source, "Where the folder is."),
        may("suspend", flag(), "Whether the Kustomization is left alone."),
        may("targetNamespace", text().length(1, 63), "Namespace that every namespaced object is put into."),
        may("timeout", duration(), "Limit for apply and health checks; the interval less 30 s when absent."),
        may("force", flag().or(false), "Whether objects are recreated when an immutable field changes."),
        may("wait", flag(), "Whether all applied objects must be healthy."),
        may("components", list(text()), "Kustomize components, by relative path."),
        may("ignoreMissingComponents", flag(), "Whether missing components are left out."),
        may("buildMetadata", list(choice(&BUILD_METADATA)), "What the build notes in the objects."),
        may("ignore", list(ignore()), "Fields of live objects that are left to others."),
    ])
}

fn common_metadata() -> Schema {
    object([may("labels", texts(), "Labels."), may("annotations", texts(), "Annotations.")])
}

fn dependency() -> Schema {
    object([
        must("name", text(), "Name of the Kustomization."),
        may("namespace", text(), "Namespace of the Kustomization; its own one when absent."),
        may("readyExpr", text(), "CEL expression over self and dep that replaces the check of the Ready condition."),
    ])
}

fn decryption() -> Schema {
    object([
        must("provider", choice(&["sops"]), "How the files are encrypted."),
        may("secretRef", local(), "Secret with the keys."),
        may("serviceAccountName", text(), "ServiceAccount that a key service is asked as."),
    ])
}

fn kube_config() -> Schema {
    let secret = object([
        must("name", text(), "Name of the Secret."),
        may("key", text(), "Key in it; value, then value.yaml when absent."),
    ]);
    object([
        may("secretRef", secret, "Secret with the kubeconfig."),
        may("configMapRef", local(), "ConfigMap with a cloud provider's settings."),
    ])
    .rules(&[(
        "has(self.secretRef) != has(self.configMapRef)",
        "exactly one of spec.kubeConfig.secretRef or spec.kubeConfig.configMapRef must be specified",
    )])
}

fn post_build() -> Schema {
    let from = object([
        must("kind", choice(&["Secret", "ConfigMap"]), "Kind of the object with the values."),
        must("name", text().length(1, 253), "Name of the object with the values."),
        may("optional", flag().or(false), "Whether it may be missing."),
    ]);
    object([
        may("substitute", texts(), "Values by name; they win over substituteFrom."),
        may("substituteFrom", list(from), "ConfigMaps and Secrets whose data are values; later ones win."),
        may("substituteStrategy", choice(&["WithVariables", "Always"]), "Whether to substitute without a variable."),
    ])
}

fn health_check() -> Schema {
    object([
        may("apiVersion", text(), "API version of the object; apps/v1 when absent."),
        must("kind", text(), "Kind of the object."),
        must("name", text(), "Name of the object."),
        may("namespace", text(), "Namespace of the object."),
    ])
}

fn health_expression() -> Schema {
    object([
        must("apiVersion", text(), "API version of the kind."),
        may("kind", text(), "The kind; all of the group when absent."),
        may("inProgress", text(), "True while the object is on its way."),
        may("failed", text(), "True when the object has failed."),
        must("current", text(), "True when the object is healthy."),
    ])
}

fn selector() -> Schema {
    object([
        may("group", text(), "API group."),
        may("version", text(), "API version without the group."),
        may("kind", text(), "Kind."),
        may("name", text(), "Name."),
        may("namespace", text(), "Namespace."),
        may("annotationSelector", text(), "Label selector expression over annotations."),
        may("labelSelector", text(), "Label selector expression over labels."),
    ])
}

fn patch() -> Schema {
    object([
        must("patch", text(), "A strategic merge patch, or a list of JSON patch operations."),
        may("target", selector(), "Objects to patch; the one that the patch names when absent."),
        may("options", anything(), "allowNameChange, allowKindChange."),
    ])
}

fn image() -> Schema {
    object([
        must("name", text(), "Name as the manifests have it, without tag and digest."),
        may("newName", text(), "Name to write instead."),
        may("newTag", text(), "Tag to write instead."),
        may("digest", text(), "Digest to write instead; wins over the tag."),
    ])
}

fn ignore() -> Schema {
    object([
        must("paths", list(text()), "JSON pointers."),
        may("target", selector(), "Objects meant; all when absent."),
    ])
}

fn status() -> Schema {
    let entry = object([
        must("id", text(), "namespace_name_group_kind of the object."),
        must("v", text(), "API version of the object."),
    ]);
    let snapshot = object([
        must("digest", text(), "Checksum of what was built."),
        must("firstReconciled", time(), "When it was first applied."),
        must("lastReconciled", time(), "When it was last applied."),
        must("lastReconciledDuration", text().with("format", "duration"), "How long that took."),
        must("lastReconciledStatus", text(), "How that ended."),
        must("totalReconciliations", long(), "How often it was applied."),
        may("metadata", map(text()), "Revisions that it was built from."),
    ]);
    let inventory = object([must("entries", list(entry), "The objects.")]);
    object([
        may("observedGeneration", long(), "Generation whose outcome is settled."),
        may("conditions", conditions(), "Ready, Reconciling, Stalled, Healthy."),
        may("lastAppliedRevision", text(), "Revision of the last apply that succeeded."),
        may("lastAppliedOriginRevision", text(), "Where that revision came from."),
        may("lastAttemptedRevision", text(), "Revision of the last apply."),
        may("lastHandledReconcileAt", text(), "Value of the request annotation that was last acted on."),
        may("inventory", inventory, "The objects that were applied."),
        may("history", list(snapshot), "The last builds and how they went."),
    ])
}
