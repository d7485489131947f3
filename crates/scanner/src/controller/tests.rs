//! Both loops over a directory store, against the real `docker-registry`.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
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
    Directory, Endpoint, Events, Http, HttpError, Metrics, Object, Store, clock, object, store::EventFilter,
    watcher::Event,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// A `docker-registry` on a free port; it ends with the value.
struct Registry {
    address: String,
    process: Child,
    _folder: TempDir,
}

impl Registry {
    /// With `auth` empty anybody may enter.
    fn start(auth: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().display().to_string();
        // The user is `ada`, the password `open-sesame`, in bcrypt.
        let user = "ada:$2b$04$7cqjd.cGo.srSDSHFBy.1eubAuxHwWzmT7.NntyGV6.F/hG8xUXMW\n";
        std::fs::write(folder.path().join("htpasswd"), user).expect("written");
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {root}/data}}}}\nhttp: {{addr: '127.0.0.1:0', secret: test}}\n{}\n",
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
        Self { address: address.expect("an address"), process, _folder: folder }
    }

    fn image(&self) -> String {
        format!("{}/team/app", self.address)
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
        let folder = tempfile::tempdir().expect("a folder");
        let directory = Directory::open(&folder.path().join("state.db"), Vec::new()).await.expect("a store");
        let store = Store::Directory(directory);
        let context = Context {
            store: store.clone(),
            http: Http::new("test"),
            events: Events::new(store.clone(), "test"),
            metrics: Metrics::default(),
        };
        let shutdown = Shutdown::new();
        let options = Options { requeue_dependency: Duration::from_secs(3600), ..Options::default() };
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
        let patch = json!({"metadata": {"annotations": {REQUESTED_AT: at}}});
        let id = object::named::<ImageRepository>("apps", "app");
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
