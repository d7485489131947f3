//! Slipway begins where Flux's controllers and Flagger stopped: over objects as these write them, in the middle of a rollout.
//! Nothing begins anew, nothing is committed, and what is written is nothing that they would not know.
//! Source: reference progressive-delivery.md sections A and C, image-automation.md sections 1 and 4.

use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use serde_json::{Value, json};

use super::{
    canary::{runs, settled, weights},
    image::{IMAGE, Supply},
    manifests, server,
    world::World,
};

const FLAGGER: &str = "flagger.app/v1beta1";
const GATEWAY: &str = "gateway.networking.k8s.io/v1";
const THEN: &str = "2026-11-21T10:00:00Z";

/// Creates an object as its controller does, which knows no server-side apply.
async fn create(world: &World, plural: &str, object: &Value) -> Value {
    let id = api::meta::ObjectReference::of(object).expect("a reference");
    let resource = ApiResource {
        group: id.group().into(),
        version: id.version().into(),
        api_version: id.api_version.clone(),
        kind: id.kind.clone(),
        plural: plural.into(),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), &world.namespace, &resource);
    let parameters = PostParams { dry_run: false, field_manager: Some("flagger".into()) };
    let object = serde_json::from_value(object.clone()).expect("an object");
    let created = api.create(&parameters, &object).await.unwrap_or_else(|error| panic!("{error}"));
    serde_json::to_value(created).expect("JSON")
}

/// What Flagger made of a Canary whose second step, half of the requests, is under way.
async fn half_way(world: &World) {
    let mut canary = manifests::canary("gatewayapi:v1", &json!({"stepWeights": [20, 50, 80]}));
    canary["metadata"]["namespace"] = world.namespace.clone().into();
    let canary = create(world, "canaries", &canary).await;
    let owner = json!([{"apiVersion": FLAGGER, "kind": "Canary", "name": "app", "uid": canary["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": true}]);
    let untouched = json!({"helm.toolkit.fluxcd.io/driftDetection": "disabled", "kustomize.toolkit.fluxcd.io/reconcile": "disabled"});

    let mut primary = manifests::deployment("1.0.0", &json!({"flagger-id": "6e2c1d0a-5f1b-4c7e-9a3d-1b2c3d4e5f60"}));
    primary["metadata"] = json!({"name": "app-primary", "labels": {"app": "app-primary"}, "ownerReferences": owner});
    primary["spec"]["replicas"] = 1.into();
    primary["spec"]["selector"]["matchLabels"]["app"] = "app-primary".into();
    primary["spec"]["template"]["metadata"]["labels"]["app"] = "app-primary".into();
    create(world, "deployments", &primary).await;
    for (name, pods) in [("app", "app-primary"), ("app-canary", "app"), ("app-primary", "app-primary")] {
        let service = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "labels": {"app": name}, "annotations": untouched, "ownerReferences": owner},
            "spec": {"type": "ClusterIP", "selector": {"app": pods},
                "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}]}});
        create(world, "services", &service).await;
    }
    let backend = |name: &str| json!({"group": "", "kind": "Service", "name": name, "port": 80, "weight": 50});
    let route = json!({"apiVersion": GATEWAY, "kind": "HTTPRoute",
        "metadata": {"name": "app", "annotations": untouched, "ownerReferences": owner},
        "spec": {"parentRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "web", "namespace": "infra"}],
            "hostnames": ["app.example.com"],
            "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [backend("app-primary"), backend("app-canary")]}]}});
    create(world, "httproutes", &route).await;
    let condition = json!({"type": "Promoted", "status": "Unknown", "reason": "Progressing", "lastUpdateTime": THEN,
        "lastTransitionTime": THEN, "message": "New revision detected, progressing canary analysis."});
    let status = json!({"phase": "Progressing", "canaryWeight": 50, "failedChecks": 0, "iterations": 0, "trackedConfigs": {},
        "lastAppliedSpec": "7d5f8c9b6f", "lastPromotedSpec": "5b6c7d8e9f", "lastTransitionTime": THEN, "conditions": [condition]});
    world.store.write_status(&world.id(FLAGGER, "Canary", "app"), "flagger", &status).await.expect("a status");
}

/// What Flux's controllers leave on objects of which all is done.
async fn up_to_date(world: &World, supply: &Supply) {
    let ready = |message: &str| {
        json!([{"type": "Ready", "status": "True", "reason": "Succeeded", "message": message, "observedGeneration": 1,
            "lastTransitionTime": THEN}])
    };
    let (image, head) = (supply.image(), supply.head().await);
    let chosen = json!({"name": image, "tag": "1.0.0"});
    let scan = json!({"latestTags": ["1.0.0"], "revision": "2904711204", "scanTime": THEN, "tagCount": 1});
    for (kind, manager, status) in [
        (
            "ImageRepository",
            "image-reflector-controller",
            json!({"canonicalImageName": image, "lastScanResult": scan, "observedExclusionList": ["^.*\\.sig$"],
                "conditions": ready("successful scan: found 1 tags with checksum 2904711204")}),
        ),
        (
            "ImagePolicy",
            "image-reflector-controller",
            json!({"latestRef": chosen, "conditions": ready(&format!("Latest image tag for {image} resolved to 1.0.0"))}),
        ),
        (
            "ImageUpdateAutomation",
            "image-automation-controller",
            json!({"lastAutomationRunTime": THEN, "lastPushCommit": head, "lastPushTime": THEN,
                "observedPolicies": {"app": chosen}, "observedSourceRevision": format!("main@sha1:{head}"),
                "conditions": ready("repository up-to-date")}),
        ),
    ] {
        let id = world.id(IMAGE, kind, "app");
        let finalizer = json!({"metadata": {"finalizers": ["finalizers.fluxcd.io"]}});
        world.store.patch(&id, manager, &finalizer).await.expect("patched");
        let mut status = status;
        status["observedGeneration"] = 1.into();
        world.store.write_status(&id, manager, &status).await.expect("a status");
    }
}

/// Whether everything in a value has a place in a schema.
fn unknown(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                match (schema["properties"].get(name), &schema["additionalProperties"]) {
                    (Some(schema), _) => unknown(schema, value, &path, found),
                    (None, Value::Object(_)) => unknown(&schema["additionalProperties"], value, &path, found),
                    _ if schema["x-kubernetes-preserve-unknown-fields"] == true => {}
                    _ => found.push(path),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| unknown(&schema["items"], item, path, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_of_flaggers_goes_on_where_it_was_and_can_go_back() {
    let mut world = World::new("midlife").await;
    world.measurable().await;
    world.apply(manifests::deployment("1.1.0", &json!({}))).await;
    half_way(&world).await;
    world.start("canary", &[]);
    world
        .until("the next step", async || {
            let (primary, canary) = weights(&world).await;
            assert!(canary >= 50, "the weight goes back to {primary}:{canary}\n{}", world.log());
            if canary < 80 {
                return None;
            }
            assert_eq!(runs(&world, "app-primary").await.0, "example.com/app:1.0.0");
            Some(())
        })
        .await;
    world.reaches("Succeeded", &["Failed", "Initializing", "Initialized"]).await;
    settled(&world, "1.1.0").await;
    let told: Vec<_> = world.events().await.into_iter().map(|event| event.message).collect();
    let begun_anew =
        |text: &String| ["New revision", "canary weight 20", "canary weight 50"].iter().any(|part| text.contains(part));
    assert!(!told.iter().any(begun_anew), "{told:#?}");

    // Flagger finds its objects and nothing in the status that it does not know.
    let definitions = server::flaggers_definitions();
    let canary = definitions.iter().find(|one| one["spec"]["names"]["kind"] == "Canary").expect("its definition");
    let schema = &canary["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
    let mut found = Vec::new();
    unknown(schema, &world.canary().await["status"], "status", &mut found);
    assert_eq!(found, [""; 0]);
    let primary = world.get("apps/v1", "Deployment", "app-primary").await;
    assert!(primary["spec"]["template"]["metadata"]["annotations"]["flagger-id"].is_string());
    assert_eq!(primary["metadata"]["ownerReferences"][0]["uid"], world.canary().await["metadata"]["uid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fluxs_controllers_have_done_is_not_done_again() {
    let mut world = World::new("fluxed").await;
    let supply = Supply::start(&world).await;
    up_to_date(&world, &supply).await;
    world.start("image", &[]);
    let asked = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "moved"}}});
    for kind in ["ImageRepository", "ImagePolicy", "ImageUpdateAutomation"] {
        world.store.patch(&world.id(IMAGE, kind, "app"), "kubectl", &asked).await.expect("patched");
        let handled = world
            .until(&format!("{kind} to be reconciled"), async || {
                let found = world.find(IMAGE, kind, "app").await?;
                (found["status"]["lastHandledReconcileAt"] == "moved").then_some(found)
            })
            .await;
        let conditions = handled["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.iter().find(|one| one["type"] == "Ready").expect("the condition");
        assert_eq!(
            (&ready["status"], &ready["lastTransitionTime"]),
            (&json!("True"), &json!(THEN)),
            "{kind} stays ready"
        );
    }
    assert_eq!(supply.log().await.len(), 1, "no commit is made");
    let automation = world.get(IMAGE, "ImageUpdateAutomation", "app").await;
    assert_eq!(automation["status"]["lastPushTime"], THEN);
    supply.push("1.1.0").await;
    supply.committed(&world, "1.1.0").await;
    assert_eq!(supply.log().await.len(), 2);
}
