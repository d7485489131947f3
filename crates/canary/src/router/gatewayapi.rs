//! Gateway API: one HTTPRoute named after the apex service, with two weighted backends.
//!
//! Source: reference progressive-delivery.md, E "Gateway API".

mod matches;
mod rules;
pub mod status;

use api::{gateway::GROUP, meta::ObjectReference};
use serde_json::{Value, json};

use super::{
    Change, Cookies, Error, Given, Router, Weights, list, list_at,
    ownership::{Bases, Sorting, place},
    service_names, stays, unreadable,
};

/// Any implementation of the Gateway API.
pub const ROUTER: Router =
    Router { objects: |given| Ok(vec![reference(given)]), routes, written: read, weights, finalize: stays };

/// Version of the Gateway API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// `v1`
    V1,
    /// `v1beta1`
    V1Beta1,
}

impl Version {
    fn of(given: &Given<'_>) -> Self {
        match given.provider() {
            "gatewayapi:v1beta1" | "gatewayapi:v1alpha2" => Self::V1Beta1,
            _ => Self::V1,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1Beta1 => "v1beta1",
        }
    }
}

fn reference(given: &Given<'_>) -> ObjectReference {
    let api_version = format!("{GROUP}/{}", Version::of(given).as_str());
    given.reference(&api_version, "HTTPRoute", given.canary.service_name())
}

/// The HTTPRoute that sends requests by `weights`.
///
/// Differs: the original writes a spec of its own over what is there (flagger#1857, #1888). Here other people's rules stay
/// where they are; ours keep the matches, members, filters and backends that the Canary says nothing about.
fn routes(given: &Given<'_>, weights: Weights) -> Result<Change, Error> {
    let (canary, service) = (given.canary, &given.canary.spec.service);
    if service.gateway_refs.is_empty() {
        return Err(Error::Invalid("GatewayRefs must be specified when using Gateway API as a provider.".into()));
    }
    let affinity = canary.spec.analysis.as_ref().and_then(|analysis| analysis.session_affinity.as_ref());
    let cookies = affinity.map(|affinity| Cookies::at(canary, affinity, weights.canary, given.random));
    let reference = reference(given);
    let live = given.find(&reference);
    let before = live.map_or(&[] as &[Value], |live| list_at(live, "/spec/rules"));
    let sorting = Sorting {
        names: service_names(canary),
        matches: "matches",
        conditions: &["headers", "queryParams"],
        tested: Value::Array(matches::of(&canary.analysis().matches)?),
        everything: matches::everything(),
        services: backends,
        live: before,
        cookies: Cookies::patterns(canary),
    };
    let bases = if service.matches.is_empty() { Bases::Each } else { Bases::Last };
    let ours = |base: Option<&Value>| rules::ours(given, Version::of(given), weights, cookies.as_ref(), base);
    let rules = place(before, |rule| sorting.kind(rule), bases, ours)?;
    let mut spec = json!({ "parentRefs": service.gateway_refs });
    spec["rules"] = Value::Array(rules);
    let had_hosts = live.is_some_and(|live| live.pointer("/spec/hostnames").is_some());
    if had_hosts || !service.hosts.is_empty() {
        spec["hostnames"] = json!(service.hosts);
    }
    Ok(Change { apply: vec![given.labelled(&reference, spec)], cookies })
}

/// The services that a rule leads to.
fn backends(rule: &Value) -> Vec<&str> {
    list(rule, "backendRefs").iter().filter_map(|backend| backend["name"].as_str()).collect()
}

/// The weights in effect. With `v1` they count only once every parent has accepted the route in its present generation.
fn weights(given: &Given<'_>) -> Result<Weights, Error> {
    let weights = read(given)?;
    let reference = reference(given);
    match Version::of(given) {
        Version::V1 => status::in_effect(&reference, given.existing(&reference)?).map(|()| weights),
        Version::V1Beta1 => Ok(weights),
    }
}

/// The weights as written, accepted or not: those of the last rule with both backends, the rules before it being for
/// users with a cookie.
fn read(given: &Given<'_>) -> Result<Weights, Error> {
    let reference = reference(given);
    let rules = list_at(given.existing(&reference)?, "/spec/rules");
    let (_, primary, canary_service) = service_names(given.canary);
    let both = rules.iter().rev().find_map(|rule| Some((weight(rule, &primary)?, weight(rule, &canary_service)?)));
    let (primary, canary) =
        both.ok_or_else(|| unreadable(&reference, "has no rule with both the primary and the canary as backends"))?;
    let mirrored = rules.iter().flat_map(|rule| list(rule, "filters")).any(|filter| {
        filter["type"] == "RequestMirror" && filter["requestMirror"]["backendRef"]["name"] == canary_service.as_str()
    });
    Ok(Weights { primary, canary, mirrored })
}

/// Weight of the backend of that name in a rule; 1 when the backend gives none.
pub fn weight(rule: &Value, backend: &str) -> Option<u32> {
    let found = list(rule, "backendRefs").iter().find(|reference| reference["name"] == backend)?;
    Some(found["weight"].as_u64().map_or(1, |weight| u32::try_from(weight).unwrap_or(u32::MAX)))
}
