//! An API server that misbehaves, restarts, or is away: the end is the same.

use std::time::Duration;

use api::flagger::Canary;
use futures::StreamExt as _;
use reconcile::{Event, Scope, Severity, clock, event::InvolvedObject, store::EventFilter, watcher};
use serde_json::{Value, json};

use super::{
    canary::settled,
    image::Supply,
    manifests,
    proxy::{FAULTS, Fault, Proxy},
    server::{self, ControlPlane},
    world::{self, World},
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

/// Does something that meets a fault, again as the loop would.
async fn through<T>(proxy: &Proxy, fault: Fault, act: impl AsyncFn() -> reconcile::Result<T>) -> T {
    let before = proxy.faults();
    proxy.fail_next(fault);
    let mut outcome = act().await;
    if outcome.is_err() {
        outcome = act().await;
    }
    assert_eq!(proxy.faults(), before + 1, "{fault:?} was met");
    outcome.unwrap_or_else(|error| panic!("{fault:?}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_leads_to_the_same_through_every_fault() {
    let world = World::new("verbs").await;
    let proxy = Proxy::start(world.client.clone()).await;
    let folder = world.folder.path().join("verbs");
    std::fs::create_dir(&folder).expect("a folder");
    let client = server::client(&proxy.kubeconfig(&folder)).await;
    let store = world::store(client, &folder, Scope { namespace: Some(world.namespace.clone()), selector: None });
    // Where the kind is served is asked for once.
    assert_eq!(store.find(&world.id("flagger.app/v1beta1", "Canary", "none")).await.expect("an answer"), None);
    for (number, fault) in FAULTS.into_iter().enumerate() {
        let id = world.id("flagger.app/v1beta1", "Canary", &format!("app{number}"));
        let mut canary = manifests::canary("kubernetes", &json!({"iterations": 2}));
        canary["metadata"] = json!({"name": id.name, "namespace": id.namespace});
        through(&proxy, fault, async || store.apply("one", &canary).await).await;
        through(&proxy, fault, async || store.patch(&id, "one", &json!({"spec": {"suspend": true}})).await).await;
        through(&proxy, fault, async || store.write_status(&id, "flagger", &json!({"canaryWeight": 5})).await).await;
        let found = through(&proxy, fault, async || store.find(&id).await).await.expect("the object");
        assert_eq!((&found["spec"]["suspend"], &found["status"]["canaryWeight"]), (&json!(true), &json!(5)));
        let listed = through(&proxy, fault, async || store.list_values(&id, None).await).await;
        assert_eq!(listed.iter().filter(|one| one["metadata"]["name"] == *id.name).count(), 1);
        let event = about(&found);
        through(&proxy, fault, async || store.record(&event).await).await;
        let filter = EventFilter { name: Some(id.name.clone()), ..EventFilter::default() };
        assert_eq!(through(&proxy, fault, async || store.events(&filter).await).await.len(), 1, "{fault:?}");
        let watched = through(&proxy, fault, async || {
            let first = store.watch::<Canary>().filter_map(|event| std::future::ready(event.ok())).boxed();
            let names = first.take_while(|event| std::future::ready(!matches!(event, watcher::Event::InitDone)));
            Ok(names.count().await)
        });
        assert!(watched.await > 1, "{fault:?}");
        through(&proxy, fault, async || store.delete(&id).await).await;
        assert_eq!(store.find(&id).await.expect("an answer"), None, "{fault:?}");
    }
}

/// An event about an object.
fn about(object: &Value) -> Event {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    let (uid, resource_version) = (text("uid"), text("resourceVersion"));
    let reference = api::meta::ObjectReference::of(object).expect("a reference");
    Event {
        involved_object: InvolvedObject { reference, uid, resource_version },
        severity: Severity::Info,
        timestamp: "2026-11-21T08:00:00Z".parse().expect("a time"),
        message: "all went well".to_owned(),
        reason: "Synced".to_owned(),
        metadata: Default::default(),
        reporting_controller: "flagger".to_owned(),
        reporting_instance: "test".to_owned(),
        count: 1,
    }
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
    // Told when that changes, not by each of the watches. One that was just started may answer and then not.
    let log = std::fs::read_to_string(world.folder.path().join("slipway-1.log")).expect("the log");
    let [lost, found] = ["the API server cannot be reached", "the API server answers again"]
        .map(|text| log.lines().filter(|line| line.contains(text)).count());
    assert!((1..=5).contains(&lost) && lost.abs_diff(found) <= 1, "{log}");
    let is_noise = |line: &str| line.contains("watch broke") && line.contains("ServiceError");
    assert!(!log.lines().any(is_noise), "{log}");
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
    world
        .until("etcd to be slow", async || {
            let begun = clock::instant();
            world.get("v1", "ServiceAccount", "default").await;
            (begun.elapsed() >= Duration::from_millis(100)).then_some(())
        })
        .await;
    world.apply(manifests::deployment("1.1.0", &json!({}))).await;
    world.reaches("Succeeded", &["Failed"]).await;
    settled(&world, "1.1.0").await;
    let deployments = world.store.list_values(&world.id("apps/v1", "Deployment", ""), Some(&world.namespace)).await;
    assert_eq!(deployments.expect("a list").len(), 2, "one target, one primary");
}
