//! From Gateway and HTTPRoute objects to the routing table, and to what each parent of a route says about it. Pure.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
};

use api::gateway::{Gateway, HttpRoute, HttpRouteRule, Listener as ListenerSpec, ParentReference};
use kube::ResourceExt as _;

use super::{
    balance::Balance,
    matching::{Hostname, Matcher},
    read,
    table::{Backend, Entry, Listener, Rule, ServicePort, Socket, Table},
};

/// Why something of an object is refused: condition reason and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One word in upper camel case, as the Gateway API names it.
    pub reason: &'static str,
    /// For people; names the field.
    pub message: String,
}

impl Refusal {
    /// A refusal of a value that this gateway does not understand.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self { reason: "UnsupportedValue", message: message.into() }
    }
}

/// What one parent says about a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The parent, as in the spec of the route.
    pub parent: ParentReference,
    /// Whether the route is served there.
    pub accepted: Result<(), Refusal>,
    /// Whether all backends exist.
    pub resolved: Result<(), Refusal>,
}

/// The objects the table is made of, and the Services there are.
#[derive(Clone, Copy, Debug)]
pub struct Objects<'a> {
    /// Gateways in any order.
    pub gateways: &'a [Gateway],
    /// Routes in any order.
    pub routes: &'a [HttpRoute],
    /// Ports of all Services.
    pub services: &'a std::collections::BTreeSet<ServicePort>,
}

/// A routing table and what is said about it.
#[derive(Clone, Debug, Default)]
pub struct Compiled {
    /// The table.
    pub table: Table,
    /// For each route, by `(namespace, name)`, one verdict for each parent that is a Gateway.
    pub verdicts: BTreeMap<(String, String), Vec<Verdict>>,
    /// For each listener, by `(namespace, Gateway, listener)`, how many routes are attached.
    pub attached: BTreeMap<(String, String, String), i32>,
}

/// A rule with the matches that lead to it.
type Matched = (Arc<Rule>, Vec<Matcher>);

/// A listener under construction.
struct Open<'a> {
    gateway: &'a Gateway,
    spec: &'a ListenerSpec,
    hostname: Hostname,
    entries: Vec<Entry>,
}

/// Makes the table. Rounds of rules that have not changed are taken over from the previous table.
pub fn compile(objects: &Objects<'_>, previous: &Table) -> Compiled {
    let mut open: Vec<Open<'_>> = objects
        .gateways
        .iter()
        .flat_map(|gateway| gateway.spec.listeners.iter().map(move |spec| (gateway, spec)))
        .filter(|(_, spec)| listener_refusal(spec).is_none())
        .map(|(gateway, spec)| Open {
            gateway,
            spec,
            hostname: Hostname::parse(spec.hostname.as_deref().unwrap_or_default()),
            entries: Vec::new(),
        })
        .collect();
    let mut compiled = Compiled::default();
    let mut routes: Vec<&HttpRoute> = objects.routes.iter().collect();
    routes.sort_by_cached_key(|route| {
        let created = route.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (created.is_none(), created, route.namespace(), route.name_any())
    });
    for route in routes {
        let key = (route.namespace().unwrap_or_default(), route.name_any());
        let verdicts = attach(route, objects, previous, &mut open, &mut compiled.attached);
        compiled.verdicts.insert(key, verdicts);
    }
    for listener in open {
        let listeners = compiled.table.sockets.entry(socket(listener.gateway, listener.spec)).or_default();
        // Gateways that ask for the same port and hosts share them.
        match listeners.iter_mut().find(|other| other.hostname == listener.hostname) {
            Some(other) => other.entries.extend(listener.entries),
            None => listeners.push(Listener { hostname: listener.hostname, entries: listener.entries }),
        }
    }
    for listeners in compiled.table.sockets.values_mut() {
        listeners.sort_by_key(|listener| Reverse(listener.hostname.rank()));
        for listener in listeners {
            listener.entries.sort_by_key(|entry| Reverse((entry.hostname.rank(), entry.matcher.rank())));
        }
    }
    compiled
}

/// The socket on which a listener is served.
pub fn socket(gateway: &Gateway, listener: &ListenerSpec) -> Socket {
    match listener.port {
        0 => Socket::Free {
            gateway: format!("{}/{}", gateway.namespace().unwrap_or_default(), gateway.name_any()),
            listener: listener.name.clone(),
        },
        port => Socket::Port(port),
    }
}

/// Why a listener is not served, if it is not.
pub fn listener_refusal(listener: &ListenerSpec) -> Option<Refusal> {
    (listener.protocol != "HTTP").then(|| Refusal {
        reason: "UnsupportedProtocol",
        message: format!("protocol {:?} is not supported, only HTTP is", listener.protocol),
    })
}

/// Puts the entries of a route into the listeners of its parents.
fn attach(
    route: &HttpRoute,
    objects: &Objects<'_>,
    previous: &Table,
    open: &mut [Open<'_>],
    attached: &mut BTreeMap<(String, String, String), i32>,
) -> Vec<Verdict> {
    let namespace = route.namespace().unwrap_or_default();
    let rules = rules(route, previous);
    let resolved = unresolved(route, objects).map_or(Ok(()), Err);
    let mut verdicts = Vec::new();
    for parent in route.spec.parent_refs.iter().filter(|parent| names_a_gateway(parent)) {
        let accepted = rules.as_ref().map_err(Clone::clone).and_then(|rules| {
            let served = serving(route, parent, open)?;
            for (index, hostnames) in served {
                let listener = &mut open[index];
                let gateway_namespace = listener.gateway.namespace().unwrap_or_else(|| namespace.clone());
                let id = (gateway_namespace, listener.gateway.name_any(), listener.spec.name.clone());
                *attached.entry(id).or_default() += 1;
                listener.entries.extend(entries(rules, &hostnames));
            }
            Ok(())
        });
        verdicts.push(Verdict { parent: parent.clone(), accepted, resolved: resolved.clone() });
    }
    verdicts
}

fn names_a_gateway(parent: &ParentReference) -> bool {
    parent.group.as_deref().unwrap_or(api::gateway::GROUP) == api::gateway::GROUP
        && parent.kind.as_deref().unwrap_or("Gateway") == "Gateway"
}

/// The listeners that serve a route for a parent, with the hostnames for which they do.
fn serving(
    route: &HttpRoute,
    parent: &ParentReference,
    open: &[Open<'_>],
) -> Result<Vec<(usize, Vec<Hostname>)>, Refusal> {
    let refuse = |reason, message: &str| Err(Refusal { reason, message: message.to_owned() });
    let namespace = route.namespace().unwrap_or_default();
    let named: Vec<usize> = (0..open.len()).filter(|&index| is_meant(&open[index], parent, &namespace)).collect();
    if named.is_empty() {
        return refuse("NoMatchingParent", "no Gateway listener matches the parentRef");
    }
    let allowed: Vec<usize> = named.into_iter().filter(|&index| allows(&open[index], &namespace)).collect();
    if allowed.is_empty() {
        return refuse("NotAllowedByListeners", "allowedRoutes of the listener does not admit the route");
    }
    let own: Vec<Hostname> = match route.spec.hostnames.as_slice() {
        [] => vec![Hostname::Any],
        hostnames => hostnames.iter().map(|hostname| Hostname::parse(hostname)).collect(),
    };
    let served: Vec<_> = allowed
        .into_iter()
        .map(|index| (index, own.iter().filter_map(|own| own.intersection(&open[index].hostname)).collect::<Vec<_>>()))
        .filter(|(_, hostnames)| !hostnames.is_empty())
        .collect();
    if served.is_empty() {
        return refuse("NoMatchingListenerHostname", "the listener serves none of the hostnames of the route");
    }
    Ok(served)
}

fn is_meant(open: &Open<'_>, parent: &ParentReference, namespace: &str) -> bool {
    parent.is_gateway(namespace, &open.gateway.namespace().unwrap_or_default(), &open.gateway.name_any())
        && parent.section_name.as_ref().is_none_or(|section| *section == open.spec.name)
        && parent.port.is_none_or(|port| port == open.spec.port)
}

/// Whether `allowedRoutes` admits HTTPRoutes of the namespace.
///
/// Differs: there are no Namespace objects here, so a selector sees only the label that every namespace carries.
fn allows(open: &Open<'_>, namespace: &str) -> bool {
    let Some(allowed) = &open.spec.allowed_routes else {
        return open.gateway.namespace().as_deref().unwrap_or_default() == namespace;
    };
    let kinds = allowed.extra.get("kinds").and_then(|kinds| kinds.as_array());
    let kind_allowed =
        kinds.is_none_or(|kinds| kinds.is_empty() || kinds.iter().any(|kind| kind["kind"] == "HTTPRoute"));
    let from = allowed.namespaces.as_ref().and_then(|namespaces| namespaces.from.as_deref()).unwrap_or("Same");
    let selector = allowed.namespaces.as_ref().and_then(|namespaces| namespaces.selector.as_ref());
    kind_allowed
        && match from {
            "All" => true,
            "Selector" => selector.is_some_and(|selector| {
                let labels = BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), namespace.to_owned())]);
                serde_json::from_value(selector.clone())
                    .is_ok_and(|selector| crate::selector::matches(&selector, &labels))
            }),
            _ => open.gateway.namespace().as_deref().unwrap_or_default() == namespace,
        }
}

fn entries(rules: &[Matched], hostnames: &[Hostname]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for hostname in hostnames {
        for (rule, matchers) in rules {
            entries.extend(matchers.iter().map(|matcher| Entry {
                hostname: hostname.clone(),
                matcher: matcher.clone(),
                rule: rule.clone(),
            }));
        }
    }
    entries
}

/// The rules of a route with their matches.
fn rules(route: &HttpRoute, previous: &Table) -> Result<Vec<Matched>, Refusal> {
    let namespace = route.namespace().unwrap_or_default();
    let name = route.name_any();
    route
        .spec
        .rules
        .iter()
        .enumerate()
        .map(|(index, spec)| {
            let at = format!("spec.rules[{index}]");
            let matchers = read::matchers(&spec.matches, &at)?;
            let rule = rule(spec, &namespace, format!("{namespace}/{name}/{index}"), &at, previous)?;
            Ok((Arc::new(rule), matchers))
        })
        .collect()
}

fn rule(spec: &HttpRouteRule, namespace: &str, id: String, at: &str, previous: &Table) -> Result<Rule, Refusal> {
    let filters = read::filters(&spec.filters, namespace, at)?;
    let backends = spec
        .backend_refs
        .iter()
        .enumerate()
        .map(|(index, backend)| {
            Ok(Backend {
                service: service_port(backend.namespace.as_deref().unwrap_or(namespace), &backend.name, backend.port),
                filters: read::filters(&backend.filters, namespace, &format!("{at}.backendRefs[{index}]"))?,
            })
        })
        .collect::<Result<_, _>>()?;
    let weights: Vec<u32> = spec.backend_refs.iter().map(api::gateway::HttpBackendRef::weight).collect();
    let timeouts = spec.timeouts.clone().unwrap_or_default();
    let limit = |duration: Option<api::Duration>| duration.map(api::Duration::get).filter(|limit| !limit.is_zero());
    Ok(Rule {
        balance: previous.balance(&id, &weights).unwrap_or_else(|| Arc::new(Balance::new(weights))),
        id,
        filters,
        backends,
        requests: AtomicU64::new(0),
        request_timeout: limit(timeouts.request),
        backend_timeout: limit(timeouts.backend_request),
    })
}

/// A backend of a route. Port 0 stands for none: no Service has it, so such requests are answered with 500.
fn service_port(namespace: &str, name: &str, port: Option<u16>) -> ServicePort {
    ServicePort { namespace: namespace.to_owned(), service: name.to_owned(), port: port.unwrap_or_default() }
}

/// The first backend that does not exist, if there is one.
fn unresolved(route: &HttpRoute, objects: &Objects<'_>) -> Option<Refusal> {
    let own = route.namespace().unwrap_or_default();
    for (index, rule) in route.spec.rules.iter().enumerate() {
        for (number, backend) in rule.backend_refs.iter().enumerate() {
            let at = format!("spec.rules[{index}].backendRefs[{number}]");
            let kind = backend.kind.as_deref().unwrap_or("Service");
            if kind != "Service" || !backend.group.as_deref().unwrap_or_default().is_empty() {
                return Some(Refusal { reason: "InvalidKind", message: format!("{at}: {kind} is no Service") });
            }
            let service = service_port(backend.namespace.as_deref().unwrap_or(&own), &backend.name, backend.port);
            if !objects.services.contains(&service) {
                let ServicePort { namespace, service, port } = service;
                let message = format!("{at}: Service {namespace}/{service} with port {port} not found");
                return Some(Refusal { reason: "BackendNotFound", message });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
