//! Both loops over a directory store, against the real `docker-registry`.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use api::{
    conditions::{self, READY, STALLED},
    meta::{ObjectReference, REQUESTED_AT},
};
use futures::StreamExt as _;
use oci::{
    Credential, Name,
    image::{File, pack},
    manifest::Process,
};
use reconcile::{
    Directory, Endpoint, Http, HttpError, Object, Store, clock, object, store::EventFilter, watcher::Event,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

mod entry;
mod signatures;
mod steady;
mod words;

/// A `docker-registry` on a free port; it ends with the value.
struct Registry {
    address: String,
    process: Child,
    folder: TempDir,
}

impl Registry {
    /// With `auth` empty anybody may enter.
    fn start(auth: &str) -> Self {
        Self::start_with(auth, "debug: {}")
    }

    /// With one more setting of its HTTP server.
    fn start_with(auth: &str, http: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().display().to_string();
        // The user is `ada`, the password `open-sesame`, in bcrypt.
        let user = "ada:$2b$04$7cqjd.cGo.srSDSHFBy.1eubAuxHwWzmT7.NntyGV6.F/hG8xUXMW\n";
        std::fs::write(folder.path().join("htpasswd"), user).expect("written");
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {root}/data}}}}\nhttp: {{addr: '127.0.0.1:0', secret: test, {http}}}\n{}\n",
            auth.replace("FOLDER", &root)
        );
        let path = folder.path().join("config.yml");
        std::fs::write(&path, config).expect("written");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&path).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut process = command.spawn().expect("docker-registry starts (apt-get install docker-registry)");
        let mut log = BufReader::new(process.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let address =
            log.find_map(|line| Some(line.split("listening on ").nth(1)?.split(['"', ' ', ',']).next()?.to_owned()));
        // The pipe must stay empty, or the registry blocks on its log.
        std::thread::spawn(move || log.for_each(drop));
        Self { address: address.expect("an address"), process, folder }
    }

    fn image(&self) -> String {
        format!("{}/team/app", self.address)
    }

    /// Makes a repository with as many tags, 1.0.0 and on, in the registry's own folder: it lists what lies there.
    fn plant(&self, path: &str, tags: usize) {
        let folder = self.folder.path().join(format!("data/docker/registry/v2/repositories/{path}/_manifests/tags"));
        std::fs::create_dir_all(&folder).expect("a folder");
        (0..tags).for_each(|number| std::fs::create_dir(folder.join(format!("1.{number}.0"))).expect("a folder"));
    }

    /// Pushes an image under each of the tags.
    async fn push(&self, credential: Option<Credential>, tags: &[&str]) {
        let way = Http::new("test").streaming(Endpoint::default());
        let client = oci::Client::new(oci::Transport::over(way, HttpError::is_transient, clock::sleep));
        let repository = client.repository(&Name::parse(&self.image()).expect("a name"), credential);
        for tag in tags {
            let file = File { path: "app".into(), mode: 0o755, content: (*tag).to_owned().into() };
            let image = pack(&[vec![file]], Process::default()).expect("packed");
            repository.push_image(tag, &image).await.expect("pushed");
        }
    }
}

impl Registry {
    /// Pushes an image that says when it was built.
    async fn push_built(&self, tag: &str, created: &str) {
        self.push_with(tag, &json!({"created": created})).await;
    }

    /// Pushes an image whose configuration has these fields too.
    async fn push_with(&self, tag: &str, fields: &Value) {
        let way = Http::new("test").streaming(Endpoint::default());
        let client = oci::Client::new(oci::Transport::over(way, HttpError::is_transient, clock::sleep));
        let repository = client.repository(&Name::parse(&self.image()).expect("a name"), None);
        let mut image = pack(&[Vec::new()], Process::default()).expect("packed");
        let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON");
        let (mut config, mut manifest) = (read(&image.config), read(&image.manifest));
        for (name, field) in fields.as_object().expect("fields") {
            config[name] = field.clone();
        }
        image.config = config.to_string().into();
        manifest["config"]["digest"] = oci::Digest::of(&image.config).as_str().into();
        manifest["config"]["size"] = image.config.len().into();
        image.manifest = manifest.to_string().into();
        repository.push_image(tag, &image).await.expect("pushed");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A store with both loops running over it.
struct World {
    store: Store,
    shutdown: Shutdown,
    loops: tokio::task::JoinHandle<()>,
    _folder: TempDir,
}

impl World {
    async fn new() -> Self {
        Self::with(Options::default()).await
    }

    async fn with(options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = Directory::open(&folder.path().join("state.db"), Vec::new()).await.expect("a store");
        let store = Store::Directory(directory);
        let context = Context::new(store.clone(), Http::new("test"), "test");
        let shutdown = Shutdown::new();
        let options = Options { requeue_dependency: Duration::from_secs(3600), concurrency: 16, ..options };
        let loops = tokio::spawn(controllers(context, options, shutdown.clone()));
        Self { store, shutdown, loops, _folder: folder }
    }

    async fn apply(&self, kind: &str, name: &str, spec: Value) {
        let (namespace, name) = name.split_once('/').expect("namespace/name");
        let object = json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": kind,
            "metadata": {"namespace": namespace, "name": name}, "spec": spec});
        self.store.apply("test", &object).await.expect("applied");
    }

    /// A repository that is scanned once, and on request.
    async fn repository(&self, image: &str, more: Value) {
        let mut spec = json!({"image": image, "interval": "1h"});
        spec.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        self.apply("ImageRepository", "apps/app", spec).await;
    }

    /// A policy for the repository.
    async fn policy(&self, name: &str, range: &str) {
        let spec =
            json!({"imageRepositoryRef": {"name": "app", "namespace": "apps"}, "policy": {"semver": {"range": range}}});
        self.apply("ImagePolicy", name, spec).await;
    }

    async fn request_scan(&self, at: &str) {
        self.request_scan_of("app", at).await;
    }

    async fn request_scan_of(&self, name: &str, at: &str) {
        let patch = json!({"metadata": {"annotations": {REQUESTED_AT: at}}});
        let id = object::named::<ImageRepository>("apps", name);
        self.store.patch(&id, "test", &patch).await.expect("patched");
    }

    /// Waits until the object is as described.
    async fn until<K: Object>(&self, name: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut watch = self.store.watch::<K>();
        let mut last = Value::Null;
        let found = tokio::time::timeout(Duration::from_secs(30), async {
            while let Some(event) = watch.next().await {
                let (Event::Apply(one) | Event::InitApply(one)) = event.expect("a watch") else { continue };
                let value = object::to_value(&one);
                if format!("{}/{}", one.namespace().unwrap_or_default(), one.name_any()) == name {
                    last = value;
                    if is_so(&last) {
                        return;
                    }
                }
            }
        });
        assert!(found.await.is_ok(), "{name} stays {last:#}");
        last
    }

    async fn finish(self) {
        self.shutdown.cancel();
        self.loops.await.expect("the loops end");
    }
}

/// Status, reason and message of a condition.
fn condition(object: &Value, kind: &str) -> Option<(String, String, String)> {
    let list = serde_json::from_value(object["status"]["conditions"].clone()).unwrap_or_else(|_| Vec::new());
    let found = conditions::find(&list, kind)?;
    Some((found.status.clone(), found.reason.clone(), found.message.clone()))
}

fn is_ready(object: &Value) -> bool {
    condition(object, READY).is_some_and(|(status, ..)| status == "True")
}

fn failed(object: &Value, reason: &str) -> bool {
    condition(object, READY).is_some_and(|(status, given, _)| status == "False" && given == reason)
}

#[tokio::test]
async fn a_pushed_tag_reaches_the_policy() {
    let registry = Registry::start("");
    registry.push(None, &["1.0.0", "1.1.0", "2.0.0", "1.9.0.sig"]).await;
    let world = World::new().await;
    world.policy("apps/app", "1.x").await;
    world.repository(&registry.image(), json!({})).await;
    let repository = world.until::<ImageRepository>("apps/app", is_ready).await;
    let status = &repository["status"];
    assert_eq!(
        (&status["canonicalImageName"], &status["observedExclusionList"]),
        (&json!(registry.image()), &json!(["^.*\\.sig$"]))
    );
    let result = &status["lastScanResult"];
    assert_eq!((&result["tagCount"], &result["latestTags"]), (&json!(3), &json!(["2.0.0", "1.1.0", "1.0.0"])));
    let expected =
        format!("successful scan: found 3 tags with checksum {}", result["revision"].as_str().expect("a revision"));
    assert_eq!(condition(&repository, READY), Some(("True".into(), "Succeeded".into(), expected)));
    let policy = world.until::<ImagePolicy>("apps/app", |policy| policy["status"]["latestRef"]["tag"] == "1.1.0").await;
    assert_eq!(policy["status"]["latestRef"], json!({"name": registry.image(), "tag": "1.1.0"}));

    registry.push(None, &["1.2.0"]).await;
    world.request_scan("now").await;
    let policy = world.until::<ImagePolicy>("apps/app", |policy| policy["status"]["latestRef"]["tag"] == "1.2.0").await;
    assert_eq!(policy["status"]["observedPreviousRef"]["tag"], "1.1.0");
    let (image, message) = (registry.image(), condition(&policy, READY).map(|(.., message)| message));
    assert_eq!(message, Some(format!("Latest image tag for {image} resolved to 1.2.0 (previously {image}:1.1.0)")));
    let handled = |repository: &Value| repository["status"]["lastHandledReconcileAt"] == "now";
    world.until::<ImageRepository>("apps/app", handled).await;
    // The event follows the status.
    let start = reconcile::clock::instant();
    loop {
        let told = world.store.events(&EventFilter::default()).await.expect("events");
        if told.iter().any(|event| Some(&event.message) == message.as_ref() && event.reporting_controller == CONTROLLER)
        {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "the choice is not told: {told:?}");
        reconcile::clock::sleep(Duration::from_millis(20)).await;
    }

    let id = ObjectReference { name: "app".into(), ..object::named::<ImageRepository>("apps", "app") };
    assert!(world.store.delete(&id).await.expect("deleted"));
    let failure = |policy: &Value| failed(policy, "DependencyNotReady");
    let policy = world.until::<ImagePolicy>("apps/app", failure).await;
    assert_eq!(policy["status"]["latestRef"]["tag"], "1.2.0", "a failed policy keeps its image");
    world.finish().await;
}

#[tokio::test]
async fn a_pull_secret_opens_the_registry() {
    let registry = Registry::start("auth: {htpasswd: {realm: test, path: FOLDER/htpasswd}}");
    let user = Credential::Basic { username: "ada".into(), password: "open-sesame".into() };
    registry.push(Some(user), &["1.0.0"]).await;
    let world = World::new().await;
    world.repository(&registry.image(), json!({})).await;
    let closed = world.until::<ImageRepository>("apps/app", |object| failed(object, "ReadOperationFailed")).await;
    let message = condition(&closed, READY).map(|(.., message)| message).unwrap_or_default();
    assert!(message.starts_with("scan failed: ") && message.contains("UNAUTHORIZED"), "{message}");
    world.repository(&registry.image(), json!({"secretRef": {"name": "login"}})).await;
    world.until::<ImageRepository>("apps/app", |object| failed(object, "AuthenticationFailed")).await;
    let auths = json!({"auths": {registry.address.clone(): {"username": "ada", "password": "open-sesame"}}});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "apps", "name": "login"},
        "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": auths.to_string()}});
    world.store.apply("test", &secret).await.expect("applied");
    world.until::<ImageRepository>("apps/app", is_ready).await;
    world.finish().await;
}

#[tokio::test]
async fn another_namespace_needs_to_be_let_in() {
    let registry = Registry::start("");
    registry.push(None, &["1.0.0"]).await;
    let world = World::new().await;
    world.policy("team/app", "*").await;
    world.repository(&registry.image(), json!({})).await;
    let denied = world.until::<ImagePolicy>("team/app", |object| failed(object, "AccessDenied")).await;
    assert_eq!(
        condition(&denied, READY).map(|(.., message)| message).as_deref(),
        Some(
            "failed to get the referred ImageRepository: access denied: 'apps/app' can't be accessed due to missing ACL labels on 'accessFrom'"
        )
    );
    world.until::<ImageRepository>("apps/app", is_ready).await;
    let from = json!([{"matchLabels": {"kubernetes.io/metadata.name": "team"}}]);
    world.repository(&registry.image(), json!({"accessFrom": {"namespaceSelectors": from}})).await;
    world.until::<ImagePolicy>("team/app", is_ready).await;
    world.finish().await;
}

#[tokio::test]
async fn digests_are_reflected_and_removed_again() {
    let registry = Registry::start("");
    registry.push(None, &["1.0.0"]).await;
    let world = World::new().await;
    world.repository(&registry.image(), json!({})).await;
    let spec = |reflection: &str| {
        json!({"imageRepositoryRef": {"name": "app"}, "policy": {"alphabetical": {}},
        "digestReflectionPolicy": reflection})
    };
    world.apply("ImagePolicy", "apps/app", spec("IfNotPresent")).await;
    let policy = world.until::<ImagePolicy>("apps/app", is_ready).await;
    let digest = policy["status"]["latestRef"]["digest"].as_str().unwrap_or_default();
    assert!(digest.starts_with("sha256:"), "{policy:#}");
    world.apply("ImagePolicy", "apps/app", spec("Never")).await;
    let gone = |policy: &Value| policy["status"]["latestRef"].get("digest").is_none();
    let policy = world.until::<ImagePolicy>("apps/app", gone).await;
    assert_eq!(policy["status"]["observedPreviousRef"]["digest"], digest);
    world.finish().await;
}

#[tokio::test]
async fn tags_of_the_image_before_are_not_chosen_among() {
    let registry = Registry::start("");
    registry.push(None, &["1.0.0"]).await;
    let world = World::new().await;
    world.repository(&registry.image(), json!({})).await;
    world.policy("apps/app", "*").await;
    world.until::<ImagePolicy>("apps/app", is_ready).await;
    // Nothing has been pushed under this name, so that it cannot be scanned.
    let other = format!("{}/team/other", registry.address);
    world.repository(&other, json!({})).await;
    world.until::<ImageRepository>("apps/app", |object| failed(object, "ReadOperationFailed")).await;
    world.policy("apps/app", ">0").await;
    let policy = world.until::<ImagePolicy>("apps/app", |object| failed(object, "DependencyNotReady")).await;
    assert_eq!(policy["status"]["latestRef"]["name"], registry.image());
    world.repository(&registry.image(), json!({})).await;
    world.policy("apps/app", ">=1").await;
    world.until::<ImagePolicy>("apps/app", is_ready).await;
    world.finish().await;
}

#[tokio::test]
async fn what_cannot_be_mended_by_waiting_is_stalled() {
    let world = World::new().await;
    world.repository("example.com/app:1.0.0", json!({})).await;
    let stalled = |object: &Value| condition(object, STALLED).is_some();
    let object = world.until::<ImageRepository>("apps/app", stalled).await;
    let text = "image 'example.com/app:1.0.0' should not include a tag; remove ':1.0.0'";
    assert_eq!(condition(&object, STALLED), Some(("True".into(), "ImageURLInvalid".into(), text.into())));
    world.repository("example.com/app", json!({"suspend": true})).await;
    world.policy("apps/app", "==1").await;
    let object = world.until::<ImagePolicy>("apps/app", stalled).await;
    let text = "invalid policy: improper constraint: \"==1\"";
    assert_eq!(condition(&object, STALLED), Some(("True".into(), "InvalidPolicy".into(), text.into())));
    world.policy("apps/app", "1.x").await;
    let object = world.until::<ImagePolicy>("apps/app", |object| failed(object, "DependencyNotReady")).await;
    let text = "retrying in 1h0m0s error: no tags in database";
    assert_eq!(condition(&object, READY).map(|(.., message)| message).as_deref(), Some(text));
    world.finish().await;
}

#[tokio::test]
async fn the_policys_own_rules_bar_tags_and_the_next_best_is_taken() {
    let registry = Registry::start("");
    registry.push(None, &["1.0.0", "1.1.0", "1.2.0"]).await;
    let world = World::new().await;
    world.repository(&registry.image(), json!({})).await;
    world.policy("apps/app", "1.x").await;
    let annotate = async |annotations: Value| {
        let id = object::named::<ImagePolicy>("apps", "app");
        world.store.patch(&id, "test", &json!({"metadata": {"annotations": annotations}})).await.expect("patched");
    };
    let chosen = |tag: &'static str| move |policy: &Value| policy["status"]["latestRef"]["tag"] == tag;
    world.until::<ImagePolicy>("apps/app", chosen("1.2.0")).await;
    annotate(json!({"slipway.dev/hold": "1.2.0"})).await;
    world.until::<ImagePolicy>("apps/app", chosen("1.1.0")).await;
    annotate(json!({"slipway.dev/pin": "1.0.0"})).await;
    world.until::<ImagePolicy>("apps/app", chosen("1.0.0")).await;
    annotate(json!({"slipway.dev/pin": null, "slipway.dev/hold": null, "slipway.dev/platforms": "linux/amd64"})).await;
    world.until::<ImagePolicy>("apps/app", chosen("1.2.0")).await;
    annotate(json!({"slipway.dev/platforms": "linux/amd64,linux/arm64"})).await;
    let failed = world.until::<ImagePolicy>("apps/app", |policy| failed(policy, "Failure")).await;
    let message = condition(&failed, READY).map(|(.., message)| message);
    let expected = "every tag that fits is barred by a rule of the policy; 1.2.0: the image lacks linux/arm64";
    assert_eq!(message.as_deref(), Some(expected));
    assert_eq!(failed["status"]["latestRef"]["tag"], "1.2.0", "what was chosen stays");
    // A tag that comes later is held until it is old enough; those of the first scan are not.
    annotate(json!({"slipway.dev/platforms": null, "slipway.dev/minimum-age": "1h"})).await;
    world.until::<ImagePolicy>("apps/app", is_ready).await;
    registry.push(None, &["1.3.0"]).await;
    world.request_scan("now").await;
    let told = async |text: &str| {
        let events = world.store.events(&EventFilter::default()).await.expect("events");
        events.iter().any(|event| event.reason == "Barred" && event.message.starts_with(text))
    };
    let start = clock::instant();
    while !told("1.3.0 would come first: younger than slipway.dev/minimum-age until ").await {
        assert!(start.elapsed() < Duration::from_secs(20), "the rule is not told");
        clock::sleep(Duration::from_millis(20)).await;
    }
    annotate(json!({"slipway.dev/minimum-age": "1ms"})).await;
    world.until::<ImagePolicy>("apps/app", chosen("1.3.0")).await;
    world.finish().await;
}

#[tokio::test]
async fn the_image_that_was_built_last_is_chosen_where_that_is_asked_for() {
    let registry = Registry::start("");
    registry.push_built("1.0.0", "2026-03-01T00:00:00Z").await;
    registry.push_built("1.1.0", "2026-01-01T00:00:00Z").await;
    let world = World::new().await;
    world.repository(&registry.image(), json!({})).await;
    world.policy("apps/app", "1.x").await;
    let chosen = |tag: &'static str| move |policy: &Value| policy["status"]["latestRef"]["tag"] == tag;
    world.until::<ImagePolicy>("apps/app", chosen("1.1.0")).await;
    let id = object::named::<ImagePolicy>("apps", "app");
    let newest = json!({"metadata": {"annotations": {"slipway.dev/created": "newest"}}});
    world.store.patch(&id, "test", &newest).await.expect("patched");
    world.until::<ImagePolicy>("apps/app", chosen("1.0.0")).await;
    registry.push_built("1.0.1", "2026-04-01T00:00:00Z").await;
    world.request_scan("now").await;
    world.until::<ImagePolicy>("apps/app", chosen("1.0.1")).await;
    world.finish().await;
}

#[tokio::test]
async fn labels_of_the_chosen_image_stand_in_the_status_where_they_are_wanted() {
    let registry = Registry::start("");
    let label = |name: &str| format!("org.opencontainers.image.{name}");
    let labels = json!({label("source"): "https://git.example/app", label("revision"): "4f2a", "maintainer": "ada"});
    registry.push_with("1.0.0", &json!({"config": {"Labels": labels}})).await;
    registry.push_with("2.0.0", &json!({"config": {"Labels": null}})).await;
    let world = World::new().await;
    world.repository(&registry.image(), json!({})).await;
    world.policy("apps/app", "1.x").await;
    let plain = world.until::<ImagePolicy>("apps/app", is_ready).await;
    assert_eq!(plain["status"].get("latestLabels"), None);
    let id = object::named::<ImagePolicy>("apps", "app");
    let wanted = json!({"metadata": {"annotations": {"slipway.dev/image-labels": "true"}}});
    world.store.patch(&id, "test", &wanted).await.expect("patched");
    let kept = json!({"source": "https://git.example/app", "revision": "4f2a"});
    world.until::<ImagePolicy>("apps/app", |policy| policy["status"]["latestLabels"] == kept).await;
    // Another image takes them away, though it has none of its own.
    world.policy("apps/app", "2.x").await;
    let next = world.until::<ImagePolicy>("apps/app", |policy| policy["status"]["latestRef"]["tag"] == "2.0.0").await;
    assert!(next["status"].get("latestLabels").is_none_or(|labels| *labels == json!({})), "{next}");
    world.finish().await;
}

#[tokio::test]
async fn lists_of_any_length_are_one_scan() {
    let registry = Registry::start("");
    let world = World::new().await;
    for tags in [0, 1, 1000, 10_000] {
        registry.plant(&format!("team/n{tags}"), tags);
        let image = format!("{}/team/n{tags}", registry.address);
        world.apply("ImageRepository", &format!("apps/n{tags}"), json!({"image": image, "interval": "1h"})).await;
    }
    for tags in [0, 1, 1000, 10_000] {
        let name = format!("apps/n{tags}");
        let repository = world.until::<ImageRepository>(&name, is_ready).await;
        assert_eq!(repository["status"]["lastScanResult"]["tagCount"], tags, "{name}");
    }
    let spec = json!({"imageRepositoryRef": {"name": "n10000"}, "policy": {"semver": {"range": "1.x"}}});
    world.apply("ImagePolicy", "apps/app", spec).await;
    let policy = world.until::<ImagePolicy>("apps/app", is_ready).await;
    assert_eq!(policy["status"]["latestRef"]["tag"], "1.9999.0");
    world.finish().await;
}

/// A registry that answers as the path asks once it is broken: `/v2/fail/<how>/tags/list`.
struct Faulty {
    address: String,
    broken: Arc<AtomicBool>,
    listings: Arc<AtomicUsize>,
}

impl Faulty {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let faulty = Self { address, broken: Arc::default(), listings: Arc::default() };
        let (broken, listings) = (faulty.broken.clone(), faulty.listings.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (broken, listings) = (broken.clone(), listings.clone());
                tokio::spawn(async move {
                    let mut head = [0; 4096];
                    let length = stream.read(&mut head).await.unwrap_or(0);
                    let head = String::from_utf8_lossy(&head[..length]).into_owned();
                    let path = head.split(' ').nth(1).unwrap_or_default();
                    if path.contains("/tags/list") {
                        listings.fetch_add(1, Ordering::SeqCst);
                    }
                    let how = path.split('/').nth(3).filter(|_| broken.load(Ordering::SeqCst)).unwrap_or("well");
                    if how == "slow" {
                        // Until the client gives up.
                        let _ = stream.read(&mut [0; 1]).await;
                    }
                    let _ = stream.write_all(faulty_answer(how, path).as_bytes()).await;
                });
            }
        });
        faulty
    }
}

fn faulty_answer(how: &str, path: &str) -> String {
    let (status, headers, body) = match how {
        _ if path == "/v2/" => ("200 OK", "", "{}"),
        "401" => ("401 Unauthorized", "WWW-Authenticate: Basic realm=x\r\n", ""),
        "403" => ("403 Forbidden", "", r#"{"errors": [{"code": "DENIED", "message": "not yours"}]}"#),
        "404" => ("404 Not Found", "", ""),
        "429" => ("429 Too Many Requests", "Retry-After: 600\r\n", ""),
        "500" => ("500 Internal Server Error", "", ""),
        // More is promised than comes.
        "cut" => return "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{\"tags\": [".to_owned(),
        "json" => ("200 OK", "", r#"{"tags": ["2.0.0""#),
        "half" if path.ends_with("last=2.0.0") => ("404 Not Found", "", ""),
        "half" => ("200 OK", "Link: <?n=1&last=2.0.0>; rel=next\r\n", r#"{"tags": ["2.0.0"]}"#),
        _ => ("200 OK", "", r#"{"tags": ["1.0.0"]}"#),
    };
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

#[tokio::test]
async fn a_failed_scan_says_why_and_keeps_the_last_good_result() {
    let registry = Faulty::start().await;
    let world = World::new().await;
    let failures = [
        ("401", "unexpected status code 401 Unauthorized"),
        ("403", "DENIED: not yours"),
        ("404", "unexpected status code 404 Not Found"),
        ("500", "unexpected status code 500 Internal Server Error"),
        ("cut", ""),
        ("json", "the tag list is not readable JSON"),
        ("half", "unexpected status code 404 Not Found"),
        ("slow", "scan failed: no answer within 1s"),
        ("429", "unexpected status code 429 Too Many Requests"),
    ];
    for (how, _) in failures {
        let mut spec = json!({"image": format!("{}/fail/{how}", registry.address), "interval": "1h"});
        if how == "slow" {
            spec["timeout"] = json!("1s");
        }
        world.apply("ImageRepository", &format!("apps/f{how}"), spec).await;
    }
    for (how, _) in failures {
        world.until::<ImageRepository>(&format!("apps/f{how}"), is_ready).await;
    }
    registry.broken.store(true, Ordering::SeqCst);
    // The one whose answer pauses the host comes last.
    for (how, expected) in failures {
        world.request_scan_of(&format!("f{how}"), "now").await;
        if how == "slow" {
            for (how, expected) in &failures[..failures.len() - 1] {
                check_failure(&world, how, expected).await;
            }
        }
        if how == "429" {
            check_failure(&world, how, expected).await;
        }
    }
    world.finish().await;
}

async fn check_failure(world: &World, how: &str, expected: &str) {
    let name = format!("apps/f{how}");
    let object = world.until::<ImageRepository>(&name, |object| failed(object, "ReadOperationFailed")).await;
    let message = condition(&object, READY).map(|(.., message)| message).unwrap_or_default();
    assert!(message.starts_with("scan failed: ") && message.contains(expected), "{name}: {message}");
    assert_eq!(object["status"]["lastScanResult"]["tagCount"], 1, "{name}");
    assert_eq!(object["status"]["lastScanResult"]["latestTags"], json!(["1.0.0"]), "{name}");
}

#[tokio::test]
async fn objects_that_ask_for_the_same_share_a_listing() {
    let registry = Faulty::start().await;
    registry.broken.store(true, Ordering::SeqCst);
    let world = World::new().await;
    // Nobody answers, so that all of them must be waiting at the same time.
    for name in ["one", "two", "three"] {
        let spec = json!({"image": format!("{}/fail/slow", registry.address), "interval": "1h", "timeout": "2s"});
        world.apply("ImageRepository", &format!("apps/{name}"), spec).await;
    }
    for name in ["one", "two", "three"] {
        let name = format!("apps/{name}");
        world.until::<ImageRepository>(&name, |object| failed(object, "ReadOperationFailed")).await;
    }
    // A second one at most, for who was so late that the first had been given up.
    let listings = registry.listings.load(Ordering::SeqCst);
    assert!(listings <= 2, "{listings} listings");
    world.finish().await;
}
