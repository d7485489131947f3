//! What holds for every router, whatever the weights and whatever a user does to the objects.

use api::meta::ObjectReference;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{ingress, podinfo};
use crate::router::{Options, Weights, applied, reconcile, routes, weights};

/// A way to route: the Canary's spec and the user's objects.
struct Kind {
    provider: &'static str,
    spec: Value,
    objects: Vec<Value>,
    annotations: Value,
}

fn kind(provider: &'static str, spec: Value, objects: Vec<Value>) -> Kind {
    Kind { provider, spec, objects, annotations: Value::Null }
}

/// A route that its user keeps.
fn existing(provider: &'static str, object: Value) -> Kind {
    let kind = object["kind"].as_str().unwrap().to_owned();
    Kind {
        provider,
        spec: json!({}),
        objects: vec![object],
        annotations: json!({"slipway.dev/route-ref": format!("{kind}/mine")}),
    }
}

fn object(api_version: &str, kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": spec})
}

fn kinds() -> Vec<Kind> {
    let ab = json!({"analysis": {"iterations": 3, "match": [{"headers": {"x": {"exact": "1"}}}]}});
    let affinity = json!({"analysis": {"sessionAffinity": {"cookieName": "c", "primaryCookieName": "p"}}});
    let expressive = json!({"service": {"timeout": "5s", "hosts": ["a.example.com"], "match": [{"uri": {"prefix": "/a"}}],
        "headers": {"request": {"add": {"a": "1"}}}, "retries": {"attempts": 2}}});
    let from_ingress = |spec: Value| {
        let mut spec = spec;
        spec["ingressRef"] = json!({"name": "web"});
        spec
    };
    let apisix_route = object(
        "apisix.apache.org/v2",
        "ApisixRoute",
        "web",
        json!({"http": [
        {"name": "r", "match": {"paths": ["/*"]}, "backends": [{"serviceName": "podinfo", "servicePort": 80}]}]}),
    );
    let service = |role: &str| object("v1", "Service", &format!("podinfo-{role}"), json!({"selector": {"app": role}}));
    let knative = object("serving.knative.dev/v1", "Service", "podinfo", json!({"template": {}}));
    let backends =
        json!([{"name": "podinfo-primary", "port": 80}, {"name": "podinfo-canary", "port": 80, "weight": 0}]);
    let rules = json!([{"name": "main", "backendRefs": backends}, {"backendRefs": [{"name": "docs", "port": 80}]}]);
    let gateway = |kind: &str, version: &str| {
        object(&format!("gateway.networking.k8s.io/{version}"), kind, "mine", json!({"rules": rules}))
    };
    let virtual_service = object(
        "networking.istio.io/v1",
        "VirtualService",
        "mine",
        json!({"hosts": ["a"], "http": [
        {"route": [{"destination": {"host": "docs"}}]},
        {"route": [{"destination": {"host": "podinfo-primary.default.svc.cluster.local"}, "weight": 100},
                   {"destination": {"host": "podinfo-canary", "subset": "x"}, "weight": 0}]}]}),
    );
    let mut canary_ingress = ingress();
    canary_ingress["metadata"]["name"] = json!("mine");
    canary_ingress["spec"]["rules"][1]["http"]["paths"][0]["backend"]["service"]["name"] = json!("podinfo-canary");
    let mut kinds = vec![
        kind("apisix", json!({"routeRef": {"name": "web"}}), vec![apisix_route]),
        kind("gloo", json!({}), vec![service("primary"), service("canary")]),
        kind("gloo", ab.clone(), vec![]),
        kind(
            "knative",
            json!({"targetRef": {"apiVersion": "serving.knative.dev/v1", "kind": "Service"}}),
            vec![knative],
        ),
        kind("kuma", json!({}), vec![]),
        kind("linkerd", json!({}), vec![]),
        kind("smi:v1alpha2", json!({}), vec![]),
        kind("smi:v1alpha3", json!({"service": {"hosts": ["h"]}}), vec![]),
        kind("nginx", from_ingress(json!({})), vec![ingress()]),
        kind("skipper", from_ingress(json!({})), vec![ingress()]),
        kind("traefik", json!({}), vec![]),
        existing("gatewayapi:v1", gateway("HTTPRoute", "v1")),
        existing("gatewayapi:v1", gateway("GRPCRoute", "v1")),
        existing("gatewayapi:v1", gateway("TLSRoute", "v1alpha2")),
        existing("istio", virtual_service),
        existing("nginx", canary_ingress),
    ];
    for provider in ["contour", "gatewayapi:v1", "gatewayapi:v1beta1", "istio"] {
        for spec in [json!({}), ab.clone(), expressive.clone()] {
            kinds.push(kind(provider, spec, vec![]));
        }
    }
    for provider in ["gatewayapi:v1", "istio"] {
        kinds.push(kind(provider, affinity.clone(), vec![]));
    }
    kinds.push(kind("istio", json!({"service": {"appProtocol": "tcp"}}), vec![]));
    kinds
}

/// The objects of a kind as they are written.
struct World {
    canary: api::flagger::Canary,
    objects: Vec<Value>,
}

impl World {
    fn new(kind: &Kind) -> Self {
        let mut spec = kind.spec.clone();
        spec["provider"] = json!(kind.provider);
        let mut canary = podinfo(spec);
        canary.metadata.annotations = serde_json::from_value(kind.annotations.clone()).unwrap();
        let mut objects = kind.objects.clone();
        if let Some(service) = objects.iter_mut().find(|object| object["apiVersion"] == "serving.knative.dev/v1") {
            service["status"] = json!({"latestCreatedRevisionName": "podinfo-00001"});
        }
        Self { canary, objects }
    }

    fn options() -> Options {
        Options::default()
    }

    fn set(&mut self, weights: Weights) {
        let change = routes(&self.canary, &Self::options(), weights, &self.objects, 7).unwrap();
        self.apply(change);
    }

    fn apply(&mut self, change: crate::router::Change) {
        for ours in &change.apply {
            let mut object = applied(&self.objects, ours);
            // What Knative's own controller does.
            if object["apiVersion"] == "serving.knative.dev/v1" {
                object["status"]["traffic"] = object["spec"]["traffic"].clone();
            }
            let wanted = (object["kind"].clone(), object["metadata"]["name"].clone());
            self.objects.retain(|old| (old["kind"].clone(), old["metadata"]["name"].clone()) != wanted);
            self.objects.push(object);
        }
        if let Some(cookies) = change.cookies {
            let mut status = self.canary.status().into_owned();
            status.session_affinity_cookie = cookies.session_affinity_cookie;
            status.primary_session_affinity_cookie = cookies.primary_session_affinity_cookie;
            status.previous_session_affinity_cookie = cookies.previous_session_affinity_cookie;
            self.canary.status = Some(status);
        }
    }

    fn weights(&self) -> Weights {
        weights(&self.canary, &Self::options(), &self.objects).unwrap()
    }

    /// Those of the objects that the router writes to.
    fn routed(&self) -> Vec<ObjectReference> {
        let change = routes(&self.canary, &Self::options(), Weights::PRIMARY, &self.objects, 7).unwrap();
        change.apply.iter().filter_map(ObjectReference::of).collect()
    }
}

fn split(canary: u32) -> Weights {
    Weights { primary: 100 - canary, canary, mirrored: false }
}

/// All or nothing, where a test by header allows nothing else.
fn allowed(kind: &Kind, canary: u32) -> u32 {
    if kind.provider == "nginx" && kind.spec.pointer("/analysis/match").is_some() { canary / 51 * 100 } else { canary }
}

#[test]
fn weights_read_back_as_written_and_twice_is_once() {
    for kind in kinds() {
        let mut world = World::new(&kind);
        for canary in [0, 1, 20, 50, 99, 100, 0, 33, 0] {
            let context = format!("{} {} at {canary}", kind.provider, kind.spec);
            world.set(split(canary));
            assert_eq!(world.weights(), split(canary), "{context}");
            let before = world.objects.clone();
            world.set(split(canary));
            let sorted = |objects: &[Value]| {
                let mut texts: Vec<_> = objects.iter().map(Value::to_string).collect();
                texts.sort();
                texts
            };
            assert_eq!(sorted(&world.objects), sorted(&before), "{context}");
            let settled = reconcile(&world.canary, &World::options(), &world.objects, 7).unwrap();
            assert_eq!(settled, None, "{context}");
        }
    }
}

/// One edit by a user: a member that no router knows.
fn mark(value: &mut Value, number: usize) {
    value[format!("x-user-{number}")] = json!(format!("mine {number}"));
}

/// Everything that users may edit on a routing object: its metadata, its spec, and each of the rules that lead to us.
fn edit(object: &mut Value, number: usize) {
    for member in ["labels", "annotations"] {
        object["metadata"][member][format!("user/{member}-{number}")] = json!("mine");
    }
    // A copy follows the original, and the form of a CRD is closed where rules are not lists.
    if object["kind"] == "Ingress"
        || object["kind"] == "ApisixRoute"
        || object["apiVersion"] == "serving.knative.dev/v1"
    {
        return;
    }
    if object["spec"].is_object() {
        mark(&mut object["spec"], number);
    }
    for member in ["rules", "http", "routes"] {
        let rules = object["spec"].get_mut(member).and_then(Value::as_array_mut);
        if let Some(rule) = rules.and_then(|rules| rules.last_mut()) {
            mark(rule, number);
        }
    }
}

/// Every edit in the object, at whatever depth.
fn marks(value: &Value, found: &mut Map<String, Value>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                if key.starts_with("x-user-") || key.starts_with("user/") {
                    found.insert(key.clone(), value.clone());
                }
                marks(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| marks(item, found)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn what_users_put_on_the_objects_stays(steps in prop::collection::vec((0_u32..=100, any::<bool>()), 1..5)) {
        for kind in kinds() {
            let mut world = World::new(&kind);
            world.set(Weights::PRIMARY);
            let routed = world.routed();
            let mut edits = Vec::new();
            for (number, (canary, edited)) in steps.iter().enumerate() {
                if *edited {
                    let is_routed = |object: &&mut Value| ObjectReference::of(object).is_some_and(|id| routed.contains(&id));
                    for object in world.objects.iter_mut().filter(is_routed) {
                        edit(object, number);
                        let mut found = Map::new();
                        marks(object, &mut found);
                        edits.push((ObjectReference::of(object).unwrap(), found));
                    }
                }
                let canary = allowed(&kind, *canary);
                world.set(split(canary));
                prop_assert_eq!(world.weights(), split(canary), "{} {}", kind.provider, kind.spec);
                for (id, wanted) in &edits {
                    let object = world.objects.iter().find(|object| ObjectReference::of(object).as_ref() == Some(id)).unwrap();
                    let mut found = Map::new();
                    marks(object, &mut found);
                    for (key, value) in wanted {
                        prop_assert_eq!(found.get(key), Some(value), "{} {}: {} of {}\n{:#}", kind.provider, kind.spec, key, id, object);
                    }
                }
            }
        }
    }

    #[test]
    fn mirroring_reads_back_as_written(canary in 0_u32..=100, mirrored: bool, istio: bool, ab: bool) {
        let mut spec = json!({"analysis": {"iterations": 3, "mirror": true}});
        if ab { spec["analysis"]["match"] = json!([{"headers": {"x": {"exact": "1"}}}]); }
        let provider = if istio { "istio" } else { "gatewayapi:v1" };
        let mut world = World::new(&kind(provider, spec, vec![]));
        for mirrored in [mirrored, !mirrored, mirrored] {
            let wanted = Weights { mirrored, ..split(canary) };
            world.set(wanted);
            prop_assert_eq!(world.weights(), wanted);
        }
    }
}
