//! An API server that misbehaves, restarts, or is away: the end is the same.

use std::time::Duration;

use reconcile::clock;
use serde_json::json;

use super::{
    canary::settled,
    image::Supply,
    manifests,
    proxy::FAULTS,
    server::{self, ControlPlane},
    world::World,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_through_refused_lost_and_cut_requests_ends_the_same() {
    let mut world = World::new("faults").await;
    world.measurable().await;
    world.apply(manifests::deployment("1.0.0", &json!({}))).await;
    world.apply(manifests::canary("gatewayapi:v1", &json!({"stepWeights": [30, 60]}))).await;
    let proxy = world.proxy().await;
    let kubeconfig = proxy.kubeconfig(world.folder.path());
    proxy.fail_every(5);
    let _slipway = world.process(&kubeconfig, "canary", &[]);
    world.reaches("Initialized", &["Failed"]).await;
    proxy.cut_watches();
    proxy.expire_watches(2);
    world.apply(manifests::deployment("1.1.0", &json!({}))).await;
    world.reaches("Progressing", &["Failed"]).await;
    proxy.cut_watches();
    world.reaches("Succeeded", &["Failed"]).await;
    settled(&world, "1.1.0").await;
    assert!(proxy.faults() >= FAULTS.len() as u64, "everything went wrong at least once: {}", proxy.faults());
    let deployments = world.store.list_values(&world.id("apps/v1", "Deployment", ""), Some(&world.namespace)).await;
    assert_eq!(deployments.expect("a list").len(), 2, "one target, one primary");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_through_refused_lost_and_cut_requests_makes_one_commit() {
    let mut world = World::new("update-faults").await;
    let supply = Supply::start(&world).await;
    let proxy = world.proxy().await;
    let kubeconfig = proxy.kubeconfig(world.folder.path());
    proxy.fail_every(4);
    let _slipway = world.process(&kubeconfig, "image", &[]);
    supply.push("1.1.0").await;
    supply.committed(&world, "1.1.0").await;
    proxy.cut_watches();
    supply.push("1.2.0").await;
    supply.committed(&world, "1.2.0").await;
    assert!(proxy.faults() >= FAULTS.len() as u64);
    assert_eq!(supply.log().await.len(), 3, "one commit for each image");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_killed_in_a_rollout_is_waited_for() {
    let folder = tempfile::Builder::new().prefix("slipway-kube-").tempdir().expect("a folder");
    let mut plane = ControlPlane::start(folder.path(), None).await;
    server::install(&server::client(&plane.kubeconfig()).await).await;
    let mut world = World::on("restart", &plane.kubeconfig()).await;
    world.measurable().await;
    world.apply(manifests::deployment("1.0.0", &json!({}))).await;
    world.apply(manifests::canary("gatewayapi:v1", &json!({"stepWeights": [20, 40, 60]}))).await;
    world.start("canary", &[]);
    world.reaches("Initialized", &["Failed"]).await;
    world.apply(manifests::deployment("1.1.0", &json!({}))).await;
    world.reaches("Progressing", &["Failed"]).await;
    let port = plane.port();
    plane.kill();
    // Long enough for slipway to meet it.
    clock::sleep(Duration::from_secs(2)).await;
    let _plane = ControlPlane::start(folder.path(), Some(port)).await;
    world.reaches("Succeeded", &["Failed"]).await;
    settled(&world, "1.1.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_over_a_slow_etcd_ends_the_same() {
    let folder = tempfile::Builder::new().prefix("slipway-kube-").tempdir().expect("a folder");
    let plane = ControlPlane::start(folder.path(), None).await;
    server::install(&server::client(&plane.kubeconfig()).await).await;
    let mut world = World::on("slow", &plane.kubeconfig()).await;
    world.measurable().await;
    world.apply(manifests::deployment("1.0.0", &json!({}))).await;
    world.apply(manifests::canary("gatewayapi:v1", &json!({"stepWeights": [30, 60]}))).await;
    world.start("canary", &[]);
    world.reaches("Initialized", &["Failed"]).await;
    plane.slow_down();
    let begun = clock::instant();
    world.get("v1", "ServiceAccount", "default").await;
    assert!(begun.elapsed() >= Duration::from_millis(100), "etcd is slow");
    world.apply(manifests::deployment("1.1.0", &json!({}))).await;
    world.reaches("Succeeded", &["Failed"]).await;
    settled(&world, "1.1.0").await;
    let deployments = world.store.list_values(&world.id("apps/v1", "Deployment", ""), Some(&world.namespace)).await;
    assert_eq!(deployments.expect("a list").len(), 2, "one target, one primary");
}
