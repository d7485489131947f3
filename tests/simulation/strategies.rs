//! A rollout of each strategy, cut after each of its effects and started again, or with an effect that fails or whose answer
//! is lost: the end and the weights that a client sees are those of the rollout without trouble. A cut before an effect is
//! the cut after the one before it.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use api::{flagger::Canary, meta::ObjectReference};
use reconcile::{
    Context, Directory, Shutdown, Store, clock,
    simulation::{self, Verdict},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    stand_ins::{Machine, Network, PROMETHEUS, Shared, locked},
    world::{Effect, aside},
};

const NAMESPACE: &str = "default";
/// Longest virtual time that a rollout may take.
const LIMIT: Duration = Duration::from_secs(300);
/// How often the route is looked at; far shorter than an interval.
const LOOK: Duration = Duration::from_millis(250);

/// The effect with this number, from 1, meets that.
type Trouble = (usize, Verdict);

/// What a client and a person see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// The canary's share of traffic, and whether requests are mirrored, one after the other.
    weights: Vec<(i64, bool)>,
    phase: String,
    primary_image: String,
    target_replicas: i64,
}

/// A Canary and its Deployment in a folder.
struct World {
    folder: TempDir,
    now: jiff::Timestamp,
}

fn object(api_version: &str, kind: &str, spec: &Value) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "app", "namespace": NAMESPACE}, "spec": spec})
}

fn deployment(image: &str) -> Value {
    let pod =
        json!({"metadata": {"labels": {"app": "app"}}, "spec": {"containers": [{"name": "app", "image": image}]}});
    object("apps/v1", "Deployment", &json!({"selector": {"matchLabels": {"app": "app"}}, "template": pod}))
}

/// A Canary with that analysis; Prometheus answers 100 to everything.
fn canary(analysis: &Value, skips: bool) -> Value {
    let mut judged = json!({"interval": "2s", "threshold": 2,
        "metrics": [{"name": "good", "query": "up", "thresholdRange": {"min": 99}}]});
    for (key, value) in analysis.as_object().into_iter().flatten() {
        judged[key] = value.clone();
    }
    object(
        "flagger.app/v1beta1",
        "Canary",
        &json!({"provider": "gatewayapi:v1", "skipAnalysis": skips,
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
            "service": {"port": 80, "gatewayRefs": [{"name": "gateway"}]}, "analysis": judged}),
    )
}

impl World {
    /// A world in which the primary serves the first version and the target holds the second.
    fn new(analysis: &Value, skips: bool) -> Self {
        let folder = super::world::folder();
        let mut world = Self { folder, now: "2026-01-01T00:00:00Z".parse().expect("a time") };
        world.write(&[deployment("app:1"), canary(analysis, skips)]);
        world.live(None, &["Initialized"], &mut Seen::default(), &Arc::default());
        world.write(&[deployment("app:2")]);
        world
    }

    /// The same world again, with another past from here on.
    fn fork(&self) -> Self {
        let folder = super::world::folder();
        for entry in std::fs::read_dir(self.folder.path()).expect("a folder").flatten() {
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).expect("a copy");
        }
        Self { folder, now: self.now }
    }

    fn state(&self) -> std::path::PathBuf {
        self.folder.path().join("state.db")
    }

    fn write(&self, objects: &[Value]) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let store = open(&self.state()).await;
            for object in objects {
                store.apply("user", object).await.expect("applied");
            }
        });
        super::world::end(runtime);
    }

    /// Plays the rollout to its end, where one of its effects meets something else; what was seen, and the effects.
    fn play(&mut self, trouble: Option<Trouble>) -> (Seen, Vec<Effect>) {
        let (mut seen, effects) = (Seen::default(), Shared::default());
        let ends = ["Succeeded", "Failed"];
        if !self.live(trouble, &ends, &mut seen, &effects) {
            self.live(None, &ends, &mut seen, &Shared::default());
        }
        let effects = locked(&effects).clone();
        (seen, effects)
    }

    /// One life of the process; whether it reached one of the phases before it was cut.
    fn live(
        &mut self,
        trouble: Option<Trouble>,
        phases: &[&str],
        seen: &mut Seen,
        effects: &Shared<Vec<Effect>>,
    ) -> bool {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        let reached = runtime.block_on(async {
            let effects = Arc::clone(effects);
            let plan = simulation::plan(self.now, move |effect| {
                let Some(effect) = Effect::of(effect) else { return Verdict::Pass };
                let mut effects = locked(&effects);
                effects.push(effect);
                trouble.filter(|(at, _)| *at == effects.len()).map_or(Verdict::Pass, |(_, verdict)| verdict)
            });
            // On a cluster the writes of a tick are apart: what holds there holds where they are one transaction.
            plan.apart();
            let store = open(&self.state()).await;
            spawn(&store);
            let reached = tokio::select! {
                () = aside(watch(&store, phases, seen)) => true,
                () = plan.stopped() => false,
            };
            self.now = clock::now();
            reached
        });
        super::world::end(runtime);
        reached
    }
}

async fn open(state: &Path) -> Store {
    Store::Directory(Directory::open(state, Vec::new()).await.expect("a store"))
}

fn spawn(store: &Store) {
    let context = Context::new(store.clone(), Network::default().http(), "simulation");
    let options = canary::controller::Options {
        metrics_server: format!("http://{PROMETHEUS}"),
        min_analysis_interval: Duration::from_secs(2),
        ..Default::default()
    };
    let shutdown = Shutdown::new();
    tokio::spawn(canary::controller::controllers(context.clone(), options, shutdown.clone()));
    tokio::spawn(Machine::run(context, shutdown));
}

/// Looks until the rollout has ended, and two intervals more.
async fn watch(store: &Store, phases: &[&str], seen: &mut Seen) {
    let (start, mut left) = (clock::instant(), 16);
    while left > 0 {
        assert!(start.elapsed() < LIMIT, "no end: {seen:?}");
        let canary: Option<Canary> = store.get(NAMESPACE, "app").await.ok().flatten();
        seen.phase = canary.map(|canary| canary.status().phase.to_string()).unwrap_or_default();
        if phases.contains(&seen.phase.as_str()) {
            left -= 1;
        }
        look(store, seen).await;
        clock::sleep(LOOK).await;
    }
}

async fn look(store: &Store, seen: &mut Seen) {
    let route = find(store, "gateway.networking.k8s.io/v1", "HTTPRoute", "app").await;
    let is_mirror = |filter: &Value| filter["type"] == "RequestMirror";
    let mirrored = route["spec"]["rules"][0]["filters"].as_array().is_some_and(|all| all.iter().any(is_mirror));
    if let Some(weight) = route.pointer("/spec/rules/0/backendRefs/1/weight").and_then(Value::as_i64)
        && seen.weights.last() != Some(&(weight, mirrored))
    {
        seen.weights.push((weight, mirrored));
    }
    let target = find(store, "apps/v1", "Deployment", "app").await;
    seen.target_replicas = target["spec"]["replicas"].as_i64().unwrap_or(-1);
    let primary = find(store, "apps/v1", "Deployment", "app-primary").await;
    let image = primary.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str);
    seen.primary_image = image.unwrap_or_default().to_owned();
}

async fn find(store: &Store, api_version: &str, kind: &str, name: &str) -> Value {
    let id = ObjectReference {
        api_version: api_version.into(),
        kind: kind.into(),
        namespace: NAMESPACE.into(),
        name: name.into(),
    };
    store.find(&id).await.ok().flatten().unwrap_or_default()
}

/// What each effect of a rollout may meet.
fn troubles(effects: &[Effect]) -> Vec<Trouble> {
    let met = |(number, effect): (usize, &Effect)| match effect.writes {
        true => vec![(number, Verdict::CutAfter), (number, Verdict::Fail), (number, Verdict::LoseAnswer)],
        false => vec![(number, Verdict::Fail)],
    };
    (1..).zip(effects).flat_map(met).collect()
}

/// Plays the rollout with trouble at each of its effects.
fn check(name: &str, analysis: &Value, skips: bool, weights: &[(i64, bool)], phase: &str) {
    let world = World::new(analysis, skips);
    let (expected, effects) = world.fork().play(None);
    assert_eq!((expected.weights.as_slice(), expected.phase.as_str()), (weights, phase), "{name}: {effects:#?}");
    assert_eq!(expected.target_replicas, 0, "{name}");
    let (troubles, next, wrong) = (troubles(&effects), AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(trouble) = troubles.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let (seen, met) = world.fork().play(Some(*trouble));
                    if seen != expected {
                        let effect = met.get(trouble.0 - 1).map(|effect| effect.name.as_str()).unwrap_or_default();
                        let line = format!("SIM={name}:{trouble:?} at {effect}: {seen:?}");
                        wrong.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    let runs = troubles.len();
    assert!(wrong.is_empty(), "{} of {runs} end elsewhere than {expected:?}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_weighted_rollout_survives_trouble_anywhere() {
    let analysis = json!({"stepWeights": [20, 60], "stepWeightPromotion": 30});
    check("weights", &analysis, false, &[(0, false), (20, false), (60, false), (30, false), (0, false)], "Succeeded");
}

#[test]
fn a_rollback_survives_trouble_anywhere() {
    let bad = json!({"stepWeight": 40, "metrics": [{"name": "bad", "query": "up", "thresholdRange": {"max": 1}}]});
    check("rollback", &bad, false, &[(0, false), (40, false), (0, false)], "Failed");
}

#[test]
fn a_mirrored_blue_green_rollout_survives_trouble_anywhere() {
    let weights = [(0, false), (0, true), (100, false), (0, false)];
    check("blue-green", &json!({"iterations": 2, "mirror": true}), false, &weights, "Succeeded");
}

#[test]
fn an_a_b_test_survives_trouble_anywhere() {
    let analysis = json!({"iterations": 2, "match": [{"headers": {"x-user": {"exact": "insider"}}}]});
    check("a-b", &analysis, false, &[(0, false), (100, false), (0, false)], "Succeeded");
}

#[test]
fn a_rollout_without_analysis_survives_trouble_anywhere() {
    check("skip", &json!({"stepWeight": 20}), true, &[(0, false)], "Succeeded");
}
