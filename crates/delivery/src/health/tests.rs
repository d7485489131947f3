//! Health by kind and status, as cases.

use serde_json::{Value, json};

use super::*;

fn at(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(second).unwrap()
}

fn check(api_version: &str, kind: &str, spec: Value, status: Value, expected: Health) {
    let object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "generation": 2},
        "spec": spec, "status": status});
    assert_eq!(health(Some(&object), at(1_000)), expected, "{object}");
}

fn rolled_out() -> Value {
    json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2,
        "conditions": [{"type": "Available", "status": "True"},
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]})
}

#[test]
fn a_deployment_is_current_when_it_is_rolled_out() {
    use Health::{Current, Failed, InProgress};
    let spec = json!({"replicas": 2, "progressDeadlineSeconds": 600});
    let with = |field: &str, value: Value| {
        let mut status = rolled_out();
        status[field] = value;
        status
    };
    let cases = [
        (rolled_out(), Current),
        (json!({}), InProgress),
        (with("observedGeneration", json!(1)), InProgress),
        (with("replicas", json!(3)), InProgress),
        (with("updatedReplicas", json!(1)), InProgress),
        (with("availableReplicas", json!(1)), InProgress),
        (with("readyReplicas", json!(1)), InProgress),
        (with("conditions", json!([{"type": "Available", "status": "True"}])), InProgress),
        (
            with(
                "conditions",
                json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]),
            ),
            Failed,
        ),
    ];
    for (status, expected) in cases {
        check("apps/v1", "Deployment", spec.clone(), status, expected);
    }
}

#[test]
fn every_kind_has_its_own_rule() {
    use Health::{Current, Failed, InProgress};
    let conditions = |kind: &str, status: &str| json!({"conditions": [{"type": kind, "status": status}]});
    let unschedulable = |time: &str| {
        json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "lastTransitionTime": time}]})
    };
    let set =
        json!({"replicas": 1, "readyReplicas": 1, "currentReplicas": 1, "currentRevision": "a", "updateRevision": "a"});
    let cases = [
        ("apps/v1", "StatefulSet", json!({"replicas": 1}), set.clone(), Current),
        ("apps/v1", "StatefulSet", json!({"replicas": 2}), set, InProgress),
        ("apps/v1", "StatefulSet", json!({"updateStrategy": {"type": "OnDelete"}}), json!({}), Current),
        ("apps/v1", "DaemonSet", json!({}), json!({}), InProgress),
        (
            "apps/v1",
            "DaemonSet",
            json!({}),
            json!({"observedGeneration": 2, "desiredNumberScheduled": 1, "currentNumberScheduled": 1,
                "updatedNumberScheduled": 1, "numberAvailable": 1, "numberReady": 1}),
            Current,
        ),
        ("apps/v1", "ReplicaSet", json!({"replicas": 0}), json!({}), Current),
        ("v1", "Pod", json!({}), json!({"phase": "Succeeded"}), Current),
        ("v1", "Pod", json!({}), json!({"phase": "Running"}), InProgress),
        (
            "v1",
            "Pod",
            json!({}),
            json!({"phase": "Running", "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
            Failed,
        ),
        ("v1", "Pod", json!({}), unschedulable("1970-01-01T00:16:35Z"), InProgress),
        ("v1", "Pod", json!({}), unschedulable("1970-01-01T00:16:00Z"), Failed),
        ("batch/v1", "Job", json!({}), json!({}), InProgress),
        ("batch/v1", "Job", json!({"suspend": true}), json!({}), Current),
        ("batch/v1", "Job", json!({}), conditions("Complete", "True"), Current),
        ("batch/v1", "Job", json!({}), conditions("Failed", "True"), Failed),
        ("v1", "PersistentVolumeClaim", json!({}), json!({"phase": "Pending"}), InProgress),
        ("v1", "PersistentVolumeClaim", json!({}), json!({"phase": "Bound"}), Current),
        ("v1", "Service", json!({"type": "LoadBalancer"}), json!({}), InProgress),
        ("v1", "Service", json!({}), json!({}), Current),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", json!({}), json!({}), InProgress),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", json!({}), conditions("Established", "True"), Current),
        (
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            json!({}),
            conditions("NamesAccepted", "False"),
            Failed,
        ),
        ("v1", "ConfigMap", json!({}), Value::Null, Current),
        ("flagger.app/v1beta1", "Canary", json!({}), json!({"phase": "Progressing"}), InProgress),
        ("flagger.app/v1beta1", "Canary", json!({}), json!({"phase": "Succeeded"}), Current),
        ("flagger.app/v1beta1", "Canary", json!({}), json!({"phase": "Failed"}), Failed),
        ("example.io/v1", "Thing", json!({}), Value::Null, Current),
        ("example.io/v1", "Thing", json!({}), conditions("Ready", "False"), InProgress),
        ("source.toolkit.fluxcd.io/v1", "GitRepository", json!({}), json!({"observedGeneration": -1}), InProgress),
        ("kustomize.toolkit.fluxcd.io/v1", "Kustomization", json!({}), conditions("Stalled", "True"), Failed),
        ("kustomize.toolkit.fluxcd.io/v1", "Kustomization", json!({}), conditions("Reconciling", "True"), InProgress),
    ];
    for (api_version, kind, spec, status, expected) in cases {
        check(api_version, kind, spec, status, expected);
    }
}

#[test]
fn what_is_gone_or_going_is_not_current() {
    assert_eq!(health(None, at(0)), Health::NotFound);
    let object = json!({"kind": "ConfigMap", "metadata": {"name": "x", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
    assert_eq!(health(Some(&object), at(0)), Health::Terminating);
}

#[test]
fn messages_name_the_objects() {
    let id = |name: &str| ObjectReference {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        namespace: "default".into(),
        name: name.into(),
    };
    let objects = [(id("a"), Health::InProgress), (id("b"), Health::NotFound)];
    assert_eq!(
        timed_out(&objects),
        "timeout waiting for: [Deployment/default/a status: 'InProgress', Deployment/default/b status: 'NotFound']"
    );
}
