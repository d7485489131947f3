//! The rules of the HTTPRoute: weighted, for the users of an A/B test, for users with a cookie.

use api::flagger::{CorsPolicy, HeaderOperations, HttpRewrite};
use serde_json::{Map, Value, json};

use super::{Version, matches};
use crate::router::{Cookies, Error, Given, Weights, cookie, list, ownership, service_names};

/// The annotation of a Canary that names a header which requests to the canary carry. Envoy Gateway counts backends one by
/// one only in a rule with a backend that has a filter of its own (envoyproxy/gateway#7008).
const CANARY_HEADER: &str = "slipway.dev/canary-header";

/// The rules for the requests that the Canary names, or else a live rule; in order.
pub fn ours(
    given: &Given<'_>,
    version: Version,
    weights: Weights,
    cookies: Option<&Cookies>,
    base: Option<&Value>,
) -> Result<Vec<Value>, Error> {
    let mut service = matches::of(&given.canary.spec.service.matches)?;
    if service.is_empty() && given.canary.spec.service.matches.is_empty() {
        let kept = base.map_or(&[] as &[Value], |base| list(base, "matches"));
        // A rule for everything is as good as none.
        service.extend(kept.iter().filter(|_| *kept != [matches::everything()]).cloned());
    }
    let all = if service.is_empty() { vec![matches::everything()] } else { service.clone() };
    let tested = matches::of(&given.canary.analysis().matches)?;
    let maker = Maker::new(given, version, base);
    let mirror = if weights.mirrored {
        // Differs: the original adds this in blue/green only, so that a weighted canary with `mirror` never advances
        // (reference progressive-delivery.md, B.8 defect 4).
        vec![json!({"type": "RequestMirror", "requestMirror": {"backendRef": maker.reference(Side::Canary)}})]
    } else {
        Vec::new()
    };
    let both = maker.backends(&[weights.primary, weights.canary]);
    if !tested.is_empty() {
        let weighted = maker.rule(&matches::merge(&tested, &all), &mirror, both);
        let mut plain = maker.rule(&all, &[], maker.backends(&[100]));
        maker.name(&mut plain);
        return Ok(vec![weighted, plain]);
    }
    let mut weighted = maker.rule(&all, &mirror, both);
    maker.name(&mut weighted);
    let mut rules = Vec::new();
    if let (Some(cookies), Some(analysis)) = (cookies, &given.canary.spec.analysis)
        && let Some(affinity) = &analysis.session_affinity
    {
        let sticky = |cookie: &str, more: &[Value], primary: u32, canary: u32| {
            let header =
                json!({"headers": [{"type": "RegularExpression", "name": "Cookie", "value": cookie::pattern(cookie)}]});
            maker.rule(&matches::merge(&[header], &service), more, maker.backends(&[primary, canary]))
        };
        let (session, previous) = (&cookies.session_affinity_cookie, &cookies.previous_session_affinity_cookie);
        if weights.canary > 0 {
            rules.push(sticky(session, &mirror, 0, 100));
            add_filter(&mut weighted["backendRefs"][1], set_cookie(&cookie::set_canary(affinity, session)));
            if cookie::primary_name(affinity).is_some() {
                let primary = &cookies.primary_session_affinity_cookie;
                rules.push(sticky(primary, &mirror, 100, 0));
                let value = cookie::set_primary(given, affinity, primary);
                add_filter(&mut weighted["backendRefs"][0], set_cookie(&value));
            }
        } else if !previous.is_empty() {
            let more = [mirror, vec![set_cookie(&cookie::remove(previous))]].concat();
            rules.push(sticky(previous, &more, weights.primary, weights.canary));
        }
    }
    rules.push(weighted);
    Ok(rules)
}

/// Makes rules of what the Canary says and of what others put on the live one.
struct Maker<'a> {
    given: &'a Given<'a>,
    base: Option<&'a Value>,
    filters: Vec<Value>,
    timeouts: Map<String, Value>,
    /// Apex, primary and canary service.
    names: (String, String, String),
}

impl<'a> Maker<'a> {
    fn new(given: &'a Given<'a>, version: Version, base: Option<&'a Value>) -> Self {
        let names = service_names(given.canary);
        let filters = filters(given, version, base, &names.2);
        Self { given, base, filters, timeouts: timeouts(given, version), names }
    }

    fn rule(&self, matches: &[Value], more: &[Value], backends: Vec<Value>) -> Value {
        let members = self.base.and_then(Value::as_object).into_iter().flatten();
        let foreign =
            members.filter(|(member, _)| !["matches", "filters", "backendRefs", "name"].contains(&member.as_str()));
        let mut rule: Map<_, _> = foreign.map(|(member, value)| (member.clone(), value.clone())).collect();
        rule.insert("matches".into(), Value::Array(matches.to_vec()));
        rule.insert("backendRefs".into(), Value::Array(backends));
        let filters = joined(&self.filters, more);
        if !filters.is_empty() {
            rule.insert("filters".into(), Value::Array(filters));
        }
        if !self.timeouts.is_empty() {
            let ours = Value::Object(self.timeouts.clone());
            let timeouts = ownership::merged(rule.get("timeouts"), &ours);
            rule.insert("timeouts".into(), timeouts);
        }
        Value::Object(rule)
    }

    /// Gives a rule the live one's name, which no two rules may share.
    fn name(&self, rule: &mut Value) {
        if let Some(name) = self.base.and_then(|base| base.get("name")) {
            rule["name"] = name.clone();
        }
    }

    /// The primary and, if it has a weight too, the canary; then other people's backends.
    fn backends(&self, weights: &[u32]) -> Vec<Value> {
        let ours = [Side::Primary, Side::Canary].into_iter().zip(weights).map(|(side, weight)| {
            let mut backend = self.reference(side);
            backend["weight"] = json!(weight);
            backend
        });
        let live: Vec<Value> =
            self.base.map_or(&[] as &[Value], |base| list(base, "backendRefs")).iter().map(without_cookie).collect();
        let name = |backend: &Value| backend["name"].as_str().map(str::to_owned);
        let (apex, primary, canary) = &self.names;
        let mut backends = ownership::destinations(&live, ours.collect(), &[apex, primary, canary], name);
        let annotations = self.given.canary.metadata.annotations.as_ref();
        if let Some(header) = annotations.and_then(|annotations| annotations.get(CANARY_HEADER)) {
            backends.iter_mut().filter(|backend| backend["name"] == **canary).for_each(|backend| mark(backend, header));
        }
        backends
    }

    fn reference(&self, side: Side) -> Value {
        let name = match side {
            Side::Primary => &self.names.1,
            Side::Canary => &self.names.2,
        };
        json!({"group": "", "kind": "Service", "name": name, "port": self.given.canary.spec.service.port})
    }
}

/// A filter in the place of the one of its type, where one may be there once only.
fn joined(filters: &[Value], more: &[Value]) -> Vec<Value> {
    let mut joined = filters.to_vec();
    for filter in more {
        let same = joined
            .iter_mut()
            .find(|other| filter["type"] == "ResponseHeaderModifier" && other["type"] == filter["type"]);
        match same {
            Some(other) => {
                let added = list(&other["responseHeaderModifier"], "add").to_vec();
                let more = list(&filter["responseHeaderModifier"], "add").to_vec();
                other["responseHeaderModifier"]["add"] = json!([added, more].concat());
            }
            None => joined.push(filter.clone()),
        }
    }
    joined
}

fn add_filter(backend: &mut Value, filter: Value) {
    backend["filters"] = Value::Array(joined(list(backend, "filters"), &[filter]));
}

/// Has requests to a backend carry a header.
fn mark(backend: &mut Value, header: &str) {
    let mut filters = list(backend, "filters").to_vec();
    let ours = json!({"name": header, "value": "true"});
    match filters.iter_mut().find(|filter| filter["type"] == "RequestHeaderModifier") {
        // There may be one only.
        Some(filter) => {
            let mut set = list(&filter["requestHeaderModifier"], "set").to_vec();
            set.retain(|other| other["name"].as_str().is_none_or(|name| !name.eq_ignore_ascii_case(header)));
            filter["requestHeaderModifier"]["set"] = json!([set, vec![ours]].concat());
        }
        None => filters.push(json!({"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [ours]}})),
    }
    backend["filters"] = Value::Array(filters);
}

/// A live backend without the cookie that we had it set.
fn without_cookie(backend: &Value) -> Value {
    let mut backend = backend.clone();
    if let Some(filters) = backend.get_mut("filters").and_then(Value::as_array_mut) {
        for filter in filters.iter_mut() {
            if let Some(added) = filter.pointer_mut("/responseHeaderModifier/add").and_then(Value::as_array_mut) {
                added.retain(|header| header["name"] != "Set-Cookie");
            }
        }
        filters.retain(|filter| {
            let modifier = filter.get("responseHeaderModifier").and_then(Value::as_object);
            modifier.is_none_or(|modifier| {
                modifier.values().any(|value| value.as_array().is_none_or(|list| !list.is_empty()))
            })
        });
        if filters.is_empty() {
            backend.as_object_mut().map(|members| members.remove("filters"));
        }
    }
    backend
}

/// A backend's role.
#[derive(Clone, Copy)]
enum Side {
    Primary,
    Canary,
}

fn set_cookie(value: &str) -> Value {
    json!({"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "Set-Cookie", "value": value}]}})
}

fn timeouts(given: &Given<'_>, version: Version) -> Map<String, Value> {
    let service = &given.canary.spec.service;
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty()).map(Value::String);
    let timeouts = [("request", text(&service.timeout)), ("backendRequest", text(&service.backend_timeout))];
    let timeouts = timeouts.into_iter().filter(|_| version == Version::V1);
    timeouts.filter_map(|(name, value)| Some((name.into(), value?))).collect()
}

/// The filters of `spec.service`, in the order of the reference, then those that others put on the live rule. Of a type
/// that both have the Canary's counts, as it may be there only once; copies of requests go wherever anybody wants them.
fn filters(given: &Given<'_>, version: Version, base: Option<&Value>, canary: &str) -> Vec<Value> {
    let ours = asked_for(given, version);
    let mirrored = |filter: &Value| filter.pointer("/requestMirror/backendRef/name").cloned();
    let is_ours = |live: &Value| match live["type"].as_str() {
        Some("ExtensionRef") => false,
        Some("RequestMirror") => {
            mirrored(live) == Some(json!(canary)) || ours.iter().any(|filter| mirrored(filter) == mirrored(live))
        }
        _ => ours.iter().any(|filter| filter["type"] == live["type"]),
    };
    let live = base.map_or(&[] as &[Value], |base| list(base, "filters")).iter();
    let kept: Vec<Value> = live.filter(|live| !is_ours(live)).cloned().collect();
    [ours, kept].concat()
}

fn asked_for(given: &Given<'_>, version: Version) -> Vec<Value> {
    let service = &given.canary.spec.service;
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
