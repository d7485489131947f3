//! The loop over a directory store, with a real Prometheus. A task plays the Deployment controller: it reports rollouts as done.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use api::{flagger::Phase, meta::ObjectReference};
use futures::StreamExt as _;
use reconcile::{Directory, Events, Http, Metrics, Store, store::EventFilter, watcher::Event};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::{patch, trail};

const NAMESPACE: &str = "apps";

/// A Prometheus that scrapes nothing, on a free port; it ends with the value.
pub(super) struct Prometheus {
    pub(super) address: String,
    process: Child,
    _folder: TempDir,
}

impl Prometheus {
    pub(super) fn start() -> Self {
        Self::start_with("")
    }

    /// One that holds these samples, given in OpenMetrics' text form.
    pub(super) fn start_with(samples: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        if !samples.is_empty() {
            let file = folder.path().join("samples");
            std::fs::write(&file, format!("{samples}# EOF\n")).expect("written");
            let made = Command::new("promtool")
                .args(["tsdb", "create-blocks-from", "openmetrics"])
                .args([file, folder.path().join("data")])
                .output();
            let made = made.expect("promtool starts (apt-get install prometheus)");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        std::fs::write(folder.path().join("prometheus.yml"), "global: {scrape_interval: 1s}\n").expect("written");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let mut process = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("prometheus starts (apt-get install prometheus)");
        let mut log = BufReader::new(process.stderr.take().expect("piped")).lines().map_while(Result::ok);
        assert!(log.any(|line| line.contains("ready to receive web requests")), "prometheus is ready");
        // The pipe must stay empty, or Prometheus blocks on its log.
        std::thread::spawn(move || log.for_each(drop));
        Self { address: format!("http://127.0.0.1:{port}"), process, _folder: folder }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A store with the loop running over it.
struct World {
    store: Store,
    metrics: Metrics,
    shutdown: Shutdown,
    running: tokio::task::JoinHandle<()>,
    kubelet: tokio::task::JoinHandle<()>,
    _folder: TempDir,
}

impl World {
    async fn new(metrics_server: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = Directory::open(&folder.path().join("state.db"), Vec::new()).await.expect("a store");
        let store = Store::Directory(directory);
        let metrics = Metrics::default();
        let context = Context {
            store: store.clone(),
            http: Http::new("test"),
            events: Events::new(store.clone(), "test"),
            metrics: metrics.clone(),
        };
        let shutdown = Shutdown::new();
        let options = Options {
            mesh_provider: "gatewayapi:v1".into(),
            min_analysis_interval: Duration::from_millis(50),
            metrics_server: metrics_server.into(),
            ..Options::default()
        };
        let running = tokio::spawn(controllers(context, options, shutdown.clone()));
        let kubelet = tokio::spawn(roll_out(store.clone()));
        Self { store, metrics, shutdown, running, kubelet, _folder: folder }
    }

    async fn apply(&self, object: Value) {
        self.store.apply("test", &object).await.expect("applied");
    }

    async fn deploy(&self, image: &str) {
        self.apply(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app", "namespace": NAMESPACE},
            "spec": {
                "selector": {"matchLabels": {"app": "app"}},
                "template": {
                    "metadata": {"labels": {"app": "app"}},
                    "spec": {"containers": [{"name": "app", "image": image}]},
                },
            },
        }))
        .await;
    }

    /// A Canary whose one metric is that PromQL, which must be at least 99.
    async fn canary(&self, query: &str, more: Value) {
        let spec = json!({
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
            "service": {"port": 80, "gatewayRefs": [{"name": "gateway"}], "hosts": ["app.example"]},
            "analysis": {
                "interval": "100ms", "threshold": 2, "stepWeights": [20, 60],
                "metrics": [{"name": "good", "query": query, "thresholdRange": {"min": 99}}],
            },
        });
        let spec = patch::patched(&spec, &more);
        self.apply(json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary",
            "metadata": {"name": "app", "namespace": NAMESPACE}, "spec": spec}))
            .await;
    }

    async fn annotate(&self, key: &str, value: Value) {
        let id = reconcile::object::named::<Canary>(NAMESPACE, "app");
        let patch = json!({"metadata": {"annotations": {key: value}}});
        self.store.patch(&id, "test", &patch).await.expect("annotated");
    }

    async fn get(&self, api_version: &str, kind: &str, name: &str) -> Value {
        let id = ObjectReference {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: NAMESPACE.into(),
            name: name.into(),
        };
        self.store.find(&id).await.expect("read").unwrap_or_default()
    }

    async fn deployment(&self, name: &str) -> (i64, String) {
        let found = self.get("apps/v1", "Deployment", name).await;
        let image = found.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str);
        (found["spec"]["replicas"].as_i64().unwrap_or(-1), image.unwrap_or_default().to_owned())
    }

    async fn weights(&self) -> Vec<i64> {
        let route = self.get("gateway.networking.k8s.io/v1", "HTTPRoute", "app").await;
        let backends =
            route.pointer("/spec/rules/0/backendRefs").and_then(Value::as_array).cloned().unwrap_or_default();
        backends.iter().filter_map(|backend| backend["weight"].as_i64()).collect()
    }

    async fn events(&self) -> Vec<String> {
        let filter = EventFilter { kind: Some("Canary".into()), ..EventFilter::default() };
        self.store.events(&filter).await.expect("events").into_iter().map(|event| event.message).collect()
    }

    /// Waits until the Canary is in that phase.
    async fn until(&self, phase: Phase) {
        self.until_that("app", |canary| canary.status().phase == phase).await;
    }

    /// Waits until that is true of the Canary of that name.
    async fn until_that(&self, name: &str, is_so: impl Fn(&Canary) -> bool) {
        let mut watch = self.store.watch::<Canary>();
        let mut last = None::<api::flagger::CanaryStatus>;
        let found = tokio::time::timeout(Duration::from_secs(30), async {
            while let Some(event) = watch.next().await {
                let (Event::Apply(canary) | Event::InitApply(canary)) = event.expect("a watch") else { continue };
                if canary.name() != name {
                    continue;
                }
                last = canary.status.clone();
                if is_so(&canary) {
                    return;
                }
            }
        });
        let is_found = found.await.is_ok();
        assert!(is_found, "the status stays {last:?}, events {:#?}", self.events().await);
    }

    /// Waits until the Canary of that name is not there any more.
    async fn until_gone(&self, name: &str) {
        let id = reconcile::object::named::<Canary>(NAMESPACE, name);
        let mut watch = self.store.watch::<Canary>();
        let gone = tokio::time::timeout(Duration::from_secs(30), async {
            while self.store.find(&id).await.expect("read").is_some() {
                watch.next().await;
            }
        });
        assert!(gone.await.is_ok(), "the canary stays: {:#?}", self.events().await);
    }

    async fn finish(self) {
        self.shutdown.cancel();
        self.running.await.expect("the loop ends");
        self.kubelet.abort();
    }
}

/// Reports every Deployment as rolled out.
async fn roll_out(store: Store) {
    let mut watch = store.watch::<Deployment>();
    while let Some(event) = watch.next().await {
        let Ok(Event::Apply(one) | Event::InitApply(one)) = event else { continue };
        let replicas = one.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let status = json!({"observedGeneration": one.metadata.generation, "replicas": replicas,
            "updatedReplicas": replicas, "availableReplicas": replicas, "readyReplicas": replicas});
        let is_reported = serde_json::to_value(&one.status).is_ok_and(|now| now == status);
        if !is_reported {
            let _ = store.write_status(&reconcile::object::reference(&one), "test", &status).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_revision_is_promoted_and_a_bad_one_rolled_back() {
    let prometheus = Prometheus::start();
    let world = World::new(&prometheus.address).await;
    world.deploy("app:1").await;
    world.canary("vector(100)", json!({})).await;
    world.until(Phase::Initialized).await;
    assert_eq!(world.deployment("app").await, (0, "app:1".into()));
    assert_eq!(world.deployment("app-primary").await, (1, "app:1".into()));
    assert_eq!(world.weights().await, [100, 0]);

    world.deploy("app:2").await;
    world.until(Phase::Succeeded).await;
    assert_eq!(world.deployment("app").await, (0, "app:2".into()));
    assert_eq!(world.deployment("app-primary").await, (1, "app:2".into()));
    assert_eq!(world.weights().await, [100, 0]);

    world.canary("vector(50)", json!({})).await;
    world.deploy("app:3").await;
    world.until(Phase::Failed).await;
    assert_eq!(world.deployment("app").await, (0, "app:3".into()));
    assert_eq!(world.deployment("app-primary").await, (1, "app:2".into()));
    assert_eq!(world.weights().await, [100, 0]);
    let events = world.events().await;
    for text in [
        "Initialization done! app.apps",
        "Advance app.apps canary weight 20",
        "Advance app.apps canary weight 60",
        "Copying app.apps template spec to app-primary.apps",
        "Promotion completed! Scaling down app.apps",
        "Halt app.apps advancement good 50.00 < 99",
        "Canary failed! Scaling down app.apps",
    ] {
        assert!(events.iter().any(|event| event == text), "{text} is not in {events:#?}");
    }
    // The numbers follow the status: the end of the loop waits for them.
    let metrics = world.metrics.clone();
    world.finish().await;
    let numbers = metrics.text();
    assert!(numbers.contains("flagger_canary_status{name=\"app\",namespace=\"apps\"} 2"), "{numbers}");
    assert!(numbers.contains("flagger_canary_successes_total{name=\"app\",namespace=\"apps\",deployment_strategy=\"canary\",analysis_status=\"completed\"} 1"), "{numbers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_server_never_advances() {
    let world = World::new("http://127.0.0.1:1").await;
    world.deploy("app:1").await;
    world.canary("vector(100)", json!({})).await;
    world.until(Phase::Initialized).await;
    world.deploy("app:2").await;
    world.until(Phase::Failed).await;
    assert_eq!(world.deployment("app-primary").await.1, "app:1");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_canary_gives_the_workload_back() {
    let world = World::new("http://127.0.0.1:1").await;
    world.deploy("app:1").await;
    world.canary("vector(1)", json!({"revertOnDeletion": true})).await;
    world.until(Phase::Initialized).await;
    let id = reconcile::object::named::<Canary>(NAMESPACE, "app");
    world.store.delete(&id).await.expect("deleted");
    world.until_gone("app").await;
    assert_eq!(world.deployment("app").await.0, 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_canaries_of_one_target_the_later_waits_until_the_first_is_gone() {
    let world = World::new("http://127.0.0.1:1").await;
    world.deploy("app:1").await;
    world.canary("vector(1)", json!({})).await;
    world.until(Phase::Initialized).await;
    let first = reconcile::object::named::<Canary>(NAMESPACE, "app");
    let mut later = world.store.find(&first).await.expect("read").expect("a canary");
    later["metadata"] = json!({"name": "later", "namespace": NAMESPACE});
    later["spec"]["service"]["name"] = json!("later");
    later["spec"]["revertOnDeletion"] = json!(true);
    world.apply(later.clone()).await;
    let waiting = |canary: &Canary| {
        let status = canary.status();
        let text = crate::conditions::message(&status.conditions, crate::conditions::WAITING);
        text.is_some_and(|text| text.contains("deployment app-primary.apps belongs to canary app.apps"))
    };
    world.until_that("later", waiting).await;
    assert_eq!(world.get("v1", "Service", "later-canary").await, Value::Null);

    // Nothing is given back that it never had.
    world.store.delete(&reconcile::object::named::<Canary>(NAMESPACE, "later")).await.expect("deleted");
    world.until_gone("later").await;
    assert_eq!(world.deployment("app").await.0, 0);

    world.apply(later).await;
    world.until_that("later", waiting).await;
    world.store.delete(&first).await.expect("deleted");
    world.until_that("later", |canary| canary.status().phase == Phase::Initialized).await;
    assert_eq!(world.deployment("app-primary").await, (1, "app:1".into()));
    world.finish().await;
}

#[tokio::test]
async fn alerts_of_a_canary_that_names_none_go_to_the_controllers_own_chat() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = heads.clone();
    let chat = providers::tests::proxy::Proxy::start(None, "", move |head, _| {
        seen.lock().expect("heads").push(head.to_lowercase());
        providers::tests::proxy::Action::Answer("200 OK", "ok".into())
    });
    let folder = tempfile::tempdir().expect("a folder");
    let directory = Directory::open(&folder.path().join("state.db"), Vec::new()).await.expect("a store");
    let store = Store::Directory(directory);
    let events = Events::new(store.clone(), "test");
    let context = Context { store, http: Http::new("test"), events, metrics: Metrics::default() };
    let address = format!("{}/services/T1", chat.address);
    let provider = api::flagger::AlertProviderSpec { kind: "slack".into(), address, ..Default::default() };
    let notifier = Some(Notifier { provider, token: "xoxb-1".into() });
    let rollouts = Rollouts::new(context, Options { notifier, ..Options::default() });
    let alert = crate::alerts::waiting_for_rollout();
    for (alerts, count) in
        [(json!([]), 1), (json!([{"name": "a", "providerRef": {"name": "absent"}}]), 1), (json!([]), 2)]
    {
        let canary = crate::cases::canary(&json!({"spec": {"analysis": {"alerts": alerts}}}));
        rollouts.alert(&canary, &alert).await;
        assert_eq!(heads.lock().expect("heads").len(), count);
    }
    let head = heads.lock().expect("heads")[0].clone();
    assert!(head.starts_with("post /services/t1") && head.contains("authorization: bearer xoxb-1"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_worse_than_the_primary_fails_and_is_tried_again_on_request() {
    let prometheus = Prometheus::start();
    let world = World::new(&prometheus.address).await;
    world.deploy("app:1").await;
    world.canary("vector(100)", json!({})).await;
    world.until(Phase::Initialized).await;
    let compare = "metrics: {good: {compare: {primary: vector(50), window: 1m, step: 1s, minSamples: 5}}}";
    world.annotate(api::flagger::ADDITIONS, json!(compare)).await;
    world.deploy("app:2").await;
    world.until(Phase::Failed).await;
    let events = world.events().await;
    let told = "Halt app.apps advancement good is 2.00 times the primary's";
    assert!(events.iter().any(|event| event == told), "{events:#?}");

    world.annotate(api::flagger::ADDITIONS, Value::Null).await;
    world.annotate(machine::REQUEST, json!("retry at 1 by ada")).await;
    world.until(Phase::Succeeded).await;
    assert_eq!(world.deployment("app-primary").await, (1, "app:2".into()));
    let store = world.store.clone();
    // The trail follows the status: the end of the loop waits for it.
    world.finish().await;
    let prefix = trail::prefix(NAMESPACE, "app");
    let [heads, ticks] = [trail::BUCKET, trail::TICKS].map(|bucket| store.database().scan(bucket, &prefix));
    let runs = trail::runs(&heads.await.expect("runs"), &ticks.await.expect("ticks"));
    let ends: Vec<_> = runs.iter().map(|run| (run.phase, run.image.as_deref(), run.ended.is_some())).collect();
    assert_eq!(ends, [(Phase::Failed, Some("app:2"), true), (Phase::Succeeded, Some("app:2"), true)]);
    let values: Vec<_> = runs[0].ticks.iter().flat_map(|tick| &tick.checks).map(|check| check.value).collect();
    assert_eq!(values, [Some(100.0); 2]);
}

#[tokio::test]
async fn ticks_of_a_crowd_move_apart_and_none_comes_early() {
    const INTERVAL: Duration = Duration::from_secs(10);
    let folder = tempfile::tempdir().expect("a folder");
    let directory = Directory::open(&folder.path().join("state.db"), Vec::new()).await.expect("a store");
    let context = Context::new(Store::Directory(directory), Http::new("test"), "test");
    let rollouts = Rollouts::new(context, Options::default());
    let id = |number: u32| ObjectReference { name: format!("app{number}"), ..ObjectReference::default() };
    // The real clock would cross into the next moment in the midst of them, now and then.
    let now: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
    let waits: Vec<Duration> = (0..1000).map(|number| rollouts.apart(&id(number), INTERVAL, INTERVAL, now)).collect();
    assert!(waits.iter().all(|wait| (INTERVAL..=INTERVAL * 3 / 2).contains(wait)), "{waits:?}");
    // A mean half second has 50 of them, the fullest 200.
    for moments in 0..5 {
        let together = waits.iter().filter(|wait| **wait == INTERVAL + CROWD.moment * moments).count();
        assert_eq!(together, 200, "{moments} moments later");
    }
    // A wait that is over soon leaves no room.
    assert_eq!(rollouts.apart(&id(0), INTERVAL, Duration::ZERO, now), Duration::ZERO);
}
