//! Objects of ours over those that Flagger and people wrote.

use super::*;

/// The live object after what makes it ours.
fn owned(live: &Value, ours: &Value) -> Value {
    crate::patch::patched(live, &difference(live, &replaced(live, ours)))
}

#[test]
fn what_leaves_the_target_leaves_the_primary_whoever_wrote_it() {
    let live = json!({"kind": "Deployment",
        "metadata": {"name": "app-primary", "labels": {"app": "app-primary", "old": "1"}, "resourceVersion": "7",
            "annotations": {"old": "1", "deployment.kubernetes.io/revision": "3"}},
        "spec": {"paused": true, "minReadySeconds": 5, "replicas": 2, "selector": {"matchLabels": {"app": "app-primary"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
            "template": {"metadata": {"labels": {"app": "app-primary", "old": "1"}, "annotations": {"old": "1"}},
                "spec": {"nodeSelector": {"old": "1"}, "containers": [{"name": "app", "args": ["a"]}, {"name": "sidecar"}]}}},
        "status": {"replicas": 2}});
    let ours = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "app-primary", "labels": {"app": "app-primary"}},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "app-primary"}}, "strategy": {"type": "Recreate"},
            "template": {"metadata": {"labels": {"app": "app-primary"}, "annotations": {"flagger-id": "1"}},
                "spec": {"containers": [{"name": "app"}]}}}});
    let found = owned(&live, &ours);
    let mut spec = ours["spec"].clone();
    spec["paused"] = json!(true);
    assert_eq!(found["spec"], spec, "other members of the Deployment stay, the template is the target's");
    assert_eq!(
        found["metadata"],
        json!({"name": "app-primary", "labels": {"app": "app-primary"}, "resourceVersion": "7",
            "annotations": {"deployment.kubernetes.io/revision": "3"}})
    );
    assert_eq!(found["status"], live["status"]);
    assert_eq!(owned(&found, &ours), found);
}

#[test]
fn a_config_loses_its_old_keys_and_is_shared_by_two_canaries() {
    let owner = |uid: &str, controller: bool| json!({"kind": "Canary", "uid": uid, "controller": controller});
    let live = json!({"kind": "ConfigMap",
        "metadata": {"name": "cm-primary", "labels": {"old": "1"}, "annotations": {"mine": "1"}, "ownerReferences": [owner("1", true)]},
        "data": {"old": "1", "stays": "1"}, "binaryData": {"old": "AA=="}});
    let ours = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "cm-primary", "ownerReferences": [owner("2", true)]}, "data": {"stays": "2"}});
    let found = owned(&live, &ours);
    assert_eq!(
        found,
        json!({"kind": "ConfigMap", "metadata": {"name": "cm-primary", "annotations": {"mine": "1"},
            "ownerReferences": [owner("1", false), owner("2", true)]}, "data": {"stays": "2"}})
    );
}

#[test]
fn a_scaler_loses_what_the_targets_lost_and_keeps_foreign_labels() {
    let live = json!({"kind": "HorizontalPodAutoscaler", "metadata": {"name": "hpa-primary", "labels": {"foreign": "1"}},
        "spec": {"minReplicas": 1, "maxReplicas": 3, "behavior": {"scaleDown": {}}}});
    let ours = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "hpa-primary", "labels": {"l": "1"}}, "spec": {"minReplicas": 1, "maxReplicas": 3}});
    let found = owned(&live, &ours);
    assert_eq!(found["spec"], ours["spec"]);
    assert_eq!(found["metadata"]["labels"], json!({"foreign": "1", "l": "1"}));
}

#[test]
fn a_service_keeps_its_addresses_and_loses_other_ports_and_metadata() {
    let live = json!({"kind": "Service", "metadata": {"name": "app", "labels": {"old": "1"}, "annotations": {"old": "1"}},
        "spec": {"clusterIP": "10.0.0.1", "type": "NodePort", "selector": {"app": "app", "tier": "web"},
            "ports": [{"name": "b", "port": 2}, {"name": "a", "port": 1}]}});
    let service = |metadata: Value, ports: Value| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {"selector": {"app": "app-primary"}, "ports": ports}})
    };
    let both = json!([{"name": "a", "port": 1}, {"name": "b", "port": 2}]);
    let own = owned(&live, &service(json!({"name": "app", "labels": {"app": "app"}, "annotations": {"x": "y"}}), both));
    assert_eq!(own["metadata"], json!({"name": "app", "labels": {"app": "app"}, "annotations": {"x": "y"}}));
    assert_eq!(own["spec"]["ports"], live["spec"]["ports"], "their order does not matter");
    assert_eq!(own["spec"]["clusterIP"], "10.0.0.1");
    assert_eq!(own["spec"]["selector"], json!({"app": "app-primary"}));
    let one = json!([{"name": "a", "port": 8080}]);
    let foreign = owned(&live, &service(json!({"name": "app", "annotations": {"x": "y"}}), one.clone()));
    assert_eq!(
        foreign["metadata"],
        json!({"name": "app", "labels": {"old": "1"}, "annotations": {"old": "1", "x": "y"}})
    );
    assert_eq!((&foreign["spec"]["ports"], &foreign["spec"]["type"]), (&one, &json!("NodePort")));
}

#[test]
fn a_service_that_is_as_it_should_be_is_settled_and_no_other() {
    let service = |metadata: Value, selector: Value| json!({"kind": "Service", "metadata": metadata, "spec": {"selector": selector, "ports": [{"port": 80}]}});
    let (own, selector) = (json!({"labels": {"app": "a"}}), json!({"app": "a"}));
    let ours = service(own.clone(), selector.clone());
    let mut live = ours.clone();
    live["spec"]["clusterIP"] = json!("10.0.0.1");
    assert!(is_settled(&live, &ours));
    for (metadata, selector) in [
        (json!({"labels": {"app": "a", "old": "1"}}), selector.clone()),
        (json!({"labels": {"app": "a"}, "annotations": {"old": "1"}}), selector.clone()),
        (own.clone(), json!({"app": "a", "old": "1"})),
        (own, json!({"app": "b"})),
    ] {
        let other = service(metadata, selector);
        assert!(!is_settled(&other, &ours) && owned(&other, &ours) != other, "{other}");
    }
    let foreign = service(json!({"annotations": {"x": "y"}}), selector.clone());
    let live = service(json!({"labels": {"mine": "1"}, "annotations": {"x": "y", "mine": "1"}}), selector);
    assert!(is_settled(&live, &foreign) && owned(&live, &foreign) == live);
}

/// What a world writes, as patches and applied objects.
fn written(writes: Vec<Write>) -> Vec<Value> {
    let value = |write| match write {
        Write::Apply(ours) => Some(ours),
        Write::Patch(_, patch) => Some(patch),
        Write::Delete(_) | Write::Cookies(_) => None,
    };
    writes.into_iter().filter_map(value).collect()
}

fn canary() -> api::flagger::Canary {
    crate::cases::canary(&json!({"metadata": {"uid": "1"}, "spec": {"provider": "kubernetes", "revertOnDeletion": true,
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"}, "service": {"port": 80}, "analysis": {"iterations": 1}}}))
}

fn deployment(name: &str, template: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "default"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}})
}

#[test]
fn a_promotion_patches_the_primary_that_is_there() {
    let (canary, options) = (canary(), crate::world::Options::default());
    let containers = |names: &[&str]| names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>();
    let template =
        |names| json!({"metadata": {"labels": {"app": "podinfo"}}, "spec": {"containers": containers(names)}});
    let objects =
        [deployment("podinfo", template(&["app"])), deployment("podinfo-primary", template(&["app", "sidecar"]))];
    let world =
        World { canary: &canary, options: &options, objects: &objects, random: 1, now: jiff::Timestamp::UNIX_EPOCH };
    let writes = written(world.act(&crate::machine::Effect::CopyToPrimary).unwrap());
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0].get("kind"), None, "a patch");
    assert_eq!(writes[0]["spec"]["template"]["spec"]["containers"], json!([{"name": "app"}]));
    // kubectl's copy of the target is not seen in memory, and goes all the same.
    let annotations = writes[0]["metadata"]["annotations"].as_object().unwrap();
    assert!(annotations.get(router::KUBECTL).is_some_and(Value::is_null));
}

#[test]
fn somebody_elses_service_is_given_back_as_kubectl_applied_it() {
    let (canary, options) = (canary(), crate::world::Options::default());
    let target = deployment("podinfo", json!({}));
    let before = json!({"spec": {"selector": {"app": "podinfo", "tier": "web"}}});
    let restored = |annotations: Value| {
        let service = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "podinfo", "namespace": "default", "annotations": annotations},
            "spec": {"selector": {"app": "podinfo-primary"}}});
        let objects = [target.clone(), service.clone()];
        let world = World {
            canary: &canary,
            options: &options,
            objects: &objects,
            random: 1,
            now: jiff::Timestamp::UNIX_EPOCH,
        };
        crate::patch::patched(&service, &written(world.restore_apex())[0])
    };
    let unmanaged = router::UNMANAGED[0].0;
    let applied = restored(json!({router::KUBECTL: before.to_string(), unmanaged: "disabled"}));
    assert_eq!(applied["spec"], before["spec"]);
    assert_eq!(applied["metadata"]["annotations"].get(unmanaged), None);
    assert_eq!(restored(json!({}))["spec"]["selector"], json!({"app": "podinfo"}));
}

#[test]
fn a_copied_scaler_is_not_labelled_with_the_name_of_the_original() {
    let mut canary = canary();
    let reference = json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "so"});
    canary.spec.autoscaler_ref = serde_json::from_value(reference).unwrap();
    let target = json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
        "metadata": {"name": "so", "labels": {"scaledobject.keda.sh/name": "so", "mine": "1"}},
        "spec": {"scaleTargetRef": {"name": "podinfo"}}});
    let copy = crate::workload::scaler::primary(&canary, canary.spec.autoscaler_ref.as_ref().unwrap(), &target);
    assert_eq!(copy["metadata"]["name"], "so-primary");
    assert_eq!(copy["metadata"]["labels"], json!({"mine": "1"}));
}
