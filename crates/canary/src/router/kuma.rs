//! Kuma: a TrafficRoute, which belongs to a mesh and to no namespace.
//!
//! Source: reference progressive-delivery.md, E "Kuma". Kuma itself recommends the Gateway API by now.

use api::meta::ObjectReference;
use serde_json::{Value, json};

use super::{
    Change, Error, Given, Router, Weights, annotations, list_at, ownership, service_names, share, stays, unreadable,
};

/// Kuma's own API.
pub const ROUTER: Router =
    Router { objects: |given| Ok(vec![reference(given)]), routes, written: weights, weights, finalize: stays };

/// The tag by which Kuma tells services apart.
const TAG: &str = "kuma.io/service";
/// The Canary's annotation that names the mesh; `default` without it.
const MESH: &str = "kuma.io/mesh";

fn reference(given: &Given<'_>) -> ObjectReference {
    let name = given.canary.service_name().into();
    let (api_version, kind) = ("kuma.io/v1alpha1".into(), "TrafficRoute".into());
    ObjectReference { api_version, kind, namespace: String::new(), name }
}

/// The tag's value for a service.
fn tag(given: &Given<'_>, service: &str) -> String {
    format!("{service}_{}_svc_{}", given.canary.namespace(), given.canary.spec.service.port)
}

fn destination(split: &Value) -> Option<String> {
    split["destination"][TAG].as_str().map(str::to_owned)
}

fn routes(given: &Given<'_>, weights: Weights) -> Result<Change, Error> {
    let names = service_names(given.canary);
    let [apex, primary, canary] = [names.0, names.1, names.2].map(|service| tag(given, &service));
    let split = |tag: &str, weight: u32| json!({"weight": weight, "destination": {TAG: tag}});
    let ours = vec![split(&primary, weights.primary), split(&canary, weights.canary)];
    let reference = reference(given);
    let live = given.find(&reference);
    let before = live.map_or(&[] as &[Value], |live| list_at(live, "/spec/conf/split"));
    let split = ownership::destinations(before, ours, &[primary, canary], destination);
    // Which callers are meant is the user's choice, once there is a route.
    let sources = live.map_or(&[] as &[Value], |live| list_at(live, "/spec/sources"));
    let sources = if sources.is_empty() { json!([{"match": {TAG: "*"}}]) } else { json!(sources) };
    let given_metadata = given.canary.spec.service.apex.clone().unwrap_or_default();
    let mut metadata = json!({"name": reference.name, "annotations": annotations(&given_metadata.annotations)});
    if !given_metadata.labels.is_empty() {
        metadata["labels"] = json!(given_metadata.labels);
    }
    let mesh = given.canary.metadata.annotations.as_ref().and_then(|annotations| annotations.get(MESH));
    // A namespaced object cannot own one without a namespace, so there is no owner.
    let route = json!({
        "apiVersion": reference.api_version,
        "kind": reference.kind,
        "mesh": mesh.map_or("default", String::as_str),
        "metadata": metadata,
        "spec": {
            "sources": sources,
            "destinations": [{"match": {TAG: apex}}],
            "conf": {"split": split},
        },
    });
    Ok(Change { apply: vec![route], cookies: None })
}

fn weights(given: &Given<'_>) -> Result<Weights, Error> {
    let reference = reference(given);
    let split = list_at(given.existing(&reference)?, "/spec/conf/split");
    let (_, primary, canary) = service_names(given.canary);
    let share = |service: &str| {
        let tag = tag(given, service);
        share(split, |split| destination(split).as_ref() == Some(&tag))
    };
    match (share(&primary), share(&canary)) {
        (Some(primary), Some(canary)) => Ok(Weights { primary, canary, mirrored: false }),
        _ => Err(unreadable(&reference, format!("does not contain routes for {primary} and {canary}"))),
    }
}
