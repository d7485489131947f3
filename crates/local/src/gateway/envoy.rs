//! Envoy as the gateway: its configuration as files that it watches. Pure.
//!
//! A listener for each socket, a route configuration for each listener, a cluster with its endpoints for each Service
//! port, each in the form of the xDS protocol. Files are replaced whole, so Envoy never sees half of one. Source: Envoy's
//! documentation, "Dynamic configuration (filesystem)" and the v3 API.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
};

use serde_json::{Value, json};

use super::{
    filters::{Filters, HeaderChange},
    matching::{Hostname, Matcher, PathMatch, TextMatch},
    outside::{Addresses, Endpoints, weighted},
    table::{Listener, Rule, ServicePort, Table},
};

/// What a rule asks for that Envoy is not told by us.
pub fn unsupported(rule: &Rule) -> Option<&'static str> {
    let asks = |filters: &Filters| filters.redirect.is_some() || filters.rewrite != Default::default();
    let of_backends = rule.backends.iter().any(|backend| asks(&backend.filters) || !backend.filters.mirrors.is_empty());
    (asks(&rule.filters) || of_backends).then_some("RequestRedirect, URLRewrite or a mirror of a backend")
}

/// Files by their place below the folder, each with its resources, in the order in which they are written: Envoy looks at
/// once for what a file refers to, refuses the file when that is not there, and does not try again.
pub type Files = Vec<(String, Vec<Value>)>;

/// How a socket's listener and route configuration are named.
pub fn name(address: SocketAddr) -> String {
    format!("gateway_{}", address.port())
}

/// The configuration that Envoy starts with; everything else is in files that it names.
pub fn bootstrap(folder: &Path, admin: SocketAddr) -> Value {
    json!({
        "node": {"id": "slipway", "cluster": "slipway"},
        "admin": {"address": address(admin)},
        "stats_flush_interval": "1s",
        "dynamic_resources": {
            "lds_config": source(folder, "listeners.json"),
            "cds_config": source(folder, "clusters.json"),
        },
    })
}

/// The files for the clusters of `services`. Endpoints that are `leaving` get no new requests and may answer those under
/// way.
pub fn clusters(folder: &Path, services: &BTreeSet<ServicePort>, endpoints: &Endpoints, leaving: &Endpoints) -> Files {
    let mut files = Files::new();
    let mut clusters = Vec::new();
    for service in services {
        let name = service.cluster_name();
        let file = format!("endpoints/{name}.json");
        clusters.push(json!({
            "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            "name": name,
            "type": "EDS",
            "connect_timeout": "2s",
            "eds_cluster_config": {"eds_config": source(folder, &file)},
            // A pod that leaves never comes back because most of the others leave too.
            "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        }));
        let of = |endpoints: &Endpoints, health: &str| -> Vec<Value> {
            let addresses = endpoints.get(service).into_iter().flatten();
            addresses.map(|&pod| json!({"endpoint": {"address": address(pod)}, "health_status": health})).collect()
        };
        let all = [of(endpoints, "HEALTHY"), of(leaving, "DRAINING")].concat();
        let assignment = json!({
            "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": all}],
        });
        files.push((file, vec![assignment]));
    }
    files.push(("clusters.json".into(), clusters));
    files
}

/// The files for the listeners and their routes.
pub fn listeners(folder: &Path, table: &Table, addresses: &Addresses) -> Files {
    let mut files = Files::new();
    let mut all = Vec::new();
    for (socket, listeners) in &table.sockets {
        let Some(&bound) = addresses.get(socket) else { continue };
        let name = name(bound);
        let file = format!("routes/{name}.json");
        let manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": name,
            "rds": {"route_config_name": name, "config_source": source(folder, &file)},
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }],
        });
        all.push(json!({
            "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
            "name": name,
            "address": address(bound),
            "filter_chains": [{"filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": manager,
            }]}],
        }));
        let routes = json!({
            "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            "name": name,
            "ignore_port_in_host_matching": true,
            "virtual_hosts": hosts(listeners),
        });
        files.push((file, vec![routes]));
    }
    files.push(("listeners.json".into(), all));
    files
}

/// A file of the xDS protocol.
pub fn file(resources: &[Value], version: u64) -> Value {
    json!({"version_info": version.to_string(), "resources": resources})
}

fn source(folder: &Path, file: &str) -> Value {
    let path = folder.join(file);
    let watched = path.parent().unwrap_or(folder);
    json!({
        "resource_api_version": "V3",
        "path_config_source": {
            "path": path.display().to_string(),
            "watched_directory": {"path": watched.display().to_string()},
        },
    })
}

fn address(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

/// One virtual host for each host name, with every route that holds for it: Envoy looks into one virtual host only.
fn hosts(listeners: &[Listener]) -> Vec<Value> {
    let mut known = BTreeSet::new();
    let mut hosts = Vec::new();
    for listener in listeners {
        let own = listener.entries.iter().map(|entry| &entry.hostname).chain([&listener.hostname]);
        for hostname in own {
            let domain = domain(hostname);
            if !known.insert(domain.clone()) {
                continue;
            }
            let covers = |other: &Hostname| other.intersection(hostname).as_ref() == Some(hostname);
            let entries = listener.entries.iter().filter(|entry| covers(&entry.hostname));
            let routes: Vec<Value> = entries.map(|entry| route(&entry.matcher, &entry.rule)).collect();
            hosts.push(json!({"name": domain, "domains": [domain], "routes": routes}));
        }
    }
    hosts
}

fn domain(hostname: &Hostname) -> String {
    match hostname {
        Hostname::Any => "*".into(),
        Hostname::Exact(name) => name.clone(),
        Hostname::Wildcard(suffix) => format!("*{suffix}"),
    }
}

fn route(matcher: &Matcher, rule: &Rule) -> Value {
    let sum: u32 = weighted(rule).map(|(_, weight)| weight).sum();
    let mut route = json!({"match": request(matcher)});
    if sum == 0 {
        route["direct_response"] = json!({"status": 500});
        return route;
    }
    let clusters = weighted(rule).map(|(backend, weight)| {
        let mut cluster = json!({"name": backend.service.cluster_name(), "weight": weight});
        headers(&mut cluster, "request", &backend.filters.request);
        headers(&mut cluster, "response", &backend.filters.response);
        cluster
    });
    let seconds = |limit: Option<std::time::Duration>| format!("{}s", limit.unwrap_or_default().as_secs_f64());
    let mut retry = json!({"retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 3});
    if let Some(limit) = rule.backend_timeout {
        retry["per_try_timeout"] = json!(seconds(Some(limit)));
    }
    route["route"] = json!({
        "weighted_clusters": {"clusters": clusters.collect::<Vec<_>>()},
        "timeout": seconds(rule.request_timeout),
        "retry_policy": retry,
    });
    let mirrors = rule.filters.mirrors.iter().map(|mirror| {
        let share = u64::from(mirror.numerator) * 1_000_000 / u64::from(mirror.denominator.max(1));
        let fraction = json!({"default_value": {"numerator": share, "denominator": "MILLION"}});
        json!({"cluster": mirror.service.cluster_name(), "runtime_fraction": fraction})
    });
    if !rule.filters.mirrors.is_empty() {
        route["route"]["request_mirror_policies"] = json!(mirrors.collect::<Vec<_>>());
    }
    headers(&mut route, "request", &rule.filters.request);
    headers(&mut route, "response", &rule.filters.response);
    route
}

fn request(matcher: &Matcher) -> Value {
    let mut request = match &matcher.path {
        PathMatch::Exact(path) => json!({ "path": path }),
        PathMatch::Prefix(prefix) if prefix.is_empty() => json!({"prefix": "/"}),
        PathMatch::Prefix(prefix) => json!({ "path_separated_prefix": prefix }),
        PathMatch::Regex(expression) => json!({"safe_regex": {"regex": expression.as_str()}}),
    };
    let text = |value: &TextMatch| match value {
        TextMatch::Exact(text) => json!({ "exact": text }),
        TextMatch::Regex(expression) => json!({"safe_regex": {"regex": expression.as_str()}}),
    };
    let method =
        matcher.method.iter().map(|method| json!({"name": ":method", "string_match": {"exact": method.as_str()}}));
    let fields =
        matcher.headers.iter().map(|(name, value)| json!({"name": name.as_str(), "string_match": text(value)}));
    request["headers"] = method.chain(fields).collect();
    let query = matcher.query.iter().map(|(name, value)| json!({"name": name, "string_match": text(value)}));
    request["query_parameters"] = query.collect();
    request
}

fn headers(object: &mut Value, side: &str, change: &HeaderChange) {
    let field = |name: &http::HeaderName, value: &http::HeaderValue, action: &str| {
        let value = String::from_utf8_lossy(value.as_bytes()).replace('%', "%%");
        json!({"header": {"key": name.as_str(), "value": value}, "append_action": action})
    };
    let set = change.set.iter().map(|(name, value)| field(name, value, "OVERWRITE_IF_EXISTS_OR_ADD"));
    let add = change.add.iter().map(|(name, value)| field(name, value, "APPEND_IF_EXISTS_OR_ADD"));
    let fields: Vec<Value> = set.chain(add).collect();
    if !fields.is_empty() {
        object[format!("{side}_headers_to_add")] = json!(fields);
    }
    if !change.remove.is_empty() {
        let names: Vec<&str> = change.remove.iter().map(http::HeaderName::as_str).collect();
        object[format!("{side}_headers_to_remove")] = json!(names);
    }
}

/// The endpoints of a cluster that take requests, by the answer to `/clusters?format=json`.
pub fn healthy(answer: &Value, service: &ServicePort) -> BTreeSet<SocketAddr> {
    let hosts = hosts_of(answer, service).into_iter();
    hosts.filter(|(_, health, _)| health == "HEALTHY").map(|(address, ..)| address).collect()
}

/// Requests under way at the endpoints that are leaving, by the same answer.
pub fn busy(answer: &Value, services: &BTreeSet<ServicePort>) -> u64 {
    let hosts = services.iter().flat_map(|service| hosts_of(answer, service));
    hosts.filter(|(_, health, _)| health == "DRAINING").map(|(_, _, active)| active).sum()
}

/// Requests under way, by the answer to `/stats?format=json` with the listeners' counts.
pub fn active(answer: &Value) -> u64 {
    answer["stats"].as_array().into_iter().flatten().filter_map(|stat| stat["value"].as_u64()).sum()
}

/// Address, health and requests under way of the hosts of a cluster.
fn hosts_of(answer: &Value, service: &ServicePort) -> Vec<(SocketAddr, String, u64)> {
    let clusters = answer["cluster_statuses"].as_array().into_iter().flatten();
    let hosts = clusters.filter(|cluster| cluster["name"] == service.cluster_name().as_str());
    let hosts = hosts.filter_map(|cluster| cluster["host_statuses"].as_array()).flatten();
    hosts
        .filter_map(|host| {
            let socket = host.pointer("/address/socket_address")?;
            let address = format!("{}:{}", socket["address"].as_str()?, socket["port_value"]).parse().ok()?;
            // A health of the default is left out.
            let health = host.pointer("/health_status/eds_health_status").and_then(Value::as_str).unwrap_or("HEALTHY");
            let stats = host["stats"].as_array().into_iter().flatten();
            let active =
                stats.filter(|stat| stat["name"] == "rq_active").find_map(|stat| stat["value"].as_str()?.parse().ok());
            Some((address, health.to_owned(), active.unwrap_or_default()))
        })
        .collect()
}

/// The versions in force, by name, in the answer to `/config_dump?resource=…` of listeners or route configurations.
pub fn versions(answer: &Value) -> BTreeMap<String, String> {
    let configs = answer["configs"].as_array().into_iter().flatten();
    configs
        .filter_map(|config| {
            let text = |pointer: &str| config.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            let name = text("/name").or_else(|| text("/route_config/name"))?;
            Some((name, text("/active_state/version_info").or_else(|| text("/version_info"))?))
        })
        .collect()
}
