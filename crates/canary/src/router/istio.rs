//! Istio: a VirtualService named after the apex service, and a DestinationRule for each of primary and canary.
//!
//! Source: reference progressive-delivery.md, E "Istio".

mod rules;

use api::{flagger::Canary, meta::ObjectReference};
use serde_json::{Value, json};

use super::{Change, Cookies, Error, Options, Weights, list, service_names};

const KIND: &str = "VirtualService";
const API_VERSION: &str = "networking.istio.io/v1beta1";
/// What kubectl remembers about the object it applied.
const KUBECTL: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Where the spec that was there before ours is kept.
const ORIGINAL: &str = "flagger.kubernetes.io/original-configuration";

/// The VirtualService and the DestinationRules of a Canary.
pub fn references(canary: &Canary) -> Vec<ObjectReference> {
    let (apex, primary, canary_service) = service_names(canary);
    let reference = |kind, name: &str| super::reference(canary, API_VERSION, kind, name);
    vec![reference(KIND, &apex), reference("DestinationRule", &canary_service), reference("DestinationRule", &primary)]
}

/// The VirtualService that sends requests by `weights`, and those DestinationRules that are not as they should be.
pub fn routes(
    canary: &Canary,
    options: &Options,
    weights: Weights,
    current: &[Value],
    random: u64,
) -> Result<Change, Error> {
    let service = &canary.spec.service;
    if service.delegation && !(service.hosts.is_empty() && service.gateways.is_empty()) {
        return Err(Error::Invalid(format!(
            "reconcileVirtualService failed: VirtualService {}.{} cannot have hosts and gateways when delegation enabled",
            canary.service_name(),
            canary.namespace()
        )));
    }
    let (_, primary, canary_service) = service_names(canary);
    let rules = [canary_service, primary].map(|name| destination_rule(canary, options, &name, current));
    let mut apply: Vec<Value> = rules.into_iter().filter(|rule| !super::is_settled(current, rule)).collect();
    let affinity = canary.spec.analysis.as_ref().and_then(|analysis| analysis.session_affinity.as_ref());
    let cookies = affinity.map(|affinity| Cookies::at(canary, affinity, weights.canary, random));
    apply.push(virtual_service(canary, options, weights, current, cookies.as_ref()));
    Ok(Change { apply, cookies })
}

/// The weights of the last rule with both destinations; those before it are for users with a cookie.
pub fn weights(canary: &Canary, current: &[Value]) -> Result<Weights, Error> {
    let service = super::existing(current, &references(canary)[0], KIND)?;
    let (_, primary, canary_service) = service_names(canary);
    let is_tcp = rules::is_tcp(canary);
    let rules = list(&service["spec"], if is_tcp { "tcp" } else { "http" });
    let share = |rule: &Value, host: &str| {
        let route = list(rule, "route").iter().find(|route| route["destination"]["host"] == host)?;
        Some(route["weight"].as_u64().map_or(0, |weight| u32::try_from(weight).unwrap_or(u32::MAX)))
    };
    let both = |rule: &Value| Some((share(rule, &primary)?, share(rule, &canary_service)?));
    match rules.iter().rev().find_map(both) {
        Some((primary, canary)) if primary + canary > 0 => {
            let mirrored = rules.iter().any(|rule| rule["mirror"]["host"] == canary_service.as_str());
            Ok(Weights { primary, canary, mirrored })
        }
        _ => {
            let problem = format!("does not contain routes for {primary} and {canary_service}");
            Err(super::unreadable(canary, KIND, &problem))
        }
    }
}

/// What to apply when the Canary goes: the spec that was there before ours, if it is known.
pub fn finalize(canary: &Canary, current: &[Value]) -> Vec<Value> {
    let reference = &references(canary)[0];
    let Some(service) = super::find(current, reference) else { return Vec::new() };
    let annotation = |key: &str| service.pointer("/metadata/annotations")?.get(key)?.as_str();
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    let applied = annotation(KUBECTL).and_then(read).and_then(|object| object.get("spec").cloned());
    let original = applied.or_else(|| annotation(ORIGINAL).and_then(read));
    original
        .map(|spec| {
            let metadata = json!({"name": reference.name, "namespace": reference.namespace});
            json!({"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec})
        })
        .into_iter()
        .collect()
}

fn destination_rule(canary: &Canary, options: &Options, host: &str, current: &[Value]) -> Value {
    let reference = super::reference(canary, API_VERSION, "DestinationRule", host);
    let mut metadata = json!({"name": host, "namespace": canary.namespace()});
    if let Some(owners) = super::owners(canary, options, super::find(current, &reference)) {
        metadata["ownerReferences"] = owners;
    }
    let mut spec = json!({ "host": host });
    if let Some(policy) = &canary.spec.service.traffic_policy {
        spec["trafficPolicy"] = policy.clone();
    }
    json!({"apiVersion": API_VERSION, "kind": "DestinationRule", "metadata": metadata, "spec": spec})
}

fn virtual_service(
    canary: &Canary,
    options: &Options,
    weights: Weights,
    current: &[Value],
    cookies: Option<&Cookies>,
) -> Value {
    let service = &canary.spec.service;
    let apex = canary.service_name();
    let mut hosts = service.hosts.clone();
    if !service.delegation && !hosts.iter().any(|host| host == "*" || host == apex) {
        hosts.push(apex.to_owned());
    }
    let mut spec = json!({ "hosts": hosts });
    if !service.delegation {
        let mesh = vec!["mesh".to_owned()];
        spec["gateways"] = json!(if service.gateways.is_empty() { &mesh } else { &service.gateways });
    }
    let live = super::find(current, &references(canary)[0]);
    if rules::is_tcp(canary) {
        spec["tcp"] = json!([rules::tcp(canary, weights)]);
    } else {
        let mut http = rules::http(canary, weights, cookies);
        http.extend(foreign(canary, live));
        spec["http"] = json!(http);
    }
    let mut metadata = super::metadata(canary, options, live);
    if let Some(original) = original(canary, live) {
        metadata["annotations"][ORIGINAL] = json!(original);
    }
    json!({"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec})
}

/// The spec to remember: of a VirtualService that is not ours yet, unless kubectl remembers it.
fn original(canary: &Canary, live: Option<&Value>) -> Option<String> {
    let live = live?;
    let annotation = |key: &str| live.pointer("/metadata/annotations")?.get(key)?.as_str();
    if let Some(kept) = annotation(ORIGINAL) {
        return Some(kept.to_owned());
    }
    let is_ours = annotation(KUBECTL).is_some() || weights(canary, std::slice::from_ref(live)).is_ok();
    if is_ours { None } else { live.get("spec").map(Value::to_string) }
}

/// Rules of the live object that lead to none of our services. They come after ours.
///
/// Differs: the original drops them.
fn foreign(canary: &Canary, live: Option<&Value>) -> Vec<Value> {
    let (apex, primary, canary_service) = service_names(canary);
    let rules = live.map_or(&[] as &[Value], |live| list(&live["spec"], "http"));
    let is_foreign = |rule: &&Value| {
        let mut hosts = list(rule, "route").iter().filter_map(|route| route["destination"]["host"].as_str());
        !list(rule, "route").is_empty()
            && hosts.all(|host| {
                let name = host.split('.').next().unwrap_or(host);
                name != apex && name != primary && name != canary_service
            })
    };
    rules.iter().filter(is_foreign).cloned().collect()
}
