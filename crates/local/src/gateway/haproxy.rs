//! HAProxy as the gateway: its configuration, and the commands that change weights and endpoints while it runs. Pure.
//!
//! A rule is a backend; each of its Services has a number of places for servers there, so that pods come and go, and
//! weights change, by commands on the Runtime API's socket. Only a change of rules needs another configuration, which a
//! new process takes over together with the sockets. Source: HAProxy 2.6 Management Guide, section 9.3.

use std::{collections::BTreeMap, fmt::Write as _, net::SocketAddr, path::Path};

use super::{
    filters::{Filters, HeaderChange},
    matching::{Hostname, Matcher, PathMatch, TextMatch},
    outside::{Addresses, Endpoints, rules, weighted},
    table::{Listener, Rule, ServicePort, Table},
};

/// Places for servers of one Service in one rule.
const PLACES: usize = 16;
/// The greatest weight of a server.
const MAX_WEIGHT: u32 = 256;
/// In a server's administrative state: the configuration had it disabled. It stays when a command makes it ready.
const DISABLED_AT_START: u32 = 4;
/// What stands for the address of a place that is not in use.
const NOWHERE: &str = "127.0.0.1:1";

/// What a rule asks for that HAProxy is not told by us.
pub fn unsupported(rule: &Rule) -> Option<&'static str> {
    let asks = |filters: &Filters| filters.redirect.is_some() || filters.rewrite != Default::default();
    if asks(&rule.filters) {
        Some("RequestRedirect or URLRewrite")
    } else if !rule.filters.mirrors.is_empty() {
        Some("RequestMirror")
    } else if rule.backends.iter().any(|backend| backend.filters != Filters::default()) {
        Some("a filter of a backend")
    } else {
        None
    }
}

/// A server as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its address.
    pub address: SocketAddr,
    /// Its share among the servers of its rule, 0 to 256.
    pub weight: u32,
}

/// The servers of each Service of each rule: by backend and by the beginning of the servers' names.
pub type Wanted = BTreeMap<(String, String), Vec<Server>>;

/// What the table and the endpoints come to.
pub fn wanted(table: &Table, endpoints: &Endpoints) -> Wanted {
    let mut wanted = Wanted::new();
    for (id, rule) in rules(table) {
        let pools: Vec<(&ServicePort, u32, &[SocketAddr])> = weighted(rule)
            .map(|(backend, weight)| {
                (&backend.service, weight, endpoints.get(&backend.service).map_or(&[] as &[SocketAddr], Vec::as_slice))
            })
            .collect();
        let weights = spread(&pools.iter().map(|(_, weight, pods)| (*weight, pods.len())).collect::<Vec<_>>());
        for ((service, _, pods), weight) in pools.iter().zip(weights) {
            let servers = pods.iter().take(PLACES).map(|&address| Server { address, weight }).collect();
            wanted.insert((backend(id), prefix(service)), servers);
        }
    }
    wanted
}

/// The weight of each server of pools with a share and a number of servers, so that the shares come out as exactly as
/// whole numbers up to 256 allow.
fn spread(pools: &[(u32, usize)]) -> Vec<u32> {
    let gcd = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let common = pools.iter().filter(|(_, count)| *count > 0).fold(1_u64, |all, (_, count)| {
        let count = *count as u64;
        all / gcd(all, count) * count
    });
    let exact: Vec<u64> = pools
        .iter()
        .map(|&(weight, count)| u64::from(weight) * common.checked_div(count as u64).unwrap_or(0))
        .collect();
    let divisor = exact.iter().fold(0, |all, &one| gcd(all, one)).max(1);
    let most = exact.iter().max().copied().unwrap_or_default() / divisor;
    let limit = u64::from(MAX_WEIGHT);
    let scaled = |exact: u64| match exact / divisor {
        0 => 0,
        small if most <= limit => small,
        large => ((large * limit + most / 2) / most).max(1),
    };
    exact.into_iter().map(|exact| u32::try_from(scaled(exact)).unwrap_or(MAX_WEIGHT)).collect()
}

/// Name of a rule's backend.
fn backend(rule: &str) -> String {
    rule.replace('/', ":")
}

/// How the names of a Service's servers begin; the number of the place follows.
fn prefix(service: &ServicePort) -> String {
    format!("{}.", service.cluster_name())
}

/// The configuration. Without endpoints it is the part that no command can change.
pub fn config(table: &Table, endpoints: &Endpoints, addresses: &Addresses, admin: SocketAddr, socket: &Path) -> String {
    let mut text = format!(
        "global\n  stats socket {} mode 600 level admin expose-fd listeners\n  hard-stop-after 30s\n\
         defaults\n  mode http\n  timeout connect 2s\n  timeout client 60s\n  timeout server 1h\n  timeout queue 5s\n  \
         retries 3\n  option redispatch 1\n  retry-on conn-failure empty-response\n\
         frontend metrics\n  bind {admin}\n  http-request use-service prometheus-exporter if {{ path /metrics }}\n  \
         http-request return status 404\n",
        socket.display()
    );
    for (place, listeners) in &table.sockets {
        let Some(address) = addresses.get(place) else { continue };
        let _ = writeln!(text, "frontend {}\n  bind {address}", address.to_string().replace(['[', ']'], ""));
        for listener in listeners {
            frontend(&mut text, listener);
        }
        text.push_str("  default_backend none\n");
    }
    let wanted = wanted(table, endpoints);
    for (id, rule) in rules(table) {
        let _ = writeln!(text, "backend {}\n  balance roundrobin", backend(id));
        if let Some(limit) = rule.backend_timeout.or(rule.request_timeout) {
            let _ = writeln!(text, "  timeout server {}ms", limit.as_millis());
        }
        headers(&mut text, "http-request", &rule.filters.request);
        headers(&mut text, "http-response", &rule.filters.response);
        for (target, _) in weighted(rule) {
            let prefix = prefix(&target.service);
            let servers = wanted.get(&(backend(id), prefix.clone())).map_or(&[] as &[Server], Vec::as_slice);
            for (index, server) in servers.iter().enumerate() {
                let _ = writeln!(text, "  server {prefix}{} {} weight {}", index + 1, server.address, server.weight);
            }
            for place in servers.len()..PLACES {
                let _ = writeln!(text, "  server {prefix}{} {NOWHERE} disabled", place + 1);
            }
        }
    }
    text.push_str("backend none\n  http-request return status 404\n");
    text
}

fn frontend(text: &mut String, listener: &Listener) {
    for entry in &listener.entries {
        for path in paths(&entry.matcher.path) {
            let conditions = [host(&entry.hostname), path, rest(&entry.matcher)].concat();
            let condition = if conditions.is_empty() { String::new() } else { format!(" if {conditions}") };
            let _ = writeln!(text, "  use_backend {}{}", backend(&entry.rule.id), condition.trim_end());
        }
    }
    // Requests for the hosts of this listener are not for the next one.
    let host = host(&listener.hostname);
    if !host.is_empty() {
        let _ = writeln!(text, "  use_backend none if {}", host.trim_end());
    }
}

/// A word of the configuration, whatever is in it.
fn quoted(text: &str) -> String {
    let plain: String = text.chars().filter(|character| !character.is_control()).collect();
    format!("'{}'", plain.replace('\'', "'\\''"))
}

fn host(hostname: &Hostname) -> String {
    let host = "req.hdr(host),field(1,:),lower";
    match hostname {
        Hostname::Any => String::new(),
        Hostname::Exact(name) => format!("{{ {host} -m str {} }} ", quoted(name)),
        Hostname::Wildcard(suffix) => format!("{{ {host} -m end {} }} ", quoted(suffix)),
    }
}

/// The conditions for a path: any of them.
fn paths(path: &PathMatch) -> Vec<String> {
    match path {
        PathMatch::Exact(path) => vec![format!("{{ path -m str {} }} ", quoted(path))],
        PathMatch::Prefix(prefix) if prefix.is_empty() => vec![String::new()],
        PathMatch::Prefix(prefix) => vec![
            format!("{{ path -m str {} }} ", quoted(prefix)),
            format!("{{ path -m beg {} }} ", quoted(&format!("{prefix}/"))),
        ],
        PathMatch::Regex(expression) => vec![format!("{{ path -m reg {} }} ", quoted(expression.as_str()))],
    }
}

/// The conditions for everything but host and path: all of them.
fn rest(matcher: &Matcher) -> String {
    let compared = |value: &TextMatch| match value {
        TextMatch::Exact(text) => format!("-m str {}", quoted(text)),
        TextMatch::Regex(expression) => format!("-m reg {}", quoted(expression.as_str())),
    };
    let mut text = String::new();
    if let Some(method) = &matcher.method {
        let _ = write!(text, "{{ method {} }} ", quoted(method.as_str()));
    }
    for (name, value) in &matcher.headers {
        let _ = write!(text, "{{ req.fhdr({name}) {} }} ", compared(value));
    }
    for (name, value) in &matcher.query {
        let _ = write!(text, "{{ url_param({}),url_dec {} }} ", quoted(name), compared(value));
    }
    text
}

fn headers(text: &mut String, rule: &str, change: &HeaderChange) {
    let value = |value: &http::HeaderValue| quoted(&String::from_utf8_lossy(value.as_bytes()).replace('%', "%%"));
    for (name, text_value) in &change.set {
        let _ = writeln!(text, "  {rule} set-header {name} {}", value(text_value));
    }
    for (name, text_value) in &change.add {
        let _ = writeln!(text, "  {rule} add-header {name} {}", value(text_value));
    }
    for name in &change.remove {
        let _ = writeln!(text, "  {rule} del-header {name}");
    }
}

/// A place for a server as HAProxy tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of the backend.
    pub backend: String,
    /// Name of the server.
    pub name: String,
    /// Where it leads; nothing when it cannot be read.
    pub address: Option<SocketAddr>,
    /// Whether it takes requests, by its administrative state.
    pub is_ready: bool,
    /// Its weight.
    pub weight: u32,
}

/// Reads the answer to `show servers state`. Source: HAProxy 2.6 Management Guide, "show servers state", version 1.
pub fn places(answer: &str) -> Vec<Place> {
    let rows = answer.lines().filter(|line| !line.starts_with('#'));
    rows.filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let address = format!("{}:{}", columns.get(4)?, columns.get(18)?);
        Some(Place {
            backend: (*columns.get(1)?).to_owned(),
            name: (*columns.get(3)?).to_owned(),
            address: address.parse().ok(),
            is_ready: columns.get(6)?.parse::<u32>().ok()? & !DISABLED_AT_START == 0,
            weight: columns.get(7)?.parse().ok()?,
        })
    })
    .collect()
}

/// The commands that lead from the places as they are to the servers as they should be; none if they are. Servers come
/// and grow before others shrink and go, so that there is always one to take a request.
pub fn commands(wanted: &Wanted, places: &[Place]) -> Vec<String> {
    let (mut come, mut grow, mut shrink, mut go) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for ((backend, prefix), servers) in wanted {
        let own = |place: &&Place| place.backend == *backend && place.name.starts_with(prefix.as_str());
        let (used, free): (Vec<&Place>, Vec<&Place>) = places.iter().filter(own).partition(|place| place.is_ready);
        let mut free = free.into_iter();
        for server in servers {
            match used.iter().find(|place| place.address == Some(server.address)) {
                Some(place) if place.weight == server.weight => {}
                Some(place) => {
                    let list = if place.weight < server.weight { &mut grow } else { &mut shrink };
                    list.push(format!("set server {backend}/{} weight {}", place.name, server.weight));
                }
                None => {
                    let Some(place) = free.next() else { continue };
                    let (name, address) = (format!("{backend}/{}", place.name), server.address);
                    come.push(format!("set server {name} addr {} port {}", address.ip(), address.port()));
                    come.push(format!("set server {name} weight {}", server.weight));
                    come.push(format!("set server {name} state ready"));
                }
            }
        }
        let gone = used.iter().filter(|place| !servers.iter().any(|server| Some(server.address) == place.address));
        go.extend(gone.map(|place| format!("set server {backend}/{} state maint", place.name)));
    }
    [come, grow, shrink, go].concat()
}

/// Connections in use to servers that take no more requests, by the answers to `show servers state` and
/// `show servers conn`. Source: HAProxy 2.6 Management Guide, "show servers conn".
pub fn busy(places: &[Place], answer: &str) -> u64 {
    let rows = answer.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (backend, name) = columns.first()?.split_once('/')?;
        let is_going = places.iter().any(|place| place.backend == backend && place.name == name && !place.is_ready);
        columns.get(6)?.parse::<u64>().ok().filter(|_| is_going)
    });
    rows.sum()
}

#[cfg(test)]
mod tests;
