//! Which request meets which rule: tables over whole objects.

use std::collections::BTreeSet;

use http::{HeaderMap, HeaderName, Method};
use serde_json::{Value, json};

use super::*;
use crate::gateway::matching::Head;

fn gateway(name: &str, listeners: Value) -> Gateway {
    let object = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": name, "namespace": "infra"}, "spec": {"gatewayClassName": "slipway", "listeners": listeners}});
    serde_json::from_value(object).unwrap()
}

fn open_gateway() -> Gateway {
    gateway(
        "gw",
        json!([{"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}]),
    )
}

fn route(name: &str, spec: Value) -> HttpRoute {
    let mut object = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "test", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"parentRefs": [{"name": "gw", "namespace": "infra"}]}});
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

fn backend(name: &str) -> Value {
    json!([{"name": name, "port": 80}])
}

fn services(names: &[&str]) -> BTreeSet<ServicePort> {
    names.iter().map(|name| service_port("test", name, Some(80))).collect()
}

fn compiled(gateways: &[Gateway], routes: &[HttpRoute]) -> Compiled {
    compile(&Objects { gateways, routes, services: &services(&["a", "b", "c"]) }, &Table::default())
}

/// The first backend of the rule that serves a GET request to port 80.
fn served(table: &Table, host: &str, target: &str, headers: &[(&'static str, &str)]) -> Option<String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(HeaderName::from_static(name), value.parse().unwrap());
    }
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let head = Head { host, path, query, method: &Method::GET, headers: &map };
    table.find(&Socket::Port(80), &head).map(|found| found.rule.backends[0].service.service.clone())
}

#[test]
fn the_more_specific_match_wins() {
    let route = route(
        "r",
        json!({"rules": [
            {"backendRefs": backend("any")},
            {"matches": [{"path": {"type": "PathPrefix", "value": "/a"}}], "backendRefs": backend("prefix")},
            {"matches": [{"path": {"type": "PathPrefix", "value": "/a/b"}}], "backendRefs": backend("longer")},
            {"matches": [{"path": {"type": "RegularExpression", "value": "/a/[0-9]+"}}], "backendRefs": backend("regex")},
            {"matches": [{"path": {"type": "Exact", "value": "/a/1"}}], "backendRefs": backend("exact")},
            {"matches": [{"path": {"value": "/a"}, "method": "GET"}], "backendRefs": backend("method")},
            {"matches": [{"path": {"value": "/a"}, "headers": [{"name": "X-User", "value": "i"}, {"name": "x-b", "value": "1"}]}],
             "backendRefs": backend("headers")},
            {"matches": [{"path": {"value": "/q"}, "queryParams": [{"name": "v", "value": "2"}]}, {"path": {"value": "/p"}}],
             "backendRefs": backend("query")}
        ]}),
    );
    let table = compiled(&[open_gateway()], &[route]).table;
    for (target, headers, expected) in [
        ("/", &[][..], "any"),
        ("/ab", &[], "any"),
        ("/a", &[], "method"),
        ("/a/b/c", &[], "longer"),
        ("/a/2", &[], "regex"),
        ("/a/1", &[], "exact"),
        ("/a", &[("x-user", "i"), ("x-b", "1")], "method"),
        ("/q?v=2", &[], "query"),
        ("/q?v=3", &[], "any"),
        ("/p", &[], "query"),
    ] {
        assert_eq!(served(&table, "any.host", target, headers).as_deref(), Some(expected), "{target}");
    }
}

#[test]
fn header_matches_come_before_the_plain_rule() {
    // The shape that Flagger writes for A/B tests.
    let route = route(
        "r",
        json!({"rules": [
            {"matches": [{"path": {"value": "/"}, "headers": [{"name": "x-canary", "type": "RegularExpression", "value": "in.*"}]}],
             "backendRefs": backend("canary")},
            {"matches": [{"path": {"value": "/"}}], "backendRefs": backend("primary")}
        ]}),
    );
    let table = compiled(&[open_gateway()], &[route]).table;
    assert_eq!(served(&table, "h", "/x", &[("x-canary", "insider")]).as_deref(), Some("canary"));
    assert_eq!(served(&table, "h", "/x", &[("x-canary", "other")]).as_deref(), Some("primary"));
}

#[test]
fn hosts_decide_first_and_the_older_route_wins_a_tie() {
    let mut older = route("z", json!({"hostnames": ["*.b.com"], "rules": [{"backendRefs": backend("older")}]}));
    older.metadata.creation_timestamp = Some(api::Time("2025-01-01T00:00:00Z".parse().unwrap()));
    let routes = [
        route("y", json!({"hostnames": ["*.b.com"], "rules": [{"backendRefs": backend("newer")}]})),
        older,
        route("x", json!({"hostnames": ["a.b.com"], "rules": [{"backendRefs": backend("exact")}]})),
        route(
            "w",
            json!({"rules": [{"matches": [{"path": {"type": "Exact", "value": "/x"}}], "backendRefs": backend("any")}]}),
        ),
    ];
    let table = compiled(&[open_gateway()], &routes).table;
    assert_eq!(served(&table, "a.b.com", "/x", &[]).as_deref(), Some("exact"));
    assert_eq!(served(&table, "c.b.com", "/x", &[]).as_deref(), Some("older"));
    assert_eq!(served(&table, "d.com", "/x", &[]).as_deref(), Some("any"));
    assert_eq!(served(&table, "d.com", "/", &[]), None);
}

#[test]
fn listeners_admit_routes_by_namespace_name_port_and_host() {
    let all = json!({"namespaces": {"from": "All"}});
    let listeners = json!([
        {"name": "own", "port": 80, "protocol": "HTTP"},
        {"name": "a", "port": 80, "protocol": "HTTP", "hostname": "*.a.com", "allowedRoutes": all},
        {"name": "tls", "port": 443, "protocol": "HTTPS", "allowedRoutes": all},
        {"name": "label", "port": 81, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "Selector",
            "selector": {"matchLabels": {"kubernetes.io/metadata.name": "test"}}}}},
        {"name": "grpc", "port": 82, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}, "kinds": [{"kind": "GRPCRoute"}]}}
    ]);
    let gateway = gateway("gw", listeners);
    for (parent, hostnames, expected) in [
        (json!({}), json!([]), None),
        (json!({"sectionName": "own"}), json!([]), Some("NotAllowedByListeners")),
        (json!({"sectionName": "a"}), json!(["x.a.com"]), None),
        (json!({"sectionName": "a"}), json!(["x.b.com"]), Some("NoMatchingListenerHostname")),
        (json!({"sectionName": "tls"}), json!([]), Some("NoMatchingParent")),
        (json!({"sectionName": "none"}), json!([]), Some("NoMatchingParent")),
        (json!({"sectionName": "label"}), json!([]), None),
        (json!({"sectionName": "grpc"}), json!([]), Some("NotAllowedByListeners")),
        (json!({"port": 81}), json!([]), None),
        (json!({"port": 83}), json!([]), Some("NoMatchingParent")),
        (json!({"name": "other"}), json!([]), Some("NoMatchingParent")),
    ] {
        let mut reference = json!({"name": "gw", "namespace": "infra"});
        reference.as_object_mut().unwrap().extend(parent.as_object().unwrap().clone());
        let spec = json!({"parentRefs": [reference], "hostnames": hostnames, "rules": [{"backendRefs": backend("a")}]});
        let compiled = compiled(std::slice::from_ref(&gateway), &[route("r", spec)]);
        let verdict = &compiled.verdicts[&("test".to_owned(), "r".to_owned())][0];
        let reason = verdict.accepted.as_ref().err().map(|refusal| refusal.reason);
        assert_eq!(reason, expected, "{parent} {hostnames}");
    }
}

#[test]
fn gateways_on_the_same_port_share_it() {
    let listeners =
        json!([{"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}]);
    let gateways = [gateway("one", listeners.clone()), gateway("two", listeners)];
    let to = |name: &str, path: &str| {
        let matches = json!([{"path": {"value": path}}]);
        let rules = json!([{"matches": matches, "backendRefs": backend(name)}]);
        route(name, json!({"parentRefs": [{"name": name, "namespace": "infra"}], "rules": rules}))
    };
    let table = compiled(&gateways, &[to("one", "/"), to("two", "/two")]).table;
    assert_eq!(served(&table, "h", "/", &[]).as_deref(), Some("one"));
    assert_eq!(served(&table, "h", "/two", &[]).as_deref(), Some("two"));
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    for (rule, place) in [
        (json!({"filters": [{"type": "CORS"}]}), "spec.rules[0].filters[0].type"),
        (json!({"filters": [{"type": "ExtensionRef"}]}), "spec.rules[0].filters[0].type"),
        (
            json!({"matches": [{"path": {"type": "RegularExpression", "value": "("}}]}),
            "spec.rules[0].matches[0].path.value",
        ),
        (json!({"matches": [{"headers": [{"name": "a b", "value": ""}]}]}), "spec.rules[0].matches[0].headers[0].name"),
    ] {
        let compiled = compiled(&[open_gateway()], &[route("r", json!({"rules": [rule]}))]);
        let refusal = compiled.verdicts.values().next().unwrap()[0].accepted.clone().unwrap_err();
        assert_eq!(refusal.reason, "UnsupportedValue");
        assert!(refusal.message.starts_with(place), "{}", refusal.message);
    }
}

#[test]
fn missing_backends_are_told_and_the_route_is_served_all_the_same() {
    let compiled = compiled(&[open_gateway()], &[route("r", json!({"rules": [{"backendRefs": backend("gone")}]}))]);
    let verdict = &compiled.verdicts.values().next().unwrap()[0];
    assert!(verdict.accepted.is_ok());
    assert_eq!(verdict.resolved.as_ref().unwrap_err().reason, "BackendNotFound");
    assert_eq!(compiled.attached.values().sum::<i32>(), 1);
    assert_eq!(served(&compiled.table, "h", "/", &[]).as_deref(), Some("gone"));
}

#[test]
fn a_round_goes_on_unless_its_weights_change() {
    let weighted = |weight: u32| {
        let backends =
            json!([{"name": "a", "port": 80, "weight": 100 - weight}, {"name": "b", "port": 80, "weight": weight}]);
        [route("r", json!({"rules": [{"backendRefs": backends}]}))]
    };
    let gateways = [open_gateway()];
    let services = services(&["a", "b"]);
    let (one, two) = (weighted(1), weighted(2));
    let first = compiled(&gateways, &one).table;
    let again = |routes: &[HttpRoute; 1]| {
        compile(&Objects { gateways: &gateways, routes: routes.as_slice(), services: &services }, &first).table
    };
    let same = again(&one);
    let other = again(&two);
    let balance = |table: &Table| table.sockets.values().next().unwrap()[0].entries[0].rule.balance.clone();
    assert!(Arc::ptr_eq(&balance(&first), &balance(&same)));
    assert!(!Arc::ptr_eq(&balance(&first), &balance(&other)));
}

proptest::proptest! {
    #[test]
    fn no_request_and_no_route_make_it_panic(path in "\\PC{0,12}", host in "\\PC{0,12}", pattern in "\\PC{0,8}", kind in "(Exact|PathPrefix|RegularExpression|X)") {
        let spec = json!({"hostnames": [host], "rules": [{"matches": [{"path": {"type": kind, "value": pattern}}], "backendRefs": backend("a")}]});
        let table = compiled(&[open_gateway()], &[route("r", spec)]).table;
        let _ = served(&table, &host, &path, &[]);
    }
}
