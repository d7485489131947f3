//! The rules of the VirtualService.

use api::flagger::{Canary, HttpMatch, StringMatch};
use serde_json::{Map, Value, json};

use crate::router::{Cookies, Weights, cookie, service_names};

/// Whether the service speaks plain TCP.
pub fn is_tcp(canary: &Canary) -> bool {
    canary.spec.service.app_protocol.as_deref().is_some_and(|protocol| protocol.eq_ignore_ascii_case("tcp"))
}

/// The rule of a TCP service: connections by weight.
pub fn tcp(canary: &Canary, weights: Weights) -> Value {
    let port = canary.spec.service.port;
    json!({"match": [{"port": port}], "route": both(canary, weights.primary, weights.canary)})
}

/// The rules of an HTTP service: for users with a cookie, for an A/B test, and by weight.
pub fn http(canary: &Canary, weights: Weights, cookies: Option<&Cookies>) -> Vec<Value> {
    let service = &canary.spec.service.matches;
    let tested = &canary.analysis().matches;
    let mut route = both(canary, weights.primary, weights.canary);
    if !tested.is_empty() {
        let mut ab = rule(canary, &merge(tested, service), &route);
        mirror(canary, weights, &mut ab);
        let rest = rule(canary, service, &json!([destination(canary, Side::Primary, 100)]));
        return vec![ab, rest];
    }
    let mut rules = Vec::new();
    if let (Some(cookies), Some(analysis)) = (cookies, &canary.spec.analysis)
        && let Some(affinity) = &analysis.session_affinity
    {
        let sticky = |cookie: &str, primary: u32, canary_weight: u32| {
            rule(canary, &with_cookie(service, cookie), &both(canary, primary, canary_weight))
        };
        let (session, previous) = (&cookies.session_affinity_cookie, &cookies.previous_session_affinity_cookie);
        if weights.canary > 0 {
            rules.push(sticky(session, 0, 100));
            route[1]["headers"] = set_cookie(&cookie::set_canary(affinity, session));
            if cookie::primary_name(affinity).is_some() {
                let primary = &cookies.primary_session_affinity_cookie;
                rules.push(sticky(primary, 100, 0));
                route[0]["headers"] = set_cookie(&cookie::set_primary(canary, affinity, primary));
            }
        } else if !previous.is_empty() {
            let mut ended = sticky(previous, weights.primary, weights.canary);
            // The user's own header changes stay; only the cookie is added to them.
            ended["headers"]["response"]["add"]["Set-Cookie"] = json!(cookie::remove(previous));
            rules.push(ended);
        }
    }
    let mut weighted = rule(canary, service, &route);
    mirror(canary, weights, &mut weighted);
    rules.push(weighted);
    rules
}

#[derive(Clone, Copy)]
enum Side {
    Primary,
    Canary,
}

/// A rule with everything that `spec.service` asks for.
fn rule(canary: &Canary, matches: &[HttpMatch], route: &Value) -> Value {
    let service = &canary.spec.service;
    let mut rule = Map::from_iter([("route".to_owned(), route.clone())]);
    if !matches.is_empty() {
        rule.insert("match".into(), json!(matches));
    }
    if let Some(rewrite) = &service.rewrite {
        let members = [("uri", &rewrite.uri), ("authority", &rewrite.authority)];
        let given = members.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text.as_deref()?))));
        rule.insert("rewrite".into(), Value::Object(given.collect()));
    }
    if let Some(timeout) = service.timeout.as_deref().filter(|timeout| !timeout.is_empty()) {
        rule.insert("timeout".into(), json!(timeout));
    }
    if let Some(retries) = &service.retries {
        rule.insert("retries".into(), json!(retries));
    }
    if let Some(policy) = &service.cors_policy {
        rule.insert("corsPolicy".into(), json!(policy));
    }
    if let Some(headers) = &service.headers {
        rule.insert("headers".into(), json!(headers));
    }
    Value::Object(rule)
}

/// Copies requests to the canary, all or the share that the analysis names.
fn mirror(canary: &Canary, weights: Weights, rule: &mut Value) {
    if weights.mirrored {
        let (_, _, host) = service_names(canary);
        rule["mirror"] = json!({ "host": host });
        if let Some(share) = canary.analysis().mirror_weight.filter(|&share| share > 0) {
            rule["mirrorPercentage"] = json!({ "value": share });
        }
    }
}

fn both(canary: &Canary, primary: u32, canary_weight: u32) -> Value {
    json!([destination(canary, Side::Primary, primary), destination(canary, Side::Canary, canary_weight)])
}

/// A destination. Its port is needed where the host has several and no mesh knows which one the caller meant.
fn destination(canary: &Canary, side: Side, weight: u32) -> Value {
    let (_, primary, canary_service) = service_names(canary);
    let host = match side {
        Side::Primary => primary,
        Side::Canary => canary_service,
    };
    let service = &canary.spec.service;
    let outside = service.gateways.first().is_some_and(|gateway| gateway != "mesh");
    let mut destination = json!({ "host": host });
    if service.port_discovery && (outside || service.delegation) {
        destination["port"] = json!({ "number": service.port });
    }
    json!({ "destination": destination, "weight": weight })
}

fn set_cookie(value: &str) -> Value {
    json!({"response": {"add": {"Set-Cookie": value}}})
}

/// Each match of the test with each of the service: headers, query and caller are those of the test.
fn merge(tested: &[HttpMatch], service: &[HttpMatch]) -> Vec<HttpMatch> {
    if service.is_empty() {
        return tested.to_vec();
    }
    let pairs = tested.iter().flat_map(|tested| service.iter().map(move |service| (tested, service)));
    pairs
        .map(|(tested, service)| HttpMatch {
            headers: tested.headers.clone(),
            source_labels: tested.source_labels.clone(),
            query_params: if tested.query_params.is_empty() {
                service.query_params.clone()
            } else {
                tested.query_params.clone()
            },
            ..service.clone()
        })
        .collect()
}

/// The matches of the service, each with the cookie too.
fn with_cookie(service: &[HttpMatch], cookie: &str) -> Vec<HttpMatch> {
    let pattern = StringMatch { regex: Some(cookie::pattern(cookie)), ..StringMatch::default() };
    let everything = [HttpMatch::default()];
    let matches = if service.is_empty() { &everything } else { service };
    let with = |request: &HttpMatch| {
        let mut request = request.clone();
        request.headers.insert("Cookie".into(), pattern.clone());
        request
    };
    matches.iter().map(with).collect()
}
