//! The routing table: which rule serves a request. Values only; swapped as a whole, never changed in place.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use super::{
    balance::Balance,
    filters::Filters,
    matching::{Head, Hostname, Matcher, PathMatch},
};

/// A port of a Service: what a backend refers to, and what has endpoints.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServicePort {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub service: String,
    /// Port of the Service, not of its pods.
    pub port: u16,
}

impl ServicePort {
    /// The value of the label `envoy_cluster_name`.
    pub fn cluster_name(&self) -> String {
        format!("{}_{}_{}", self.namespace, self.service, self.port)
    }
}

/// Where a rule sends requests, besides its weight.
#[derive(Clone, Debug)]
pub struct Backend {
    /// The Service.
    pub service: ServicePort,
    /// Filters of this backend, applied after those of the rule.
    pub filters: Filters,
}

/// What is done with the requests that match.
#[derive(Debug)]
pub struct Rule {
    /// `namespace/name/index` of the rule, index from 0.
    pub id: String,
    /// Filters of the rule.
    pub filters: Filters,
    /// Where requests go, in the order of `balance`.
    pub backends: Vec<Backend>,
    /// Whose turn it is.
    pub balance: Arc<Balance>,
    /// Requests that were forwarded, where mirrors take a share of them.
    pub requests: AtomicU64,
    /// Longest time for the whole exchange.
    pub request_timeout: Option<Duration>,
    /// Longest time for one attempt at a backend.
    pub backend_timeout: Option<Duration>,
}

/// One match of one rule.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Hosts for which it holds: those of the route that the listener serves, too.
    pub hostname: Hostname,
    /// The match.
    pub matcher: Matcher,
    /// The rule.
    pub rule: Arc<Rule>,
}

/// The routes of one Gateway listener, most specific first.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Hosts that the listener serves.
    pub hostname: Hostname,
    /// Matches in order of precedence.
    pub entries: Vec<Entry>,
}

/// One socket. Listeners with the same port share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Socket {
    /// A port that the listener names.
    Port(u16),
    /// Port 0: any free port, for this listener alone.
    Free {
        /// `namespace/name` of the Gateway.
        gateway: String,
        /// Name of the listener.
        listener: String,
    },
}

/// Everything that is served, by socket.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Listeners of each socket, most specific hostname first.
    pub sockets: BTreeMap<Socket, Vec<Listener>>,
}

/// The rule that serves a request.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The rule.
    pub rule: &'a Arc<Rule>,
    /// The path prefix that matched, without its final `/`; what `ReplacePrefixMatch` replaces.
    pub prefix: Option<&'a str>,
}

impl Table {
    /// The rule that serves a request to that socket; `None` is answered with 404.
    ///
    /// The listener with the most specific hostname decides alone. Source: Gateway API v1 `Gateway.spec.listeners`.
    pub fn find(&self, socket: &Socket, head: &Head<'_>) -> Option<Found<'_>> {
        let listener = self.sockets.get(socket)?.iter().find(|listener| listener.hostname.matches(head.host))?;
        let entry =
            listener.entries.iter().find(|entry| entry.hostname.matches(head.host) && entry.matcher.matches(head))?;
        let prefix = match &entry.matcher.path {
            PathMatch::Prefix(prefix) => Some(prefix.as_str()),
            _ => None,
        };
        Some(Found { rule: &entry.rule, prefix })
    }

    /// The round of a rule, if it is still over the same backends with the same weights: a new table must not begin
    /// every round anew, or a small weight would never get its turn.
    pub fn balance(&self, rule: &str, weights: &[u32]) -> Option<Arc<Balance>> {
        let entries = self.sockets.values().flatten().flat_map(|listener| &listener.entries);
        let found = entries.map(|entry| &entry.rule).find(|candidate| candidate.id == rule)?;
        (found.balance.weights() == weights).then(|| found.balance.clone())
    }
}

/// Host without port, as in `Host: example.com:8080` or `[::1]:80`.
pub fn host_without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}
