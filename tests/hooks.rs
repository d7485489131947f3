//! Webhooks and messages of a running slipway: a push is acted on at once, and what happened reaches chat, kill or not.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use api::meta::ObjectReference;
use reconcile::{Directory, Store, clock};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::{
    demo::{
        ci::{self, Clone, Program, Release},
        git_server::GitServer,
        parts::{self, Part},
        sink,
    },
    support::{SLIPWAY, client},
};

const TOKEN: &str = "webhook-token";
const PATIENCE: Duration = Duration::from_secs(60);
/// Where nobody listens.
const NOBODY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// Git, a registry, and slipway over both; nothing is looked at but once an hour, unless a hook says so.
struct World {
    folder: TempDir,
    slipway: Part,
    store: Store,
    hooks: SocketAddr,
    events: SocketAddr,
    registry: SocketAddr,
    _registry: Part,
    _git: GitServer,
}

fn manifests(registry: SocketAddr, url: &str, chat: SocketAddr, pager: SocketAddr) -> String {
    let receiver = |name: &str, kind: &str, resource: Value| {
        json!({"apiVersion": "notification.toolkit.fluxcd.io/v1", "kind": "Receiver", "metadata": {"name": name, "namespace": "apps"},
            "spec": {"type": kind, "events": ["ping", "push"], "secretRef": {"name": "token"}, "resources": [resource]}})
    };
    let objects = [
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": "apps"}, "stringData": {"token": TOKEN}}),
        receiver("git", "github", json!({"kind": "GitRepository", "name": "app"})),
        receiver(
            "registry",
            "harbor",
            json!({"kind": "ImageRepository", "name": "*", "matchLabels": {"team": "app"},
            "filter": "req.event_data.repository.name == res.metadata.name"}),
        ),
        {
            let mut unsigned = receiver("unsigned", "quay", json!({"kind": "ImageRepository", "name": "app"}));
            unsigned["metadata"]["annotations"] = json!({"notification.slipway.dev/confirm": "true"});
            unsigned
        },
        json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": "app", "namespace": "apps"},
            "spec": {"interval": "1h", "url": url, "ref": {"branch": "main"}}}),
        json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImageRepository",
            "metadata": {"name": "app", "namespace": "apps", "labels": {"team": "app"}},
            "spec": {"image": format!("{registry}/demo/app"), "interval": "1h", "insecure": true}}),
        json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImagePolicy", "metadata": {"name": "app", "namespace": "apps"},
            "spec": {"imageRepositoryRef": {"name": "app"}, "policy": {"semver": {"range": ">=1.0.0"}}}}),
        json!({"apiVersion": "notification.toolkit.fluxcd.io/v1beta3", "kind": "Provider", "metadata": {"name": "chat", "namespace": "apps"},
            "spec": {"type": "slack", "channel": "dev", "address": format!("http://{chat}/alerts")}}),
        json!({"apiVersion": "notification.toolkit.fluxcd.io/v1beta3", "kind": "Alert", "metadata": {"name": "all", "namespace": "apps"},
            "spec": {"providerRef": {"name": "chat"}, "eventSources": [{"kind": "ImagePolicy", "name": "*"}, {"kind": "Kustomization", "name": "infra"}]}}),
        json!({"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": {"name": "site", "namespace": "apps"},
            "spec": {"interval": "1h", "retryInterval": "1h", "path": "./site", "prune": true, "targetNamespace": "apps",
                "sourceRef": {"kind": "GitRepository", "name": "app"}}}),
        json!({"apiVersion": "notification.toolkit.fluxcd.io/v1beta3", "kind": "Provider", "metadata": {"name": "pager", "namespace": "apps"},
            "spec": {"type": "pagerduty", "channel": "KEY", "address": format!("http://{pager}")}}),
        json!({"apiVersion": "notification.toolkit.fluxcd.io/v1beta3", "kind": "Alert", "metadata": {"name": "site", "namespace": "apps"},
            "spec": {"providerRef": {"name": "pager"}, "eventSources": [{"kind": "Kustomization", "name": "site"}]}}),
    ];
    objects.map(|object| object.to_string()).join("\n---\n")
}

fn release(version: &'static str) -> Release {
    Release { version, fail_percent: 0 }
}

impl World {
    async fn start(chat: SocketAddr) -> Self {
        Self::with_pager(chat, NOBODY).await
    }

    async fn with_pager(chat: SocketAddr, pager: SocketAddr) -> Self {
        parts::require_tools().expect("the tools are installed");
        let folder = tempfile::Builder::new().prefix("slipway-hooks-").tempdir().expect("a folder");
        let (mut registry_part, registry) = parts::registry(Path::new(SLIPWAY), folder.path()).expect("a registry");
        let git = GitServer::start(&folder.path().join("git"), None).await.expect("a Git server");
        let url = git.create_repository("app").expect("a repository");
        parts::listening(&mut registry_part, registry).await.expect("the registry listens");
        push_image(registry, "1.0.0").await;
        let clone = folder.path().join("clone");
        let remote = url.clone();
        tokio::task::spawn_blocking(move || {
            Clone { folder: &clone }.create(&remote, &[("a.yaml".into(), "{}\n".into())]).expect("a first commit");
        })
        .await
        .expect("git runs");
        fs::write(folder.path().join("manifests.yaml"), manifests(registry, &url, chat, pager))
            .expect("a written file");
        let (hooks, events) = (parts::free_address().expect("a port"), parts::free_address().expect("a port"));
        let mut slipway = listening(folder.path(), hooks, events);
        parts::listening(&mut slipway, hooks).await.expect("webhooks are served");
        let directory = Directory::attach(&folder.path().join("state.db")).expect("the state");
        let store = Store::Directory(directory);
        let world = Self { folder, slipway, store, hooks, events, registry, _registry: registry_part, _git: git };
        for (kind, name) in
            [("GitRepository", "app"), ("ImageRepository", "app"), ("Receiver", "git"), ("Receiver", "registry")]
        {
            world.reaches(kind, name, ready).await;
        }
        world
    }

    async fn object(&self, kind: &str, name: &str) -> Value {
        let api_version = match kind {
            "GitRepository" => "source.toolkit.fluxcd.io/v1",
            "Receiver" => "notification.toolkit.fluxcd.io/v1",
            "Alert" => "notification.toolkit.fluxcd.io/v1beta3",
            _ => "image.toolkit.fluxcd.io/v1",
        };
        let id = ObjectReference {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: "apps".into(),
            name: name.into(),
        };
        self.store.find(&id).await.expect("the store").unwrap_or_default()
    }

    async fn reaches(&self, kind: &str, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let start = clock::instant();
        loop {
            let object = self.object(kind, name).await;
            if holds(&object) {
                return object;
            }
            let log = || fs::read_to_string(self.folder.path().join("slipway.log")).unwrap_or_default();
            assert!(start.elapsed() < PATIENCE, "{kind} {name}: {object:#}\n{}", log());
            clock::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Posts to a Receiver's path and gives the status.
    async fn hook(&self, receiver: &str, headers: &[(&str, &str)], body: &str) -> u16 {
        let path = Sha256::new().chain_update(TOKEN).chain_update(receiver).chain_update("apps").finalize();
        self.post(&format!("http://{}/hook/{}", self.hooks, hex::encode(path)), headers, body).await
    }

    async fn post(&self, url: &str, headers: &[(&str, &str)], body: &str) -> u16 {
        let mut request = client().post(url).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.expect("an answer").status().as_u16()
    }
}

/// Starts slipway with both listeners over the folder's manifests.
fn listening(folder: &Path, hooks: SocketAddr, events: SocketAddr) -> Part {
    let (hooks, events) = (hooks.to_string(), events.to_string());
    run(folder, "image,delivery,notification", &["--receiver-listen", &hooks, "--events-listen", &events])
}

/// Starts slipway over the folder's manifests.
fn run(folder: &Path, controllers: &str, more: &[&str]) -> Part {
    let text = |path: &str| folder.join(path).display().to_string();
    let (manifests, state) = (text("manifests.yaml"), text("state.db"));
    let mut command = vec![SLIPWAY, "run", "--manifests", &manifests, "--state", &state, "--listen", "127.0.0.1:0"];
    command.extend(["--controllers", controllers].iter().chain(more));
    Part::start(Path::new(SLIPWAY), folder, "slipway", &command).expect("slipway starts")
}

async fn push_image(registry: SocketAddr, version: &'static str) {
    let program = Program::script(Path::new(SLIPWAY));
    ci::push_image(registry, release(version), &program).await.expect("the image is pushed");
}

fn ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// GitHub's signature of a body.
fn signature(body: &str) -> String {
    use ring::hmac;
    format!("sha256={}", hex::encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, TOKEN.as_bytes()), body.as_bytes())))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_acted_on_at_once_and_told_in_chat() {
    let (chat, mut messages) = sink::listen().await.expect("a sink");
    let world = World::start(chat).await;

    let revision = |object: &Value| object["status"]["artifact"]["revision"].as_str().unwrap_or_default().to_owned();
    let before = revision(&world.object("GitRepository", "app").await);
    let clone = world.folder.path().join("clone");
    tokio::task::spawn_blocking(move || {
        let clone = Clone { folder: &clone };
        clone.write(&[("b.yaml".into(), "{}\n".into())]).expect("a file");
        clone.commit_and_push("Push something").expect("a push");
    })
    .await
    .expect("git runs");
    let body = r#"{"ref":"refs/heads/main"}"#;
    let json = ("content-type", "application/json");
    let signed = signature(body);
    assert_eq!(
        world.hook("git", &[json, ("x-github-event", "push"), ("x-hub-signature-256", "sha256=00")], body).await,
        400
    );
    assert_eq!(
        world.hook("git", &[json, ("x-github-event", "star"), ("x-hub-signature-256", &signed)], body).await,
        400
    );
    assert_eq!(world.hook("nobody", &[json], body).await, 404);
    assert_eq!(revision(&world.object("GitRepository", "app").await), before, "nothing unproven is believed");
    assert_eq!(
        world.hook("git", &[json, ("x-github-event", "push"), ("x-hub-signature-256", &signed)], body).await,
        200
    );
    world.reaches("GitRepository", "app", |object| revision(object) != before).await;

    push_image(world.registry, "1.1.0").await;
    let body = r#"{"event_data":{"repository":{"name":"app"}}}"#;
    assert_eq!(world.hook("registry", &[json, ("authorization", "wrong")], body).await, 400);
    assert_eq!(world.hook("registry", &[json, ("authorization", TOKEN)], body).await, 200);
    world.reaches("ImagePolicy", "app", |object| object["status"]["latestRef"]["tag"] == "1.1.0").await;
    loop {
        let message =
            tokio::time::timeout(PATIENCE, messages.recv()).await.expect("a message in time").expect("a message");
        assert_eq!(
            (&message["channel"], &message["attachments"][0]["author_name"]),
            (&json!("dev"), &json!("imagepolicy/app.apps"))
        );
        if message.to_string().contains("1.1.0") {
            break;
        }
    }

    // What Flux's own controllers post is told like our own, at whatever path.
    let posted = json!({"involvedObject": {"kind": "Kustomization", "namespace": "apps", "name": "infra", "uid": "u",
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1"}, "severity": "error", "timestamp": clock::now(), "message": "no such path",
        "reason": "BuildFailed", "metadata": {"kustomize.toolkit.fluxcd.io/revision": "main@sha1:abc"}, "reportingController": "kustomize-controller"});
    assert_eq!(world.post(&format!("http://{}/", world.events), &[json], "no event").await, 400);
    assert_eq!(world.post(&format!("http://{}/flux", world.events), &[json], &posted.to_string()).await, 202);
    let message = tokio::time::timeout(PATIENCE, messages.recv()).await.expect("a message in time").expect("a message");
    let attachment = &message["attachments"][0];
    assert_eq!((&attachment["color"], &attachment["text"]), (&json!("danger"), &json!("no such path")));
    assert_eq!(attachment["fields"], json!([{"title": "revision", "value": "main@sha1:abc", "short": false}]));
    world.reaches("Alert", "all", |object| object["status"]["delivery"]["lastSuccess"].is_string()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_pages_somebody_until_it_heals() {
    let (pager, mut pages) = sink::listen().await.expect("a sink");
    let world = World::with_pager(NOBODY, pager).await;
    let mut page = async |action: &str| loop {
        let page = tokio::time::timeout(PATIENCE, pages.recv()).await.expect("a page in time").expect("a page");
        if page["event_action"] == action {
            break page;
        }
    };
    let trigger = page("trigger").await;
    assert_eq!((&trigger["routing_key"], &trigger["payload"]["component"]), (&json!("KEY"), &json!("site")));
    assert!(trigger["dedup_key"].as_str().is_some_and(|key| !key.is_empty()), "{trigger}");
    let clone = world.folder.path().join("clone");
    tokio::task::spawn_blocking(move || {
        let clone = Clone { folder: &clone };
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}});
        clone.write(&[("site/a.yaml".into(), config.to_string())]).expect("a file");
        clone.commit_and_push("Add the site").expect("a push");
    })
    .await
    .expect("git runs");
    let body = r#"{"ref":"refs/heads/main"}"#;
    let signed = signature(body);
    let headers = [("content-type", "application/json"), ("x-github-event", "push"), ("x-hub-signature-256", &signed)];
    assert_eq!(world.hook("git", &headers, body).await, 200);
    assert_eq!(page("resolve").await["dedup_key"], trigger["dedup_key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_refused_before_it_has_come() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = World::start(NOBODY).await;
    let digest = Sha256::new().chain_update(TOKEN).chain_update("registry").chain_update("apps").finalize();
    let mut stream = tokio::net::TcpStream::connect(world.hooks).await.expect("a connection");
    let head =
        format!("POST /hook/{} HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000000\r\n\r\nx", hex::encode(digest));
    stream.write_all(head.as_bytes()).await.expect("the head is sent");
    let mut answer = [0; 12];
    let read = tokio::time::timeout(Duration::from_secs(4), stream.read_exact(&mut answer)).await;
    read.expect("nothing more is waited for").expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_is_refused_and_a_burst_loses_nothing() {
    let world = World::start(NOBODY).await;
    let large = "x".repeat((3 << 20) + 1);
    assert_eq!(world.hook("registry", &[("authorization", TOKEN)], &large).await, 413);
    let handled = |object: &Value| object["status"]["lastHandledReconcileAt"].as_str().map(str::to_owned);
    let body = r#"{"event_data":{"repository":{"name":"app"}}}"#;
    let headers = [("content-type", "application/json"), ("authorization", TOKEN)];
    let before = handled(&world.object("ImageRepository", "app").await);
    let statuses = futures::future::join_all((0..50).map(|_| world.hook("registry", &headers, body))).await;
    assert_eq!(statuses, [200; 50]);
    let asked =
        world.object("ImageRepository", "app").await["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"]
            .clone();
    let object = world
        .reaches("ImageRepository", "app", |object| handled(object).map(Value::from).as_ref() == Some(&asked))
        .await;
    assert_ne!(handled(&object), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_outlive_a_kill_and_a_silent_chat() {
    let chat = parts::free_address().expect("a port");
    let mut world = World::start(chat).await;
    world.reaches("Alert", "all", |object| object["status"]["delivery"]["pending"].as_u64() > Some(0)).await;
    push_image(world.registry, "1.1.0").await;
    let body = r#"{"event_data":{"repository":{"name":"app"}}}"#;
    let headers = [("content-type", "application/json"), ("authorization", TOKEN)];
    assert_eq!(world.hook("registry", &headers, body).await, 200);
    world.reaches("ImagePolicy", "app", |object| object["status"]["latestRef"]["tag"] == "1.1.0").await;
    // Whether the message is in the outbox yet does not matter: its event is there since the status is.
    world.slipway.kill();
    let mut messages = sink::listen_at(chat).await.expect("chat is back");
    world.slipway = listening(world.folder.path(), world.hooks, world.events);
    let mut texts = Vec::new();
    while texts.len() < 2 {
        let message =
            tokio::time::timeout(PATIENCE, messages.recv()).await.expect("a message in time").expect("a message");
        texts.push(message["attachments"][0]["text"].as_str().unwrap_or_default().to_owned());
    }
    assert!(texts[0].contains("1.0.0") && texts[1].contains("1.1.0"), "each once, in order: {texts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsigned_call_counts_once_the_registry_has_what_it_names() {
    let world = World::start(NOBODY).await;
    world.reaches("Receiver", "unsigned", ready).await;
    push_image(world.registry, "1.1.0").await;
    let json = ("content-type", "application/json");
    let said = |tags: Value| json!({"docker_url": "quay.io/demo/app", "updated_tags": tags}).to_string();
    let count = |object: &Value| object["status"]["lastScanResult"]["tagCount"].clone();
    assert_eq!(world.hook("unsigned", &[json], &said(json!([]))).await, 400);
    assert_eq!(world.hook("unsigned", &[json], &said(json!(["9.9.9"]))).await, 200);
    let asked =
        world.object("ImageRepository", "app").await["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"]
            .clone();
    let handled = |object: &Value| object["status"]["lastHandledReconcileAt"] == asked;
    let object = world.reaches("ImageRepository", "app", handled).await;
    assert_eq!(count(&object), 1, "nothing was scanned: {object:#}");
    assert_eq!(world.hook("unsigned", &[json], &said(json!(["9.9.9", "1.1.0"]))).await, 200);
    world.reaches("ImagePolicy", "app", |object| object["status"]["latestRef"]["tag"] == "1.1.0").await;
}

/// A Git service that takes statuses of commits, and tells what it was sent: the path and the body.
async fn statuses() -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<(String, Value)>) {
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    let answer = async move |request: axum::extract::Request| {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
        if head.method == http::Method::POST {
            let _ = tell.send((head.uri.path().to_owned(), serde_json::from_slice(&body).unwrap_or_default()));
        }
        "[]"
    };
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let app = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, told)
}

/// A GitRepository and a Kustomization of it, whose commits get a status in Gitea.
fn told_in_git(url: &str, service: SocketAddr) -> String {
    let object = |api_version: &str, kind: &str, spec: Value| {
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "site", "namespace": "apps",
            "annotations": {"event.toolkit.fluxcd.io/env": "prod"}}, "spec": spec})
    };
    let notification = "notification.toolkit.fluxcd.io/v1beta3";
    let objects = [
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": "apps"}, "stringData": {"token": TOKEN}}),
        object(
            notification,
            "Provider",
            json!({"type": "gitea", "address": format!("http://{service}/team/site"), "secretRef": {"name": "token"}}),
        ),
        object(
            notification,
            "Alert",
            json!({"providerRef": {"name": "site"}, "eventSources": [{"kind": "Kustomization", "name": "*"}]}),
        ),
        object(
            "source.toolkit.fluxcd.io/v1",
            "GitRepository",
            json!({"interval": "1h", "url": url, "ref": {"branch": "main"}}),
        ),
        object(
            "kustomize.toolkit.fluxcd.io/v1",
            "Kustomization",
            json!({"interval": "1h", "path": "./site", "prune": true,
            "targetNamespace": "apps", "sourceRef": {"kind": "GitRepository", "name": "site"}}),
        ),
    ];
    objects.map(|object| object.to_string()).join("\n---\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_gets_its_status_and_flux_its_events() {
    let (server, mut posted) = sink::listen().await.expect("a server of events");
    let (service, mut statuses) = statuses().await;
    let folder = tempfile::Builder::new().prefix("slipway-events-").tempdir().expect("a folder");
    let git = GitServer::start(&folder.path().join("git"), None).await.expect("a Git server");
    let url = git.create_repository("site").expect("a repository");
    let (clone, remote) = (folder.path().join("clone"), url.clone());
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}});
    let first = ("site/a.yaml".to_owned(), config.to_string());
    let create = move || Clone { folder: &clone }.create(&remote, &[first]).expect("a first commit");
    tokio::task::spawn_blocking(create).await.expect("git runs");
    fs::write(folder.path().join("manifests.yaml"), told_in_git(&url, service)).expect("a written file");
    let _slipway = run(folder.path(), "delivery,notification", &["--events-addr", &format!("http://{server}/")]);

    let mut event = async |reason: &str| loop {
        let event = tokio::time::timeout(PATIENCE, posted.recv()).await.expect("an event in time").expect("an event");
        assert_ne!(event["severity"], "trace", "{event}");
        if event["reason"] == reason {
            break event;
        }
    };
    let stored = event("NewArtifact").await;
    let revision = stored["metadata"]["source.toolkit.fluxcd.io/revision"].as_str().expect("a revision").to_owned();
    let keys: Vec<_> = stored["metadata"].as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    // Annotations come under the group, too; see STATUS.md.
    assert_eq!(keys, ["digest", "env", "revision"].map(|key| format!("source.toolkit.fluxcd.io/{key}")), "{stored}");
    let about = &stored["involvedObject"];
    assert_eq!([&about["kind"], &about["name"], &about["namespace"]], ["GitRepository", "site", "apps"]);
    assert!(
        [&about["uid"], &about["resourceVersion"]]
            .iter()
            .all(|text| text.as_str().is_some_and(|text| !text.is_empty())),
        "{stored}"
    );
    assert_eq!([&stored["severity"], &stored["reportingController"]], ["info", "source-controller"]);
    assert!(stored["reportingInstance"].is_string() && stored["timestamp"].is_string(), "{stored}");
    let applied = event("ReconciliationSucceeded").await;
    let fact = |key: &str| applied["metadata"][format!("kustomize.toolkit.fluxcd.io/{key}")].clone();
    assert_eq!([fact("revision"), fact("commit_status")], [json!(revision), json!("update")], "{applied}");

    let (path, status) =
        tokio::time::timeout(PATIENCE, statuses.recv()).await.expect("a status in time").expect("a status");
    let commit = revision.rsplit(':').next().unwrap_or_default();
    assert_eq!(path, format!("/api/v1/repos/team/site/statuses/{commit}"));
    assert_eq!(
        (&status["state"], &status["description"]),
        (&json!("success"), &json!("reconciliation succeeded")),
        "{status}"
    );
}
