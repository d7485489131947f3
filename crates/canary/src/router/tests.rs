//! Routes are compared by meaning with what the reference wrote: `tests/cases/canary/routers`.

use serde_json::Map;

use super::*;
use crate::cases::{self, canary};

fn options(case: &Value) -> Options {
    Options {
        mesh_provider: case["provider"].as_str().unwrap().into(),
        // The case says so in its name.
        owned: !case["name"].as_str().unwrap().contains("no-owner-refs"),
        ingress_class: case["ingressClass"].as_str().unwrap_or_default().into(),
        ..Options::default()
    }
}

/// The objects of a case as operations change them.
struct World {
    canary: Value,
    objects: Vec<Value>,
}

impl World {
    fn apply(&mut self, change: &Change) {
        for ours in &change.apply {
            let wanted = ObjectReference::of(ours).unwrap();
            let object = applied(&self.objects, ours);
            self.objects.retain(|object| ObjectReference::of(object).unwrap() != wanted);
            self.objects.push(object);
        }
        if let Some(cookies) = &change.cookies {
            cases::merge(&mut self.canary["status"], &json!(cookies));
        }
    }

    fn end(&mut self, end: End) {
        if !end.apply.is_empty() {
            // Server-side apply takes away what is no longer applied.
            self.objects.iter_mut().for_each(|object| object["spec"] = json!({}));
        }
        self.apply(&Change { apply: end.apply, cookies: None });
        self.objects.retain(|object| !end.delete.contains(&ObjectReference::of(object).unwrap()));
    }
}

/// Without weights of zero, which Go leaves out of some objects, and with the original configuration as an object.
fn plain(object: &Value) -> Value {
    match object {
        Value::Object(members) => {
            let plain = |(key, value): (&String, &Value)| match (key.as_str(), value) {
                ("weight", value) if *value == 0 => None,
                // Go writes the name of a container that has none.
                ("name", value) if *value == "" => None,
                ("flagger.kubernetes.io/original-configuration", Value::String(text)) => {
                    Some((key.clone(), plain(&serde_json::from_str(text).unwrap())))
                }
                _ => Some((key.clone(), plain(value))),
            };
            members.iter().filter_map(plain).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        other => other.clone(),
    }
}

/// Cookie values as the samples name them.
fn anonymous(text: &str, canary: &Canary) -> String {
    let status = canary.status();
    let value =
        |cookie: &str| cookie.split_once('=').map(|(_, value)| value.to_owned()).filter(|value| !value.is_empty());
    let replace = |text: String, cookie: &str, name: &str| match value(cookie) {
        Some(value) => text.replace(&value, name),
        None => text,
    };
    let text = replace(text.to_owned(), &status.session_affinity_cookie, "<rand-canary>");
    let text = replace(text, &status.previous_session_affinity_cookie, "<rand-canary>");
    replace(text, &status.primary_session_affinity_cookie, "<rand-primary>")
}

fn check(world: &World, result: &Value, context: &str) {
    let canary: Canary = canary(&world.canary);
    for write in result["writes"].as_array().into_iter().flatten() {
        if write["verb"] == "delete" {
            let is_gone = world.objects.iter().all(|object| object["metadata"]["name"] != write["name"]);
            assert!(is_gone, "{context}: {} is still there", write["name"]);
            continue;
        }
        let mut expected = write["object"].clone();
        expected.as_object_mut().unwrap().remove("status");
        let name = expected.pointer("/metadata/name").unwrap();
        let plural = write["resource"].as_str().unwrap();
        let is_meant = |object: &&Value| {
            let kind = object["kind"].as_str().unwrap().to_lowercase();
            object.pointer("/metadata/name") == Some(name) && plural.starts_with(kind.trim_end_matches('y'))
        };
        let found = world.objects.iter().find(is_meant);
        let mut found = found.unwrap_or_else(|| panic!("{context}: {name} was not written")).clone();
        assert_eq!(found["apiVersion"], write["apiVersion"], "{context}");
        for member in ["apiVersion", "kind", "status"] {
            found.as_object_mut().unwrap().remove(member);
            expected.as_object_mut().unwrap().remove(member);
        }
        let found: Value = serde_json::from_str(&anonymous(&found.to_string(), &canary)).unwrap();
        let (found, expected) = (plain(&found), plain(&expected));
        assert!(same(&found, &expected), "{context}: wrote\n{found:#}\nthe reference wrote\n{expected:#}");
    }
    if let Some(status) = result.get("status") {
        let ours: Value = serde_json::from_str(&anonymous(&world.canary["status"].to_string(), &canary)).unwrap();
        for (member, expected) in status.as_object().unwrap() {
            assert_eq!(ours.get(member), Some(expected), "{context}: status.{member}");
        }
    }
}

fn run(case: &Value) {
    let options = options(case);
    let mut world = World { canary: case["canary"].clone(), objects: cases::list(&case["objects"]) };
    for (index, (step, result)) in cases::list(&case["steps"]).iter().zip(&cases::list(&case["results"])).enumerate() {
        let context = format!("{} step {index} {}", case["id"], step["op"]);
        let canary: Canary = canary(&world.canary);
        let weights_of = |step: &Value| Weights {
            primary: u32::try_from(step["primary"].as_u64().unwrap()).unwrap(),
            canary: u32::try_from(step["canary"].as_u64().unwrap()).unwrap(),
            mirrored: step["mirrored"].as_bool().unwrap(),
        };
        let outcome = match step["op"].as_str().unwrap() {
            "reconcile" => reconcile(&canary, &options, &world.objects, 7),
            "setRoutes" => routes(&canary, &options, weights_of(step), &world.objects, 7).map(Some),
            "getRoutes" => {
                let expected = &result["routes"];
                match weights(&canary, &options, &world.objects) {
                    Ok(found) => assert_eq!(&json!(found), expected, "{context}"),
                    Err(error) => assert!(result.get("error").is_some(), "{context}: {error}"),
                }
                continue;
            }
            "patchCanary" => {
                cases::merge(&mut world.canary, &step["patch"]);
                continue;
            }
            "putObject" => {
                world.objects.push(step["object"].clone());
                continue;
            }
            "finalize" => {
                world.end(finalize(&canary, &options, &world.objects));
                check(&world, result, &context);
                continue;
            }
            // Knative: what the first tick and the promotion do to the Service is done by the route here.
            "workloadInit" => reconcile(&canary, &options, &world.objects, 7),
            "promote" => continue,
            op => panic!("unknown operation {op}"),
        };
        match outcome {
            Ok(Some(change)) => {
                world.apply(&change);
                check(&world, result, &context);
            }
            Ok(None) => assert!(result.get("writes").is_none(), "{context}: nothing was written"),
            Err(error) => assert!(
                result["error"].as_str().is_some_and(|text| error.to_string().starts_with(text)),
                "{context}: {error}"
            ),
        }
    }
}

/// The sample files, one for each provider.
const FILES: [&str; 13] = [
    "apisix",
    "contour",
    "gatewayapi-v1",
    "gatewayapi-v1beta1",
    "gloo",
    "istio",
    "knative",
    "kubernetes",
    "kuma",
    "nginx",
    "skipper",
    "smi",
    "traefik",
];

#[test]
fn routes_are_those_of_the_reference() {
    for file in FILES {
        for case in cases::json(&format!("canary/routers/{file}.json")) {
            run(&case);
        }
    }
}

/// A Canary named podinfo behind a Gateway.
fn podinfo(spec: Value) -> Canary {
    let mut object = json!({"metadata": {"uid": "1"}, "spec": {"provider": "gatewayapi:v1",
        "service": {"port": 80, "gatewayRefs": [{"name": "gw"}]}, "analysis": {"stepWeight": 10}}});
    cases::merge(&mut object["spec"], &spec);
    canary(&object)
}

/// The HTTPRoute that results for given weights.
fn routed(canary: &Canary, weights: Weights, live: Option<&Value>) -> Value {
    let current: Vec<Value> = live.into_iter().cloned().collect();
    let change = routes(canary, &Options::default(), weights, &current, 1).unwrap();
    merged(live, &change.apply[0])
}

const TWENTY: Weights = Weights { primary: 80, canary: 20, mirrored: false };

#[test]
fn a_changed_spec_leaves_the_weights_of_a_run_alone() {
    let live = routed(&podinfo(json!({})), TWENTY, None);
    let changed = podinfo(json!({"service": {"hosts": ["app.example.com"], "timeout": "3s"}}));
    let current = [live];
    let change = reconcile(&changed, &Options::default(), &current, 1).unwrap().unwrap();
    let route = merged(Some(&current[0]), &change.apply[0]);
    assert_eq!(route["spec"]["hostnames"][0], "app.example.com");
    assert_eq!(weights(&changed, &Options::default(), std::slice::from_ref(&route)).unwrap(), TWENTY);
    assert_eq!(reconcile(&changed, &Options::default(), &[route], 1).unwrap(), None);
}

#[test]
fn hosts_taken_from_the_spec_are_taken_from_the_route() {
    let live = routed(&podinfo(json!({"service": {"hosts": ["app.example.com"]}})), TWENTY, None);
    let route = routed(&podinfo(json!({})), TWENTY, Some(&live));
    assert_eq!(route["spec"]["hostnames"], json!([]));
}

#[test]
fn what_others_put_on_the_route_stays() {
    let canary = podinfo(json!({}));
    let mut live = routed(&canary, Weights::PRIMARY, None);
    live["metadata"]["labels"] = json!({"team": "web"});
    live["metadata"]["annotations"]["note"] = json!("mine");
    let snippet = json!({"type": "ExtensionRef", "extensionRef": {"group": "x", "kind": "Snippet", "name": "s"}});
    live["spec"]["rules"][0]["filters"] = json!([snippet]);
    live["spec"]["rules"][0]["name"] = json!("main");
    let docs = json!({"matches": [{"path": {"type": "PathPrefix", "value": "/docs"}}], "backendRefs": [{"name": "docs", "port": 80}]});
    live["spec"]["rules"].as_array_mut().unwrap().push(docs.clone());
    let route = routed(&canary, TWENTY, Some(&live));
    assert_eq!(
        (&route["metadata"]["labels"]["team"], &route["metadata"]["annotations"]["note"]),
        (&json!("web"), &json!("mine"))
    );
    assert_eq!(route["spec"]["rules"][0]["filters"], json!([snippet]));
    assert_eq!((&route["spec"]["rules"][0]["name"], &route["spec"]["rules"][1]), (&json!("main"), &docs));
    assert_eq!(weights(&canary, &Options::default(), &[route]).unwrap(), TWENTY);
}

#[test]
fn requests_to_the_canary_carry_the_header_that_it_asks_for() {
    let mut canary = podinfo(json!({}));
    canary.metadata.annotations = Some([("slipway.dev/canary-header".to_owned(), "X-Canary".to_owned())].into());
    let modifier = |set: Value| json!({"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": set}});
    let (ours, other) = (json!({"name": "X-Canary", "value": "true"}), json!({"name": "X-Mine", "value": "1"}));
    let mut live = routed(&canary, Weights::PRIMARY, None);
    let backends = |route: &Value| route["spec"]["rules"].as_array().unwrap().last().unwrap()["backendRefs"].clone();
    assert_eq!(backends(&live)[1]["filters"], json!([modifier(json!([ours]))]));
    assert_eq!(backends(&live)[0].get("filters"), None);
    live["spec"]["rules"][0]["backendRefs"][1]["filters"] =
        json!([modifier(json!([{"name": "x-canary", "value": "no"}, other]))]);
    let route = routed(&canary, TWENTY, Some(&live));
    assert_eq!(backends(&route)[1]["filters"][0], modifier(json!([other, ours])));
    assert_eq!(reconcile(&canary, &Options::default(), std::slice::from_ref(&route), 1).unwrap(), None);
    assert_eq!(weights(&canary, &Options::default(), &[route]).unwrap(), TWENTY);
}

#[test]
fn a_weighted_canary_can_mirror() {
    let canary = podinfo(json!({"analysis": {"mirror": true}}));
    let mirrored = Weights { mirrored: true, ..Weights::PRIMARY };
    let route = routed(&canary, mirrored, None);
    assert_eq!(weights(&canary, &Options::default(), &[route]).unwrap(), mirrored);
}

#[test]
fn weights_count_once_every_parent_accepted_the_present_generation() {
    let canary = podinfo(json!({}));
    let mut route = routed(&canary, TWENTY, None);
    route["metadata"]["generation"] = json!(2);
    let mut says = |status: &str, generation: i64| {
        let accepted = json!({"type": "Accepted", "status": status, "observedGeneration": generation});
        route["status"] = json!({"parents": [{"parentRef": {"name": "gw"}, "conditions": [accepted]}]});
        weights(&canary, &Options::default(), &[route.clone()])
    };
    assert_eq!(says("True", 2), Ok(TWENTY));
    assert!(says("False", 2).unwrap_err().to_string().contains("not accepted by its parent gw"));
    assert!(says("True", 1).unwrap_err().to_string().contains("not yet observed"));
}

#[test]
fn weights_wait_for_parents_that_resolve_and_program_routes() {
    let canary = podinfo(json!({"service": {"gatewayRefs": [{"name": "gw"}, {"name": "gw", "sectionName": "tls"}]}}));
    let mut route = routed(&canary, TWENTY, None);
    route["metadata"]["generation"] = json!(2);
    let condition = |kind: &str, status: &str, generation: i64| json!({"type": kind, "status": status, "observedGeneration": generation});
    let mut says = |first: &[Value], second: &[Value]| {
        let parent = |section: Option<&str>, conditions: &[Value]| {
            let mut parent = json!({"parentRef": {"name": "gw"}, "conditions": conditions});
            if let Some(section) = section {
                parent["parentRef"]["sectionName"] = json!(section);
            }
            parent
        };
        let mut parents = vec![parent(None, first)];
        parents.extend((!second.is_empty()).then(|| parent(Some("tls"), second)));
        route["status"] = json!({ "parents": parents });
        weights(&canary, &Options::default(), &[route.clone()]).map_err(|error| error.to_string())
    };
    let accepted = condition("Accepted", "True", 2);
    let with = |kind: &str, status: &str, generation: i64| vec![accepted.clone(), condition(kind, status, generation)];
    let fine = [accepted.clone(), condition("ResolvedRefs", "True", 2), condition("Programmed", "True", 2)];
    assert_eq!(says(&fine, &fine), Ok(TWENTY));
    for (kind, act) in [("ResolvedRefs", "not resolved"), ("Programmed", "not programmed")] {
        assert!(says(&fine, &with(kind, "False", 2)).unwrap_err().contains(act), "{kind}");
        assert!(says(&fine, &with(kind, "True", 1)).unwrap_err().contains("not yet observed"), "{kind}");
    }
    // A condition that nobody promised to give is nobody's business, and a parent that says nothing is waited for.
    assert_eq!(says(&fine, &with("PartiallyInvalid", "True", 1)), Ok(TWENTY));
    assert!(says(&fine, &[]).unwrap_err().contains("not yet observed by its parent gw"));
}

#[test]
fn matches_that_gateway_api_cannot_express_are_errors() {
    for wrong in [
        json!({"headers": {"x": {"prefix": "a"}}}),
        json!({"headers": {"x": {"suffix": "a"}}}),
        json!({"uri": {"suffix": "a"}}),
        json!({"method": {"regex": "G.*"}}),
    ] {
        let service = podinfo(json!({"service": {"match": [wrong.clone()]}}));
        let analysis = podinfo(json!({"analysis": {"iterations": 3, "match": [wrong]}}));
        for canary in [service, analysis] {
            let error = routes(&canary, &Options::default(), Weights::PRIMARY, &[], 1).unwrap_err();
            assert!(error.to_string().starts_with("Invalid request matching selectors: "), "{error}");
        }
    }
}

#[test]
fn products_at_their_end_are_refused_with_what_to_use_instead() {
    for provider in ["appmesh", "appmesh:v1beta2", "osm"] {
        let canary = podinfo(json!({"provider": provider}));
        let error = routes(&canary, &Options::default(), Weights::PRIMARY, &[], 1).unwrap_err().to_string();
        assert!(error.starts_with(&format!("provider {provider:?} is not supported: ")), "{error}");
        assert!(error.contains("use gatewayapi:v1"), "{error}");
    }
    let unknown = podinfo(json!({"provider": "something"}));
    let change = routes(&unknown, &Options::default(), Weights::PRIMARY, &[], 1).unwrap();
    assert_eq!(change.apply.last().unwrap()["kind"], "VirtualService");
}

#[test]
fn an_object_that_was_there_before_is_not_owned() {
    let user = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "podinfo", "namespace": "default"}});
    let route = routed(&podinfo(json!({})), TWENTY, Some(&user));
    assert_eq!(route["metadata"].get("ownerReferences"), None);
    let own = routed(&podinfo(json!({})), TWENTY, None);
    let route = routed(&podinfo(json!({})), TWENTY, Some(&own));
    assert_eq!(route["metadata"]["ownerReferences"][0]["name"], "podinfo");
}

/// The VirtualService for given weights.
fn virtual_service(spec: Value, weights: Weights) -> Value {
    let mut given = json!({"provider": "istio"});
    cases::merge(&mut given, &spec);
    routes(&podinfo(given), &Options::default(), weights, &[], 1).unwrap().apply.pop().unwrap()
}

#[test]
fn istio_mirrors_the_share_that_the_analysis_names() {
    let mirrored = Weights { mirrored: true, ..Weights::PRIMARY };
    let rule = &virtual_service(json!({"analysis": {"mirror": true, "mirrorWeight": 20}}), mirrored)["spec"]["http"][0];
    assert_eq!(
        (&rule["mirror"], &rule["mirrorPercentage"]),
        (&json!({"host": "podinfo-canary"}), &json!({"value": 20}))
    );
}

#[test]
fn istio_routes_tcp_by_the_ports_that_the_service_matches() {
    let spec = &virtual_service(json!({"service": {"appProtocol": "TCP"}}), TWENTY)["spec"];
    assert_eq!((spec["tcp"][0].get("match"), spec.get("http")), (None, None));
    assert_eq!(spec["tcp"][0]["route"][1]["weight"], json!(20));
    let service = json!({"appProtocol": "tcp", "match": [{"port": 9000}, {"uri": {"prefix": "/"}}, {"port": 9001}]});
    let spec = &virtual_service(json!({ "service": service }), TWENTY)["spec"];
    assert_eq!(spec["tcp"][0]["match"], json!([{"port": 9000}, {}, {"port": 9001}]));
}

#[test]
fn an_istio_test_asks_for_its_headers_on_the_paths_of_the_service() {
    let spec = json!({"service": {"match": [{"uri": {"prefix": "/a"}}]},
        "analysis": {"iterations": 2, "match": [{"headers": {"x": {"exact": "1"}}}]}});
    let rules = &virtual_service(spec, TWENTY)["spec"]["http"];
    assert_eq!(rules[0]["match"], json!([{"uri": {"prefix": "/a"}, "headers": {"x": {"exact": "1"}}}]));
    assert_eq!(
        (&rules[1]["match"], rules[1]["route"].as_array().unwrap().len()),
        (&json!([{"uri": {"prefix": "/a"}}]), 1)
    );
}

#[test]
fn an_istio_test_keeps_what_the_service_asks_for_and_the_test_does_not() {
    let service = json!({"match": [{"headers": {"tenant": {"exact": "a"}}, "sourceLabels": {"zone": "b"}}]});
    let of = |tested: Value| {
        let spec = json!({"service": service, "analysis": {"iterations": 2, "match": [tested]}});
        virtual_service(spec, TWENTY)["spec"]["http"][0]["match"][0].clone()
    };
    assert_eq!(
        of(json!({"sourceLabels": {"app": "c"}})),
        json!({"headers": {"tenant": {"exact": "a"}}, "sourceLabels": {"app": "c"}})
    );
    assert_eq!(of(json!({"queryParams": {"v": {"exact": "2"}}}))["queryParams"], json!({"v": {"exact": "2"}}));
}

fn ingress() -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"rules": [{"host": "no-paths"}, {"http": {"paths": [{"path": "/", "backend": {"service": {"name": "podinfo", "port": {"number": 80}}}}]}}]}})
}

#[test]
fn a_test_is_written_once_whatever_it_asks_for() {
    let tests = [
        json!({"uri": {"prefix": "/beta"}, "method": {"exact": "GET"}}),
        json!({"name": "beta", "withoutHeaders": {"w": {"exact": "v"}}}),
        json!({"headers": {"x-user": {"exact": "v"}}, "uri": {"exact": "/a"}}),
    ];
    for (provider, test) in
        ["gatewayapi:v1", "istio"].into_iter().flat_map(|name| tests.iter().map(move |test| (name, test)))
    {
        let canary = podinfo(json!({"provider": provider, "analysis": {"iterations": 2, "match": [test]}}));
        let (mut current, mut counts) = (Vec::new(), Vec::new());
        for weights in [Weights::PRIMARY, TWENTY, Weights::PRIMARY] {
            let change = routes(&canary, &Options::default(), weights, &current, 1).unwrap();
            current = change.apply.iter().map(|ours| applied(&current, ours)).collect();
            let route = current.last().unwrap();
            counts.push(
                route.pointer("/spec/rules").or_else(|| route.pointer("/spec/http")).unwrap().as_array().unwrap().len(),
            );
        }
        assert!(counts[0] <= 2 && counts.iter().all(|count| *count == counts[0]), "{provider} {test}: {counts:?}");
    }
}

#[test]
fn nginx_tests_by_cookie_or_header() {
    let spec = json!({"provider": "nginx", "ingressRef": {"name": "web"}, "analysis": {"iterations": 2, "match": [
        {"headers": {"cookie": {"exact": "always"}}}, {"headers": {"x-user": {"regex": "a.*"}}}]}});
    let change = routes(&podinfo(spec.clone()), &Options::default(), TWENTY, &[ingress()], 1).unwrap();
    let annotations = &change.apply[0]["metadata"]["annotations"];
    let of = |kind: &str| annotations[format!("nginx.ingress.kubernetes.io/canary{kind}")].as_str();
    assert_eq!(
        (of("-by-cookie"), of("-by-header"), of("-by-header-pattern")),
        (Some("always"), Some("x-user"), Some("a.*"))
    );
    assert_eq!((of(""), of("-weight")), (Some("true"), Some("0")));
    // A test that ingress-nginx knows nothing of lets nobody through, instead of everybody.
    let mut unknown = spec.clone();
    unknown["analysis"]["match"] = json!([{"queryParams": {"v": {"exact": "2"}}}]);
    let change = routes(&podinfo(unknown), &Options::default(), TWENTY, &[ingress()], 1).unwrap();
    assert_eq!(change.apply[0]["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"], "0");
    let mut other = ingress();
    other["spec"]["rules"][1]["http"]["paths"][0]["backend"]["service"]["name"] = json!("other");
    let error = routes(&podinfo(spec), &Options::default(), TWENTY, &[other], 1).unwrap_err();
    assert_eq!(error.to_string(), "backend podinfo not found in ingress web");
}

mod copies;
mod properties;
