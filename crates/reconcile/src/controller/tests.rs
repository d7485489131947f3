//! The loop over a directory store, under virtual time.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use api::meta::FLUX_FINALIZER;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use tempfile::TempDir;

use super::*;
use crate::{
    Directory, Http, Store,
    simulation::{self, Verdict},
    store::EventFilter,
};

type Script = Box<dyn Fn(usize, &ConfigMap) -> Result<Done, Failure> + Send + Sync>;

struct Scripted {
    runs: Arc<Mutex<Vec<jiff::Timestamp>>>,
    script: Script,
    finalized: Arc<AtomicUsize>,
}

impl Reconciler for Scripted {
    type Kind = ConfigMap;
    const CONTROLLER: &'static str = "test-controller";

    fn suspended(&self, object: &ConfigMap) -> bool {
        object.data.as_ref().is_some_and(|data| data.contains_key("suspend"))
    }

    async fn reconcile(&self, object: Arc<ConfigMap>) -> Result<Done, Failure> {
        let count = {
            let mut runs = self.runs.lock().unwrap();
            runs.push(clock::now());
            runs.len()
        };
        (self.script)(count, &object)
    }

    async fn finalize(&self, _: Arc<ConfigMap>) -> Result<(), Failure> {
        self.finalized.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

struct World {
    _folder: TempDir,
    store: Store,
    runs: Arc<Mutex<Vec<jiff::Timestamp>>>,
    finalized: Arc<AtomicUsize>,
    metrics: crate::Metrics,
    shutdown: Shutdown,
    _plan: simulation::Guard,
}

fn start() -> jiff::Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

impl World {
    async fn new(
        data: &Value,
        script: impl Fn(usize, &ConfigMap) -> Result<Done, Failure> + Send + Sync + 'static,
    ) -> Self {
        Self::build(data, Box::new(script), |controller| controller).await
    }

    /// A world whose loop also runs a ConfigMap when the Secret of its name changes.
    async fn watching(
        data: &Value,
        script: impl Fn(usize, &ConfigMap) -> Result<Done, Failure> + Send + Sync + 'static,
    ) -> Self {
        let watch = |controller: Controller<Scripted>| {
            controller.watches::<Secret>(|_, current| {
                let name = current.and_then(|secret| secret.metadata.name.clone());
                Some(Box::new(move |own| own.metadata.name == name))
            })
        };
        Self::build(data, Box::new(script), watch).await
    }

    async fn build(
        data: &Value,
        script: Script,
        finish: impl FnOnce(Controller<Scripted>) -> Controller<Scripted>,
    ) -> Self {
        let plan = simulation::plan(start(), |_| Verdict::Pass);
        let folder = tempfile::tempdir().unwrap();
        let store = Store::Directory(Directory::open(&folder.path().join("state.db"), Vec::new()).await.unwrap());
        let object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}, "data": data});
        store.apply("user", &object).await.unwrap();
        let context = Context::new(store.clone(), Http::new("test"), "test");
        let metrics = context.metrics.clone();
        let (runs, finalized) = (Arc::default(), Arc::default());
        let scripted = Scripted { runs: Arc::clone(&runs), script, finalized: Arc::clone(&finalized) };
        let shutdown = Shutdown::new();
        tokio::spawn(finish(Controller::new(context, scripted)).run(shutdown.clone()));
        Self { _folder: folder, store, runs, finalized, metrics, shutdown, _plan: plan }
    }

    /// Virtual seconds at which runs began, after letting the world go on for a while.
    async fn after(&self, time: Duration) -> Vec<f64> {
        clock::sleep(time).await;
        let runs = self.runs.lock().unwrap();
        runs.iter().map(|at| at.duration_since(start()).as_secs_f64()).collect()
    }

    async fn object(&self) -> Option<Value> {
        self.store.find(&object::named::<ConfigMap>("n", "c")).await.unwrap()
    }

    async fn patch(&self, merge: Value) {
        self.store.patch(&object::named::<ConfigMap>("n", "c"), "user", &merge).await.unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn conditions(object: &Value) -> Vec<String> {
    let list = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    list.iter().map(|c| format!("{}={}", c["type"].as_str().unwrap(), c["status"].as_str().unwrap())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_settled_object_runs_once_and_again_after_its_interval() {
    let world = World::new(&json!({}), |_, _| Ok(Done::new("fine").requeue(Duration::from_secs(60)))).await;
    let runs = world.after(Duration::from_secs(130)).await;
    assert_eq!(runs.len(), 3, "{runs:?}");
    assert!(runs[0] < 1.0 && (60.0..61.0).contains(&runs[1]) && (120.0..121.0).contains(&runs[2]), "{runs:?}");
    let object = world.object().await.unwrap();
    assert_eq!(conditions(&object), ["Ready=True"]);
    assert_eq!(object["metadata"]["finalizers"], json!([FLUX_FINALIZER]));
    let events = world.store.events(&EventFilter::default()).await.unwrap();
    assert_eq!(events.iter().map(|e| (e.message.as_str(), e.count)).collect::<Vec<_>>(), [("fine", 1)]);
}

#[tokio::test(start_paused = true)]
async fn an_interval_of_no_length_waits_for_a_change() {
    let world = World::new(&json!({}), |_, _| Ok(Done::new("fine").every(Duration::ZERO))).await;
    assert_eq!(world.after(Duration::from_secs(100)).await.len(), 1);
    world.patch(json!({"metadata": {"annotations": {api::meta::REQUESTED_AT: "now"}}})).await;
    assert_eq!(world.after(Duration::from_secs(100)).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn failures_back_off_and_a_success_resets_the_count() {
    let world = World::new(&json!({}), |count, _| match count {
        4 => Ok(Done::new("fine").requeue(Duration::from_secs(100))),
        _ => Err(Failure::new("Failed", "no")),
    })
    .await;
    let runs = world.after(Duration::from_secs(110)).await;
    let waits: Vec<f64> = runs.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (wait, expected) in waits.iter().zip([0.75, 1.5, 3.0, 100.0, 0.75, 1.5]) {
        assert!((expected * 0.9..expected + 0.2).contains(wait), "{waits:?}");
    }
    assert!(waits.len() >= 6, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_terminal_failure_waits_for_a_change() {
    let world = World::new(&json!({}), |count, _| match count {
        1 => Err(Failure::terminal("Bad", "broken")),
        _ => Ok(Done::new("mended")),
    })
    .await;
    assert_eq!(world.after(Duration::from_secs(10_000)).await.len(), 1);
    assert_eq!(conditions(&world.object().await.unwrap()), ["Stalled=True", "Ready=False"]);
    world.patch(json!({"data": {"a": "1"}})).await;
    assert_eq!(world.after(Duration::from_secs(1)).await.len(), 2);
    assert_eq!(conditions(&world.object().await.unwrap()), ["Ready=True"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_served_and_noted() {
    let world = World::new(&json!({}), |_, _| Ok(Done::new("fine"))).await;
    world.after(Duration::from_secs(1)).await;
    world.patch(json!({"metadata": {"annotations": {api::meta::REQUESTED_AT: "now"}}})).await;
    assert_eq!(world.after(Duration::from_secs(1)).await.len(), 2);
    assert_eq!(world.object().await.unwrap()["status"]["lastHandledReconcileAt"], "now");
}

#[tokio::test(start_paused = true)]
async fn a_suspended_object_is_left_alone_and_work_resumes_at_once() {
    let world = World::new(&json!({"suspend": "yes"}), |_, _| Ok(Done::new("fine"))).await;
    assert_eq!(world.after(Duration::from_secs(1000)).await.len(), 0);
    assert_eq!(world.object().await.unwrap().get("status"), None);
    world.patch(json!({"data": {"suspend": null}})).await;
    assert_eq!(world.after(Duration::from_secs(1)).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_of_that_object_only() {
    let world = World::new(&json!({}), |count, _| match count {
        1 => panic!("a defect"),
        _ => Ok(Done::new("fine")),
    })
    .await;
    assert_eq!(world.after(Duration::from_secs(5)).await.len(), 2);
    assert_eq!(conditions(&world.object().await.unwrap()), ["Ready=True"]);
}

#[tokio::test(start_paused = true)]
async fn deletion_finalizes_once_and_lets_go() {
    let world = World::new(&json!({}), |_, _| Ok(Done::new("fine"))).await;
    world.after(Duration::from_secs(1)).await;
    world.store.delete(&object::named::<ConfigMap>("n", "c")).await.unwrap();
    world.after(Duration::from_secs(1)).await;
    assert_eq!((world.object().await, world.finalized.load(Ordering::SeqCst)), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn what_goes_without_a_finalizer_is_forgotten_too() {
    // A suspended object gets none.
    let world = World::new(&json!({"suspend": "yes"}), |_, _| Ok(Done::new("fine"))).await;
    world.after(Duration::from_secs(1)).await;
    let series = r#"kind="ConfigMap",name="c",namespace="n""#;
    assert!(world.metrics.text().contains(series), "{}", world.metrics.text());
    world.store.delete(&object::named::<ConfigMap>("n", "c")).await.unwrap();
    world.after(Duration::from_secs(1)).await;
    assert!(!world.metrics.text().contains(series), "{}", world.metrics.text());
    assert_eq!(world.finalized.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn another_kind_can_trigger_a_run() {
    let world = World::watching(&json!({}), |_, _| Ok(Done::new("fine"))).await;
    assert_eq!(world.after(Duration::from_secs(1)).await.len(), 1);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "c", "namespace": "n"}, "data": {}});
    world.store.apply("user", &secret).await.unwrap();
    assert_eq!(world.after(Duration::from_secs(1)).await.len(), 2);
}
