//! A whole canary of a Deployment: promoted and rolled back, with Gateway API and with plain Kubernetes.

use serde_json::{Value, json};

use super::{manifests, world::World};
use crate::support::{Run, slipway};

const SERVICE: (&str, &str) = ("v1", "Service");
const ROUTE: (&str, &str) = ("gateway.networking.k8s.io/v1", "HTTPRoute");
const DEPLOYMENT: (&str, &str) = ("apps/v1", "Deployment");

/// A world with `app` 1.0.0 initialized.
pub async fn initialized(test: &str, provider: &str, analysis: &Value) -> World {
    let mut world = World::new(test).await;
    world.measurable().await;
    world.apply(manifests::deployment("1.0.0", &json!({}))).await;
    world.apply(manifests::canary(provider, analysis)).await;
    world.start("canary", &[]);
    world.reaches("Initialized", &["Failed"]).await;
    world
}

/// Image and replicas of a Deployment.
pub async fn runs(world: &World, name: &str) -> (String, i64) {
    let found = world.get(DEPLOYMENT.0, DEPLOYMENT.1, name).await;
    let image = found["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
    (image.to_owned(), found["spec"]["replicas"].as_i64().unwrap_or(1))
}

/// Weights of the route: primary, canary.
pub async fn weights(world: &World) -> (i64, i64) {
    let route = world.get(ROUTE.0, ROUTE.1, "app").await;
    let backends = route["spec"]["rules"][0]["backendRefs"].as_array().cloned().unwrap_or_default();
    let weight = |name: &str| {
        let found = backends.iter().find(|backend| backend["name"] == name);
        found.map_or(0, |backend| backend["weight"].as_i64().unwrap_or(1))
    };
    (weight("app-primary"), weight("app-canary"))
}

/// What holds between two rollouts: this version in the primary, the canary scaled down.
pub async fn settled(world: &World, version: &str) {
    let image = format!("example.com/app:{version}");
    world
        .until(&format!("{version} in the primary and nothing in the canary"), async || {
            let (primary, canary) = (runs(world, "app-primary").await, runs(world, "app").await);
            (primary.0 == image && primary.1 >= 1 && canary.1 == 0).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_gateway_api_a_good_version_is_promoted_and_a_bad_one_rolled_back() {
    let mut world = initialized("gateway", "gatewayapi:v1", &json!({"stepWeights": [20, 60]})).await;
    settled(&world, "1.0.0").await;
    assert_eq!(weights(&world).await, (100, 0));
    for name in ["app", "app-primary", "app-canary"] {
        let service = world.get(SERVICE.0, SERVICE.1, name).await;
        assert_eq!(service["metadata"]["ownerReferences"][0]["kind"], "Canary", "{name}");
    }

    world.apply(manifests::deployment("1.1.0", &json!({}))).await;
    world.reaches("Progressing", &["Failed"]).await;
    world.reaches("Succeeded", &["Failed"]).await;
    settled(&world, "1.1.0").await;
    assert_eq!(weights(&world).await, (100, 0));
    for weight in [20, 60] {
        world.told(&format!("Advance app.{} canary weight {weight}", world.namespace)).await;
    }

    world.apply(manifests::deployment("1.2.0", &json!({}))).await;
    world.reaches("Progressing", &[]).await;
    world.measure(42.0).await;
    let failed = world.reaches("Failed", &["Promoting", "Finalising", "Succeeded"]).await;
    settled(&world, "1.1.0").await;
    assert_eq!(weights(&world).await, (100, 0));
    assert_eq!(failed["status"]["canaryWeight"], 0);
    let told = world.told("Canary failed! Scaling down").await;
    assert_eq!((told.kind(), told.reporting_controller.as_str()), ("Warning", "flagger"));

    // Whoever may read ConfigMaps sees what the rollouts went through.
    assert_eq!(runs_seen_by_describe(&world, 2).await, ["Succeeded", "Failed"]);
    // So does the next pod, which has a database of its own.
    world.measure(100.0).await;
    world.start("canary", &[]);
    world.apply(manifests::deployment("1.3.0", &json!({}))).await;
    world.reaches("Succeeded", &[]).await;
    assert_eq!(runs_seen_by_describe(&world, 3).await, ["Succeeded", "Failed", "Succeeded"]);

    // Whoever sees them can go back to what was promoted before, and to nothing else.
    let never = rollback_to(&world, "1.2.0");
    assert!(never.code == 1 && never.stderr.contains("hint: kept: example.com/app:1.1.0"), "{}", never.stderr);
    let back = rollback_to(&world, "1.1.0");
    assert_eq!(back.code, 0, "{}{}", back.stderr, world.log());
    settled(&world, "1.1.0").await;
}

/// `slipway canary rollback --to` from outside of the cluster, waiting for the end.
fn rollback_to(world: &World, version: &str) -> Run {
    let kubeconfig = world.kubeconfig.display().to_string();
    let what = ["canary", "rollback", "app", "--to", version, "--yes", "--wait"];
    slipway(&[&what[..], &["-n", &world.namespace, "--kubeconfig", &kubeconfig]].concat())
}

/// How the runs ended that `slipway describe` shows from outside of the cluster, once there are so many.
async fn runs_seen_by_describe(world: &World, count: usize) -> Vec<String> {
    let kubeconfig = world.kubeconfig.display().to_string();
    let (namespace, flags) = (world.namespace.clone(), ["-o", "json", "--kubeconfig", &kubeconfig]);
    let arguments = [&["describe", "canary", "app", "-n", &namespace], &flags[..]].concat();
    world
        .until(&format!("{count} ended runs"), async || {
            let shown = slipway(&arguments).json();
            let runs = shown["runs"].as_array()?;
            let ended = runs.iter().filter(|run| run["ended"].is_string());
            let phases: Vec<_> = ended.filter_map(|run| run["phase"].as_str()).map(str::to_owned).collect();
            (phases.len() == count).then_some(phases)
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_plain_kubernetes_a_good_version_is_promoted_and_a_bad_one_rolled_back() {
    let world = initialized("plain", "kubernetes", &json!({"iterations": 2})).await;
    settled(&world, "1.0.0").await;
    let service = world.get(SERVICE.0, SERVICE.1, "app").await;
    assert_eq!(service["spec"]["selector"], json!({"app": "app-primary"}));

    // Another Canary of the same target touches nothing.
    let mut later = manifests::canary("kubernetes", &json!({"iterations": 2}));
    later["metadata"]["name"] = json!("later");
    later["spec"]["service"]["name"] = json!("later");
    world.apply(later).await;
    world.told("two canaries cannot share a target or a service").await;
    assert_eq!(world.find(SERVICE.0, SERVICE.1, "later").await, None);

    world.apply(manifests::deployment("1.1.0", &json!({}))).await;
    world.reaches("Succeeded", &["Failed"]).await;
    settled(&world, "1.1.0").await;

    // Pods that never start: nothing is analysed, and the deadline rolls back.
    let patch = json!({"spec": {"progressDeadlineSeconds": 3}});
    world.store.patch(&world.id("flagger.app/v1beta1", "Canary", "app"), "kubectl", &patch).await.expect("patched");
    world.apply(manifests::deployment("1.2.0", &json!({"kubetest/fail": "ImagePullBackOff"}))).await;
    world.reaches("Progressing", &[]).await;
    world.reaches("Failed", &["Promoting", "Finalising", "Succeeded"]).await;
    settled(&world, "1.1.0").await;
    let service = world.get(SERVICE.0, SERVICE.1, "app").await;
    assert_eq!(service["spec"]["selector"], json!({"app": "app-primary"}));
}
