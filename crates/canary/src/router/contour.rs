//! Contour: one HTTPProxy without a host name, which a root HTTPProxy includes.
//!
//! Source: reference progressive-delivery.md, E "Contour".

use api::{flagger::StringMatch, meta::ObjectReference};
use serde_json::{Value, json};

use super::{
    Change, Error, Given, Router, Weights, list, list_at,
    ownership::{self, Bases, Rule},
    service_names, share, stays, unreadable,
};

/// Contour.
pub const ROUTER: Router =
    Router { objects: |given| Ok(vec![reference(given)]), routes, written: weights, weights, finalize: stays };

fn reference(given: &Given<'_>) -> ObjectReference {
    given.reference("projectcontour.io/v1", "HTTPProxy", given.canary.service_name())
}

fn routes(given: &Given<'_>, weights: Weights) -> Result<Change, Error> {
    let reference = reference(given);
    let live = given.find(&reference).map_or(&[] as &[Value], |live| list_at(live, "/spec/routes"));
    let kind = |route: &Value| if is_ours(given, route) { Rule::Base } else { Rule::Foreign };
    let routes = ownership::place(live, kind, Bases::Last, |base| ours(given, weights, base))?;
    let mut spec = json!({ "routes": routes });
    if !given.options.ingress_class.is_empty() {
        spec["ingressClassName"] = json!(given.options.ingress_class);
    }
    Ok(Change { apply: vec![given.labelled(&reference, spec)], cookies: None })
}

/// One route with both services; for A/B testing, before it, one that asks for the headers.
fn ours(given: &Given<'_>, weights: Weights, base: Option<&Value>) -> Result<Vec<Value>, Error> {
    let prefix = given.canary.spec.service.matches.first().and_then(|first| first.uri.as_ref()?.prefix.clone());
    let prefix = prefix.filter(|prefix| !prefix.is_empty()).map(|prefix| json!([{ "prefix": prefix }]));
    let kept = base.and_then(|base| base.get("conditions")).filter(|conditions| !list_at(conditions, "").is_empty());
    let plain = prefix.or_else(|| kept.cloned()).unwrap_or_else(|| json!([{"prefix": "/"}]));
    let path = list_at(&plain, "").iter().find_map(|condition| condition["prefix"].as_str()).unwrap_or("/");
    let analysis = given.canary.analysis();
    let headers = analysis.matches.iter().flat_map(|request| &request.headers);
    let conditions = headers
        .map(|(name, value)| Ok(json!({"prefix": path, "header": header(name, value)?})))
        .collect::<Result<Vec<_>, Error>>()?;
    if conditions.is_empty() {
        return Ok(vec![route(given, base, &plain, weights)]);
    }
    let tested = route(given, base, &json!(conditions), weights);
    Ok(vec![tested, route(given, base, &plain, Weights::PRIMARY)])
}

/// The weights of the first route of ours.
fn weights(given: &Given<'_>) -> Result<Weights, Error> {
    let reference = reference(given);
    let routes = list_at(given.existing(&reference)?, "/spec/routes");
    let services =
        routes.iter().find(|route| is_ours(given, route)).map_or(&[] as &[Value], |route| list(route, "services"));
    let (_, primary, canary) = service_names(given.canary);
    let of = |name: &str| share(services, |service| service["name"] == name);
    match (of(&primary), of(&canary)) {
        (Some(primary), Some(canary)) => Ok(Weights { primary, canary, mirrored: false }),
        _ => Err(unreadable(&reference, "has no first route with both the primary and the canary as services")),
    }
}

fn is_ours(given: &Given<'_>, route: &Value) -> bool {
    let (apex, primary, canary) = service_names(given.canary);
    let mut names = list(route, "services").iter().filter_map(|service| service["name"].as_str());
    names.any(|name| name == apex || name == primary || name == canary)
}

fn route(given: &Given<'_>, base: Option<&Value>, conditions: &Value, weights: Weights) -> Value {
    let names = service_names(given.canary);
    let (_, primary, canary) = &names;
    let spec = &given.canary.spec.service;
    let service = |name: &str, weight: u32| {
        // Linkerd's proxy in front of Contour needs to be told the real destination.
        let target = format!("{name}.{}.svc.cluster.local:{}", given.canary.namespace(), spec.port);
        json!({
            "name": name,
            "port": spec.port,
            "weight": weight,
            "requestHeadersPolicy": {"set": [{"name": "l5d-dst-override", "value": target}]},
        })
    };
    let ours = vec![service(primary, weights.primary), service(canary, weights.canary)];
    let before = base.map_or(&[] as &[Value], |base| list(base, "services"));
    let known = [names.0.clone(), primary.clone(), canary.clone()];
    let name = |service: &Value| service["name"].as_str().map(str::to_owned);
    let mut route = json!({"conditions": conditions, "services": ownership::destinations(before, ours, &known, name)});
    if let Some(timeout) = spec.timeout.as_deref().filter(|timeout| !timeout.is_empty()) {
        route["timeoutPolicy"] = json!({"response": timeout, "idle": "5m"});
    }
    if let Some(retries) = &spec.retries {
        let mut policy = json!({ "count": retries.attempts });
        if let Some(timeout) = &retries.per_try_timeout {
            policy["perTryTimeout"] = json!(timeout);
        }
        if let Some(on) = retries.retry_on.as_deref().filter(|on| !on.is_empty()) {
            policy["retryOn"] = on.split(',').map(str::trim).collect();
        }
        route["retryPolicy"] = policy;
    }
    ownership::merged(base, &route)
}

/// A header condition. Contour knows neither prefix nor suffix: a part of the value must do.
/// Differs: regular expressions, which Contour has learned since, are handed on; the original leaves them out.
fn header(name: &str, value: &StringMatch) -> Result<Value, Error> {
    let kinds =
        [("exact", &value.exact), ("contains", &value.prefix), ("contains", &value.suffix), ("regex", &value.regex)];
    let found =
        kinds.into_iter().find_map(|(kind, text)| Some((kind, text.as_deref().filter(|text| !text.is_empty())?)));
    let (kind, text) =
        found.ok_or_else(|| Error::Invalid(format!("Contour needs a value to match header {name} with")))?;
    Ok(json!({"name": name, kind: text}))
}
