//! A world in one thread: one process's life is one runtime with paused time; what outlives it is the folder, the Git
//! server and the registry's tags.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use api::meta::ObjectReference;
use futures::{FutureExt as _, future::BoxFuture};
use reconcile::{
    Context, Directory, Shutdown, Store, clock,
    simulation::{self, Verdict},
};
use serde_json::Value;
use tempfile::TempDir;

use super::stand_ins::{self, Machine, PROMETHEUS, REGISTRY, SINK, Tags};
use crate::demo::{
    ci,
    git_server::GitServer,
    manifests::{self, Addresses},
    world::{LOGIN, with_login},
};

/// Longest virtual time the scenario may take from a start to its end.
const LIMIT: Duration = Duration::from_secs(600);
/// Virtual time after the end in which nothing more may happen to it.
const QUIET: Duration = Duration::from_secs(5);

/// Where a life ends.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Number of the writing effect, from 1.
    pub at: u64,
    /// Before or after it.
    pub when: Verdict,
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

/// What outlives a process.
pub struct World {
    folder: TempDir,
    tags: Tags,
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

type Reached = fn(&World, &Store) -> BoxFuture<'static, bool>;

impl World {
    /// A world with the demo's manifests and no image yet.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
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
        std::fs::write(platform.join("platform.yaml"), manifests::platform(&addresses)).expect("a file");
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        Self { folder, tags: Tags::default(), now, saved: None, _git: (git, runtime) }
    }

    /// Pushes a tag to the registry.
    pub fn tag(&self, tag: &str) {
        self.tags().push(tag.to_owned());
    }

    fn tags(&self) -> MutexGuard<'_, Vec<String>> {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the world as it is between two lives.
    pub fn save(&mut self) {
        let folder = tempfile::tempdir().expect("a folder");
        copy(self.folder.path(), folder.path()).expect("a copy");
        let tags = self.tags().clone();
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
        self.tags().clone_from(&saved.tags);
    }

    /// Lives until the Canary is initialized.
    pub fn run_until_initialized(&mut self, cut: Option<Cut>) -> Vec<String> {
        self.run(cut, |_, store| {
            let store = store.clone();
            async move { text(&canary(&store).await, "/status/phase") == "Initialized" }.boxed()
        })
    }

    /// Lives until 1.1.0 has all of traffic and nothing more happens; gives the writing effects of the first life.
    pub fn run_until_promoted(&mut self, cut: Option<Cut>) -> Vec<String> {
        self.run(cut, |_, store| {
            let store = store.clone();
            async move {
                let primary = find(&store, "apps/v1", "Deployment", "app-primary").await;
                let promoted = image(&primary).ends_with(":1.1.0");
                promoted && text(&canary(&store).await, "/status/phase") == "Succeeded"
            }
            .boxed()
        })
    }

    /// One life, or two if it is cut.
    fn run(&mut self, cut: Option<Cut>, reached: Reached) -> Vec<String> {
        let effects = Arc::new(Mutex::new(Vec::new()));
        if matches!(self.live(cut, reached, &effects), Ended::Cut) {
            let ended = self.live(None, reached, &Arc::default());
            assert!(matches!(ended, Ended::Reached), "the second life is not cut");
        }
        let effects = effects.lock().unwrap_or_else(PoisonError::into_inner);
        effects.clone()
    }

    fn live(&mut self, cut: Option<Cut>, reached: Reached, effects: &Arc<Mutex<Vec<String>>>) -> Ended {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        let (ended, now) = runtime.block_on(self.life(cut, reached, Arc::clone(effects)));
        self.now = now;
        // What blocks at the moment of a kill may still reach the world; everything else is gone.
        runtime.shutdown_timeout(Duration::from_secs(5));
        ended
    }

    async fn life(
        &self,
        cut: Option<Cut>,
        reached: Reached,
        effects: Arc<Mutex<Vec<String>>>,
    ) -> (Ended, jiff::Timestamp) {
        let plan = simulation::plan(self.now, move |effect| {
            if !effect.site.writes() {
                return Verdict::Pass;
            }
            let mut effects = effects.lock().unwrap_or_else(PoisonError::into_inner);
            effects.push(format!("{:?} {}", effect.site, effect.key));
            match cut {
                Some(cut) if cut.at == effects.len() as u64 => cut.when,
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
            while !reached(self, &store).await {
                assert!(start.elapsed() < LIMIT, "not reached in time: {:#}", canary(&store).await);
                clock::sleep(Duration::from_millis(500)).await;
            }
            clock::sleep(QUIET).await;
        };
        let ended = tokio::select! {
            () = watching => Ended::Reached,
            () = plan.stopped() => Ended::Cut,
        };
        (ended, clock::now())
    }

    fn spawn(&self, store: &Store, shutdown: &Shutdown) {
        let context = Context::new(store.clone(), stand_ins::network(Arc::clone(&self.tags)), "simulation");
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

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let (source, target) = {
            let entry = entry?;
            (entry.path(), to.join(entry.file_name()))
        };
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
