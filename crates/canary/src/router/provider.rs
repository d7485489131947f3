//! The providers that a Canary can name, and their routers.

use super::{
    Error, Given, Router, apisix, contour, gatewayapi, gloo, istio, knative, kubernetes, kuma, nginx, skipper, smi,
    traefik,
};

/// The routers, by the part of a provider's name before the colon. Every other name means Istio.
/// Source: reference progressive-delivery.md, A.2 `provider`.
const ROUTERS: [(&str, &Router); 13] = [
    ("apisix", &apisix::ROUTER),
    ("contour", &contour::ROUTER),
    ("gatewayapi", &gatewayapi::ROUTER),
    ("gloo", &gloo::ROUTER),
    ("istio", &istio::ROUTER),
    ("knative", &knative::ROUTER),
    ("kubernetes", &kubernetes::ROUTER),
    ("kuma", &kuma::ROUTER),
    ("linkerd", &smi::ROUTER),
    ("nginx", &nginx::ROUTER),
    ("skipper", &skipper::ROUTER),
    ("smi", &smi::ROUTER),
    ("traefik", &traefik::ROUTER),
];

/// Products that have come to their end. Differs: the original still routes through them.
const RETIRED: [(&str, &str); 2] = [
    (
        "appmesh",
        "AWS ended App Mesh on 2026-09-30; use gatewayapi:v1 with Amazon VPC Lattice or another implementation, or istio",
    ),
    ("osm", "Open Service Mesh was archived in 2023; use gatewayapi:v1 or istio"),
];

/// The part of a provider's name that picks the router; after it come a version and, with SMI, the mesh.
pub fn base(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

/// Whether the provider of that name can copy requests to the canary.
pub fn mirrors(name: &str) -> bool {
    let base = base(name);
    ["gatewayapi", "istio"].contains(&base) || !ROUTERS.iter().any(|(known, _)| *known == base)
}

/// Whether the provider of that name can send those who match to the canary and everybody else to the primary. Skipper, which
/// cannot, says so itself.
pub fn matches_requests(name: &str) -> bool {
    !["apisix", "knative", "kuma", "linkerd", "smi", "traefik"].contains(&base(name))
}

/// The router of the provider in effect.
pub fn router(given: &Given<'_>) -> Result<&'static Router, Error> {
    let name = given.provider();
    let base = base(name);
    if let Some((_, why)) = RETIRED.iter().find(|(retired, _)| *retired == base) {
        return Err(Error::Retired { provider: name.to_owned(), why });
    }
    let found = ROUTERS.iter().find(|(known, _)| *known == base);
    Ok(found.map_or(&istio::ROUTER, |(_, router)| *router))
}
