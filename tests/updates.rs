//! The updater over HTTP: pull requests at a forge, branches for each policy, and a Git server that dies in a push.

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use api::meta::{ObjectReference, REQUESTED_AT};
use axum::{
    Json, Router,
    extract::{Path as Segments, State},
    http::{HeaderMap, StatusCode},
    routing::{get, patch, post},
};
use reconcile::{Context, Directory, Http, Shutdown, Store, clock, store::EventFilter};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use updater::controller::{Options, controllers};

use crate::demo::git_server::GitServer;

const PATIENCE: Duration = Duration::from_secs(30);
const LOGIN: (&str, &str) = ("bot", "pw");

/// The updater over a store of its own, and a repository with a marker for each policy.
struct World {
    folder: TempDir,
    git: GitServer,
    store: Store,
    shutdown: Shutdown,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl World {
    async fn new(policies: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let git = GitServer::start(&folder.path().join("git"), Some(LOGIN)).await.expect("a Git server");
        git.create_repository("fleet").expect("a repository");
        let work = folder.path().join("work");
        let bare = git.folder("fleet").display().to_string();
        run(folder.path(), &["clone", "--quiet", &bare, "work"]);
        for policy in policies {
            let text = format!("image: example.com/{policy}:0 # {{\"$imagepolicy\": \"apps:{policy}\"}}\n");
            std::fs::write(work.join(format!("{policy}.yaml")), text).expect("a file");
        }
        run(&work, &["add", "--all"]);
        run(&work, &["commit", "--quiet", "--message=By hand"]);
        run(&work, &["push", "--quiet", "origin", "HEAD:main"]);
        let store =
            Store::Directory(Directory::open(&folder.path().join("state.db"), Vec::new()).await.expect("a store"));
        let context = Context::new(store.clone(), Http::new("test"), "test");
        let shutdown = Shutdown::new();
        let mirrors = git::Mirrors::new(folder.path().join("cache"));
        tokio::spawn(controllers(
            context,
            Options { mirrors, no_cross_namespace_refs: false, object_level_workload_identity: false },
            shutdown.clone(),
        ));
        Self { folder, git, store, shutdown }
    }

    async fn apply(&self, api_version: &str, kind: &str, name: &str, annotations: &Value, rest: Value) {
        let mut object = json!({"apiVersion": api_version, "kind": kind,
            "metadata": {"name": name, "namespace": "apps", "annotations": annotations}});
        object.as_object_mut().expect("an object").extend(rest.as_object().cloned().unwrap_or_default());
        self.store.apply("user", &object).await.expect("the object is applied");
    }

    /// The GitRepository at this URL and the automation over it.
    async fn automate(&self, url: &str, push: Value, annotations: Value) {
        self.source(url).await;
        let template = "{{ range .Changed.Changes }}{{ .Setter }} to {{ .NewValue }}{{ end }}";
        self.automation("bot", template, push, annotations).await;
    }

    async fn source(&self, url: &str) {
        let login = json!({"stringData": {"username": LOGIN.0, "password": LOGIN.1}});
        self.apply("v1", "Secret", "login", &json!({}), login).await;
        let spec =
            json!({"spec": {"url": url, "interval": "1h", "ref": {"branch": "main"}, "secretRef": {"name": "login"}}});
        self.apply("source.toolkit.fluxcd.io/v1", "GitRepository", "fleet", &json!({}), spec).await;
    }

    async fn automation(&self, name: &str, template: &str, push: Value, annotations: Value) {
        let commit = json!({"author": {"name": "bot", "email": "bot@example.com"}, "messageTemplate": template});
        let spec = json!({"spec": {"interval": "1h", "sourceRef": {"kind": "GitRepository", "name": "fleet"},
            "git": {"commit": commit, "push": push}}});
        self.apply("image.toolkit.fluxcd.io/v1", "ImageUpdateAutomation", name, &annotations, spec).await;
    }

    async fn choose(&self, name: &str, tag: &str) {
        let id = image_object("ImagePolicy", name);
        if self.store.find(&id).await.expect("the store").is_none() {
            let spec = json!({"spec": {"imageRepositoryRef": {"name": name}, "policy": {"alphabetical": {}}}});
            self.apply(&id.api_version, &id.kind, name, &json!({}), spec).await;
        }
        let status = json!({"latestRef": {"name": format!("example.com/{name}"), "tag": tag}});
        self.store.write_status(&id, "test", &status).await.expect("the status is written");
    }

    /// Until the automation has dealt with this tag and is Ready.
    async fn applied(&self, name: &str, tag: &str) -> Value {
        self.applied_by("bot", name, tag).await
    }

    async fn applied_by(&self, automation: &str, name: &str, tag: &str) -> Value {
        let start = clock::instant();
        loop {
            let found = self.store.find(&image_object("ImageUpdateAutomation", automation)).await.expect("the store");
            let found = found.unwrap_or_default();
            let conditions = found.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
            let is_ready = conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
            let observed = found.pointer(&format!("/status/observedPolicies/{name}/tag"));
            if is_ready && observed.is_some_and(|found| found == tag) {
                return found;
            }
            assert!(start.elapsed() < PATIENCE, "{automation}: {name} {tag}: {found:#}");
            clock::sleep(Duration::from_millis(10)).await;
        }
    }

    fn ask(&self, arguments: &[&str]) -> String {
        run(&self.git.folder("fleet"), arguments)
    }

    fn branches(&self) -> Vec<String> {
        let all = self.ask(&["for-each-ref", "--format=%(refname:short)", "refs/heads"]);
        all.lines().map(str::to_owned).collect()
    }
}

fn image_object(kind: &str, name: &str) -> ObjectReference {
    let api_version = "image.toolkit.fluxcd.io/v1".to_owned();
    ObjectReference { api_version, kind: kind.into(), namespace: "apps".into(), name: name.into() }
}

/// Runs git and returns what it prints.
fn run(folder: &Path, arguments: &[&str]) -> String {
    attempt(folder, arguments).unwrap_or_else(|error| unreachable!("git {arguments:?}: {error}"))
}

fn attempt(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("git")
        .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("git is needed: apt-get install git");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Pull requests as Gitea's API shows them.
#[derive(Clone, Default)]
struct Forge(Arc<Mutex<Vec<Value>>>);

impl Forge {
    /// Serves `/api/v1/repos/team/fleet` on loopback.
    async fn start() -> (Self, String) {
        let forge = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}/api/v1", listener.local_addr().expect("an address"));
        let router = Router::new()
            .route("/api/v1/repos/fleet/pulls", get(Self::list).post(Self::create))
            .route("/api/v1/repos/fleet/pulls/{number}", patch(Self::change))
            .route("/api/v1/repos/fleet/issues/{number}/labels", post(Self::label))
            .with_state(forge.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (forge, address)
    }

    fn all(&self) -> Vec<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn list(State(forge): State<Self>, headers: HeaderMap) -> Result<Json<Value>, StatusCode> {
        let proof = headers.get("authorization").and_then(|value| value.to_str().ok());
        if proof != Some(&format!("token {}", LOGIN.1)) {
            return Err(StatusCode::UNAUTHORIZED);
        }
        Ok(Json(forge.all().into_iter().filter(|pull| pull["state"] == "open").collect()))
    }

    async fn create(State(forge): State<Self>, Json(mut pull): Json<Value>) -> (StatusCode, Json<Value>) {
        let mut all = forge.0.lock().unwrap_or_else(PoisonError::into_inner);
        pull["number"] = json!(all.len() + 1);
        pull["state"] = json!("open");
        pull["html_url"] = json!(format!("http://forge/pulls/{}", all.len() + 1));
        for end in ["head", "base"] {
            pull[end] = json!({"ref": pull[end]});
        }
        all.push(pull.clone());
        (StatusCode::CREATED, Json(pull))
    }

    async fn change(
        State(forge): State<Self>,
        Segments(number): Segments<usize>,
        Json(new): Json<Value>,
    ) -> Json<Value> {
        let mut all = forge.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pull = &mut all[number - 1];
        pull.as_object_mut().expect("an object").extend(new.as_object().cloned().unwrap_or_default());
        Json(pull.clone())
    }

    async fn label(
        State(forge): State<Self>,
        Segments(number): Segments<usize>,
        Json(new): Json<Value>,
    ) -> Json<Value> {
        let mut all = forge.0.lock().unwrap_or_else(PoisonError::into_inner);
        all[number - 1]["labels"] = new["labels"].clone();
        Json(json!([]))
    }

    /// Head, state and title of each pull request.
    fn rows(&self) -> Vec<[String; 3]> {
        let text = |pull: &Value, pointer: &str| pull.pointer(pointer).and_then(Value::as_str).unwrap_or("").to_owned();
        self.all().iter().map(|pull| ["/head/ref", "/state", "/title"].map(|pointer| text(pull, pointer))).collect()
    }
}

fn row(head: &str, state: &str, title: &str) -> [String; 3] {
    [head, state, title].map(str::to_owned)
}

fn asking(api: &str) -> Value {
    json!({"slipway.dev/pull-request": "gitea", "slipway.dev/pull-request-api": api,
        "slipway.dev/pull-request-labels": "images, bot"})
}

#[tokio::test]
async fn each_policy_has_its_branch_and_its_pull_request() {
    let (forge, api) = Forge::start().await;
    let world = World::new(&["app", "web"]).await;
    world.choose("app", "1").await;
    world.choose("web", "1").await;
    let url = world.git.url("fleet.git");
    world.automate(&url, json!({"branch": "images/{{ .Policy.Name }}"}), asking(&api)).await;
    world.applied("web", "1").await;
    let [app, web] = ["app", "web"].map(|name| format!("images/{name}"));
    let title = |name: &str, tag: &str| format!("apps:{name} to example.com/{name}:{tag}");
    assert_eq!(world.branches(), [app.clone(), web.clone(), "main".into()]);
    assert_eq!(forge.rows(), [row(&app, "open", &title("app", "1")), row(&web, "open", &title("web", "1"))]);
    assert_eq!(forge.all()[0]["labels"], json!(["images", "bot"]));
    assert_eq!(world.ask(&["show", "--stat", "--format=", "--name-only", &web]), "web.yaml");
    let before = world.ask(&["rev-parse", &app]);

    world.choose("web", "2").await;
    let done = world.applied("web", "2").await;
    assert_eq!(forge.rows(), [row(&app, "open", &title("app", "1")), row(&web, "open", &title("web", "2"))]);
    assert_eq!(world.ask(&["rev-parse", &app]), before, "the other branch is left alone");
    assert_eq!(done["status"]["lastPushCommit"], world.ask(&["rev-parse", &web]).as_str());

    // Merged: nothing is due any more, and nothing is pushed again.
    world.ask(&["update-ref", "refs/heads/main", &web]);
    let head = world.ask(&["rev-parse", &web]);
    let merge = json!({"metadata": {"annotations": {REQUESTED_AT: "now"}}});
    let id = image_object("ImageUpdateAutomation", "bot");
    world.store.patch(&id, "user", &merge).await.expect("a request");
    let start = clock::instant();
    loop {
        let found = world.store.find(&id).await.expect("the store").unwrap_or_default();
        if found.pointer("/status/lastHandledReconcileAt").is_some_and(|at| at == "now") {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{found:#}");
        clock::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.ask(&["rev-parse", &web]), head);
}

#[tokio::test]
async fn the_pull_request_of_an_older_update_is_closed() {
    let (forge, api) = Forge::start().await;
    let world = World::new(&["app"]).await;
    world.choose("app", "1").await;
    let url = world.git.url("fleet.git");
    let branch = "{{ .Policy.Name }}-{{ .Image.Tag }}";
    world.automate(&url, json!({"branch": branch}), asking(&api)).await;
    world.applied("app", "1").await;
    world.choose("app", "2").await;
    world.applied("app", "2").await;
    let title = |tag: &str| format!("apps:app to example.com/app:{tag}");
    assert_eq!(forge.rows(), [row("app-1", "closed", &title("1")), row("app-2", "open", &title("2"))]);
}

/// Passes connections on to a server, and cuts the first pushes: before the server has them, or before its answer is read.
async fn cutting(server: String, before: usize, after: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let (before, after) = (Arc::new(AtomicUsize::new(before)), Arc::new(AtomicUsize::new(after)));
    let take =
        |left: &AtomicUsize| left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (server, before, after) = (server.clone(), Arc::clone(&before), Arc::clone(&after));
            tokio::spawn(async move {
                let Ok(mut server) = TcpStream::connect(&server).await else { return };
                let (mut asked, mut answered) = ([0; 65536], [0; 65536]);
                let mut is_push = false;
                loop {
                    tokio::select! {
                        read = client.read(&mut asked) => {
                            let Ok(length @ 1..) = read else { return };
                            let text = String::from_utf8_lossy(&asked[..length]);
                            is_push = is_push || text.contains("POST /fleet.git/git-receive-pack");
                            if is_push && take(&before) {
                                return;
                            }
                            if server.write_all(&asked[..length]).await.is_err() {
                                return;
                            }
                        }
                        read = server.read(&mut answered) => {
                            let Ok(length @ 1..) = read else { return };
                            if is_push && take(&after) {
                                return;
                            }
                            if client.write_all(&answered[..length]).await.is_err() {
                                return;
                            }
                        }
                    }
                }
            });
        }
    });
    address
}

/// Commits and pushes a note twice a second, as a person does: rebased and pushed again until it is through. Ends with the
/// number of notes when it is told to stop.
fn busy_human(folder: &Path, url: &str, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<usize> {
    run(folder, &["clone", "--quiet", url, "human"]);
    let work = folder.join("human");
    std::thread::spawn(move || {
        let mut notes = 0;
        while !stop.load(Ordering::SeqCst) {
            std::fs::write(work.join(format!("note-{notes}")), "by hand").expect("a note");
            notes += 1;
            run(&work, &["add", "--all"]);
            run(&work, &["commit", "--quiet", "--message=By hand"]);
            while attempt(&work, &["push", "--quiet", "origin", "HEAD:main"]).is_err() {
                run(&work, &["pull", "--quiet", "--rebase", "origin", "main"]);
            }
            std::thread::park_timeout(Duration::from_millis(500));
        }
        notes
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn two_automations_and_a_human_push_for_a_minute_and_lose_nothing() {
    let world = World::new(&["app", "web"]).await;
    let url = world.git.url("fleet.git");
    world.choose("app", "1").await;
    world.choose("web", "1").await;
    world.source(&url).await;
    // Both want the same changes, so that each change is a race.
    let template = "{{ range .Changed.Changes }}{{ .Setter }} to {{ .NewValue }}\n{{ end }}";
    for bot in ["bot", "rival"] {
        world.automation(bot, template, Value::Null, json!({})).await;
    }
    let (start, stop) = (clock::instant(), Arc::new(AtomicBool::new(false)));
    let open = format!("http://{}:{}@{}", LOGIN.0, LOGIN.1, url.trim_start_matches("http://"));
    let human = busy_human(world.folder.path(), &open, Arc::clone(&stop));
    let mut rounds = 0;
    while start.elapsed() < Duration::from_secs(60) {
        rounds += 1;
        let tag = rounds.to_string();
        for name in ["app", "web"] {
            world.choose(name, &tag).await;
        }
        for (bot, name) in [("bot", "app"), ("bot", "web"), ("rival", "app"), ("rival", "web")] {
            world.applied_by(bot, name, &tag).await;
        }
        clock::sleep(Duration::from_millis(700)).await;
    }
    stop.store(true, Ordering::SeqCst);
    let notes = tokio::task::spawn_blocking(move || human.join()).await.expect("a thread").expect("no panic");
    world.ask(&["fsck", "--full", "--strict"]);
    assert_eq!(world.ask(&["rev-list", "--merges", "main"]), "", "history is linear");
    let told = world.ask(&["log", "--author=bot@example.com", "--format=%B", "main"]);
    let mut told: Vec<&str> = told.lines().filter(|line| !line.is_empty()).collect();
    told.sort_unstable();
    let mut expected: Vec<String> = (1..=rounds)
        .flat_map(|round| ["app", "web"].map(|name| format!("apps:{name} to example.com/{name}:{round}")))
        .collect();
    expected.sort_unstable();
    assert_eq!(told, expected, "every change arrives, none twice");
    let files = world.ask(&["ls-tree", "--name-only", "main"]);
    assert_eq!(files.lines().filter(|file| file.starts_with("note-")).count(), notes, "nobody's commit is lost");
    assert!(rounds > 5 && notes > 5, "{rounds} rounds, {notes} notes");
}

#[tokio::test]
async fn a_server_that_dies_in_a_push_gets_one_commit_all_the_same() {
    for (before, after) in [(1, 0), (0, 1), (1, 1)] {
        let world = World::new(&["app"]).await;
        let url = world.git.url("fleet.git");
        let server = url.trim_start_matches("http://").split('/').next().unwrap_or_default().to_owned();
        let proxy = cutting(server, before, after).await;
        world.choose("app", "1").await;
        world.automate(&format!("http://{proxy}/fleet.git"), Value::Null, json!({})).await;
        world.applied("app", "1").await;
        assert_eq!(world.ask(&["rev-list", "--count", "main"]), "2", "before {before}, after {after}");
        assert_eq!(world.ask(&["log", "-1", "--format=%s", "main"]), "apps:app to example.com/app:1");
        world.ask(&["fsck", "--full", "--strict"]);
    }
}

#[tokio::test]
async fn hostile_content_of_a_repository_is_neither_followed_nor_run() {
    let world = World::new(&["app"]).await;
    let (work, outside) = (world.folder.path().join("work"), world.folder.path().join("outside.yaml"));
    let marked = "image: example.com/app:0 # {\"$imagepolicy\": \"apps:app\"}\n";
    let write = |name: &str, text: &str| std::fs::write(work.join(name), text).expect("a file");
    std::fs::write(&outside, marked).expect("a file");
    let touch = format!("touch {}", world.folder.path().join("ran").display());
    write(".gitattributes", "* filter=evil merge=evil\n");
    write(".gitmodules", &format!("[submodule \"sub\"]\n\tpath = sub\n\turl = ext::sh -c '{touch}'\n"));
    std::fs::create_dir_all(work.join("hooks")).expect("a folder");
    write("hooks/pre-commit", &format!("#!/bin/sh\n{touch}\n"));
    write("large.yaml", &format!("{marked}# {}\n", "x".repeat(17 << 20)));
    write("broken.yaml", &format!("{marked}a: [\n"));
    std::os::unix::fs::symlink(&outside, work.join("link.yaml")).expect("a link");
    std::os::unix::fs::symlink("..", work.join("up")).expect("a link");
    run(&work, &["add", "--all"]);
    let commit = run(&work, &["rev-parse", "HEAD"]);
    run(&work, &["update-index", "--add", "--cacheinfo", &format!("160000,{commit},sub")]);
    run(&work, &["commit", "--quiet", "--message=By a stranger"]);
    run(&work, &["push", "--quiet", "origin", "HEAD:main"]);

    world.choose("app", "1").await;
    world.automate(&world.git.url("fleet.git"), Value::Null, json!({})).await;
    world.applied("app", "1").await;
    assert_eq!(world.ask(&["show", "--format=", "--name-only", "main"]), "app.yaml");
    assert_eq!(std::fs::read_to_string(&outside).expect("the file"), marked);
    assert!(!world.folder.path().join("ran").exists(), "something of the repository was run");
    let events = world.store.events(&EventFilter::default()).await.expect("events");
    for skipped in ["large.yaml:1: file is skipped", "broken.yaml:", "link.yaml"] {
        let told = events.iter().any(|event| event.reason == "MarkerIgnored" && event.message.starts_with(skipped));
        assert_eq!(told, skipped != "link.yaml", "{skipped}: {events:?}");
    }
}
