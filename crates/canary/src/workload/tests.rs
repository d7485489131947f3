//! Objects are compared by meaning with what the reference wrote: `tests/cases/canary/workloads.json`.

use super::*;
use crate::{cases, router};
use configs::Tracked;
use jiff::Timestamp;
use service::Role;

const NOW: &str = "2026-01-01T00:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// A Canary, the objects around it, and the controller's options.
struct World {
    canary: Canary,
    objects: Vec<Value>,
    options: Options,
}

impl World {
    fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    }

    fn target(&self) -> &Value {
        let target = &self.canary.spec.target_ref;
        self.find(&target.kind, &target.name).unwrap()
    }

    fn primary(&self) -> Option<&Value> {
        self.find(&self.canary.spec.target_ref.kind, &self.canary.primary_name())
    }

    fn scaler(&self) -> Option<&Value> {
        let reference = self.canary.spec.autoscaler_ref.as_ref()?;
        self.find(&reference.kind, &reference.name)
    }

    fn put(&mut self, object: Value) {
        self.objects
            .retain(|old| old["kind"] != object["kind"] || old["metadata"]["name"] != object["metadata"]["name"]);
        self.objects.push(object);
    }

    fn patch_target(&mut self, patch: Value) -> Value {
        let mut target = self.target().clone();
        cases::merge(&mut target, &patch);
        self.put(target);
        patch
    }

    fn tracked(&self) -> Result<Tracked, Error> {
        Tracked::of(&self.canary, self.target(), &self.objects, &self.options)
    }

    /// Runs an operation as the shell does; what it writes, or why not.
    fn run(&mut self, op: &str) -> Result<Vec<Value>, String> {
        let text = |error: Error| error.to_string();
        let kind = Kind::of(&self.canary);
        let is_daemonset = kind == Kind::DaemonSet;
        let writes = match op {
            "kubeInit" | "kubeReconcile" => {
                let selector = selector(&self.canary, self.target(), &self.options).map_err(text)?;
                let ports = ports(&self.canary, self.target());
                let roles: &[Role] = if op == "kubeInit" { &[Role::Canary, Role::Primary] } else { &[Role::Apex] };
                let service = |role: &Role| {
                    let live = self.find("Service", &service::name(&self.canary, *role));
                    service::service(&self.canary, *role, &selector, &ports, live)
                };
                roles.iter().map(service).collect()
            }
            "workloadInit" | "promote" => self.copies(op == "promote").map_err(text)?,
            "scaleToZero" if is_daemonset => vec![self.patch_target(daemonset::scale_down_patch())],
            "scaleFromZero" if is_daemonset => vec![self.patch_target(daemonset::scale_up_patch())],
            "scaleToZero" => vec![self.patch_target(deployment::scale_down_patch())],
            "scaleFromZero" => {
                let patch = deployment::scale_up_patch(&self.canary, self.target(), self.primary(), self.scaler());
                vec![self.patch_target(patch)]
            }
            "workloadFinalize" => {
                let patch = deployment::revert_patch(&self.canary, self.target(), self.primary(), self.scaler());
                vec![self.patch_target(patch)]
            }
            "scalerInit" => {
                let reference = self.canary.spec.autoscaler_ref.clone().unwrap();
                vec![scaler::primary(&self.canary, &reference, self.scaler().unwrap())]
            }
            "scalerPause" | "scalerResume" => {
                let reference = self.canary.spec.autoscaler_ref.clone().unwrap();
                let patch = if op == "scalerPause" { scaler::pause_patch } else { scaler::resume_patch };
                let mut scaler = self.scaler().unwrap().clone();
                cases::merge(&mut scaler, &patch(&reference).unwrap());
                vec![scaler]
            }
            op => panic!("unknown operation {op}"),
        };
        for object in writes.iter().filter(|object| object.get("kind").is_some()) {
            self.put(object.clone());
        }
        Ok(writes)
    }

    fn copies(&self, promote: bool) -> Result<Vec<Value>, Error> {
        let creating = match Kind::of(&self.canary) {
            Kind::DaemonSet => daemonset::creating,
            _ => deployment::creating,
        };
        let selector = selector(&self.canary, self.target(), &self.options).map_err(creating)?;
        let tracked = self.tracked()?;
        let copied = Copied { selector: &selector, configs: &tracked, options: &self.options, id: "<uuid>" };
        let (canary, target) = (&self.canary, self.target());
        let primary = match (Kind::of(canary), promote) {
            (Kind::DaemonSet, false) => daemonset::primary(canary, target, copied)?,
            (Kind::DaemonSet, true) => daemonset::promoted(canary, target, copied),
            (_, false) => deployment::primary(canary, target, copied),
            (_, true) => deployment::promoted(canary, target, self.primary().unwrap(), copied),
        };
        Ok(tracked.copies(canary, &self.objects, &self.options).into_iter().chain([primary]).collect())
    }
}

/// The value without empty members and without what only an API server or Go's types add.
fn bare(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept =
                members.iter().filter(|(key, _)| *key != "status").map(|(key, value)| (key.clone(), bare(value)));
            let full = |value: &Value| value.as_object().is_none_or(|map| !map.is_empty()) && !value.is_null();
            kept.filter(|(_, value)| full(value)).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(bare).collect(),
        other => other.clone(),
    }
}

fn check_readiness(world: &World, op: &str, result: &Value, context: &str) {
    let (canary, now) = (&world.canary, now());
    let readiness = match (Kind::of(canary), op) {
        (Kind::DaemonSet, "primaryReady") => daemonset::primary_readiness(canary, world.primary(), now),
        (Kind::DaemonSet, _) => daemonset::target_readiness(canary, Some(world.target()), now),
        (_, "primaryReady") => deployment::primary_readiness(canary, world.primary(), now),
        _ => deployment::target_readiness(canary, Some(world.target()), now),
    };
    let expected = match (result.get("error").and_then(Value::as_str), result["retriable"] != false) {
        (None, _) => Readiness::Ready,
        (Some(text), true) => Readiness::Waiting(text.into()),
        (Some(text), false) => Readiness::Stuck(text.into()),
    };
    assert_eq!(readiness, expected, "{context}");
}

fn run(case: &Value) {
    let mut options = Options::default();
    if let Some(prefix) = case.get("includeLabelPrefix").and_then(Value::as_str) {
        options.include_label_prefix = vec![prefix.to_owned()];
    }
    let mut world = World { canary: cases::canary(&case["canary"]), objects: cases::list(&case["objects"]), options };
    for (step, result) in cases::list(&case["steps"]).iter().zip(&cases::list(&case["results"])) {
        let op = step["op"].as_str().unwrap();
        let context = format!("{} {op}", case["id"]);
        match op {
            "putObject" => world.put(step["object"].clone()),
            "primaryReady" | "targetReady" => check_readiness(&world, op, result, &context),
            _ => match world.run(op) {
                Ok(writes) => {
                    let expected = cases::list(&result["writes"]);
                    assert_eq!(writes.len(), expected.len(), "{context}: {writes:?}");
                    for (ours, theirs) in writes.iter().zip(&expected) {
                        let mut ours = ours.clone();
                        let theirs = theirs.get("patch").unwrap_or(&theirs["object"]);
                        if theirs.get("kind").is_none()
                            && let Some(members) = ours.as_object_mut()
                        {
                            members.retain(|key, _| key != "kind" && key != "apiVersion");
                        }
                        assert_eq!(bare(&ours), bare(theirs), "{context}");
                    }
                }
                Err(error) => assert_eq!(Some(error.as_str()), result["error"].as_str(), "{context}"),
            },
        }
    }
}

#[test]
fn workloads_are_those_of_the_reference() {
    for case in cases::json("canary/workloads.json") {
        run(&case);
    }
}

/// A Deployment podinfo with that pod spec, and configs c, s and optional o.
fn world(pod: Value, canary: Value) -> World {
    let mut target = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "podinfo", "namespace": "default", "labels": {"app": "podinfo"}},
        "spec": {"selector": {"matchLabels": {"app": "podinfo"}}, "template": {
            "metadata": {"labels": {"app": "podinfo"}}, "spec": {"containers": [{"name": "podinfo", "image": "podinfo:1"}]}}},
    });
    cases::merge(&mut target["spec"]["template"]["spec"], &pod);
    let config = json!({"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"color": "<red>"}, "binaryData": {"b": "AA=="}});
    let secret = json!({"kind": "Secret", "metadata": {"name": "s"}, "type": "Opaque", "data": {"k": "dg=="}});
    let pull =
        json!({"kind": "Secret", "metadata": {"name": "p"}, "type": "kubernetes.io/dockerconfigjson", "data": {}});
    World { canary: cases::canary(&canary), objects: vec![target, config, secret, pull], options: Options::default() }
}

fn configured() -> Value {
    json!({
        "volumes": [
            {"name": "a", "configMap": {"name": "c"}},
            {"name": "b", "secret": {"secretName": "s"}},
            {"name": "d", "projected": {"sources": [{"secret": {"name": "s"}}, {"configMap": {"name": "o", "optional": true}}]}}],
        "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "p"}}]}],
        "containers": [{"name": "podinfo", "image": "podinfo:1",
            "env": [{"name": "E", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "color"}}}]}],
    })
}

#[test]
fn only_tracked_configs_get_a_copy_and_a_new_name() {
    let world = world(configured(), json!({}));
    let writes = world.copies(false).unwrap();
    let names: Vec<_> = writes.iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["c-primary", "s-primary", "podinfo-primary"]);
    assert_eq!(writes[0]["binaryData"]["b"], "AA==");
    let spec = &writes[2]["spec"]["template"]["spec"];
    assert_eq!(spec["volumes"][0]["configMap"]["name"], "c-primary");
    assert_eq!(spec["volumes"][1]["secret"]["secretName"], "s-primary");
    assert_eq!(spec["volumes"][2]["projected"]["sources"][1]["configMap"]["name"], "o");
    assert_eq!(spec["initContainers"][0]["envFrom"][0]["secretRef"]["name"], "p");
    assert_eq!(spec["containers"][0]["env"][0]["valueFrom"]["configMapKeyRef"]["name"], "c-primary");
}

#[test]
fn a_checksum_is_that_of_gos_json() {
    let mut world = world(json!({"volumes": [{"configMap": {"name": "c"}}]}), json!({}));
    world.objects[1].as_object_mut().unwrap().remove("binaryData");
    // printf '{"color":"\\u003cred\\u003e"}' | sha256sum | cut -c1-16
    let status = world.tracked().unwrap().status();
    assert_eq!(status["configmap/c"], "347509701e9e3183");
    world.objects[1]["data"]["color"] = json!("blue");
    assert!(world.tracked().unwrap().differ_from(&status));
    world.objects[1]["metadata"]["annotations"] = json!({"flagger.app/config-tracking": "disabled"});
    assert_eq!(world.tracked().unwrap(), Tracked::default());
}

#[test]
fn a_missing_mandatory_config_is_an_error() {
    let world = world(json!({"volumes": [{"configMap": {"name": "gone"}}]}), json!({}));
    assert_eq!(world.tracked().unwrap_err().to_string(), "GetTargetConfigs failed: configmap gone.default not found");
}

#[test]
fn the_primary_keeps_away_from_its_own_pods() {
    let term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "podinfo", "tier": "podinfo"},
        "matchExpressions": [{"key": "app", "operator": "In", "values": ["podinfo", "other"]}]}});
    let pod = json!({
        "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term.clone()]},
            "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term.clone()],
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": term.clone()}]}},
        "topologySpreadConstraints": [term.clone()]});
    let world = world(pod, json!({}));
    let writes = world.copies(false).unwrap();
    let spec = &writes[0]["spec"]["template"]["spec"];
    let mut renamed = term.clone();
    renamed["labelSelector"]["matchLabels"]["app"] = json!("podinfo-primary");
    renamed["labelSelector"]["matchExpressions"][0]["values"] = json!(["podinfo-primary", "other"]);
    let anti = &spec["affinity"]["podAntiAffinity"];
    assert_eq!(anti["requiredDuringSchedulingIgnoredDuringExecution"][0], renamed);
    assert_eq!(anti["preferredDuringSchedulingIgnoredDuringExecution"][0]["podAffinityTerm"], renamed);
    assert_eq!(spec["topologySpreadConstraints"][0], renamed);
    assert_eq!(spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0], term);
}

#[test]
fn services_lead_to_their_pods_and_discover_ports() {
    let pod = json!({"containers": [
        {"name": "podinfo", "ports": [{"name": "http", "containerPort": 9898}, {"name": "grpc", "containerPort": 9999}, {"containerPort": 7000}]},
        {"name": "istio-proxy", "ports": [{"name": "skip", "containerPort": 15090}]}]});
    let service = json!({"metadata": {"uid": "1"}, "spec": {"service": {"port": 80, "targetPort": "http", "portDiscovery": true,
        "apex": {"labels": {"team": "x"}, "annotations": {"a": "b", "x.toolkit.fluxcd.io/y": "z"}}}}});
    let mut world = world(pod, service);
    let apex = world.run("kubeReconcile").unwrap().remove(0);
    let expected = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "podinfo", "namespace": "default", "labels": {"app": "podinfo", "team": "x"},
            "annotations": {"a": "b", "helm.toolkit.fluxcd.io/driftDetection": "disabled", "kustomize.toolkit.fluxcd.io/reconcile": "disabled"},
            "ownerReferences": [router::owner(&world.canary).unwrap()]},
        "spec": {"type": "ClusterIP", "selector": {"app": "podinfo-primary"}, "ports": [
            {"name": "http", "protocol": "TCP", "port": 80, "targetPort": "http"},
            {"name": "grpc", "protocol": "TCP", "port": 9999, "targetPort": 9999},
            {"name": "tcp-podinfo-2", "protocol": "TCP", "port": 7000, "targetPort": 7000}]}});
    assert_eq!(apex, expected);
    let both = world.run("kubeInit").unwrap();
    let selectors: Vec<_> = both.iter().map(|service| service["spec"]["selector"]["app"].as_str().unwrap()).collect();
    assert_eq!(selectors, ["podinfo", "podinfo-primary"]);
}

#[test]
fn of_somebody_elses_service_only_ports_and_selector_are_set() {
    let mut world = world(json!({}), json!({}));
    world.put(json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "podinfo", "namespace": "default", "labels": {"mine": "1"}},
        "spec": {"type": "NodePort", "selector": {"app": "podinfo"}, "ports": [{"name": "http", "port": 9898, "nodePort": 30000}]}}));
    let apex = world.run("kubeReconcile").unwrap().remove(0);
    let annotations = json!(router::annotations(&std::collections::BTreeMap::new()));
    assert_eq!(apex["metadata"], json!({"name": "podinfo", "namespace": "default", "annotations": annotations}));
    assert_eq!(
        apex["spec"],
        json!({"selector": {"app": "podinfo-primary"}, "ports": [
        {"name": "http", "protocol": "TCP", "port": 9898, "targetPort": 9898, "nodePort": 30000}]})
    );
}

#[test]
fn values_of_unmanaged_keys_stay() {
    let unmanaged = json!({"spec": {"service": {"unmanagedMetadata": {"annotations": ["lb"], "labels": ["zone"]}}}});
    let mut world = world(json!({}), unmanaged);
    let mut live = world.run("kubeReconcile").unwrap().remove(0);
    live["metadata"]["annotations"]["lb"] = json!("10.0.0.1");
    live["metadata"]["ownerReferences"] = json!([{"kind": "Canary", "name": "podinfo", "controller": true}]);
    live["spec"]["ports"][0]["port"] = json!(1);
    world.put(live);
    let apex = world.run("kubeReconcile").unwrap().remove(0);
    assert_eq!(apex["metadata"]["annotations"]["lb"], "10.0.0.1");
}

#[test]
fn a_stuck_rollout_is_told_from_a_slow_one() {
    let check = |status: Value, expected: Readiness| {
        let mut deployment = json!({"metadata": {"name": "podinfo", "generation": 2}, "spec": {"replicas": 10}});
        deployment["status"] =
            json!({"observedGeneration": 2, "replicas": 10, "updatedReplicas": 10, "availableReplicas": 6});
        cases::merge(&mut deployment["status"], &status);
        let canary = cases::canary(&json!({"spec": {"progressDeadlineSeconds": 60}}));
        assert_eq!(deployment::target_readiness(&canary, Some(&deployment), now()), expected);
    };
    let text = |text: &str| format!("canary deployment podinfo.default not ready: {text}");
    let few = text("waiting for rollout to finish: 6 of 10 (readyThreshold 100%) updated replicas are available");
    check(json!({"availableReplicas": 10}), Readiness::Ready);
    check(json!({}), Readiness::Waiting(few.clone()));
    let exceeded = json!({"conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]});
    check(exceeded, Readiness::Stuck(text("deployment \"podinfo\" exceeded its progress deadline")));
    for (since, expected) in
        [("2025-12-31T23:58:00Z", Readiness::Stuck(few.clone())), ("2025-12-31T23:59:30Z", Readiness::Waiting(few))]
    {
        let unavailable = json!({"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "lastUpdateTime": since});
        check(json!({"conditions": [{"type": "Progressing"}, unavailable]}), expected);
    }
    let unseen = text("waiting for rollout to finish: observed deployment generation less than desired generation");
    check(json!({"observedGeneration": 1}), Readiness::Waiting(unseen));
}

#[test]
fn partial_availability_is_enough_below_the_threshold() {
    let canary = cases::canary(&json!({"spec": {"analysis": {"primaryReadyThreshold": 60}}}));
    let primary =
        json!({"spec": {"replicas": 10}, "status": {"replicas": 10, "updatedReplicas": 10, "availableReplicas": 6}});
    assert_eq!(deployment::primary_readiness(&canary, Some(&primary), now()), Readiness::Ready);
    let missing = deployment::primary_readiness(&canary, None, now());
    let text = "deployment podinfo-primary.default get query error: deployments.apps \"podinfo-primary\" not found";
    assert_eq!(missing, Readiness::Waiting(text.into()));
}

#[test]
fn a_daemonset_is_parked_and_unparked_without_a_new_revision() {
    let mut target = json!({"kind": "DaemonSet", "metadata": {"name": "podinfo"},
        "spec": {"selector": {"matchLabels": {"app": "podinfo"}}, "template": {"spec": {"containers": []}}}});
    let digest = revision::digest(&target);
    cases::merge(&mut target, &daemonset::scale_down_patch());
    assert_eq!(target["spec"]["template"]["spec"]["nodeSelector"]["flagger.app/scale-to-zero"], "true");
    assert_eq!(revision::digest(&target), digest);
    cases::merge(&mut target, &daemonset::scale_up_patch());
    assert_eq!(revision::digest(&target), digest);
    target["spec"]["template"]["spec"]["containers"] = json!([{"image": "podinfo:2"}]);
    assert_ne!(revision::digest(&target), digest);
}

#[test]
fn an_hpa_copy_has_the_primary_as_its_target_and_own_bounds() {
    let reference = json!({"spec": {"autoscalerRef": {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "name": "podinfo", "primaryScalerReplicas": {"minReplicas": 4}}}});
    let mut world = world(json!({}), reference);
    world.put(json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "podinfo",
        "labels": {"l": "1", "kustomize.toolkit.fluxcd.io/name": "apps"}},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"}, "minReplicas": 2, "maxReplicas": 9}}));
    let copy = world.run("scalerInit").unwrap().remove(0);
    assert_eq!(copy["metadata"], json!({"name": "podinfo-primary", "namespace": "default", "labels": {"l": "1"}}));
    assert_eq!(
        copy["spec"],
        json!({"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo-primary"},
        "minReplicas": 4, "maxReplicas": 9})
    );
    assert_eq!(
        deployment::scale_up_patch(&world.canary, world.target(), None, world.scaler()),
        json!({"spec": {"replicas": 2}})
    );
}
