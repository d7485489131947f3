//! Service Mesh Interface: a TrafficSplit, as Linkerd's SMI extension and others read it.
//!
//! Source: reference progressive-delivery.md, E "Linkerd".

use api::meta::ObjectReference;
use serde_json::{Value, json};

use super::{Change, Error, Given, Router, Weights, list_at, ownership, service_names, stays, unreadable};

/// Linkerd, and every mesh that speaks SMI.
pub const ROUTER: Router =
    Router { objects: |given| Ok(vec![reference(given)]), routes, written: weights, weights, finalize: stays };

/// Annotation by which Istio's SMI adapter learns the gateways of the service.
const ISTIO_GATEWAYS: &str = "VirtualService.v1alpha3.networking.istio.io/spec.gateways";

/// Version of the TrafficSplit: that of `smi:VERSION:MESH`, the first for `linkerd`.
fn version<'a>(given: &'a Given<'_>) -> &'a str {
    let name = given.provider();
    name.split(':').nth(1).filter(|version| !version.is_empty()).unwrap_or("v1alpha1")
}

fn reference(given: &Given<'_>) -> ObjectReference {
    let api_version = format!("split.smi-spec.io/{}", version(given));
    given.reference(&api_version, "TrafficSplit", given.canary.service_name())
}

fn routes(given: &Given<'_>, weights: Weights) -> Result<Change, Error> {
    let (apex, primary, canary) = service_names(given.canary);
    // The first version counts in quantities, the later ones in numbers.
    let weight = |weight: u32| if version(given) == "v1alpha1" { json!(weight.to_string()) } else { json!(weight) };
    let ours = vec![
        json!({"service": canary, "weight": weight(weights.canary)}),
        json!({"service": primary, "weight": weight(weights.primary)}),
    ];
    let reference = reference(given);
    let live = given.find(&reference).map_or(&[] as &[Value], |live| list_at(live, "/spec/backends"));
    let service = |backend: &Value| backend["service"].as_str().map(str::to_owned);
    let backends = ownership::destinations(live, ours, &[primary, canary], service);
    let host = given.canary.spec.service.hosts.first().unwrap_or(&apex);
    let mut split = given.object(&reference, json!({"service": host, "backends": backends}));
    let gateways = &given.canary.spec.service.gateways;
    if !gateways.is_empty() && given.provider().contains("istio") {
        split["metadata"]["annotations"] = json!({ISTIO_GATEWAYS: json!(gateways).to_string()});
    }
    Ok(Change { apply: vec![split], cookies: None })
}

fn weights(given: &Given<'_>) -> Result<Weights, Error> {
    let reference = reference(given);
    let backends = list_at(given.existing(&reference)?, "/spec/backends");
    let (_, primary, canary) = service_names(given.canary);
    let share = |name: &str| {
        let weight = &backends.iter().find(|backend| backend["service"] == name)?["weight"];
        weight.as_u64().or_else(|| weight.as_str()?.parse().ok()).and_then(|weight| u32::try_from(weight).ok())
    };
    match (share(&primary), share(&canary)) {
        (Some(primary), Some(canary)) if primary + canary > 0 => Ok(Weights { primary, canary, mirrored: false }),
        _ => Err(unreadable(&reference, format!("does not contain routes for {primary} and {canary}"))),
    }
}
