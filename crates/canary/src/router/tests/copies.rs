//! What copies take from the user's objects, what leaves objects that are made for the rollout, and what is given back.

use super::*;
use crate::patch::patched;

#[test]
fn a_copied_apisix_route_has_the_annotations_of_the_original() {
    let spec = json!({"provider": "apisix", "routeRef": {"name": "route"}});
    let original = json!({"apiVersion": "apisix.apache.org/v2", "kind": "ApisixRoute",
        "metadata": {"name": "route", "namespace": "default", "annotations": {"a": "b", KUBECTL: "{}"}},
        "spec": {"http": [{"name": "m", "backends": [{"serviceName": "podinfo", "servicePort": 80}]}]}});
    let change = routes(&podinfo(spec), &Options::default(), TWENTY, &[original], 1).unwrap();
    assert_eq!(change.apply[0]["metadata"]["annotations"], json!({"a": "b"}));
}

#[test]
fn a_copied_upstream_is_not_labelled_as_one_that_gloo_discovered() {
    let reference = json!({"apiVersion": "gloo.solo.io/v1", "kind": "Upstream", "name": "up", "namespace": "default"});
    let spec = json!({"provider": "gloo", "upstreamRef": reference});
    let original = json!({"apiVersion": "gloo.solo.io/v1", "kind": "Upstream",
        "metadata": {"name": "up", "namespace": "default", "labels": {"discovered_by": "kubernetesplugin"}},
        "spec": {"circuitBreakers": {"maxConnections": 3}}});
    let change = routes(&podinfo(spec), &Options::default(), TWENTY, &[original], 1).unwrap();
    let upstreams = change.apply.iter().filter(|object| object["kind"] == "Upstream");
    for upstream in upstreams {
        assert_eq!(upstream["spec"]["circuitBreakers"]["maxConnections"], 3);
        assert_eq!(upstream["metadata"].get("labels"), None);
    }
}

fn istio(policy: Value) -> Canary {
    podinfo(json!({"provider": "istio", "service": {"trafficPolicy": policy}}))
}

#[test]
fn a_traffic_policy_that_leaves_the_canary_leaves_the_destination_rules() {
    let options = Options::default();
    let both = istio(json!({"tls": {"mode": "DISABLE"}, "loadBalancer": {"simple": "RANDOM"}}));
    let live = routes(&both, &options, TWENTY, &[], 1).unwrap().apply;
    assert_eq!(reconcile(&both, &options, &live, 1).unwrap(), None);
    for policy in [json!({"tls": {"mode": "DISABLE"}}), Value::Null] {
        let canary = istio(policy.clone());
        let change = reconcile(&canary, &options, &live, 1).unwrap().expect("something to change");
        let rules: Vec<_> = change.apply.iter().filter(|object| is_whole(object)).collect();
        assert_eq!(rules.len(), 2, "{policy}");
        let policies = rules.iter().map(|rule| applied(&live, rule)["spec"]["trafficPolicy"].clone());
        assert!(policies.clone().all(|found| found == policy), "{:?}", policies.collect::<Vec<_>>());
    }
}

#[test]
fn a_virtual_service_is_given_back_without_what_flagger_put_on_it() {
    let canary = istio(Value::Null);
    let before = json!({"hosts": ["podinfo"], "http": [{"route": [{"destination": {"host": "podinfo"}}]}]});
    let mut live = routes(&canary, &Options::default(), TWENTY, &[], 1).unwrap().apply.pop().unwrap();
    live["metadata"]["annotations"][KUBECTL] = json!(json!({ "spec": before }).to_string());
    let end = finalize(&canary, &Options::default(), std::slice::from_ref(&live));
    // As if nothing were taken back by applying less, which is so for what another wrote.
    let restored =
        end.patch.iter().fold(merged(Some(&live), &end.apply[0]), |object, (_, patch)| patched(&object, patch));
    assert_eq!(restored["spec"], before);
    let annotations = restored["metadata"]["annotations"].as_object().unwrap();
    assert_eq!(annotations.keys().collect::<Vec<_>>(), [KUBECTL]);
}
