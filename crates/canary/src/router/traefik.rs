//! Traefik: one TraefikService, a weighted round robin that an IngressRoute points at.
//!
//! Source: reference progressive-delivery.md, E "Traefik".

use api::{flagger::Canary, meta::ObjectReference};
use serde_json::{Value, json};

use super::{Change, Error, Options, Weights, list, service_names, share};

const KIND: &str = "TraefikService";

/// The TraefikService of a Canary.
pub fn reference(canary: &Canary) -> ObjectReference {
    super::reference(canary, "traefik.io/v1alpha1", KIND, canary.service_name())
}

/// The service with both backends, or with the primary alone while the canary has no share.
///
/// Differs: a weight of zero is written; the original leaves it out, and Traefik takes an absent weight for one.
pub fn routes(canary: &Canary, options: &Options, weights: Weights, current: &[Value]) -> Change {
    let (_, primary, canary_service) = service_names(canary);
    let service = |name: &str, weight: u32| json!({"name": name, "namespace": canary.namespace(), "port": canary.spec.service.port, "weight": weight});
    let mut services = vec![service(&primary, weights.primary)];
    if weights.canary > 0 {
        services.push(service(&canary_service, weights.canary));
    }
    let route = json!({
        "apiVersion": reference(canary).api_version,
        "kind": KIND,
        "metadata": super::metadata(canary, options, super::find(current, &reference(canary))),
        "spec": {"weighted": {"services": services}},
    });
    Change { apply: vec![route], cookies: None }
}

/// The weights as written.
pub fn weights(canary: &Canary, current: &[Value]) -> Result<Weights, Error> {
    let route = super::existing(current, &reference(canary), KIND)?;
    let (_, primary, canary_service) = service_names(canary);
    let services = route.pointer("/spec/weighted").map_or(&[] as &[Value], |weighted| list(weighted, "services"));
    let primary = share(services, &primary)
        .ok_or_else(|| super::unreadable(canary, KIND, "does not have the primary as a service"))?;
    Ok(Weights { primary, canary: share(services, &canary_service).unwrap_or_default(), mirrored: false })
}
