//! The Deployment and its Services. The pod passes the restricted Pod Security Standard.

use serde_json::{Value, json};

use super::{HTTP_PORT, Installation, NAME, WEBHOOK_PORT, object, with};
use crate::args::run::Stage;

/// User of the process, and of the image: nobody in particular. The number is that of other images without root.
const USER: u32 = 65532;

/// Service account excepted, what runs and how it is reached.
pub(super) fn objects(installation: &Installation) -> Vec<Value> {
    let mut objects = vec![service(installation, NAME, HTTP_PORT, "http")];
    if installation.stages.contains(&Stage::Notification) {
        // The name that Ingresses of Flux's users point at.
        objects.push(service(installation, "webhook-receiver", 80, "http-webhook"));
    }
    objects.push(deployment(installation));
    objects
}

/// Labels that tell our pods from others.
pub(super) fn selector() -> Value {
    json!({"app.kubernetes.io/name": NAME})
}

fn service(installation: &Installation, name: &str, port: u16, target: &str) -> Value {
    let service = object("v1", "Service", name, Some(&installation.namespace));
    let ports = json!([{"name": target, "port": port, "protocol": "TCP", "targetPort": target}]);
    with(service, "spec", json!({"type": "ClusterIP", "selector": selector(), "ports": ports}))
}

fn deployment(installation: &Installation) -> Value {
    let deployment = object("apps/v1", "Deployment", NAME, Some(&installation.namespace));
    let mut labels = deployment["metadata"]["labels"].clone();
    labels["app.kubernetes.io/component"] = "controller".into();
    let annotations = json!({"prometheus.io/scrape": "true", "prometheus.io/port": HTTP_PORT.to_string()});
    let pod = json!({
        "serviceAccountName": NAME,
        "terminationGracePeriodSeconds": 15,
        "securityContext": {"runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container(installation)],
        "volumes": [{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
    });
    let template = json!({"metadata": {"labels": labels, "annotations": annotations}, "spec": pod});
    let spec =
        json!({"replicas": installation.replicas, "selector": {"matchLabels": selector()}, "template": template});
    with(deployment, "spec", spec)
}

fn container(installation: &Installation) -> Value {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": "http"}});
    json!({
        "name": NAME,
        "image": installation.image,
        "imagePullPolicy": "IfNotPresent",
        "args": arguments(installation),
        "env": [field("RUNTIME_NAMESPACE", "metadata.namespace"), field("POD_NAME", "metadata.name")],
        "ports": [
            {"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"},
            {"name": "http-webhook", "containerPort": WEBHOOK_PORT, "protocol": "TCP"},
        ],
        "livenessProbe": probe("/healthz"),
        "readinessProbe": probe("/readyz"),
        "resources": {"requests": {"cpu": "20m", "memory": "48Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true,
            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "tmp", "mountPath": "/tmp"}],
    })
}

fn arguments(installation: &Installation) -> Vec<String> {
    let stages: Vec<String> = installation.stages.iter().map(Stage::to_string).collect();
    let fixed = [
        "run".into(),
        format!("--controllers={}", stages.join(",")),
        "--storage-path=/data".into(),
        "--log-encoding=json".into(),
        // Also with one pod: Flux's and Flagger's own controllers hold the same Leases, so that old and new never act together.
        "--enable-leader-election".into(),
    ];
    let untracked = (!installation.config_tracking).then(|| "--enable-config-tracking=false".to_owned());
    fixed.into_iter().chain(untracked).chain(installation.arguments.iter().cloned()).collect()
}
