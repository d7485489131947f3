//! How a running slipway asks registries: at the pace that its flags allow, and counted.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use api::{
    image::{ImagePolicy, ImageRepository},
    notification::Receiver,
};
use axum::{Router, extract::State};
use reconcile::{Directory, Object, Store, clock, object};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{
    demo::{
        ci::{self, Program, Release},
        parts::{self, Part},
    },
    support::{SLIPWAY, client},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Slipway over some objects.
struct World {
    _folder: TempDir,
    _slipway: Part,
    store: Store,
    listen: SocketAddr,
}

impl World {
    async fn start(objects: &[Value], flags: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("slipway-scan-").tempdir().expect("a folder");
        let text: Vec<String> = objects.iter().map(Value::to_string).collect();
        let manifests = folder.path().join("manifests.yaml");
        fs::write(&manifests, text.join("\n---\n")).expect("written");
        let (state, listen) = (folder.path().join("state.db"), parts::free_address().expect("a port"));
        let paths = [&manifests, &state].map(|path| path.display().to_string());
        let address = listen.to_string();
        let mut command = vec![SLIPWAY, "run", "--manifests", &paths[0], "--state", &paths[1], "--listen", &address];
        command.extend(["--controllers", "image"]);
        command.extend(flags);
        let mut slipway = Part::start(Path::new(SLIPWAY), folder.path(), "slipway", &command).expect("slipway starts");
        parts::listening(&mut slipway, listen).await.expect("slipway listens");
        let store = Store::Directory(Directory::attach(&state).expect("the state"));
        Self { _folder: folder, _slipway: slipway, store, listen }
    }

    /// Waits until the object is as described.
    async fn until<K: Object>(&self, name: &str, is_so: impl Fn(&Value) -> bool) {
        let start = clock::instant();
        loop {
            let found = self.store.get::<K>("apps", name).await.expect("the store");
            let value = found.as_ref().map(object::to_value).unwrap_or_default();
            if is_so(&value) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{name} stays {value:#}");
            clock::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The number of a series.
    async fn number(&self, series: &str) -> f64 {
        let page = client().get(format!("http://{}/metrics", self.listen)).send().await.expect("an answer");
        let page = page.text().await.expect("a page");
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.and_then(|number| number.parse().ok()).unwrap_or_else(|| {
            let own: Vec<&str> = page.lines().filter(|line| line.starts_with("slipway_")).collect();
            unreachable!("no {series} in\n{}", own.join("\n"))
        })
    }
}

fn repository(name: &str, image: &str) -> Value {
    json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImageRepository",
        "metadata": {"name": name, "namespace": "apps"}, "spec": {"image": image, "interval": "1h"}})
}

fn policy() -> Value {
    json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImagePolicy",
        "metadata": {"name": "app", "namespace": "apps"},
        "spec": {"imageRepositoryRef": {"name": "app"}, "policy": {"semver": {"range": "1.x"}}}})
}

async fn push(registry: SocketAddr, version: &'static str) {
    let release = Release { version, fail_percent: 0 };
    ci::push_image(registry, release, &Program::script(Path::new(SLIPWAY))).await.expect("pushed");
}

fn is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

/// When requests came, how many are under way, and how many were at most.
type Seen = Arc<Mutex<(Vec<Instant>, usize, usize)>>;

/// A server that answers as a registry does, slowly, and looks at how it is asked.
async fn observed() -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let answer = async |State(seen): State<Seen>| {
        let lock = || seen.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let (arrivals, under_way, most) = &mut *lock();
            arrivals.push(clock::instant());
            *under_way += 1;
            *most = (*most).max(*under_way);
        }
        clock::sleep(Duration::from_millis(20)).await;
        lock().1 -= 1;
        "{\"tags\": [\"1.0.0\"]}"
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let app = Router::new().fallback(answer).with_state(seen.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_objects_together_keep_to_the_budget_of_a_host() {
    let (address, seen) = observed().await;
    let names: Vec<String> = (0..24).map(|number| format!("n{number}")).collect();
    let objects: Vec<Value> = names.iter().map(|name| repository(name, &format!("{address}/team/{name}"))).collect();
    // A burst of ten seconds' worth, then two a second: the last of 25 requests comes more than two seconds later.
    let world =
        World::start(&objects, &["--registry-qps", "2", "--registry-concurrency", "1", "--concurrent", "8"]).await;
    for name in &names {
        world.until::<ImageRepository>(name, is_ready).await;
    }
    let (arrivals, _, most) = &*seen.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(*most, 1, "one request at a time");
    let spread = arrivals.last().expect("requests").duration_since(arrivals[0]);
    assert!(spread > Duration::from_secs(2), "{} requests in {spread:?}", arrivals.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_registries_are_asked_is_counted() {
    parts::require_tools().expect("the tools are installed");
    let folder = tempfile::tempdir().expect("a folder");
    let (mut part, registry) = parts::registry(Path::new(SLIPWAY), folder.path()).expect("a registry");
    parts::listening(&mut part, registry).await.expect("the registry listens");
    push(registry, "1.0.0").await;
    let objects = [
        repository("app", &format!("{registry}/demo/app")),
        repository("gone", &format!("{registry}/demo/gone")),
        policy(),
    ];
    // A flag about Flux's own store is no reason not to start.
    let world = World::start(&objects, &["--storage-value-log-file-size", "1024", "--feature-gates", "A=true"]).await;
    world.until::<ImagePolicy>("app", |policy| policy["status"]["latestRef"]["tag"] == "1.0.0").await;
    push(registry, "1.1.0").await;
    let requested = json!({"metadata": {"annotations": {api::meta::REQUESTED_AT: clock::now().to_string()}}});
    let id = object::named::<ImageRepository>("apps", "app");
    world.store.patch(&id, "test", &requested).await.expect("patched");
    world.until::<ImagePolicy>("app", |policy| policy["status"]["latestRef"]["tag"] == "1.1.0").await;
    world.until::<ImageRepository>("gone", |object| object["status"]["conditions"].is_array()).await;

    let requests = |status: u16, reason: &str| {
        format!("slipway_registry_requests_total{{host=\"{registry}\",status=\"{status}\",reason=\"{reason}\"}}")
    };
    assert!(world.number(&requests(200, "ping")).await >= 1.0);
    assert!(world.number(&requests(200, "tags")).await >= 2.0);
    assert!(world.number(&requests(404, "tags")).await >= 1.0);
    let bytes = format!("slipway_registry_response_bytes_total{{host=\"{registry}\"}}");
    assert!(world.number(&bytes).await > 50.0);
    assert_eq!(world.number("slipway_image_repository_tags{name=\"app\",namespace=\"apps\"}").await, 2.0);
    assert_eq!(world.number("slipway_push_to_choice_seconds_count").await, 1.0);
    let seconds = world.number("slipway_push_to_choice_seconds_sum").await;
    assert!(seconds > 0.0 && seconds < PATIENCE.as_secs_f64(), "{seconds}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registrys_own_notification_is_a_scan_at_once() {
    parts::require_tools().expect("the tools are installed");
    let folder = tempfile::tempdir().expect("a folder");
    let [registry, hooks] = [(); 2].map(|()| parts::free_address().expect("a port"));
    let path = Sha256::new().chain_update("token").chain_update("registry").chain_update("apps").finalize();
    let hook = format!("http://{hooks}/hook/{}", hex::encode(path));
    let data = folder.path().join("data");
    let config = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\nhttp: {{addr: '{registry}'}}\n\
         notifications: {{endpoints: [{{name: slipway, url: '{hook}', timeout: 1s, threshold: 5, backoff: 1s}}]}}\n",
        data.display()
    );
    let file = folder.path().join("registry.yaml");
    fs::write(&file, config).expect("written");
    let command = ["docker-registry", "serve", &file.display().to_string()];
    let mut part = Part::start(Path::new(SLIPWAY), folder.path(), "registry", &command).expect("a registry");
    parts::listening(&mut part, registry).await.expect("the registry listens");
    // The registry lists what lies in its folder, and tells nobody.
    fs::create_dir_all(data.join("docker/registry/v2/repositories/demo/app/_manifests/tags/1.0.0")).expect("a tag");
    let objects = [
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": "apps"},
            "stringData": {"token": "token"}}),
        json!({"apiVersion": "notification.toolkit.fluxcd.io/v1", "kind": "Receiver",
            "metadata": {"name": "registry", "namespace": "apps"},
            "spec": {"type": "generic", "secretRef": {"name": "token"},
                "resources": [{"kind": "ImageRepository", "name": "app"}]}}),
        repository("app", &format!("{registry}/demo/app")),
        policy(),
    ];
    let flags = ["--controllers", "notification", "--receiver-listen", &hooks.to_string()];
    let world = World::start(&objects, &flags).await;
    world.until::<ImagePolicy>("app", |policy| policy["status"]["latestRef"]["tag"] == "1.0.0").await;
    world.until::<Receiver>("registry", is_ready).await;
    push(registry, "1.1.0").await;
    world.until::<ImagePolicy>("app", |policy| policy["status"]["latestRef"]["tag"] == "1.1.0").await;
    assert_eq!(world.number("slipway_push_to_choice_seconds_count").await, 1.0);
}
