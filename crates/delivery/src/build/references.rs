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

/// References that say a namespace too: the kind referred to, the kind that refers, and the path.
const LOCATED: [(&str, &str, &str); 5] = [
    ("Service", "APIService", "spec/service"),
    ("Service", "ValidatingWebhookConfiguration", "webhooks[]/clientConfig/service"),
    ("Service", "MutatingWebhookConfiguration", "webhooks[]/clientConfig/service"),
    ("ServiceAccount", "RoleBinding", "subjects[]"),
    ("ServiceAccount", "ClusterRoleBinding", "subjects[]"),
];

/// Names elsewhere: the kind referred to, the kind that refers, and the path.
const ELSEWHERE: [(&str, &str, &str); 13] = [
    ("Secret", "ServiceAccount", "secrets[]/name"),
    ("Secret", "ServiceAccount", "imagePullSecrets[]/name"),
    ("Secret", "Ingress", "spec/tls[]/secretName"),
    ("Service", "Ingress", "spec/rules[]/http/paths[]/backend/service/name"),
    ("Service", "Ingress", "spec/rules[]/http/paths[]/backend/serviceName"),
    ("Service", "Ingress", "spec/defaultBackend/service/name"),
    ("Service", "Ingress", "spec/backend/serviceName"),
    ("Service", "StatefulSet", "spec/serviceName"),
    ("IngressClass", "Ingress", "spec/ingressClassName"),
    ("PersistentVolume", "PersistentVolumeClaim", "spec/volumeName"),
    ("StorageClass", "PersistentVolume", "spec/storageClassName"),
    ("StorageClass", "PersistentVolumeClaim", "spec/storageClassName"),
    ("StorageClass", "StatefulSet", "spec/volumeClaimTemplates[]/spec/storageClassName"),
];

/// Kind, namespace (empty for kinds without one), name.
type Key = (String, String, String);

/// What objects are called now.
#[derive(Default)]
struct Names {
    /// New names by kind, the namespace that the object is in now, and old name.
    here: BTreeMap<Key, String>,
    /// New namespaces and names by old ones.
    moved: BTreeMap<Key, (String, String)>,
}

impl Names {
    /// The name of the object at the beginning of the level counts before older ones.
    fn of(resources: &[Resource]) -> Self {
        let mut names = Self::default();
        let mut note = |old: &Id, now: &Id| {
            let namespace = now.effective_namespace().to_owned();
            let here = (old.kind.clone(), namespace.clone(), old.name.clone());
            names.here.entry(here).or_insert_with(|| now.name.clone());
            let there = (old.kind.clone(), old.effective_namespace().to_owned(), old.name.clone());
            names.moved.entry(there).or_insert_with(|| (namespace, now.name.clone()));
        };
        for resource in resources {
            note(&resource.entry, &resource.id());
        }
        for resource in resources {
            let now = resource.id();
            resource.previous.iter().rev().for_each(|old| note(old, &now));
        }
        names
    }

    fn lookup(&self, kind: &str, namespace: &str, old: &str) -> Option<&String> {
        let namespace = if scope::is_cluster_scoped(kind) { "" } else { namespace };
        self.here.get(&(kind.to_owned(), namespace.to_owned(), old.to_owned()))
    }
}

/// Rewrites references to objects that the transformers of this level renamed, or earlier ones did.
pub(crate) fn follow(resources: &mut [Resource]) {
    let names = Names::of(resources);
    for resource in resources {
        let namespace = resource.id().effective_namespace().to_owned();
        let kind = resource.kind().to_owned();
        let object = &mut resource.object;
        let mut fix = |target: &str, path: &str| {
            fields::visit(object, path, false, &mut |value| {
                if let Some(new) = value.as_str().and_then(|old| names.lookup(target, &namespace, old)) {
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
        for (target, _, path) in LOCATED.iter().filter(|(_, referrer, _)| *referrer == kind) {
            fields::visit(object, path, false, &mut |reference| move_located(reference, target, &names));
        }
        match kind.as_str() {
            "HorizontalPodAutoscaler" => {
                rename_typed(object.pointer_mut("/spec/scaleTargetRef"), &namespace, &names);
            }
            "RoleBinding" | "ClusterRoleBinding" => rename_typed(object.pointer_mut("/roleRef"), &namespace, &names),
            _ => {}
        }
    }
}

/// A reference that says the kind itself: `scaleTargetRef`, `roleRef`.
fn rename_typed(reference: Option<&mut Value>, namespace: &str, names: &Names) {
    let Some(reference) = reference else { return };
    let text = |field: &str| reference.get(field).and_then(Value::as_str).unwrap_or_default();
    if let Some(new) = names.lookup(text("kind"), namespace, text("name")) {
        reference["name"] = new.as_str().into();
    }
}

/// A reference with a namespace: it follows the object that it means in both.
fn move_located(reference: &mut Value, kind: &str, names: &Names) {
    let text = |field: &str| reference.get(field).and_then(Value::as_str).unwrap_or_default();
    // Differs: kustomize renames users and groups that are called like a ServiceAccount; their names are their own.
    if !matches!(text("kind"), "" | "ServiceAccount") {
        return;
    }
    let stated = text("namespace").to_owned();
    let namespace = if stated.is_empty() { "default" } else { stated.as_str() };
    let key = (kind.to_owned(), namespace.to_owned(), text("name").to_owned());
    let Some((namespace, name)) = names.moved.get(&key) else { return };
    reference["name"] = name.as_str().into();
    if !stated.is_empty() || namespace != "default" {
        reference["namespace"] = namespace.as_str().into();
    }
}
