//! Istio: a VirtualService named after the apex service, and a DestinationRule for each of primary and canary.
//!
//! Source: reference progressive-delivery.md, E "Istio".

mod rules;

use api::meta::ObjectReference;
use serde_json::{Map, Value, json};

use super::{
    Change, Cookies, End, Error, Given, KUBECTL, Router, UNMANAGED, Weights, is_settled, list,
    ownership::{Bases, Sorting, merged, place},
    service_names, share, unreadable,
};
use crate::{patch::difference, path::at};

/// Istio.
pub const ROUTER: Router =
    Router { objects: |given| Ok(references(given)), routes, written: weights, weights, finalize };

const API_VERSION: &str = "networking.istio.io/v1beta1";
const RULE: &str = "DestinationRule";
/// Where the spec that was there before ours is kept.
const ORIGINAL: &str = "flagger.kubernetes.io/original-configuration";

fn reference(given: &Given<'_>) -> ObjectReference {
    given.reference(API_VERSION, "VirtualService", given.canary.service_name())
}

/// The VirtualService and the DestinationRules of a Canary.
fn references(given: &Given<'_>) -> Vec<ObjectReference> {
    let (_, primary, canary) = service_names(given.canary);
    let rules = [canary, primary].map(|name| given.reference(API_VERSION, RULE, &name));
    [reference(given)].into_iter().chain(rules).collect()
}

/// The VirtualService that sends requests by `weights`, and those DestinationRules that are not as they should be.
fn routes(given: &Given<'_>, weights: Weights) -> Result<Change, Error> {
    let canary = given.canary;
    let service = &canary.spec.service;
    if service.delegation && !(service.hosts.is_empty() && service.gateways.is_empty()) {
        return Err(Error::Invalid(format!(
            "reconcileVirtualService failed: VirtualService {}.{} cannot have hosts and gateways when delegation enabled",
            canary.service_name(),
            canary.namespace()
        )));
    }
    let rules = references(given).into_iter().skip(1).map(|reference| destination_rule(given, &reference));
    let mut apply: Vec<Value> = rules.filter(|rule| !is_settled(given.current, rule)).collect();
    let affinity = canary.spec.analysis.as_ref().and_then(|analysis| analysis.session_affinity.as_ref());
    let cookies = affinity.map(|affinity| Cookies::at(canary, affinity, weights.canary, given.random));
    apply.push(virtual_service(given, weights, cookies.as_ref())?);
    Ok(Change { apply, cookies })
}

/// The weights of the last rule with both destinations; those before it are for users with a cookie.
fn weights(given: &Given<'_>) -> Result<Weights, Error> {
    let reference = reference(given);
    read(given, given.existing(&reference)?)
}

fn read(given: &Given<'_>, service: &Value) -> Result<Weights, Error> {
    let (_, primary, canary_service) = service_names(given.canary);
    let rules = list(&service["spec"], if rules::is_tcp(given.canary) { "tcp" } else { "http" });
    let share = |rule: &Value, host: &str| share(list(rule, "route"), |route| route["destination"]["host"] == host);
    let both = |rule: &Value| Some((share(rule, &primary)?, share(rule, &canary_service)?));
    match rules.iter().rev().find_map(both) {
        Some((primary, canary)) if primary + canary > 0 => {
            let mirrored = rules.iter().any(|rule| rule["mirror"]["host"] == canary_service.as_str());
            Ok(Weights { primary, canary, mirrored })
        }
        _ => {
            let problem = format!("does not contain routes for {primary} and {canary_service}");
            Err(unreadable(&reference(given), problem))
        }
    }
}

/// The spec that was there before ours, if it is known.
fn finalize(given: &Given<'_>) -> End {
    let reference = reference(given);
    let Some(service) = given.find(&reference) else { return End::default() };
    let annotation = |key: &str| at(service, "/metadata/annotations")?.get(key)?.as_str();
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    let applied = annotation(KUBECTL).and_then(read).and_then(|object| object.get("spec").cloned());
    let original = applied.or_else(|| annotation(ORIGINAL).and_then(read));
    let metadata = json!({"name": reference.name, "namespace": reference.namespace});
    let Some(spec) = original else { return End::default() };
    // What Flagger wrote is not taken back by applying less.
    let ours = UNMANAGED.map(|(key, _)| key).into_iter().chain([ORIGINAL]);
    let left = ours.filter(|key| annotation(key).is_some()).map(|key| (key.to_owned(), Value::Null));
    let stale = json!({"metadata": {"annotations": left.collect::<Map<_, _>>()},
        "spec": difference(&merged(service.get("spec"), &spec), &spec)});
    let restored = json!({"apiVersion": API_VERSION, "kind": reference.kind, "metadata": metadata, "spec": spec});
    End { apply: vec![restored], patch: vec![(reference, stale)], ..End::default() }
}

/// Whether an object is a DestinationRule.
pub fn is_rule(ours: &Value) -> bool {
    ours["kind"] == RULE
}

/// Takes away what a DestinationRule no longer has of the traffic policy, which is all ours.
pub fn drop_stale(ours: &Value, merged: &mut Value) {
    let Some(spec) = merged.get_mut("spec").and_then(Value::as_object_mut).filter(|_| is_rule(ours)) else { return };
    match ours.pointer("/spec/trafficPolicy") {
        Some(policy) => spec.insert("trafficPolicy".into(), policy.clone()),
        None => spec.remove("trafficPolicy"),
    };
}

fn destination_rule(given: &Given<'_>, reference: &ObjectReference) -> Value {
    let mut spec = json!({ "host": reference.name });
    if let Some(policy) = &given.canary.spec.service.traffic_policy {
        spec["trafficPolicy"] = policy.clone();
    }
    given.object(reference, spec)
}

fn virtual_service(given: &Given<'_>, weights: Weights, cookies: Option<&Cookies>) -> Result<Value, Error> {
    let service = &given.canary.spec.service;
    let apex = given.canary.service_name();
    let mut hosts = service.hosts.clone();
    if !service.delegation && !hosts.iter().any(|host| host == "*" || host == apex) {
        hosts.push(apex.to_owned());
    }
    let mut spec = json!({ "hosts": hosts });
    if !service.delegation {
        let mesh = vec!["mesh".to_owned()];
        spec["gateways"] = json!(if service.gateways.is_empty() { &mesh } else { &service.gateways });
    }
    let reference = reference(given);
    let live = given.find(&reference);
    let is_tcp = rules::is_tcp(given.canary);
    let member = if is_tcp { "tcp" } else { "http" };
    let before = live.map_or(&[] as &[Value], |live| list(&live["spec"], member));
    let sorting = Sorting {
        names: service_names(given.canary),
        matches: "match",
        conditions: &["headers", "queryParams", "sourceLabels"],
        tested: json!(given.canary.analysis().matches),
        everything: json!({}),
        services: rules::services,
        live: before,
        cookies: Cookies::patterns(given.canary),
    };
    let bases = if is_tcp || !service.matches.is_empty() { Bases::Last } else { Bases::Each };
    let ours = |base: Option<&Value>| -> Result<Vec<Value>, Error> {
        Ok(if is_tcp { vec![rules::tcp(given, weights, base)] } else { rules::http(given, weights, cookies, base) })
    };
    // Differs: the original drops other people's rules.
    spec[member] = json!(place(before, |rule| sorting.kind(rule), bases, ours)?);
    let mut object = given.labelled(&reference, spec);
    if let Some(original) = live.and_then(|live| original(given, live)) {
        object["metadata"]["annotations"][ORIGINAL] = json!(original);
    }
    Ok(object)
}

/// The spec to remember: of a VirtualService that is not ours yet, unless kubectl remembers it.
fn original(given: &Given<'_>, live: &Value) -> Option<String> {
    let annotation = |key: &str| at(live, "/metadata/annotations")?.get(key)?.as_str();
    if let Some(kept) = annotation(ORIGINAL) {
        return Some(kept.to_owned());
    }
    let is_ours = annotation(KUBECTL).is_some() || read(given, live).is_ok();
    if is_ours { None } else { live.get("spec").map(weighted) }
}

/// The spec as Flagger remembers it: a destination without a weight has weight 0.
fn weighted(spec: &Value) -> String {
    let mut spec = spec.clone();
    let rules = ["http", "tcp"]
        .iter()
        .filter_map(|member| spec.get(*member)?.as_array().map(Vec::len).map(|len| (*member, len)));
    for (member, len) in rules.collect::<Vec<_>>() {
        for rule in 0..len {
            let Some(Value::Array(route)) = spec.pointer_mut(&format!("/{member}/{rule}/route")) else { continue };
            for destination in route.iter_mut().filter_map(Value::as_object_mut) {
                destination.entry("weight").or_insert(json!(0));
            }
        }
    }
    spec.to_string()
}
