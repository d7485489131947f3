//! What HAProxy and Envoy have in common when they serve the gateway in our place. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use super::{
    compile::{Compiled, Refusal},
    proxy::upstream::Upstreams,
    table::{Backend, Rule, ServicePort, Socket, Table},
};

/// The ready endpoints of every Service port.
pub type Endpoints = BTreeMap<ServicePort, Vec<SocketAddr>>;

/// Where each socket is opened.
pub type Addresses = BTreeMap<Socket, SocketAddr>;

/// The endpoints that are in use, in order.
pub fn endpoints(upstreams: &Upstreams) -> Endpoints {
    let of = |(service, upstream): (&ServicePort, &std::sync::Arc<super::upstream::Upstream>)| {
        let mut addresses = upstream.addresses();
        addresses.sort();
        (service.clone(), addresses)
    };
    upstreams.iter().map(of).collect()
}

/// The rules of a table, each once, by id.
pub fn rules(table: &Table) -> BTreeMap<&str, &Rule> {
    let listeners = table.sockets.values().flatten();
    let entries = listeners.flat_map(|listener| &listener.entries);
    entries.map(|entry| (entry.rule.id.as_str(), entry.rule.as_ref())).collect()
}

/// The backends of a rule with their weights.
pub fn weighted(rule: &Rule) -> impl Iterator<Item = (&Backend, u32)> {
    rule.backends.iter().zip(rule.balance.weights().iter().copied())
}

/// The Service ports to which any rule sends requests or copies of them.
pub fn services(table: &Table) -> BTreeSet<ServicePort> {
    let mut found = BTreeSet::new();
    for rule in rules(table).into_values() {
        found.extend(rule.backends.iter().map(|backend| backend.service.clone()));
        found.extend(rule.filters.mirrors.iter().map(|mirror| mirror.service.clone()));
    }
    found
}

/// Refuses the routes with a rule that the program cannot serve, by taking them out of the table.
pub fn refuse(compiled: &mut Compiled, unsupported: fn(&Rule) -> Option<&'static str>) {
    let mut refused = BTreeMap::new();
    for (id, rule) in rules(&compiled.table) {
        if let Some(what) = unsupported(rule) {
            // `namespace/name/index`.
            let route = id.rsplit_once('/').map_or(id, |(route, _)| route).to_owned();
            refused.insert(route, format!("rule {id}: {what} is not supported by this gateway"));
        }
    }
    for ((namespace, name), verdicts) in &mut compiled.verdicts {
        let Some(message) = refused.get(&format!("{namespace}/{name}")) else { continue };
        for verdict in verdicts.iter_mut().filter(|verdict| verdict.accepted.is_ok()) {
            verdict.accepted = Err(Refusal::unsupported(message.clone()));
        }
    }
    for listener in compiled.table.sockets.values_mut().flatten() {
        listener.entries.retain(|entry| {
            let route = entry.rule.id.rsplit_once('/').map_or(entry.rule.id.as_str(), |(route, _)| route);
            !refused.contains_key(route)
        });
    }
}
