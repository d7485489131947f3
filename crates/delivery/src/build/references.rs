//! Names follow: when an object is renamed, the built-in objects that refer to it say the new name.
//!
//! Source: kustomize 5.8 `builtinpluginconsts/namereference.go`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    fields,
    resource::{Id, Resource},
};
use crate::scope;

/// Where pod specs are, by kind.
const POD_SPECS: [(&[&str], &str); 3] = [
    (&["Pod"], "spec"),
    (&["Deployment", "ReplicaSet", "DaemonSet", "StatefulSet", "Job", "ReplicationController"], "spec/template/spec"),
    (&["CronJob"], "spec/jobTemplate/spec/template/spec"),
];

/// Names in pod specs: the kind referred to, and the path below the pod spec.
const IN_PODS: [(&str, &str); 20] = [
    ("ConfigMap", "volumes[]/configMap/name"),
    ("ConfigMap", "volumes[]/projected/sources[]/configMap/name"),
    ("ConfigMap", "containers[]/env[]/valueFrom/configMapKeyRef/name"),
    ("ConfigMap", "initContainers[]/env[]/valueFrom/configMapKeyRef/name"),
    ("ConfigMap", "containers[]/envFrom[]/configMapRef/name"),
    ("ConfigMap", "initContainers[]/envFrom[]/configMapRef/name"),
    ("Secret", "volumes[]/secret/secretName"),
    ("Secret", "volumes[]/projected/sources[]/secret/name"),
    ("Secret", "volumes[]/csi/nodePublishSecretRef/name"),
    ("Secret", "containers[]/env[]/valueFrom/secretKeyRef/name"),
    ("Secret", "initContainers[]/env[]/valueFrom/secretKeyRef/name"),
    ("Secret", "containers[]/envFrom[]/secretRef/name"),
    ("Secret", "initContainers[]/envFrom[]/secretRef/name"),
    ("Secret", "imagePullSecrets[]/name"),
    ("ServiceAccount", "serviceAccountName"),
    ("ServiceAccount", "serviceAccount"),
    ("PersistentVolumeClaim", "volumes[]/persistentVolumeClaim/claimName"),
    ("PriorityClass", "priorityClassName"),
    ("RuntimeClass", "runtimeClassName"),
    ("ResourceClaim", "resourceClaims[]/resourceClaimName"),
];

/// Names elsewhere: the kind referred to, the kind that refers, and the path.
const ELSEWHERE: [(&str, &str, &str); 17] = [
    ("Secret", "ServiceAccount", "secrets[]/name"),
    ("Secret", "ServiceAccount", "imagePullSecrets[]/name"),
    ("Secret", "Ingress", "spec/tls[]/secretName"),
    ("Service", "Ingress", "spec/rules[]/http/paths[]/backend/service/name"),
    ("Service", "Ingress", "spec/rules[]/http/paths[]/backend/serviceName"),
    ("Service", "Ingress", "spec/defaultBackend/service/name"),
    ("Service", "Ingress", "spec/backend/serviceName"),
    ("Service", "StatefulSet", "spec/serviceName"),
    ("Service", "APIService", "spec/service/name"),
    ("Service", "ValidatingWebhookConfiguration", "webhooks[]/clientConfig/service/name"),
    ("Service", "MutatingWebhookConfiguration", "webhooks[]/clientConfig/service/name"),
    ("Service", "CustomResourceDefinition", "spec/conversion/webhook/clientConfig/service/name"),
    ("IngressClass", "Ingress", "spec/ingressClassName"),
    ("PersistentVolume", "PersistentVolumeClaim", "spec/volumeName"),
    ("StorageClass", "PersistentVolume", "spec/storageClassName"),
    ("StorageClass", "PersistentVolumeClaim", "spec/storageClassName"),
    ("StorageClass", "StatefulSet", "spec/volumeClaimTemplates[]/spec/storageClassName"),
];

/// New names by kind, namespace (empty for kinds without one) and old name.
type Names = BTreeMap<(String, String, String), String>;

/// Rewrites references to objects that the transformers of this level renamed, or earlier ones did.
pub(crate) fn follow(resources: &mut [Resource]) {
    let names = renames(resources);
    if names.iter().all(|((_, _, old), new)| old == new) {
        return;
    }
    for resource in resources {
        let namespace = resource.id().effective_namespace().to_owned();
        let kind = resource.kind().to_owned();
        let lookup = |target: &str, namespace: &str, old: &str| {
            let namespace = if scope::is_cluster_scoped(target) { "" } else { namespace };
            names.get(&(target.to_owned(), namespace.to_owned(), old.to_owned()))
        };
        let mut fix = |target: &str, path: &str| {
            fields::visit(&mut resource.object, path, false, &mut |value| {
                if let Some(new) = value.as_str().and_then(|old| lookup(target, &namespace, old)) {
                    *value = new.as_str().into();
                }
            });
        };
        for (_, pod_spec) in POD_SPECS.iter().filter(|(kinds, _)| kinds.contains(&kind.as_str())) {
            IN_PODS.iter().for_each(|(target, path)| fix(target, &format!("{pod_spec}/{path}")));
        }
        for (target, _, path) in ELSEWHERE.iter().filter(|(_, referrer, _)| *referrer == kind) {
            fix(target, path);
        }
        match kind.as_str() {
            "HorizontalPodAutoscaler" => {
                rename_typed(resource.object.pointer_mut("/spec/scaleTargetRef"), &namespace, &lookup);
            }
            "RoleBinding" | "ClusterRoleBinding" => {
                rename_typed(resource.object.pointer_mut("/roleRef"), &namespace, &lookup);
                rename_subjects(&mut resource.object, &names);
            }
            _ => {}
        }
    }
}

/// What every name became. The name at the beginning of the level counts before older ones.
fn renames(resources: &[Resource]) -> Names {
    let mut names = Names::new();
    let key = |id: &Id, namespace: &str| (id.kind.clone(), namespace.to_owned(), id.name.clone());
    for resource in resources {
        let now = resource.id();
        names.insert(key(&resource.entry, now.effective_namespace()), now.name.clone());
    }
    for resource in resources {
        let now = resource.id();
        for previous in resource.previous.iter().rev() {
            names.entry(key(previous, now.effective_namespace())).or_insert_with(|| now.name.clone());
        }
    }
    names
}

/// A reference that says the kind itself: `scaleTargetRef`, `roleRef`.
fn rename_typed<'a>(
    reference: Option<&mut Value>,
    namespace: &str,
    lookup: &impl Fn(&str, &str, &str) -> Option<&'a String>,
) {
    let Some(reference) = reference else { return };
    let text = |field: &str| reference.get(field).and_then(Value::as_str).unwrap_or_default();
    if let Some(new) = lookup(text("kind"), namespace, text("name")) {
        reference["name"] = new.as_str().into();
    }
}

/// ServiceAccounts of a binding follow in name and in namespace, if exactly one object of the build is meant.
fn rename_subjects(object: &mut Value, names: &Names) {
    for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
        let text = |field: &str| subject.get(field).and_then(Value::as_str).unwrap_or_default();
        if text("kind") != "ServiceAccount" {
            continue;
        }
        let (old, stated) = (text("name").to_owned(), text("namespace").to_owned());
        let candidates: Vec<_> =
            names.iter().filter(|((kind, _, name), _)| kind == "ServiceAccount" && *name == old).collect();
        let exact = candidates.iter().find(|((_, namespace, _), _)| *namespace == stated);
        let chosen = exact.or(if candidates.len() == 1 { candidates.first() } else { None });
        if let Some(((_, namespace, _), new)) = chosen {
            subject["name"] = new.as_str().into();
            if !stated.is_empty() || namespace != "default" {
                subject["namespace"] = namespace.as_str().into();
            }
        }
    }
}
