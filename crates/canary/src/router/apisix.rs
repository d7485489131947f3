//! APISIX: a copy of the ApisixRoute's rule that leads to the apex service, before the original by its priority.
//!
//! Source: reference progressive-delivery.md, E "APISIX".

use api::meta::ObjectReference;
use serde_json::{Value, json};

use super::{Change, Error, Given, Router, Weights, ingress, list, list_at, service_names, share, stays, unreadable};

/// APISIX.
pub const ROUTER: Router =
    Router { objects: |given| references(given).map(Vec::from), routes, written: weights, weights, finalize: stays };

/// Priority of the copy, unless the original has one that is as high.
const PRIORITY: i64 = 10_000;

/// The user's ApisixRoute and the copy.
fn references(given: &Given<'_>) -> Result<[ObjectReference; 2], Error> {
    let name = given.canary.spec.route_ref.as_ref().map(|reference| reference.name.as_str());
    let name = name.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Error::Invalid("apisix route selector is empty".into()))?;
    let reference = |name: &str| given.reference("apisix.apache.org/v2", "ApisixRoute", name);
    Ok([reference(name), reference(&format!("{name}-{}-canary", given.canary.service_name()))])
}

fn routes(given: &Given<'_>, weights: Weights) -> Result<Change, Error> {
    let [source, copy] = references(given)?;
    let original = given.existing(&source)?;
    let mut rule = rule(given, &source, original)?.clone();
    let (_, primary, canary) = service_names(given.canary);
    let backend = |name: &str, weight: u32| {
        let mut backend = rule["backends"][0].clone();
        backend["serviceName"] = json!(name);
        backend["weight"] = json!(weight);
        backend
    };
    rule["backends"] = json!([backend(&primary, weights.primary), backend(&canary, weights.canary)]);
    let priority = rule["priority"].as_i64().filter(|&priority| priority >= PRIORITY);
    rule["priority"] = json!(priority.map_or(PRIORITY, |priority| priority + 1));
    if rule["websocket"].is_null() {
        rule["websocket"] = json!(false);
    }
    let mut spec = json!({"http": [rule]});
    // Without its class the copy would be nobody's.
    if let Some(class) = original.pointer("/spec/ingressClassName") {
        spec["ingressClassName"] = class.clone();
    }
    let mut route = given.object(&copy, spec);
    if let Some(labels) = original.pointer("/metadata/labels") {
        route["metadata"]["labels"] = labels.clone();
    }
    let annotations = ingress::annotations(original);
    if !annotations.is_empty() {
        route["metadata"]["annotations"] = json!(annotations);
    }
    Ok(Change { apply: vec![route], cookies: None })
}

/// The rule of the user's route that leads to the apex service, and to nothing else.
fn rule<'a>(given: &Given<'_>, source: &ObjectReference, route: &'a Value) -> Result<&'a Value, Error> {
    let apex = given.canary.service_name();
    let (name, namespace) = (&source.name, &source.namespace);
    let leads = |rule: &&Value| list(rule, "backends").iter().any(|backend| backend["serviceName"] == apex);
    let rule = list_at(route, "/spec/http").iter().find(leads);
    let rule =
        rule.ok_or_else(|| Error::Invalid(format!("Can not find {apex} backend on apisix route {name}.{namespace} ")))?;
    if list(rule, "backends").len() > 1 {
        let rule = rule["name"].as_str().unwrap_or_default();
        return Err(Error::Invalid(format!(
            "APISIX route {name}.{namespace}'s http route {rule} only one http backend is supported"
        )));
    }
    Ok(rule)
}

fn weights(given: &Given<'_>) -> Result<Weights, Error> {
    let [_, copy] = references(given)?;
    let backends = list_at(given.existing(&copy)?, "/spec/http/0/backends");
    let (_, primary, canary) = service_names(given.canary);
    let of = |name: &str| share(backends, |backend| backend["serviceName"] == name);
    match (of(&primary), of(&canary)) {
        (Some(primary), Some(canary)) => Ok(Weights { primary, canary, mirrored: false }),
        _ => Err(unreadable(&copy, format!("does not have both {primary} and {canary} as backends"))),
    }
}
