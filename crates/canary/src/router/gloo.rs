//! Gloo: an Upstream for each of primary and canary, and a RouteTable that a VirtualService delegates to.
//!
//! Source: reference progressive-delivery.md, E "Gloo".

use api::meta::ObjectReference;
use serde_json::{Value, json};

use super::{
    Change, Error, Given, Router, Weights, is_settled, list, list_at,
    ownership::{self, Bases, Rule},
    service_names, share, stays, unreadable,
};

/// Gloo.
pub const ROUTER: Router =
    Router { objects: |given| Ok(references(given)), routes, written: weights, weights, finalize: stays };

const UPSTREAM: (&str, &str) = ("gloo.solo.io/v1", "Upstream");
/// Members of an Upstream's spec that say where it leads to, not how; these are never copied.
const PLACES: [&str; 11] = [
    "kube",
    "static",
    "pipe",
    "aws",
    "azure",
    "consul",
    "awsEc2",
    "gcp",
    "ai",
    "discoveryMetadata",
    "namespacedStatuses",
];

fn route_table(given: &Given<'_>) -> ObjectReference {
    given.reference("gateway.solo.io/v1", "RouteTable", given.canary.service_name())
}

/// The Upstreams of primary and canary.
fn upstreams(given: &Given<'_>) -> [ObjectReference; 2] {
    ["primary", "canary"].map(|role| {
        let (namespace, name, port) =
            (given.canary.namespace(), given.canary.service_name(), given.canary.spec.service.port);
        given.reference(UPSTREAM.0, UPSTREAM.1, &format!("{namespace}-{name}-{role}upstream-{port}"))
    })
}

/// The services of primary and canary, whose selectors Gloo is told.
fn services(given: &Given<'_>) -> [ObjectReference; 2] {
    let (_, primary, canary) = service_names(given.canary);
    [primary, canary].map(|name| given.reference("v1", "Service", &name))
}

/// The user's Upstream whose settings are copied.
fn template(given: &Given<'_>) -> Option<ObjectReference> {
    let upstream = given.canary.spec.upstream_ref.as_ref()?;
    let mut reference = given.reference(UPSTREAM.0, UPSTREAM.1, &upstream.name);
    if let Some(namespace) = upstream.namespace.as_ref().filter(|namespace| !namespace.is_empty()) {
        reference.namespace.clone_from(namespace);
    }
    Some(reference)
}

fn references(given: &Given<'_>) -> Vec<ObjectReference> {
    let all = upstreams(given).into_iter().chain([route_table(given)]).chain(services(given));
    all.chain(template(given)).collect()
}

/// Those Upstreams that are not as they should be, and the RouteTable.
fn routes(given: &Given<'_>, weights: Weights) -> Result<Change, Error> {
    let template = template(given).map(|reference| given.existing(&reference)).transpose()?;
    let pairs = upstreams(given).into_iter().zip(services(given));
    let mut apply: Vec<Value> =
        pairs.map(|(upstream, service)| self::upstream(given, &upstream, &service, template)).collect();
    apply.retain(|upstream| !is_settled(given.current, upstream));
    apply.push(table(given, weights)?);
    Ok(Change { apply, cookies: None })
}

fn upstream(
    given: &Given<'_>,
    reference: &ObjectReference,
    service: &ObjectReference,
    template: Option<&Value>,
) -> Value {
    let members = template.and_then(|template| template.get("spec")).and_then(Value::as_object).into_iter().flatten();
    let settings = members.filter(|(member, _)| !PLACES.contains(&member.as_str()));
    let mut spec: Value = settings.map(|(member, value)| (member.clone(), value.clone())).collect();
    spec["kube"] = json!({
        "serviceName": service.name,
        "serviceNamespace": service.namespace,
        "servicePort": given.canary.spec.service.port,
    });
    if let Some(selector) = given.find(service).and_then(|service| service.pointer("/spec/selector")) {
        spec["kube"]["selector"] = selector.clone();
    }
    // Not the labels: one of them says that Gloo's discovery made the upstream, and may take it away.
    given.object(reference, spec)
}

/// Differs: in an A/B test a second route sends everybody else to the primary; the original has none, and Gloo answers
/// them with 404.
fn table(given: &Given<'_>, weights: Weights) -> Result<Value, Error> {
    let reference = route_table(given);
    let live = given.find(&reference).map_or(&[] as &[Value], |live| list_at(live, "/spec/routes"));
    let names = upstreams(given).map(|upstream| upstream.name);
    let kind = |route: &Value| {
        let mut leads_to = destinations(route).iter().filter_map(upstream_name);
        if leads_to.any(|name| names.contains(&name)) { Rule::Base } else { Rule::Foreign }
    };
    let routes = ownership::place(live, kind, Bases::Last, |base| {
        let weighted = route(given, base, &[weights.primary, weights.canary]);
        Ok(match matcher(given) {
            None => vec![weighted],
            Some(matcher) => {
                let mut tested = weighted;
                tested["matchers"] = json!([matcher]);
                vec![tested, route(given, base, &[100])]
            }
        })
    })?;
    Ok(given.labelled(&reference, json!({ "routes": routes })))
}

/// A route to the primary, and to the canary if it has a weight too.
fn route(given: &Given<'_>, base: Option<&Value>, weights: &[u32]) -> Value {
    let upstreams = upstreams(given);
    let ours = upstreams.iter().zip(weights).map(|(upstream, weight)| {
        json!({"destination": {"upstream": {"name": upstream.name, "namespace": upstream.namespace}}, "weight": weight})
    });
    let before = base.map_or(&[] as &[Value], destinations);
    let names = upstreams.each_ref().map(|upstream| upstream.name.clone());
    let destinations = ownership::destinations(before, ours.collect(), &names, upstream_name);
    let ours = json!({"inheritablePathMatchers": true, "routeAction": {"multi": {"destinations": destinations}}});
    ownership::merged(base, &ours)
}

fn destinations(route: &Value) -> &[Value] {
    list_at(route, "/routeAction/multi/destinations")
}

fn upstream_name(destination: &Value) -> Option<String> {
    destination.pointer("/destination/upstream/name")?.as_str().map(str::to_owned)
}

/// The requests of an A/B test: all headers must be there, and the method one of those named.
fn matcher(given: &Given<'_>) -> Option<Value> {
    let analysis = given.canary.analysis();
    let headers = analysis.matches.iter().flat_map(|request| &request.headers).map(|(name, value)| {
        match value.regex.as_deref().filter(|regex| !regex.is_empty()) {
            Some(regex) => json!({"name": name, "value": regex, "regex": true}),
            None => json!({"name": name, "value": value.exact.as_deref().unwrap_or_default()}),
        }
    });
    let methods = analysis.matches.iter().filter_map(|request| request.method.as_ref()?.exact.as_deref());
    let (headers, methods): (Vec<_>, Vec<_>) = (headers.collect(), methods.collect());
    let mut matcher = json!({});
    if !headers.is_empty() {
        matcher["headers"] = json!(headers);
    }
    if !methods.is_empty() {
        matcher["methods"] = json!(methods);
    }
    (!analysis.matches.is_empty()).then_some(matcher)
}

/// The weights of the first route with both Upstreams.
fn weights(given: &Given<'_>) -> Result<Weights, Error> {
    let reference = route_table(given);
    let routes = list(&given.existing(&reference)?["spec"], "routes");
    let [primary, canary] = upstreams(given).map(|upstream| Some(upstream.name));
    let both = |route: &Value| {
        let of = |name: &Option<String>| share(destinations(route), |destination| upstream_name(destination) == *name);
        Some((of(&primary)?, of(&canary)?))
    };
    match routes.iter().find_map(both) {
        Some((primary, canary)) => Ok(Weights { primary, canary, mirrored: false }),
        None => Err(unreadable(&reference, "has no route with both the primary and the canary as destinations")),
    }
}
