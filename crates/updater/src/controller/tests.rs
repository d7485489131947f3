//! The stage over a directory store and real repositories, under virtual time.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use api::meta::ObjectReference;
use reconcile::{
    Directory, Event, Http, Store,
    simulation::{self, Guard, Occurrence, Verdict},
    store::EventFilter,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::batch::{MAX_WAIT, QUIET_PERIOD};

mod status;

/// Virtual time after which a test gives up.
const PATIENCE: Duration = Duration::from_secs(4_000);
const BOT: &str = "bot@example.com";

struct World {
    folder: TempDir,
    store: Store,
    shutdown: Shutdown,
    /// The clock follows the runtime's paused time.
    _plan: Guard,
}

impl World {
    /// The stage, and a repository `fleet.git` with these files on main.
    async fn new(files: &[(&str, &str)]) -> Self {
        Self::with(files, false).await
    }

    /// The same, perhaps with references into other namespaces blocked.
    async fn with(files: &[(&str, &str)], no_cross_namespace_refs: bool) -> Self {
        Self::judged(files, no_cross_namespace_refs, |_| Verdict::Pass).await
    }

    /// The same, where effects meet what the plan says.
    async fn judged(
        files: &[(&str, &str)],
        no_cross_namespace_refs: bool,
        judge: impl Fn(&Occurrence) -> Verdict + 'static,
    ) -> Self {
        let plan = simulation::plan(clock::now(), judge);
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "--quiet", "--bare", "--initial-branch=main", "fleet.git"]);
        let store = Store::Directory(Directory::open(&folder.path().join("state.db"), Vec::new()).await.unwrap());
        let context = Context::new(store.clone(), Http::new("test"), "test");
        let shutdown = Shutdown::new();
        let mirrors = Mirrors::new(folder.path().join("cache"));
        let options = Options { mirrors, no_cross_namespace_refs, object_level_workload_identity: false };
        tokio::spawn(controllers(context, options, shutdown.clone()));
        let world = Self { folder, store, shutdown, _plan: plan };
        let work = world.clone_of("seed");
        commit(&work, files);
        git(&work, &["push", "--quiet", "origin", "main"]);
        world
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("fleet.git")
    }

    /// A work tree of somebody else.
    fn clone_of(&self, name: &str) -> PathBuf {
        git(self.folder.path(), &["clone", "--quiet", "fleet.git", name]);
        self.folder.path().join(name)
    }

    /// What `git` says of the repository.
    fn ask(&self, arguments: &[&str]) -> String {
        git(&self.repository(), arguments)
    }

    async fn apply(&self, api_version: &str, kind: &str, namespace: &str, name: &str, spec: Value, notes: Value) {
        let metadata = json!({"name": name, "namespace": namespace, "annotations": notes});
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec});
        self.store.apply("user", &object).await.unwrap();
    }

    async fn source(&self, namespace: &str, branch: &str) {
        let url = format!("file://{}", self.repository().display());
        let spec = json!({"url": url, "interval": "1h", "ref": {"branch": branch}});
        self.apply("source.toolkit.fluxcd.io/v1", "GitRepository", namespace, "fleet", spec, json!({})).await;
    }

    /// An automation that says in its commits what it wrote.
    async fn automation(&self, namespace: &str, push: Value, notes: Value) {
        let template = "{{ range .Changed.Changes }}{{ .Setter }} {{ .NewValue }}\n{{ end }}";
        let commit = json!({"author": {"name": "bot", "email": BOT}, "messageTemplate": template});
        let spec = json!({"interval": "1h", "sourceRef": {"kind": "GitRepository", "name": "fleet"},
            "git": {"commit": commit, "push": push}});
        self.apply("image.toolkit.fluxcd.io/v1", "ImageUpdateAutomation", namespace, "bot", spec, notes).await;
    }

    /// The policy chooses another tag.
    async fn choose(&self, namespace: &str, name: &str, tag: &str) {
        let policy = policy(namespace, name);
        if self.store.find(&policy).await.unwrap().is_none() {
            let spec = json!({"imageRepositoryRef": {"name": name}, "policy": {"alphabetical": {}}});
            self.apply("image.toolkit.fluxcd.io/v1", "ImagePolicy", namespace, name, spec, json!({})).await;
        }
        let status = json!({"latestRef": {"name": format!("example.com/{name}"), "tag": tag}});
        self.store.write_status(&policy, "test", &status).await.unwrap();
    }

    /// The automation, as soon as it is as wanted.
    async fn until(&self, namespace: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let (start, id) = (clock::instant(), automation(namespace));
        loop {
            let found = self.store.find(&id).await.unwrap().unwrap_or_default();
            if wanted(&found) {
                return found;
            }
            assert!(start.elapsed() < PATIENCE, "{id} never was as wanted: {found:#}");
            clock::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Until the automation has applied this tag of a policy.
    async fn applied(&self, namespace: &str, name: &str, tag: &str) -> Value {
        let path = format!("/status/observedPolicies/{name}/tag");
        self.until(namespace, |object| object.pointer(&path).is_some_and(|found| found == tag)).await
    }

    async fn request(&self, namespace: &str, token: &str) {
        let merge = json!({"metadata": {"annotations": {REQUESTED_AT: token}}});
        self.store.patch(&automation(namespace), "user", &merge).await.unwrap();
    }

    async fn events(&self, namespace: &str) -> Vec<Event> {
        let id = automation(namespace);
        let filter = EventFilter { kind: Some(id.kind), name: Some(id.name), ..EventFilter::default() };
        self.store.events(&filter).await.unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Runs git and returns what it prints.
fn git(folder: &Path, arguments: &[&str]) -> String {
    attempt(folder, arguments).unwrap_or_else(|error| panic!("git {arguments:?}: {error}"))
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

/// Commits files in a work tree.
fn commit(work: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = work.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    git(work, &["add", "--all"]);
    git(work, &["commit", "--quiet", "--message=By hand"]);
}

fn automation(namespace: &str) -> ObjectReference {
    reference("ImageUpdateAutomation", namespace, "bot")
}

fn policy(namespace: &str, name: &str) -> ObjectReference {
    reference("ImagePolicy", namespace, name)
}

fn reference(kind: &str, namespace: &str, name: &str) -> ObjectReference {
    let api_version = "image.toolkit.fluxcd.io/v1".to_owned();
    ObjectReference { api_version, kind: kind.into(), namespace: namespace.into(), name: name.into() }
}

fn marked(namespace: &str, name: &str) -> String {
    format!("kind: Deployment\nimage: example.com/{name}:0 # {{\"$imagepolicy\": \"{namespace}:{name}\"}}\n")
}

/// `status reason` of the Ready condition.
fn ready(object: &Value) -> String {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == "Ready").cloned().unwrap_or_default();
    format!("{} {}", found["status"].as_str().unwrap_or_default(), found["reason"].as_str().unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn two_automations_and_a_human_lose_nothing() {
    const ROUNDS: usize = 12;
    let files = [marked("one", "app"), marked("two", "web")];
    let world = World::new(&[("one.yaml", &files[0]), ("two.yaml", &files[1])]).await;
    let work = world.clone_of("human");
    let human = std::thread::spawn(move || {
        for round in 0..ROUNDS {
            commit(&work, &[(&format!("notes/{round}"), "by hand")]);
            // As a person does: rebase and push again until it is through.
            while attempt(&work, &["push", "--quiet", "origin", "main"]).is_err() {
                git(&work, &["pull", "--quiet", "--rebase", "origin", "main"]);
            }
        }
    });
    for (namespace, name) in [("one", "app"), ("two", "web")] {
        world.source(namespace, "main").await;
        world.choose(namespace, name, "1").await;
        world.automation(namespace, Value::Null, json!({})).await;
    }
    for round in 1..=ROUNDS {
        let tag = round.to_string();
        world.choose("one", "app", &tag).await;
        world.choose("two", "web", &tag).await;
        world.applied("one", "app", &tag).await;
        world.applied("two", "web", &tag).await;
    }
    tokio::task::spawn_blocking(move || human.join().unwrap()).await.unwrap();
    world.ask(&["fsck", "--full", "--strict"]);
    assert_eq!(world.ask(&["rev-list", "--merges", "main"]), "", "history is linear");
    let subjects = world.ask(&["log", "--format=%s", &format!("--author={BOT}"), "main"]);
    let mut subjects: Vec<&str> = subjects.lines().collect();
    subjects.sort_unstable();
    let mut expected: Vec<String> = (1..=ROUNDS)
        .flat_map(|round| [format!("one:app example.com/app:{round}"), format!("two:web example.com/web:{round}")])
        .collect();
    expected.sort_unstable();
    assert_eq!(subjects, expected, "every change arrives, none twice");
    let notes = world.ask(&["ls-tree", "--name-only", "main", "notes/"]);
    assert_eq!(notes.lines().count(), ROUNDS, "nobody's commit is lost");
}

#[tokio::test(start_paused = true)]
async fn a_push_that_stopped_before_its_refspec_is_completed() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new(&[("app.yaml", &marked("one", "app"))]).await;
    let hook = world.repository().join("hooks/update");
    std::fs::write(&hook, "#!/bin/sh\n[ \"$1\" != refs/heads/live ] || { echo frozen; exit 1; }\n").unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    world.source("one", "main").await;
    world.choose("one", "app", "1").await;
    world.automation("one", json!({"refspec": "refs/heads/main:refs/heads/live"}), json!({})).await;
    let failed = world.until("one", |object| ready(object).starts_with("False")).await;
    assert_eq!(ready(&failed), "False GitOperationFailed");
    assert!(attempt(&world.repository(), &["rev-parse", "--verify", "--quiet", "refs/heads/live"]).is_err());
    std::fs::remove_file(&hook).unwrap();
    let done = world.until("one", |object| ready(object).starts_with("True")).await;
    let head = world.ask(&["rev-parse", "main"]);
    assert_eq!((world.ask(&["rev-parse", "live"]), &done["status"]["lastPushCommit"]), (head.clone(), &json!(head)));
    assert_eq!(world.ask(&["rev-list", "--count", "main"]), "2", "the change is one commit");
    let told: Vec<String> = world.events("one").await.into_iter().map(|event| event.message).collect();
    let pushed =
        format!("pushed commit '{}' to branch 'main' and refspecs 'refs/heads/main:refs/heads/live'", &head[..7]);
    assert_eq!(told.iter().filter(|message| message.starts_with(&pushed)).count(), 1, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_push_without_an_answer_is_told_of_by_who_made_it() {
    let pushes = std::cell::Cell::new(0);
    let judge = move |effect: &Occurrence| {
        pushes.set(pushes.get() + u32::from(effect.key == "push"));
        if effect.key == "push" && pushes.get() == 1 { Verdict::LoseAnswer } else { Verdict::Pass }
    };
    let files = [marked("one", "app"), marked("two", "app")];
    let world = World::judged(&[("a.yaml", &files[0]), ("b.yaml", &files[1])], false, judge).await;
    for namespace in ["one", "two"] {
        world.source(namespace, "main").await;
        world.choose(namespace, "app", "1").await;
    }
    world.automation("one", Value::Null, json!({})).await;
    let pushed = |object: &Value| object["status"]["lastPushCommit"].is_string();
    let one = world.until("one", pushed).await;
    let head = world.ask(&["rev-parse", "main"]);
    assert_eq!(one["status"]["lastPushCommit"], json!(head));
    assert_eq!(world.ask(&["rev-list", "--count", "main"]), "2", "it was not pushed twice");
    let told: Vec<String> = world.events("one").await.into_iter().map(|event| event.message).collect();
    assert_eq!(told.iter().filter(|text| text.starts_with("pushed commit")).count(), 1, "{told:?}");

    // The head is by the same author, and not this one's: it tells of what it pushes itself, and of nothing else.
    world.automation("two", Value::Null, json!({})).await;
    world.until("two", pushed).await;
    let told: Vec<String> = world.events("two").await.into_iter().map(|event| event.message).collect();
    let told: Vec<&str> = told.iter().filter_map(|text| text.strip_prefix("pushed commit '")?.get(..7)).collect();
    assert_eq!(told, [&head[..7], &world.ask(&["rev-parse", "main"])[..7]]);
    world.request("one", "now").await;
    world.until("one", |object| object["status"]["lastHandledReconcileAt"] == "now").await;
    assert_eq!(world.until("one", pushed).await["status"]["lastPushCommit"], json!(head), "another's is not claimed");
}

#[tokio::test(start_paused = true)]
async fn a_push_branch_is_worked_on_and_never_overwritten() {
    let world = World::new(&[("app.yaml", &marked("one", "app"))]).await;
    world.source("one", "main").await;
    world.choose("one", "app", "1").await;
    world.automation("one", json!({"branch": "auto"}), json!({})).await;
    world.applied("one", "app", "1").await;
    let work = world.clone_of("human");
    git(&work, &["checkout", "--quiet", "auto"]);
    commit(&work, &[("note", "by hand")]);
    git(&work, &["push", "--quiet", "origin", "auto"]);
    world.choose("one", "app", "2").await;
    let object = world.applied("one", "app", "2").await;
    assert_eq!(world.ask(&["log", "--format=%s", "main..auto"]).lines().count(), 3);
    assert_eq!(world.ask(&["show", "auto:note"]), "by hand");
    let main = format!("main@sha1:{}", world.ask(&["rev-parse", "main"]));
    assert_eq!(object["status"]["observedSourceRevision"], json!(main));
}

#[tokio::test(start_paused = true)]
async fn a_file_is_edited_through_a_link_to_it() {
    // The name alone would not make it a candidate.
    let world = World::new(&[("apps/app.txt", &marked("one", "app"))]).await;
    let work = world.clone_of("human");
    std::fs::create_dir(work.join("clusters")).unwrap();
    let links = [("app", "inner.yaml"), ("inner", "../apps/app.txt"), ("gone", "nowhere.yaml"), ("folder", "../apps")];
    for (name, target) in
        links.into_iter().chain([("loop", "loop.yaml"), ("git", "../.git/config"), ("out", "../../fleet.git/config")])
    {
        std::os::unix::fs::symlink(target, work.join(format!("clusters/{name}.yaml"))).unwrap();
    }
    commit(&work, &[]);
    git(&work, &["push", "--quiet", "origin", "main"]);
    world.source("one", "main").await;
    world.choose("one", "app", "1").await;
    world.automation("one", Value::Null, json!({})).await;
    world.applied("one", "app", "1").await;
    assert!(world.ask(&["show", "main:apps/app.txt"]).contains("image: example.com/app:1 "));
    assert_eq!(world.ask(&["log", "-1", "--format=%s", "main"]), "one:app example.com/app:1");
    assert_eq!(world.ask(&["show", "--format=", "--name-only", "main"]), "apps/app.txt");
}

#[tokio::test(start_paused = true)]
async fn a_quiet_period_makes_one_commit_of_many_changes() {
    let files = [marked("one", "app"), marked("one", "web")];
    let world = World::new(&[("app.yaml", &files[0]), ("web.yaml", &files[1])]).await;
    world.source("one", "main").await;
    world.choose("one", "app", "0").await;
    world.choose("one", "web", "0").await;
    world.automation("one", Value::Null, json!({QUIET_PERIOD: "8s", MAX_WAIT: "10m"})).await;
    world.applied("one", "web", "0").await;
    for (name, tag) in [("app", "1"), ("web", "1"), ("app", "2")] {
        world.choose("one", name, tag).await;
        clock::sleep(Duration::from_secs(4)).await;
    }
    let waiting = world.until("one", |object| object.to_string().contains("further image updates")).await;
    assert_eq!(
        (ready(&waiting).as_str(), world.ask(&["rev-list", "--count", "main"]).as_str()),
        ("True Succeeded", "1")
    );
    world.applied("one", "app", "2").await;
    assert_eq!(world.ask(&["rev-list", "--count", "main"]), "2");
    world.choose("one", "app", "3").await;
    world.request("one", "now").await;
    let start = clock::instant();
    world.applied("one", "app", "3").await;
    assert!(start.elapsed() < Duration::from_secs(4), "who asks does not wait");
}

#[tokio::test(start_paused = true)]
async fn sources_that_follow_the_branch_are_told_of_the_push() {
    let world = World::new(&[("app.yaml", &marked("one", "app"))]).await;
    world.source("one", "main").await;
    world.source("other", "main").await;
    world.source("elsewhere", "dev").await;
    world.choose("one", "app", "1").await;
    world.automation("one", Value::Null, json!({})).await;
    world.applied("one", "app", "1").await;
    for (namespace, told) in [("one", true), ("other", true), ("elsewhere", false)] {
        let source = world.store.get::<GitRepository>(namespace, "fleet").await.unwrap().unwrap();
        assert_eq!(source.annotations().contains_key(REQUESTED_AT), told, "{namespace}");
    }
}
