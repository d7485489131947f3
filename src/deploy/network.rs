//! Who may talk to the pods, and who looks at their metrics. Source: reference delivery.md section 6.

use serde_json::{Value, json};

use super::{HTTP_PORT, Installation, NAME, WEBHOOK_PORT, object, with, workload::selector};
use crate::args::run::Stage;

/// Flux's three policies, for our pods alone.
pub(super) fn policies(installation: &Installation) -> Vec<Value> {
    let policy = |name: &str, spec: Value| {
        let policy = object("networking.k8s.io/v1", "NetworkPolicy", name, Some(&installation.namespace));
        let mut spec = spec;
        spec["podSelector"] = json!({"matchLabels": selector()});
        with(policy, "spec", spec)
    };
    let from_everywhere = |port: u16| {
        json!({"policyTypes": ["Ingress"],
            "ingress": [{"from": [{"namespaceSelector": {}}], "ports": [{"port": port, "protocol": "TCP"}]}]})
    };
    // Registries, Git servers, metrics servers and chats may be anywhere.
    let egress =
        json!({"policyTypes": ["Ingress", "Egress"], "egress": [{}], "ingress": [{"from": [{"podSelector": {}}]}]});
    let mut policies =
        vec![policy("slipway-allow-egress", egress), policy("slipway-allow-scraping", from_everywhere(HTTP_PORT))];
    if installation.stages.contains(&Stage::Notification) {
        policies.push(policy("slipway-allow-webhooks", from_everywhere(WEBHOOK_PORT)));
    }
    policies
}

/// For the Prometheus operator.
pub(super) fn service_monitor(installation: &Installation) -> Value {
    let monitor = object("monitoring.coreos.com/v1", "ServiceMonitor", NAME, Some(&installation.namespace));
    let spec = json!({"selector": {"matchLabels": selector()},
        "endpoints": [{"port": "http", "path": "/metrics", "honorLabels": true}]});
    with(monitor, "spec", spec)
}
