//! A route that its user keeps, named by the Canary's annotation `slipway.dev/route-ref: KIND/NAME`: only the weights of the
//! primary's and the canary's backends are ours; everything else is as the user wrote it.
//!
//! Differs: the original knows no such thing; it writes routes of its own.

use api::{flagger::Canary, gateway::GROUP, meta::ObjectReference};
use serde_json::{Value, json};

use super::{
    Change, Error, Given, Router, Weights, gatewayapi, ingress, list, list_at, nginx, service_names, share, stays,
    unreadable,
};

/// Whatever routes the object that the annotation names.
pub const ROUTER: Router =
    Router { objects: |given| Ok(vec![route(given)?.1]), routes, written: read, weights, finalize: stays };

/// The annotation.
const ANNOTATION: &str = "slipway.dev/route-ref";

/// How a kind of route says weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `weight` of the items of a list in each rule of `spec.rules`.
    GatewayApi,
    /// The same, in the rules of all protocols.
    Istio,
    /// An annotation of the Ingress that leads to the canary.
    Nginx,
}

/// Kinds of routes, with their API version, which for Gateway API is the one that has the kind in every release since.
const KINDS: [(&str, &str, Form); 6] = [
    ("HTTPRoute", "v1", Form::GatewayApi),
    ("GRPCRoute", "v1", Form::GatewayApi),
    ("TLSRoute", "v1alpha2", Form::GatewayApi),
    ("TCPRoute", "v1alpha2", Form::GatewayApi),
    ("VirtualService", "networking.istio.io/v1beta1", Form::Istio),
    (ingress::KIND, ingress::API_VERSION, Form::Nginx),
];

/// Lists of rules in a VirtualService.
const PROTOCOLS: [&str; 3] = ["http", "tls", "tcp"];

/// Whether the Canary names a route of its user.
pub fn is_asked_for(canary: &Canary) -> bool {
    annotation(canary).is_some()
}

fn annotation(canary: &Canary) -> Option<&str> {
    canary.metadata.annotations.as_ref()?.get(ANNOTATION).map(String::as_str)
}

fn route(given: &Given<'_>) -> Result<(Form, ObjectReference), Error> {
    let text = annotation(given.canary).unwrap_or_default();
    let (kind, name) = text.split_once('/').unwrap_or((text, given.canary.service_name()));
    let found = KINDS.iter().find(|(known, ..)| *known == kind).filter(|_| !name.is_empty() && !name.contains('/'));
    let (kind, version, form) = found.ok_or_else(|| {
        let kinds = KINDS.map(|(kind, ..)| kind).join(", ");
        Error::Invalid(format!("{ANNOTATION}: {text:?} is not KIND/NAME with a KIND of {kinds}"))
    })?;
    let version = if version.contains('/') { (*version).to_owned() } else { format!("{GROUP}/{version}") };
    Ok((*form, given.reference(&version, kind, name)))
}

/// The lists of rules, as JSON pointers.
fn rules(form: Form) -> Vec<String> {
    match form {
        Form::GatewayApi => vec!["/spec/rules".into()],
        Form::Istio => PROTOCOLS.iter().map(|protocol| format!("/spec/{protocol}")).collect(),
        Form::Nginx => Vec::new(),
    }
}

/// The user's route with other weights, wherever a rule has both backends.
fn routes(given: &Given<'_>, weights: Weights) -> Result<Change, Error> {
    let (form, reference) = route(given)?;
    let analysis = given.canary.analysis();
    let refuse = |what: &str| Err(Error::Invalid(format!("{what} cannot be used together with {ANNOTATION}")));
    if weights.mirrored || analysis.mirror {
        return refuse("analysis.mirror");
    }
    if analysis.session_affinity.is_some() {
        return refuse("analysis.sessionAffinity");
    }
    if form == Form::Nginx && !analysis.matches.is_empty() {
        return refuse("analysis.match of an Ingress");
    }
    let live = given.existing(&reference)?;
    read(given)?;
    let mut ours = json!({
        "apiVersion": live["apiVersion"],
        "kind": reference.kind,
        "metadata": {"name": reference.name, "namespace": reference.namespace},
    });
    if form == Form::Nginx {
        let prefix = &given.options.ingress_annotations_prefix;
        ours["metadata"]["annotations"] =
            json!({format!("{prefix}/canary"): "true", format!("{prefix}/canary-weight"): weights.canary.to_string()});
        return Ok(Change { apply: vec![ours], cookies: None });
    }
    ours["spec"] = json!({});
    for pointer in rules(form) {
        let mut found = list_at(live, &pointer).to_vec();
        if found.iter().any(|rule| both(given, form, rule).is_some()) {
            found.iter_mut().for_each(|rule| set(given, form, rule, weights));
            ours["spec"][pointer.trim_start_matches("/spec/")] = json!(found);
        }
    }
    Ok(Change { apply: vec![ours], cookies: None })
}

/// The weights in effect: a route of the Gateway API has to be taken over by its parents first.
fn weights(given: &Given<'_>) -> Result<Weights, Error> {
    let weights = read(given)?;
    let (form, reference) = route(given)?;
    if form == Form::GatewayApi {
        gatewayapi::status::in_effect(&reference, given.existing(&reference)?)?;
    }
    Ok(weights)
}

/// The weights as written: those of the last rule with both backends.
fn read(given: &Given<'_>) -> Result<Weights, Error> {
    let (form, reference) = route(given)?;
    let live = given.existing(&reference)?;
    if form == Form::Nginx {
        return read_ingress(given, &reference, live);
    }
    let lists = rules(form);
    let mut rules = lists.iter().flat_map(|pointer| list_at(live, pointer)).rev();
    match rules.find_map(|rule| both(given, form, rule)) {
        // Two shares that do not add up, or none, are the user's from before the first run.
        Some((primary, canary)) if primary + canary == 100 => Ok(Weights { primary, canary, mirrored: false }),
        Some(_) => Ok(Weights::PRIMARY),
        None => {
            let (_, primary, canary) = service_names(given.canary);
            let problem = format!("has no rule with both {primary} and {canary} as backends; add one");
            Err(unreadable(&reference, problem))
        }
    }
}

fn read_ingress(given: &Given<'_>, reference: &ObjectReference, live: &Value) -> Result<Weights, Error> {
    let (_, _, service) = service_names(given.canary);
    let mut spec = live["spec"].clone();
    let leads_to_canary = ingress::paths(&mut spec).flatten().filter_map(ingress::service).any(|name| *name == service);
    if !leads_to_canary {
        return Err(unreadable(reference, format!("has no path to {service}; it must be the Ingress of the canary")));
    }
    let key = format!("{}/canary-weight", given.options.ingress_annotations_prefix);
    let weight = live.pointer("/metadata/annotations").and_then(|annotations| annotations.get(&key)?.as_str());
    let canary = nginx::share(weight.unwrap_or("0")).map_err(|problem| unreadable(reference, problem))?;
    Ok(Weights { primary: 100 - canary, canary, mirrored: false })
}

/// The shares of both backends, if the rule has both.
fn both(given: &Given<'_>, form: Form, rule: &Value) -> Option<(u32, u32)> {
    let (_, primary, canary) = service_names(given.canary);
    let of = |name: &str| match form {
        Form::GatewayApi => gatewayapi::weight(rule, name),
        _ => share(list(rule, "route"), |route| is_host(route, name)),
    };
    Some((of(&primary)?, of(&canary)?))
}

fn is_host(route: &Value, name: &str) -> bool {
    route["destination"]["host"].as_str().is_some_and(|host| host.split('.').next() == Some(name))
}

/// Sets the weights of both backends, if the rule has both.
fn set(given: &Given<'_>, form: Form, rule: &mut Value, weights: Weights) {
    if both(given, form, rule).is_none() {
        return;
    }
    let (_, primary, canary) = service_names(given.canary);
    let member = if form == Form::GatewayApi { "backendRefs" } else { "route" };
    for backend in rule.get_mut(member).and_then(Value::as_array_mut).into_iter().flatten() {
        for (name, weight) in [(&primary, weights.primary), (&canary, weights.canary)] {
            let is_meant = match form {
                Form::GatewayApi => backend["name"] == name.as_str(),
                _ => is_host(backend, name),
            };
            if is_meant {
                backend["weight"] = json!(weight);
            }
        }
    }
}
