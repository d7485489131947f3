//! What Flagger's users rely on besides the plain rollout, each on a cluster.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    canary::{initialized, runs, settled},
    manifests,
    world::World,
};
use crate::{
    demo::parts::{self, Part},
    support::{SLIPWAY, client},
};

/// Changes the Canary before slipway sees it.
async fn started(test: &str, provider: &str, change: impl FnOnce(&mut Value), objects: &[Value]) -> World {
    let mut world = World::new(test).await;
    world.measurable().await;
    for object in objects {
        world.apply(object.clone()).await;
    }
    let mut canary = manifests::canary(provider, &json!({"iterations": 2}));
    change(&mut canary);
    world.apply(canary).await;
    world.start("canary", &[]);
    world.reaches("Initialized", &["Failed"]).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn skip_analysis_promotes_whatever_the_metrics_say() {
    let objects = [manifests::deployment("1.0.0", &json!({}))];
    let world = started("skip", "kubernetes", |canary| canary["spec"]["skipAnalysis"] = true.into(), &objects).await;
    world.measure(1.0).await;
    world.apply(manifests::deployment("1.1.0", &json!({}))).await;
    world.reaches("Succeeded", &["Failed"]).await;
    settled(&world, "1.1.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_is_copied_for_the_primary_and_paused_for_the_canary() {
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "app"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
            "minReplicas": 2, "maxReplicas": 4,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 80}}}],
        },
    });
    let objects = [manifests::deployment("1.0.0", &json!({})), autoscaler];
    let change = |canary: &mut Value| {
        canary["spec"]["autoscalerRef"] =
            json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "app"});
    };
    let world = started("hpa", "kubernetes", change, &objects).await;
    let primary = world.get("autoscaling/v2", "HorizontalPodAutoscaler", "app-primary").await;
    assert_eq!(primary["spec"]["scaleTargetRef"]["name"], "app-primary");
    assert_eq!((&primary["spec"]["minReplicas"], &primary["spec"]["maxReplicas"]), (&json!(2), &json!(4)));
    // Kubernetes' own autoscaler keeps the primary at its least number.
    world.until("two replicas of the primary", async || (runs(&world, "app-primary").await.1 == 2).then_some(())).await;
    world.apply(manifests::deployment("1.1.0", &json!({}))).await;
    world.reaches("Succeeded", &["Failed"]).await;
    settled(&world, "1.1.0").await;
    assert_eq!(runs(&world, "app-primary").await.1, 2, "a promotion leaves the replicas to the autoscaler");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemonset_is_promoted() {
    let daemonset = |version: &str| {
        let mut daemonset = manifests::deployment(version, &json!({}));
        daemonset["kind"] = "DaemonSet".into();
        daemonset
    };
    let change = |canary: &mut Value| canary["spec"]["targetRef"]["kind"] = "DaemonSet".into();
    let world = started("daemon", "kubernetes", change, &[daemonset("1.0.0")]).await;
    let image = async |name: &str| {
        let found = world.get("apps/v1", "DaemonSet", name).await;
        found["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(image("app-primary").await, "example.com/app:1.0.0");
    let target = world.get("apps/v1", "DaemonSet", "app").await;
    let selector = target["spec"]["template"]["spec"]["nodeSelector"].as_object().cloned().unwrap_or_default();
    assert_eq!(selector.len(), 1, "scaled down by a selector that fits no node: {selector:?}");
    world.apply(daemonset("1.1.0")).await;
    world.reaches("Succeeded", &["Failed"]).await;
    assert_eq!(image("app-primary").await, "example.com/app:1.1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_config_map_or_secret_is_a_new_revision() {
    let config = |color: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"color": color}});
    let secret = |token: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "data": {"token": token}});
    let mut deployment = manifests::deployment("1.0.0", &json!({}));
    deployment["spec"]["template"]["spec"]["volumes"] = json!([
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "token", "secret": {"secretName": "token"}},
    ]);
    let world = started("config", "kubernetes", |_| {}, &[config("blue"), secret("YQ=="), deployment]).await;
    let copy = async || world.get("v1", "ConfigMap", "settings-primary").await["data"]["color"].clone();
    assert_eq!(copy().await, "blue");
    world.apply(config("green")).await;
    world.reaches("Progressing", &["Failed"]).await;
    world.reaches("Succeeded", &["Failed"]).await;
    assert_eq!(copy().await, "green");
    let primary = world.get("apps/v1", "Deployment", "app-primary").await;
    let volumes = &primary["spec"]["template"]["spec"]["volumes"];
    assert_eq!(volumes[0]["configMap"]["name"], "settings-primary");
    assert_eq!(volumes[1]["secret"]["secretName"], "token-primary");
    world.apply(secret("Yg==")).await;
    world.reaches("Progressing", &["Failed"]).await;
    world.reaches("Succeeded", &["Failed"]).await;
    assert_eq!(world.get("v1", "Secret", "token-primary").await["data"]["token"], "Yg==");
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_with_revert_gives_the_target_back() {
    let objects = [manifests::deployment("1.0.0", &json!({}))];
    let change = |canary: &mut Value| canary["spec"]["revertOnDeletion"] = true.into();
    let world = started("revert", "kubernetes", change, &objects).await;
    settled(&world, "1.0.0").await;
    let id = world.id("flagger.app/v1beta1", "Canary", "app");
    assert!(world.store.delete(&id).await.expect("deleted"));
    world.until("the Canary to be gone", async || world.store.find(&id).await.ok()?.is_none().then_some(())).await;
    assert_eq!(runs(&world, "app").await.1, 1, "the target runs again");
    // Kubernetes takes away what the Canary owned.
    let primary = world.id("apps/v1", "Deployment", "app-primary");
    world
        .until("the primary to be gone", async || world.store.find(&primary).await.ok()?.is_none().then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn session_affinity_marks_those_who_saw_the_canary() {
    let affinity = json!({"stepWeights": [50], "sessionAffinity": {"cookieName": "flagger-cookie", "maxAge": 21600}});
    let world = initialized("cookie", "gatewayapi:v1", &affinity).await;
    world.measure(1.0).await;
    world.apply(manifests::deployment("1.1.0", &json!({}))).await;
    let route = async || world.find("gateway.networking.k8s.io/v1", "HTTPRoute", "app").await;
    let sticky = world
        .until("a cookie in the route", async || {
            route().await.filter(|route| route.to_string().contains("flagger-cookie"))
        })
        .await;
    let rules = sticky["spec"]["rules"].as_array().expect("rules");
    assert!(rules[0]["matches"].to_string().contains("flagger-cookie"), "the marked go first: {sticky:#}");
    assert!(rules.iter().any(|rule| rule.to_string().contains("Set-Cookie")), "{sticky:#}");
    world
        .until("the cookie in the status", async || {
            let cookie = world.canary().await["status"]["sessionAffinityCookie"].as_str().map(str::to_owned);
            cookie.filter(|cookie| sticky.to_string().contains(cookie.as_str()))
        })
        .await;
    world.reaches("Failed", &["Promoting", "Succeeded"]).await;
    settled(&world, "1.0.0").await;
}

/// Flagger's own load tester's gates, played by slipway's.
struct Gates {
    base: String,
    _part: Part,
}

impl Gates {
    async fn start(world: &World) -> Self {
        let address = parts::free_address().expect("a port");
        let listen = address.to_string();
        let command = [SLIPWAY, "loadtester", "--listen", &listen];
        let mut part = Part::start(Path::new(SLIPWAY), world.folder.path(), "gates", &command).expect("gates");
        parts::listening(&mut part, address).await.expect("the gates listen");
        Self { base: format!("http://{address}/gate"), _part: part }
    }

    fn hook(&self, kind: &str) -> Value {
        json!({"name": kind, "type": kind, "url": format!("{}/check", self.base)})
    }

    /// `open` or `close`; gates are closed at first.
    async fn set(&self, world: &World, act: &str) {
        let body = json!({"name": "app", "namespace": world.namespace}).to_string();
        let answer = client().post(format!("{}/{act}", self.base)).body(body).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
    }
}

/// A Canary behind gates of this type, initialised, with a new version applied.
async fn gated(test: &str, kind: &str, iterations: u32) -> (World, Gates) {
    let mut world = World::new(test).await;
    world.measurable().await;
    let gates = Gates::start(&world).await;
    world.apply(manifests::deployment("1.0.0", &json!({}))).await;
    let analysis = json!({"iterations": iterations, "webhooks": [gates.hook(kind)]});
    world.apply(manifests::canary("kubernetes", &analysis)).await;
    world.start("canary", &[]);
    world.reaches("Initialized", &["Failed"]).await;
    world.apply(manifests::deployment("1.1.0", &json!({}))).await;
    (world, gates)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_waits_for_its_gate() {
    let (world, gates) = gated("rollout-gate", "confirm-rollout", 2).await;
    world.reaches("Waiting", &["Progressing", "Failed"]).await;
    gates.set(&world, "open").await;
    world.reaches("Succeeded", &["Failed"]).await;
    settled(&world, "1.1.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_waits_for_its_gate() {
    let (world, gates) = gated("promotion-gate", "confirm-promotion", 2).await;
    world.reaches("WaitingPromotion", &["Promoting", "Failed"]).await;
    world.told("waiting for promotion approval").await;
    assert_eq!(runs(&world, "app-primary").await.0, "example.com/app:1.0.0");
    gates.set(&world, "open").await;
    world.reaches("Succeeded", &["Failed"]).await;
    settled(&world, "1.1.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_rollback_gate_rolls_back_a_good_version() {
    let (world, gates) = gated("rollback-gate", "rollback", 100).await;
    world.reaches("Progressing", &["Failed"]).await;
    gates.set(&world, "open").await;
    world.reaches("Failed", &["Succeeded"]).await;
    settled(&world, "1.0.0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ab_test_sends_those_who_match_to_the_canary() {
    let analysis = json!({"iterations": 3, "match": [{"headers": {"x-canary": {"exact": "insider"}}}]});
    let world = initialized("ab", "gatewayapi:v1", &analysis).await;
    world.apply(manifests::deployment("1.1.0", &json!({}))).await;
    let used = |rule: &Value| {
        let all = rule["backendRefs"].as_array().cloned().unwrap_or_default();
        let used = all.into_iter().filter(|backend| backend["weight"] != 0);
        used.filter_map(|backend| backend["name"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let rules = world
        .until("those who match to be sent to the canary", async || {
            let route = world.find("gateway.networking.k8s.io/v1", "HTTPRoute", "app").await?;
            let rules = route["spec"]["rules"].as_array()?.clone();
            (used(&rules[0]) == ["app-canary"]).then_some(rules)
        })
        .await;
    assert!(rules[0]["matches"].to_string().contains("insider"), "{rules:?}");
    assert_eq!(used(&rules[1]), ["app-primary"], "everybody else");
    world.reaches("Succeeded", &["Failed"]).await;
    settled(&world, "1.1.0").await;
}
