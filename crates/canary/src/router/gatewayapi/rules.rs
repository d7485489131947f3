//! The rules of the HTTPRoute: weighted, for the users of an A/B test, for users with a cookie; and other people's.

use api::flagger::{Canary, CorsPolicy, HeaderOperations, HttpRewrite};
use serde_json::{Map, Value, json};

use super::matches;
use crate::router::{Cookies, Error, Weights, cookie, list, provider::Version, service_names};

/// Filters that a Canary can express, so that those of a live rule are ours to write.
const OURS: [&str; 5] = ["RequestHeaderModifier", "ResponseHeaderModifier", "URLRewrite", "RequestMirror", "CORS"];

/// All rules which a Canary asks for, in order.
pub fn ours(
    canary: &Canary,
    version: Version,
    weights: Weights,
    cookies: Option<&Cookies>,
) -> Result<Vec<Value>, Error> {
    let service = matches::of(&canary.spec.service.matches)?;
    let all = if service.is_empty() { vec![matches::everything()] } else { service.clone() };
    let tested = matches::of(&canary.analysis().matches)?;
    let mut filters = filters(canary, version);
    let plain = rule(canary, version, &all, &filters, json!([backend(canary, Side::Primary, 100)]));
    if weights.mirrored {
        // Differs: the original adds this in blue/green only, so that a weighted canary with `mirror` never advances
        // (reference progressive-delivery.md, B.8 defect 4).
        filters.push(mirror(canary));
    }
    let both = backends(canary, weights.primary, weights.canary);
    if !tested.is_empty() {
        let weighted = rule(canary, version, &matches::merge(&tested, &all), &filters, both);
        return Ok(vec![weighted, plain]);
    }
    let mut weighted = rule(canary, version, &all, &filters, both);
    let mut rules = Vec::new();
    if let (Some(cookies), Some(analysis)) = (cookies, &canary.spec.analysis)
        && let Some(affinity) = &analysis.session_affinity
    {
        let sticky = |cookie: &str, filters: &[Value], primary: u32, canary_weight: u32| {
            let header =
                json!({"headers": [{"type": "RegularExpression", "name": "Cookie", "value": cookie::pattern(cookie)}]});
            let backends = backends(canary, primary, canary_weight);
            rule(canary, version, &matches::merge(&[header], &service), filters, backends)
        };
        let (session, previous) = (&cookies.session_affinity_cookie, &cookies.previous_session_affinity_cookie);
        if weights.canary > 0 {
            rules.push(sticky(session, &filters, 0, 100));
            weighted["backendRefs"][1]["filters"] = json!([set_cookie(&cookie::set_canary(affinity, session))]);
            if cookie::primary_name(affinity).is_some() {
                let primary = &cookies.primary_session_affinity_cookie;
                rules.push(sticky(primary, &filters, 100, 0));
                let value = cookie::set_primary(canary, affinity, primary);
                weighted["backendRefs"][0]["filters"] = json!([set_cookie(&value)]);
            }
        } else if !previous.is_empty() {
            filters.push(set_cookie(&cookie::remove(previous)));
            rules.push(sticky(previous, &filters, weights.primary, weights.canary));
        }
    }
    rules.push(weighted);
    Ok(rules)
}

/// Adds what others put on the live route: their rules after ours, and on the weighted rule the members and filters
/// that a Canary cannot express.
pub fn keep_foreign(canary: &Canary, live: Option<&Value>, rules: &mut Vec<Value>) {
    let (apex, primary, canary_service) = service_names(canary);
    let live = live.and_then(|live| live.pointer("/spec/rules")).and_then(Value::as_array);
    let is_ours = |rule: &&Value| {
        let names = list(rule, "backendRefs").iter().filter_map(|backend| backend["name"].as_str());
        names.into_iter().any(|name| name == apex || name == primary || name == canary_service)
    };
    let (own, foreign): (Vec<&Value>, Vec<&Value>) = live.into_iter().flatten().partition(is_ours);
    // The weighted rule is the last with both backends; with A/B testing, the first.
    let has_both = |rule: &Value| list(rule, "backendRefs").len() > 1;
    let last = own.iter().rev().find(|rule| has_both(rule)).copied();
    if let (Some(live), Some(ours)) = (last, rules.iter_mut().rev().find(|rule| has_both(rule))) {
        for (member, value) in live.as_object().into_iter().flatten() {
            if !["matches", "filters", "backendRefs", "timeouts"].contains(&member.as_str()) {
                ours[member] = value.clone();
            }
        }
        let is_known = |filter: &&Value| filter["type"].as_str().is_some_and(|kind| OURS.contains(&kind));
        let kept: Vec<Value> = list(live, "filters").iter().filter(|filter| !is_known(filter)).cloned().collect();
        if !kept.is_empty() {
            let filters = list(ours, "filters").iter().cloned().chain(kept).collect();
            ours["filters"] = Value::Array(filters);
        }
    }
    rules.extend(foreign.into_iter().cloned());
}

/// A backend's role.
#[derive(Clone, Copy)]
enum Side {
    Primary,
    Canary,
}

fn rule(canary: &Canary, version: Version, matches: &[Value], filters: &[Value], backends: Value) -> Value {
    let service = &canary.spec.service;
    let mut rule = json!({ "matches": matches, "backendRefs": backends });
    if !filters.is_empty() {
        rule["filters"] = json!(filters);
    }
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty()).map(Value::String);
    let timeouts = [("request", given(&service.timeout)), ("backendRequest", given(&service.backend_timeout))];
    let timeouts: Map<_, _> = timeouts.into_iter().filter_map(|(name, value)| Some((name.into(), value?))).collect();
    if version == Version::V1 && !timeouts.is_empty() {
        rule["timeouts"] = Value::Object(timeouts);
    }
    rule
}

fn backends(canary: &Canary, primary: u32, canary_weight: u32) -> Value {
    json!([backend(canary, Side::Primary, primary), backend(canary, Side::Canary, canary_weight)])
}

fn backend(canary: &Canary, side: Side, weight: u32) -> Value {
    let mut backend = reference(canary, side);
    backend["weight"] = json!(weight);
    backend
}

fn reference(canary: &Canary, side: Side) -> Value {
    let (_, primary, canary_service) = service_names(canary);
    let name = match side {
        Side::Primary => primary,
        Side::Canary => canary_service,
    };
    json!({"group": "", "kind": "Service", "name": name, "port": canary.spec.service.port})
}

fn mirror(canary: &Canary) -> Value {
    json!({"type": "RequestMirror", "requestMirror": {"backendRef": reference(canary, Side::Canary)}})
}

fn set_cookie(value: &str) -> Value {
    json!({"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "Set-Cookie", "value": value}]}})
}

/// The filters of `spec.service`, in the order of the reference.
fn filters(canary: &Canary, version: Version) -> Vec<Value> {
    let service = &canary.spec.service;
    let headers = service.headers.clone().unwrap_or_default();
    let mut filters = Vec::new();
    if let Some(request) = &headers.request {
        filters.push(json!({"type": "RequestHeaderModifier", "requestHeaderModifier": modifier(request)}));
    }
    if let Some(response) = &headers.response {
        filters.push(json!({"type": "ResponseHeaderModifier", "responseHeaderModifier": modifier(response)}));
    }
    if let Some(rewrite) = &service.rewrite {
        filters.push(json!({"type": "URLRewrite", "urlRewrite": url_rewrite(rewrite)}));
    }
    for mirror in &service.mirror {
        filters.push(json!({"type": "RequestMirror", "requestMirror": {"backendRef": mirror.backend_ref}}));
    }
    if let (Version::V1, Some(policy)) = (version, &service.cors_policy) {
        filters.push(json!({"type": "CORS", "cors": cors(policy)}));
    }
    filters
}

fn modifier(operations: &HeaderOperations) -> Value {
    let headers = |given: &std::collections::BTreeMap<String, String>| -> Vec<Value> {
        given.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
    };
    let mut modifier = Map::new();
    for (member, given) in [("set", headers(&operations.set)), ("add", headers(&operations.add))] {
        if !given.is_empty() {
            modifier.insert(member.into(), Value::Array(given));
        }
    }
    if !operations.remove.is_empty() {
        modifier.insert("remove".into(), json!(operations.remove));
    }
    Value::Object(modifier)
}

fn url_rewrite(rewrite: &HttpRewrite) -> Value {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let mut filter = Map::new();
    if let Some(authority) = given(&rewrite.authority) {
        filter.insert("hostname".into(), json!(authority));
    }
    if let Some(uri) = given(&rewrite.uri) {
        let path = match rewrite.kind.as_deref() {
            Some("ReplacePrefixMatch") => json!({"type": "ReplacePrefixMatch", "replacePrefixMatch": uri}),
            _ => json!({"type": "ReplaceFullPath", "replaceFullPath": uri}),
        };
        filter.insert("path".into(), path);
    }
    Value::Object(filter)
}

/// Differs: exact entries of `allowOrigins` count too; the original reads the deprecated `allowOrigin` only.
fn cors(policy: &CorsPolicy) -> Value {
    let exact = policy.allow_origins.iter().filter_map(|origin| origin.exact.clone());
    let origins: Vec<String> = policy.allow_origin.iter().cloned().chain(exact).collect();
    let lists = [
        ("allowOrigins", &origins),
        ("allowMethods", &policy.allow_methods),
        ("allowHeaders", &policy.allow_headers),
        ("exposeHeaders", &policy.expose_headers),
    ];
    let mut filter: Map<_, _> =
        lists.into_iter().filter(|(_, list)| !list.is_empty()).map(|(name, list)| (name.into(), json!(list))).collect();
    if policy.allow_credentials {
        filter.insert("allowCredentials".into(), json!(true));
    }
    let max_age = policy.max_age.as_deref().and_then(|text| text.parse::<api::Duration>().ok());
    if let Some(max_age) = max_age {
        filter.insert("maxAge".into(), json!(max_age.get().as_secs()));
    }
    Value::Object(filter)
}
