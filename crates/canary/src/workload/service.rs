//! The three ClusterIP services of a Canary: apex, primary, canary. Source: reference progressive-delivery.md, B.7 "Services".

use std::collections::BTreeMap;

use api::flagger::{Canary, CustomMetadata};
use serde_json::{Value, json};

use super::Selector;
use crate::router;

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What callers know; always leads to the primary.
    Apex,
    /// Leads to the primary.
    Primary,
    /// Leads to the target.
    Canary,
}

/// Name of a service.
pub fn name(canary: &Canary, role: Role) -> String {
    match role {
        Role::Apex => canary.service_name().to_owned(),
        Role::Primary => canary.primary_service_name(),
        Role::Canary => canary.canary_service_name(),
    }
}

/// A service as it should be. `ports` are the discovered ones.
///
/// Of a service that is not the Canary's own only ports and selector are set, and the annotations that keep Flux from
/// setting them back.
pub fn service(
    canary: &Canary,
    role: Role,
    selector: &Selector,
    ports: &BTreeMap<String, i64>,
    live: Option<&Value>,
) -> Value {
    let spec = &canary.spec.service;
    let name = name(canary, role);
    let given = match role {
        Role::Apex => &spec.apex,
        Role::Primary => &spec.primary,
        Role::Canary => &spec.canary,
    };
    let value = if role == Role::Canary { selector.value.clone() } else { selector.primary_value() };
    let mut service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": canary.namespace()},
        "spec": {"selector": {&selector.label: value}, "ports": port_list(canary, ports, live)},
    });
    if live.is_none_or(|live| is_own(canary, live)) {
        if live.is_none() {
            service["spec"]["type"] = json!("ClusterIP");
            if spec.headless {
                service["spec"]["clusterIP"] = json!("None");
            }
        }
        if let Some(distribution) = &spec.traffic_distribution {
            service["spec"]["trafficDistribution"] = json!(distribution);
        }
        let metadata = metadata(canary, given.clone().unwrap_or_default(), &name, selector, live);
        service["metadata"]["labels"] = json!(metadata.labels);
        service["metadata"]["annotations"] = json!(metadata.annotations);
        if let Some(owner) = router::owner(canary) {
            service["metadata"]["ownerReferences"] = json!([owner]);
        }
    } else {
        service["metadata"]["annotations"] = json!(router::annotations(&BTreeMap::new()));
    }
    service
}

/// Labels and annotations, with the live values of the keys that somebody else manages.
fn metadata(
    canary: &Canary,
    mut given: CustomMetadata,
    name: &str,
    selector: &Selector,
    live: Option<&Value>,
) -> CustomMetadata {
    given.labels.insert(selector.label.clone(), name.to_owned());
    given.annotations = router::annotations(&given.annotations);
    let unmanaged = canary.spec.service.unmanaged_metadata.clone().unwrap_or_default();
    let keep = |keys: &[String], member: &str, values: &mut BTreeMap<String, String>| {
        for key in keys {
            let found = live.and_then(|live| live.get("metadata")?.get(member)?.get(key)?.as_str());
            if let Some(found) = found {
                values.insert(key.clone(), found.to_owned());
            }
        }
    };
    keep(&unmanaged.labels, "labels", &mut given.labels);
    keep(&unmanaged.annotations, "annotations", &mut given.annotations);
    given
}

/// The service's own port, then the discovered ones; node ports of the live service stay.
fn port_list(canary: &Canary, discovered: &BTreeMap<String, i64>, live: Option<&Value>) -> Vec<Value> {
    let spec = &canary.spec.service;
    let mut own = json!({
        "name": spec.port_name(), "protocol": "TCP", "port": spec.port, "targetPort": spec.target_port(),
    });
    if let Some(protocol) = spec.app_protocol.as_deref().filter(|text| !text.is_empty()) {
        own["appProtocol"] = json!(protocol);
    }
    let discovered = discovered
        .iter()
        .map(|(name, port)| json!({"name": name, "protocol": "TCP", "port": port, "targetPort": port}));
    let live = live.map_or(&[] as &[Value], |live| super::items(live, "/spec/ports"));
    let with_node_port = |mut port: Value| {
        let node = live.iter().find(|found| found["name"] == port["name"]).and_then(|found| found["nodePort"].as_i64());
        if let Some(node) = node.filter(|&node| node > 0) {
            port["nodePort"] = json!(node);
        }
        port
    };
    std::iter::once(own).chain(discovered).map(with_node_port).collect()
}

/// Whether the Canary controls the service.
pub fn is_own(canary: &Canary, live: &Value) -> bool {
    super::items(live, "/metadata/ownerReferences")
        .iter()
        .any(|owner| owner["controller"] == true && owner["kind"] == "Canary" && owner["name"] == canary.name())
}
