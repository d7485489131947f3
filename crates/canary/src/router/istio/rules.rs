//! The rules of the VirtualService.

use api::flagger::{Canary, HttpMatch};
use serde_json::{Map, Value, json};

use crate::router::{Cookies, Given, Weights, cookie, list, ownership, service_names};

/// Whether the service speaks plain TCP.
pub fn is_tcp(canary: &Canary) -> bool {
    canary.spec.service.app_protocol.as_deref().is_some_and(|protocol| protocol.eq_ignore_ascii_case("tcp"))
}

/// The services that a rule leads to, by the first part of their host names.
pub fn services(rule: &Value) -> Vec<&str> {
    list(rule, "route").iter().filter_map(host).collect()
}

fn host(destination: &Value) -> Option<&str> {
    destination["destination"]["host"].as_str()?.split('.').next()
}

/// The rule of a TCP service: connections by weight. Of `service.match` only the ports can tell connections apart.
pub fn tcp(given: &Given<'_>, weights: Weights, base: Option<&Value>) -> Value {
    let mut rule = json!({"route": destinations(given, base, &[weights.primary, weights.canary])});
    let connections = |request: &HttpMatch| match request.port.filter(|&port| port > 0) {
        Some(port) => json!({ "port": port }),
        None => json!({}),
    };
    let matches: Vec<Value> = given.canary.spec.service.matches.iter().map(connections).collect();
    if !matches.is_empty() {
        rule["match"] = json!(matches);
    }
    ownership::merged(base, &rule)
}

/// The rules of an HTTP service for the requests that the Canary names, or else a live rule: for users with a cookie, for
/// an A/B test, and by weight. They keep what others put on the live rule and the Canary says nothing about.
pub fn http(given: &Given<'_>, weights: Weights, cookies: Option<&Cookies>, base: Option<&Value>) -> Vec<Value> {
    let canary = given.canary;
    let asked = matches(&canary.spec.service.matches);
    let service = if asked.is_empty() { base.map_or(Vec::new(), |base| list(base, "match").to_vec()) } else { asked };
    let tested = matches(&canary.analysis().matches);
    let mut route = destinations(given, base, &[weights.primary, weights.canary]);
    if !tested.is_empty() {
        let mut ab = rule(given, base, &merge(&tested, &service), &route);
        mirror(canary, weights, &mut ab);
        // The only destination of a rule gets all of it, whatever its weight.
        let mut rest = rule(given, base, &service, &destinations(given, base, &[weights.primary]));
        name(base, &mut rest);
        return vec![ab, rest];
    }
    let mut rules = Vec::new();
    if let (Some(cookies), Some(analysis)) = (cookies, &canary.spec.analysis)
        && let Some(affinity) = &analysis.session_affinity
    {
        let sticky = |cookie: &str, primary: u32, canary: u32| {
            rule(given, base, &with_cookie(&service, cookie), &destinations(given, base, &[primary, canary]))
        };
        let (session, previous) = (&cookies.session_affinity_cookie, &cookies.previous_session_affinity_cookie);
        if weights.canary > 0 {
            rules.push(sticky(session, 0, 100));
            set_cookie(&mut route[1], &cookie::set_canary(affinity, session));
            if cookie::primary_name(affinity).is_some() {
                let primary = &cookies.primary_session_affinity_cookie;
                rules.push(sticky(primary, 100, 0));
                set_cookie(&mut route[0], &cookie::set_primary(given, affinity, primary));
            }
        } else if !previous.is_empty() {
            let mut ended = sticky(previous, weights.primary, weights.canary);
            // The user's own header changes stay; only the cookie is added to them.
            set_cookie(&mut ended, &cookie::remove(previous));
            rules.push(ended);
        }
    }
    let mut weighted = rule(given, base, &service, &route);
    mirror(canary, weights, &mut weighted);
    name(base, &mut weighted);
    rules.push(weighted);
    rules
}

fn matches(given: &[HttpMatch]) -> Vec<Value> {
    given.iter().map(|request| json!(request)).collect()
}

/// A rule with everything that `spec.service` asks for, and what others put on the live one.
fn rule(given: &Given<'_>, base: Option<&Value>, matches: &[Value], route: &[Value]) -> Value {
    let (_, _, canary) = service_names(given.canary);
    let is_ours = |member: &str, base: &Value| match member {
        "match" | "route" | "name" => true,
        "mirror" | "mirrorPercentage" => base["mirror"]["host"] == canary.as_str(),
        _ => false,
    };
    let mut kept = base.cloned().unwrap_or_else(|| json!({}));
    if let (Some(members), Some(base)) = (kept.as_object_mut(), base) {
        members.retain(|member, _| !is_ours(member, base));
    }
    let mut rule = asked_for(given.canary);
    rule.insert("route".into(), json!(route));
    if !matches.is_empty() {
        rule.insert("match".into(), json!(matches));
    }
    ownership::merged(Some(&kept), &Value::Object(rule))
}

fn asked_for(canary: &Canary) -> Map<String, Value> {
    let service = &canary.spec.service;
    let mut rule = Map::new();
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
    rule
}

/// Gives a rule the live one's name, which no two rules may share.
fn name(base: Option<&Value>, rule: &mut Value) {
    if let Some(name) = base.and_then(|base| base.get("name")) {
        rule["name"] = name.clone();
    }
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

/// The primary and, if it has a weight too, the canary; then other people's destinations.
fn destinations(given: &Given<'_>, base: Option<&Value>, weights: &[u32]) -> Vec<Value> {
    let (apex, primary, canary) = service_names(given.canary);
    let ours =
        [&primary, &canary].into_iter().zip(weights).map(|(host, &weight)| destination(given.canary, host, weight));
    let live = base.map_or(&[] as &[Value], |base| list(base, "route")).iter().map(without_cookie);
    let name = |destination: &Value| host(destination).map(str::to_owned);
    let (live, ours): (Vec<_>, Vec<_>) = (live.collect(), ours.collect());
    ownership::destinations(&live, ours, &[apex, primary.clone(), canary.clone()], name)
}

/// A destination. Its port is needed where the host has several and no mesh knows which one the caller meant.
fn destination(canary: &Canary, host: &str, weight: u32) -> Value {
    let service = &canary.spec.service;
    let outside = service.gateways.first().is_some_and(|gateway| gateway != "mesh");
    let mut destination = json!({ "host": host });
    if service.port_discovery && (outside || service.delegation) {
        destination["port"] = json!({ "number": service.port });
    }
    json!({ "destination": destination, "weight": weight })
}

/// Adds a cookie to the answers of a rule or a destination.
fn set_cookie(rule: &mut Value, value: &str) {
    rule["headers"]["response"]["add"]["Set-Cookie"] = json!(value);
}

/// A live destination without the cookie that we had it set.
fn without_cookie(destination: &Value) -> Value {
    let mut destination = destination.clone();
    if destination.get("headers").is_none() {
        return destination;
    }
    let steps = [
        ("/headers/response/add", "Set-Cookie"),
        ("/headers/response", "add"),
        ("/headers", "response"),
        ("", "headers"),
    ];
    for (path, member) in steps {
        let Some(members) = destination.pointer_mut(path).and_then(Value::as_object_mut) else { continue };
        let is_empty = members.get(member).and_then(Value::as_object).is_some_and(Map::is_empty);
        if member == "Set-Cookie" || is_empty {
            members.remove(member);
        }
    }
    destination
}

/// Each match of the test with each of the service: headers, query and caller are those of the test where it has them.
///
/// Differs: the original leaves out the test's query, and so tests all requests where a query alone should tell.
fn merge(tested: &[Value], service: &[Value]) -> Vec<Value> {
    if service.is_empty() {
        return tested.to_vec();
    }
    let pairs = tested.iter().flat_map(|tested| service.iter().map(move |service| (tested, service)));
    pairs
        .map(|(tested, service)| {
            let mut merged = service.clone();
            if let Some(members) = merged.as_object_mut() {
                for member in ["headers", "sourceLabels", "queryParams"] {
                    if let Some(given) = tested.get(member) {
                        members.insert(member.into(), given.clone());
                    }
                }
            }
            merged
        })
        .collect()
}

/// The matches of the service, each with the cookie too.
fn with_cookie(service: &[Value], cookie: &str) -> Vec<Value> {
    let everything = [json!({})];
    let matches = if service.is_empty() { &everything } else { service };
    let with = |request: &Value| {
        let mut request = request.clone();
        request["headers"]["Cookie"] = json!({"regex": cookie::pattern(cookie)});
        request
    };
    matches.iter().map(with).collect()
}
