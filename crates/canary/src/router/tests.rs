//! Routes are compared by meaning with what the reference wrote: `tests/cases/canary/routers`.

use super::*;
use crate::cases::{self, canary};

fn options(case: &Value) -> Options {
    Options { mesh_provider: case["provider"].as_str().unwrap().into(), owned: true }
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
            let live = find(&self.objects, &wanted).cloned();
            self.objects.retain(|object| ObjectReference::of(object).unwrap() != wanted);
            self.objects.push(merged(live.as_ref(), ours));
        }
        if let Some(cookies) = &change.cookies {
            cases::merge(&mut self.canary["status"], &json!(cookies));
        }
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
        let mut expected = write["object"].clone();
        expected.as_object_mut().unwrap().remove("status");
        let name = expected.pointer("/metadata/name").unwrap();
        let found = world.objects.iter().find(|object| object.pointer("/metadata/name") == Some(name));
        let mut found = found.unwrap_or_else(|| panic!("{context}: {name} was not written")).clone();
        assert_eq!(found["apiVersion"], write["apiVersion"], "{context}");
        for member in ["apiVersion", "kind", "status"] {
            found.as_object_mut().unwrap().remove(member);
            expected.as_object_mut().unwrap().remove(member);
        }
        let found: Value = serde_json::from_str(&anonymous(&found.to_string(), &canary)).unwrap();
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
            _ => Ok(None),
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

#[test]
fn routes_are_those_of_the_reference() {
    for file in ["gatewayapi-v1", "gatewayapi-v1beta1", "kubernetes"] {
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
fn an_unknown_provider_is_named() {
    let canary = podinfo(json!({"provider": "gloo"}));
    let error = routes(&canary, &Options::default(), Weights::PRIMARY, &[], 1).unwrap_err();
    assert!(error.to_string().starts_with("provider \"gloo\" is not supported; use gatewayapi:v1"), "{error}");
}

proptest::proptest! {
    #[test]
    fn weights_read_back_as_written(canary_weight in 0_u32..=100, mirrored: bool, affinity: bool, ab: bool, random: u64) {
        let mut analysis = json!({"iterations": 3});
        if affinity { analysis["sessionAffinity"] = json!({"cookieName": "c", "primaryCookieName": "p"}); }
        if ab { analysis["match"] = json!([{"headers": {"x": {"exact": "1"}}}]); }
        let canary = podinfo(json!({"analysis": analysis}));
        let wanted = Weights { primary: 100 - canary_weight, canary: canary_weight, mirrored };
        let change = routes(&canary, &Options::default(), wanted, &[], random).unwrap();
        proptest::prop_assert_eq!(weights(&canary, &Options::default(), &change.apply), Ok(wanted));
    }
}
