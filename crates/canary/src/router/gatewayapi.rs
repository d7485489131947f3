//! Gateway API: one HTTPRoute named after the apex service, with two weighted backends.
//!
//! Source: reference progressive-delivery.md, E "Gateway API".

mod matches;
mod rules;

use api::{flagger::Canary, gateway::GROUP, meta::ObjectReference};
use serde_json::{Value, json};

use super::{Change, Cookies, Error, Options, Weights, list, provider::Version, service_names};

/// Kind of the routing object.
const KIND: &str = "HTTPRoute";

/// The HTTPRoute of a Canary.
pub fn reference(canary: &Canary, version: Version) -> ObjectReference {
    super::reference(canary, &format!("{GROUP}/{}", version.as_str()), KIND, canary.service_name())
}

/// The HTTPRoute that sends requests by `weights`.
///
/// Differs: the original writes a spec of its own over what is there (flagger#1857, #1888). Here rules which send nothing to
/// our services stay, after ours; and rules of ours keep members and filter kinds that a Canary cannot express.
pub fn routes(
    canary: &Canary,
    options: &Options,
    version: Version,
    weights: Weights,
    current: &[Value],
    random: u64,
) -> Result<Change, Error> {
    let service = &canary.spec.service;
    if service.gateway_refs.is_empty() {
        return Err(Error::Invalid("GatewayRefs must be specified when using Gateway API as a provider.".into()));
    }
    let affinity = canary.spec.analysis.as_ref().and_then(|analysis| analysis.session_affinity.as_ref());
    let cookies = affinity.map(|affinity| Cookies::at(canary, affinity, weights.canary, random));
    let reference = reference(canary, version);
    let live = super::find(current, &reference);
    let mut rules = rules::ours(canary, version, weights, cookies.as_ref())?;
    rules::keep_foreign(canary, live, &mut rules);
    let mut spec = json!({ "parentRefs": service.gateway_refs, "rules": rules });
    let had_hosts = live.is_some_and(|live| live.pointer("/spec/hostnames").is_some());
    if had_hosts || !service.hosts.is_empty() {
        spec["hostnames"] = json!(service.hosts);
    }
    let route = json!({
        "apiVersion": reference.api_version,
        "kind": KIND,
        "metadata": super::metadata(canary, options, live),
        "spec": spec,
    });
    Ok(Change { apply: vec![route], cookies })
}

/// The weights in effect. With `v1` they count only once every parent has accepted the route in its present generation.
pub fn weights(canary: &Canary, version: Version, current: &[Value]) -> Result<Weights, Error> {
    let weights = read(canary, version, current)?;
    match (version, super::find(current, &reference(canary, version))) {
        (Version::V1, Some(route)) => accepted(canary, route).map(|()| weights),
        _ => Ok(weights),
    }
}

/// The weights as written, accepted or not: those of the last rule with both backends, the rules before it being for
/// users with a cookie.
pub fn read(canary: &Canary, version: Version, current: &[Value]) -> Result<Weights, Error> {
    let route = super::existing(current, &reference(canary, version), KIND)?;
    let (_, primary, canary_service) = service_names(canary);
    let rules = route.pointer("/spec/rules").and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
    let both = rules.iter().rev().find_map(|rule| Some((weight(rule, &primary)?, weight(rule, &canary_service)?)));
    let (primary, canary_weight) = both.ok_or_else(|| {
        super::unreadable(canary, KIND, "has no rule with both the primary and the canary as backends")
    })?;
    let mirrored = rules.iter().flat_map(|rule| list(rule, "filters")).any(|filter| {
        filter["type"] == "RequestMirror" && filter["requestMirror"]["backendRef"]["name"] == canary_service.as_str()
    });
    Ok(Weights { primary, canary: canary_weight, mirrored })
}

/// An error while a parent has not accepted the route as it is now.
fn accepted(canary: &Canary, route: &Value) -> Result<(), Error> {
    let generation = route.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
    let parents = route.pointer("/status/parents").and_then(Value::as_array);
    for parent in parents.into_iter().flatten() {
        let name = parent["parentRef"]["name"].as_str().unwrap_or_default();
        for condition in list(parent, "conditions").iter().filter(|condition| condition["type"] == "Accepted") {
            if condition["observedGeneration"].as_i64().unwrap_or_default() < generation {
                let problem = format!("is not yet observed by its parent {name}");
                return Err(super::unreadable(canary, KIND, &problem));
            }
            if condition["status"] != "True" {
                let message = condition["message"].as_str().unwrap_or_default();
                let problem = format!("is not accepted by its parent {name}: {message}");
                return Err(super::unreadable(canary, KIND, &problem));
            }
        }
    }
    Ok(())
}

/// Weight of the backend of that name in a rule; 1 when the backend gives none.
fn weight(rule: &Value, backend: &str) -> Option<u32> {
    let found = list(rule, "backendRefs").iter().find(|reference| reference["name"] == backend)?;
    Some(found["weight"].as_u64().map_or(1, |weight| u32::try_from(weight).unwrap_or(u32::MAX)))
}
