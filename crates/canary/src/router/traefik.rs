//! Traefik: one TraefikService, a weighted round robin that an IngressRoute points at.
//!
//! Source: reference progressive-delivery.md, E "Traefik".

use api::meta::ObjectReference;
use serde_json::{Value, json};

use super::{Change, Error, Given, Router, Weights, list_at, ownership, service_names, share, stays, unreadable};

/// Traefik.
pub const ROUTER: Router =
    Router { objects: |given| Ok(vec![reference(given)]), routes, written: weights, weights, finalize: stays };

fn reference(given: &Given<'_>) -> ObjectReference {
    given.reference("traefik.io/v1alpha1", "TraefikService", given.canary.service_name())
}

/// The service with both backends, or with the primary alone while the canary has no share.
///
/// Differs: a weight of zero is written; the original leaves it out, and Traefik takes an absent weight for one.
fn routes(given: &Given<'_>, weights: Weights) -> Result<Change, Error> {
    let canary = given.canary;
    let (_, primary, canary_service) = service_names(canary);
    let service = |name: &str, weight: u32| json!({"name": name, "namespace": canary.namespace(), "port": canary.spec.service.port, "weight": weight});
    let mut ours = vec![service(&primary, weights.primary)];
    if weights.canary > 0 {
        ours.push(service(&canary_service, weights.canary));
    }
    let reference = reference(given);
    let live = given.find(&reference).map_or(&[] as &[Value], |live| list_at(live, "/spec/weighted/services"));
    let name = |service: &Value| service["name"].as_str().map(str::to_owned);
    let services = ownership::destinations(live, ours, &[primary, canary_service], name);
    let route = given.labelled(&reference, json!({"weighted": {"services": services}}));
    Ok(Change { apply: vec![route], cookies: None })
}

fn weights(given: &Given<'_>) -> Result<Weights, Error> {
    let reference = reference(given);
    let services = list_at(given.existing(&reference)?, "/spec/weighted/services");
    let (_, primary, canary) = service_names(given.canary);
    let primary = share(services, |service| service["name"] == primary.as_str())
        .ok_or_else(|| unreadable(&reference, "does not have the primary as a service"))?;
    let canary = share(services, |service| service["name"] == canary.as_str()).unwrap_or_default();
    Ok(Weights { primary, canary, mirrored: false })
}
