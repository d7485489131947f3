//! A world in one thread: one process's life is one runtime with paused time; what outlives it is the folder, the Git
//! server and the registry's tags.

use std::{
    cell::Cell,
    collections::BTreeMap,
    future::{Future, poll_fn},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use api::{image::ImageUpdateAutomation, kustomize::Kustomization, meta::ObjectReference};
use reconcile::{
    Context, Directory, Object, Shutdown, Store, clock, object,
    simulation::{self, Occurrence, Verdict},
};
use serde_json::Value;
use tempfile::TempDir;

use super::stand_ins::{Machine, Measured, Network, PROMETHEUS, REGISTRY, SINK, locked};
use crate::demo::{
    ci,
    git_server::GitServer,
    manifests::{self, Addresses},
    world::{LOGIN, with_login},
};

/// Longest virtual time the scenario may take from a start to its end.
const LIMIT: Duration = Duration::from_secs(300);
/// Virtual time after the end in which nothing more may happen to it.
const QUIET: Duration = Duration::from_secs(5);
/// The same after a failure: what was not done or told is by then.
const AFTERMATH: Duration = Duration::from_secs(30);
/// The same after an outage, or after many failures.
const RECOVERY: Duration = Duration::from_secs(90);

/// How long a place is out of order.
const OUTAGE: Duration = Duration::from_secs(30);
/// How long effects fail often.
const TROUBLED: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);

/// One effect: what is done, on what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Effect {
    /// Whether it changes something.
    pub writes: bool,
    /// What and on what.
    pub name: String,
}

impl Effect {
    /// The program's effect; none if the test looks.
    pub fn of(effect: &Occurrence) -> Option<Self> {
        let name = || format!("{:?} {}", effect.site, effect.key);
        (!ASIDE.get()).then(|| Self { writes: effect.site.writes(), name: name() })
    }
}

/// What goes wrong in a life.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// The effect with this number, from 1, meets that.
    Once(usize, Verdict),
    /// For [`TROUBLED`] one effect in so many fails or goes unanswered, drawn from a seed.
    Often(u64, u64),
    /// From its first time on an effect fails whenever it is tried, for [`OUTAGE`].
    Outage(Effect),
}

impl Trouble {
    /// Whether the process ends by it.
    fn kills(&self) -> bool {
        matches!(self, Self::Once(_, Verdict::CutBefore | Verdict::CutAfter))
    }
}

/// What the effect with this number meets.
fn drawn(one_in: u64, seed: u64, number: usize, effect: &Effect) -> Verdict {
    let mut hasher = DefaultHasher::new();
    (seed, number).hash(&mut hasher);
    let draw = hasher.finish();
    match draw % one_in {
        // A rollout that cannot be judged is rolled back, which is another end.
        _ if effect.name.contains("/api/v1/query") => Verdict::Pass,
        0 if effect.writes && (draw / one_in).is_multiple_of(2) => Verdict::LoseAnswer,
        0 => Verdict::Fail,
        _ => Verdict::Pass,
    }
}

thread_local! {
    /// Whether the test looks, and no controller acts.
    static ASIDE: Cell<bool> = const { Cell::new(false) };
}

/// What the test itself does: no effect of the program.
pub async fn aside<T>(look: impl Future<Output = T>) -> T {
    let mut look = pin!(look);
    poll_fn(|context| {
        ASIDE.set(true);
        let looked = look.as_mut().poll(context);
        ASIDE.set(false);
        looked
    })
    .await
}

/// What counts at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Phase of the Canary.
    pub phase: String,
    /// Share of the primary in the route.
    pub primary_weight: i64,
    /// Share of the canary in the route.
    pub canary_weight: i64,
    /// Image of the primary.
    pub primary_image: String,
    /// Replicas of the target.
    pub target_replicas: i64,
    /// Subjects of the commits that slipway made.
    pub commits: Vec<String>,
}

/// How often each alert came.
pub type Told = BTreeMap<String, usize>;

/// What outlives a process.
pub struct World {
    folder: TempDir,
    network: Network,
    now: jiff::Timestamp,
    saved: Option<Saved>,
    /// Keeps the Git server and its runtime alive.
    _git: (GitServer, tokio::runtime::Runtime),
}

/// A world at one moment, to play on from more than once.
struct Saved {
    folder: TempDir,
    tags: Vec<String>,
    now: jiff::Timestamp,
}

enum Ended {
    Reached,
    Cut,
}

/// What a life goes on until: the phase of the Canary, and the version that its primary runs.
pub type Wanted = (&'static str, &'static str);

/// Whether it is there, and who commits and who applies are at rest.
async fn is_reached(store: &Store, (phase, version): Wanted) -> bool {
    let primary = find(store, "apps/v1", "Deployment", "app-primary").await;
    image(&primary).ends_with(version)
        && text(&canary(store).await, "/status/phase") == phase
        && is_ready::<ImageUpdateAutomation>(store).await
        && is_ready::<Kustomization>(store).await
}

async fn is_ready<K: Object>(store: &Store) -> bool {
    let found: Option<K> = store.get("flux-system", "app").await.ok().flatten();
    let object = found.map(|found| object::to_value(&found)).unwrap_or_default();
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

impl World {
    /// A world with the demo's manifests and no image yet.
    pub fn new() -> Self {
        let folder = folder();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let git = runtime.block_on(GitServer::start(&folder.path().join("git"), Some(LOGIN))).expect("a Git server");
        let repository = git.create_repository("app").expect("a repository");
        let addresses = Addresses {
            registry: REGISTRY.parse().expect("an address"),
            repository: repository.clone(),
            login: (LOGIN.0.into(), LOGIN.1.into()),
            gateway: 8080,
            sink: SINK.parse().expect("an address"),
        };
        let clone = folder.path().join("clone");
        let files = [("deploy/app.yaml".to_owned(), manifests::application(addresses.registry, "1.0.0"))];
        ci::Clone { folder: &clone }.create(&with_login(&repository), &files).expect("a first commit");
        let platform = folder.path().join("manifests");
        std::fs::create_dir(&platform).expect("a folder");
        // A Kustomization that failed is tried again after its interval, unless it says otherwise.
        let text = manifests::platform(&addresses).replace("interval: 10m", "interval: 10m\n  retryInterval: 20s");
        std::fs::write(platform.join("platform.yaml"), text).expect("a file");
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        Self { folder, network: Network::default(), now, saved: None, _git: (git, runtime) }
    }

    /// Pushes a tag to the registry.
    pub fn tag(&self, tag: &str) {
        locked(&self.network.tags).push(tag.to_owned());
    }

    /// Has metrics measured so.
    pub fn measure(&self, measured: Measured) {
        *locked(&self.network.measured) = measured;
    }

    /// Remembers the world as it is between two lives.
    pub fn save(&mut self) {
        let folder = folder();
        copy(self.folder.path(), folder.path()).expect("a copy");
        let tags = locked(&self.network.tags).clone();
        self.saved = Some(Saved { folder, tags, now: self.now });
    }

    /// Goes back to what was saved. The Git server goes on serving the same folder.
    pub fn restore(&mut self) {
        let saved = self.saved.as_ref().expect("a saved world");
        for entry in std::fs::read_dir(self.folder.path()).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) }.expect("removed");
        }
        copy(saved.folder.path(), self.folder.path()).expect("a copy");
        self.now = saved.now;
        locked(&self.network.tags).clone_from(&saved.tags);
        locked(&self.network.alerts).clear();
    }

    /// The alerts since the world went back to what was saved.
    pub fn told(&self) -> Told {
        let mut told = Told::new();
        for alert in &*locked(&self.network.alerts) {
            *told.entry(alert.clone()).or_default() += 1;
        }
        told
    }

    /// Lives until the Canary is in the phase and its primary runs the version, and nothing more happens; gives the effects
    /// of the first life. There is a second one where the trouble is a cut.
    pub fn run_until(&mut self, wanted: Wanted, trouble: Option<Trouble>) -> Vec<Effect> {
        let effects = Arc::new(Mutex::new(Vec::new()));
        let kills = trouble.as_ref().is_some_and(Trouble::kills);
        if matches!(self.live(trouble, wanted, &effects), Ended::Cut) {
            assert!(kills, "only a cut ends a life");
            let ended = self.live(None, wanted, &Arc::default());
            assert!(matches!(ended, Ended::Reached), "the second life is not cut");
        }
        locked(&effects).clone()
    }

    fn live(&mut self, trouble: Option<Trouble>, wanted: Wanted, effects: &Arc<Mutex<Vec<Effect>>>) -> Ended {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        let (ended, now) = runtime.block_on(self.life(trouble, wanted, Arc::clone(effects)));
        self.now = now;
        end(runtime);
        ended
    }

    async fn life(
        &self,
        trouble: Option<Trouble>,
        wanted: Wanted,
        effects: Arc<Mutex<Vec<Effect>>>,
    ) -> (Ended, jiff::Timestamp) {
        let quiet = match &trouble {
            Some(Trouble::Outage(_) | Trouble::Often(..)) => RECOVERY,
            Some(Trouble::Once(_, Verdict::Fail | Verdict::LoseAnswer)) => AFTERMATH,
            _ => QUIET,
        };
        let (started, began) = (self.now, Cell::new(None));
        let plan = simulation::plan(self.now, move |effect| {
            let Some(met) = Effect::of(effect) else { return Verdict::Pass };
            let mut effects = locked(&effects);
            effects.push(met.clone());
            match &trouble {
                Some(Trouble::Once(at, verdict)) if *at == effects.len() => *verdict,
                Some(Trouble::Often(one_in, seed)) if clock::now().duration_since(started) < TROUBLED => {
                    drawn(*one_in, *seed, effects.len(), &met)
                }
                Some(Trouble::Outage(place)) if *place == met => {
                    let now = clock::instant();
                    let since = began.get().unwrap_or(now);
                    began.set(Some(since));
                    if now - since < OUTAGE { Verdict::Fail } else { Verdict::Pass }
                }
                _ => Verdict::Pass,
            }
        });
        let store = Store::Directory(
            Directory::open(&self.state(), vec![self.folder.path().join("manifests")]).await.expect("a store"),
        );
        let shutdown = Shutdown::new();
        self.spawn(&store, &shutdown);
        let watching = async {
            let start = clock::instant();
            // Where it is not reached in time, the end is another one.
            while !aside(is_reached(&store, wanted)).await && start.elapsed() < LIMIT {
                clock::sleep(Duration::from_millis(500)).await;
            }
            clock::sleep(quiet).await;
        };
        let ended = tokio::select! {
            () = watching => Ended::Reached,
            () = plan.stopped() => Ended::Cut,
        };
        (ended, clock::now())
    }

    fn spawn(&self, store: &Store, shutdown: &Shutdown) {
        let context = Context::new(store.clone(), self.network.http(), "simulation");
        let stages = super::stages::controllers(
            &context,
            shutdown,
            &self.folder.path().join("files"),
            &format!("http://{PROMETHEUS}"),
        );
        for stage in stages {
            tokio::spawn(stage);
        }
        tokio::spawn(Machine::run(context, shutdown.clone()));
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state.db")
    }

    /// What counts, read from outside.
    pub fn end(&self) -> End {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let store = Store::Directory(Directory::attach(&self.state()).expect("a store"));
        let clone = self.folder.path().join("clone");
        let mut commits = ci::Clone { folder: &clone }.log().expect("a log");
        commits.retain(|line| line.contains(" slipway: "));
        for commit in &mut commits {
            *commit = commit.split_once(' ').map_or_else(String::new, |(_, subject)| subject.to_owned());
        }
        runtime.block_on(async {
            let canary = canary(&store).await;
            let route = find(&store, "gateway.networking.k8s.io/v1", "HTTPRoute", "app").await;
            let weight = |index: usize| {
                let pointer = format!("/spec/rules/0/backendRefs/{index}/weight");
                route.pointer(&pointer).and_then(Value::as_i64).unwrap_or(-1)
            };
            let target = find(&store, "apps/v1", "Deployment", "app").await;
            End {
                phase: text(&canary, "/status/phase"),
                primary_weight: weight(0),
                canary_weight: weight(1),
                primary_image: image(&find(&store, "apps/v1", "Deployment", "app-primary").await),
                target_replicas: target.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(-1),
                commits,
            }
        })
    }
}

/// Ends a process's life. First its tasks go, and with them their locks: what blocks at that moment, as on such a lock, may
/// still reach the world, and is waited for; everything else is gone.
pub fn end(runtime: tokio::runtime::Runtime) {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(runtime);
        let _ = sender.send(());
    });
    receiver.recv_timeout(Duration::from_secs(30)).expect("what blocks comes to an end");
}

/// A folder in memory where there is such a thing: here processes end, power does not.
pub fn folder() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("a folder")
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let (source, target) = {
            let entry = entry?;
            (entry.path(), to.join(entry.file_name()))
        };
        // Git's examples of hooks, most of its files.
        if source.extension().is_some_and(|extension| extension == "sample") {
            continue;
        }
        if source.is_dir() { copy(&source, &target)? } else { std::fs::copy(&source, &target).map(drop)? }
    }
    Ok(())
}

async fn canary(store: &Store) -> Value {
    find(store, "flagger.app/v1beta1", "Canary", "app").await
}

async fn find(store: &Store, api_version: &str, kind: &str, name: &str) -> Value {
    let id = ObjectReference {
        api_version: api_version.into(),
        kind: kind.into(),
        namespace: "default".into(),
        name: name.into(),
    };
    store.find(&id).await.ok().flatten().unwrap_or_default()
}

fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn image(deployment: &Value) -> String {
    text(deployment, "/spec/template/spec/containers/0/image")
}
