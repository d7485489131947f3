//! The objects of a rehearsal that no manifest gives, and the health of workloads as a cluster would report it.

use std::time::Duration;

use api::flagger::{AutoscalerReference, Canary, TargetReference};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::scenario::Health;
use crate::workload::Kind;

/// What the target runs when nobody says.
const IMAGE: &str = "quay.io/stefanprodan/podinfo:1.2.0";

/// The target's scaler, without bounds.
pub(super) fn scaler(canary: &Canary, scaler: &AutoscalerReference) -> Value {
    let target = &canary.spec.target_ref;
    json!({
        "apiVersion": scaler.api_version, "kind": scaler.kind,
        "metadata": {"name": scaler.name, "namespace": canary.namespace()},
        "spec": {"scaleTargetRef": {"apiVersion": target.api_version, "kind": target.kind, "name": target.name}},
    })
}

/// An Ingress whose only path leads to the apex service.
pub(super) fn ingress(canary: &Canary, ingress: &TargetReference) -> Value {
    let service = json!({"name": canary.service_name(), "port": {"number": canary.spec.service.port}});
    let paths = json!([{"path": "/", "pathType": "Prefix", "backend": {"service": service}}]);
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": ingress.name, "namespace": canary.namespace()},
        "spec": {"rules": [{"http": {"paths": paths}}]},
    })
}

/// An ApisixRoute whose only rule leads to the apex service.
pub(super) fn route(canary: &Canary, route: &TargetReference) -> Value {
    let backend = json!({"serviceName": canary.service_name(), "servicePort": canary.spec.service.port});
    json!({
        "apiVersion": route.api_version, "kind": "ApisixRoute",
        "metadata": {"name": route.name, "namespace": canary.namespace()},
        "spec": {"http": [{"name": "app", "match": {"paths": ["/*"]}, "backends": [backend]}]},
    })
}

/// An empty ConfigMap or Secret, given as `configmap/NAME` or `secret/NAME`.
pub(super) fn config(canary: &Canary, config: &str) -> Value {
    let (kind, name) = config_parts(config);
    let mut object = json!({
        "apiVersion": "v1", "kind": kind, "data": {},
        "metadata": {"name": name, "namespace": canary.namespace()},
    });
    if kind == "Secret" {
        object["type"] = json!("Opaque");
    }
    object
}

/// Kind and name of `configmap/NAME` or `secret/NAME`.
pub(super) fn config_parts(name: &str) -> (&'static str, &str) {
    match name.split_once('/') {
        Some(("secret", name)) => ("Secret", name),
        Some((_, name)) => ("ConfigMap", name),
        None => ("ConfigMap", name),
    }
}

/// The target, which refers to these configs.
pub(super) fn target(canary: &Canary, configs: &[String], image: Option<&str>) -> Value {
    let target = &canary.spec.target_ref;
    let name = &target.name;
    let metadata = json!({"name": name, "namespace": canary.namespace(), "labels": {"app": name}});
    let head = |spec: Value| json!({"apiVersion": target.api_version, "kind": target.kind, "metadata": metadata, "spec": spec});
    if Kind::of(canary) == Kind::Knative {
        return head(json!({"template": {"spec": {"containers": [{"image": image.unwrap_or(IMAGE)}]}}}));
    }
    if target.kind == "Service" {
        return head(json!({"selector": {"app": name}, "ports": [{"name": "http", "port": canary.spec.service.port}]}));
    }
    let env_from: Vec<_> = configs
        .iter()
        .map(|config| match config_parts(config) {
            ("Secret", name) => json!({"secretRef": {"name": name}}),
            (_, name) => json!({"configMapRef": {"name": name}}),
        })
        .collect();
    head(json!({
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{
                "name": name,
                "image": image.unwrap_or(IMAGE),
                "ports": [{"name": "http", "containerPort": canary.spec.service.port}],
                "envFrom": env_from,
            }]},
        },
    }))
}

/// Status of a Deployment or DaemonSet in that state.
pub(super) fn status(health: Health, wanted: i64, now: Timestamp) -> Value {
    let (total, available) = match health {
        Health::Ready => (wanted, wanted),
        Health::Partial => (wanted.max(10), 6),
        Health::Updating | Health::Stuck | Health::Unavailable => (wanted, 0),
    };
    let conditions = match health {
        Health::Stuck => json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]),
        Health::Unavailable => {
            let since = now.saturating_sub(Duration::from_secs(2 * 3600)).unwrap_or(now);
            json!([
                {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "lastUpdateTime": since},
                {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "lastUpdateTime": since},
            ])
        }
        _ => json!([]),
    };
    json!({
        "replicas": total, "updatedReplicas": total, "readyReplicas": available, "availableReplicas": available,
        "desiredNumberScheduled": total, "updatedNumberScheduled": total, "numberAvailable": available,
        "conditions": conditions,
    })
}

/// What Knative makes of a Service: a revision for each template, ready at once, and traffic as it is asked for.
pub(super) fn knative(service: &mut Value, image: &str) -> Value {
    let metadata = service["metadata"].clone();
    let name = metadata["name"].as_str().unwrap_or_default();
    let number = image.bytes().fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let revision = format!("{name}-{number:05}");
    service["status"]["latestCreatedRevisionName"] = json!(revision);
    let mut traffic = service["spec"]["traffic"].clone();
    for target in traffic.as_array_mut().into_iter().flatten().filter(|target| target["latestRevision"] == true) {
        target["revisionName"] = json!(revision);
    }
    service["status"]["traffic"] = traffic;
    json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Revision",
        "metadata": {"name": revision, "namespace": metadata["namespace"]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    })
}
