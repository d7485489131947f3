//! Manifests of the tests, and the resource definitions that they need.

use std::{fs, path::Path};

use serde_json::{Value, json};

/// The documents of a YAML text.
pub fn parse(text: &str) -> Vec<Value> {
    let read = api::manifest::documents(text).into_iter();
    read.map(|document| document.expect("a valid document").object).collect()
}

/// The definitions that `slipway install` brings.
pub fn definitions() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/crds");
    let files = fs::read_dir(folder).expect("deploy/crds").flatten().map(|file| file.path());
    let read = files.flat_map(|path| parse(&fs::read_to_string(path).expect("a file")));
    read.filter(|one| one["kind"] == "CustomResourceDefinition").collect()
}

/// A Deployment `app` that runs this version; `annotations` of its pods tell the fake kubelet what to do.
pub fn deployment(version: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "app", "labels": {"app": "app"}},
        "spec": {
            "selector": {"matchLabels": {"app": "app"}},
            "template": {
                "metadata": {"labels": {"app": "app"}, "annotations": annotations},
                "spec": {
                    "containers": [{
                        "name": "app",
                        "image": format!("example.com/app:{version}"),
                        "ports": [{"name": "http", "containerPort": 8080}],
                    }],
                },
            },
        },
    })
}

/// A Canary `app` of the Deployment, stepping every second as long as the test's number is at least 99.
pub fn canary(provider: &str, analysis: &Value) -> Value {
    let mut canary = json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": "app"},
        "spec": {
            "provider": provider,
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
            "progressDeadlineSeconds": 60,
            "service": {"port": 80, "targetPort": 8080},
            "analysis": {
                "interval": "1s",
                "threshold": 2,
                "metrics": [{
                    "name": "success",
                    "templateRef": {"name": "success"},
                    "thresholdRange": {"min": 99},
                    "interval": "1m",
                }],
            },
        },
    });
    if provider.starts_with("gatewayapi") {
        canary["spec"]["service"]["gatewayRefs"] = json!([{"name": "web", "namespace": "infra"}]);
        canary["spec"]["service"]["hosts"] = json!(["app.example.com"]);
    }
    for (key, value) in analysis.as_object().into_iter().flatten() {
        canary["spec"]["analysis"][key] = value.clone();
    }
    canary
}

/// The metric that the test sets, from a real Prometheus.
pub fn template(prometheus: &str, number: &str) -> Value {
    json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "MetricTemplate",
        "metadata": {"name": "success"},
        "spec": {
            "provider": {"type": "prometheus", "address": prometheus},
            "query": format!("test_success{{name=\"{number}\"}}"),
        },
    })
}
