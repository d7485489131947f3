//! The stage over a directory store and real repositories, under virtual time.

mod expressions;
mod left_to_others;
mod pending;

use std::{path::Path, process::Command};

use api::meta::{FLUX_FINALIZER, ObjectReference, REQUESTED_AT};
use reconcile::{Directory, Event, Http, Severity, Store, store::EventFilter};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::inventory::NAME_LABEL;

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {color: blue}\n";
const DEPLOYMENT: &str =
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: team}\nspec: {replicas: 1}\n";

/// Virtual time after which a test gives up.
const PATIENCE: Duration = Duration::from_secs(4_000);

struct World {
    folder: TempDir,
    store: Store,
    shutdown: Shutdown,
}

impl World {
    /// The stage over an empty repository with the given files committed, a GitRepository `fleet`, nothing else.
    async fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "--quiet", "--initial-branch=main", "repository"]);
        let store = Store::Directory(Directory::open(&folder.path().join("state.db"), Vec::new()).await.unwrap());
        let context = Context::new(store.clone(), Http::new("test"), "test");
        let shutdown = Shutdown::new();
        let options = Options::new(Mirrors::new(folder.path().join("cache")));
        tokio::spawn(controllers(context, options, shutdown.clone()));
        let world = Self { folder, store, shutdown };
        world.commit(files);
        world
    }

    /// Commits files (an empty text deletes one) and returns the revision that Flux would name.
    fn commit(&self, files: &[(&str, &str)]) -> String {
        let repository = self.folder.path().join("repository");
        for (path, text) in files {
            let path = repository.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            match text.is_empty() {
                true => std::fs::remove_file(path).unwrap(),
                false => std::fs::write(path, text).unwrap(),
            }
        }
        git(&repository, &["add", "--all"]);
        git(&repository, &["commit", "--quiet", "--allow-empty", "--message=Change"]);
        format!("main@sha1:{}", git(&repository, &["rev-parse", "HEAD"]))
    }

    async fn source(&self, change: Value) {
        let url = format!("file://{}", self.folder.path().join("repository").display());
        let spec = json!({"url": url, "interval": "1h", "ref": {"branch": "main"}});
        self.apply("source.toolkit.fluxcd.io/v1", "GitRepository", "fleet", spec, change).await;
    }

    async fn kustomization(&self, name: &str, change: Value) {
        let spec = json!({"interval": "1h", "retryInterval": "1m", "path": "./apps", "prune": true,
            "sourceRef": {"kind": "GitRepository", "name": "fleet"}});
        self.apply("kustomize.toolkit.fluxcd.io/v1", "Kustomization", name, spec, change).await;
    }

    async fn apply(&self, api_version: &str, kind: &str, name: &str, mut spec: Value, change: Value) {
        spec.as_object_mut().unwrap().extend(change.as_object().cloned().unwrap_or_default());
        let metadata = json!({"name": name, "namespace": "flux-system"});
        let object = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec});
        self.store.apply("user", &object).await.unwrap();
    }

    async fn find(&self, id: &ObjectReference) -> Option<Value> {
        self.store.find(id).await.unwrap()
    }

    /// The object, as soon as it is as wanted.
    async fn until(&self, id: &ObjectReference, wanted: impl Fn(&Value) -> bool) -> Value {
        let start = clock::instant();
        loop {
            let found = self.find(id).await.unwrap_or_default();
            if wanted(&found) {
                return found;
            }
            assert!(start.elapsed() < PATIENCE, "{id} never was as wanted: {found:#}");
            clock::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The object, as soon as its Ready condition is as wanted: `True ReconciliationSucceeded`.
    async fn ready(&self, id: &ObjectReference, wanted: &str) -> Value {
        self.until(id, |object| ready(object).starts_with(wanted)).await
    }

    async fn request(&self, id: &ObjectReference, token: &str) {
        let merge = json!({"metadata": {"annotations": {REQUESTED_AT: token}}});
        self.store.patch(id, "user", &merge).await.unwrap();
    }

    async fn events(&self, id: &ObjectReference) -> Vec<Event> {
        let filter = EventFilter { kind: Some(id.kind.clone()), name: Some(id.name.clone()), ..EventFilter::default() };
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
    let output = Command::new("git")
        .args(["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("git is needed: apt-get install git");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn id(api_version: &str, kind: &str, namespace: &str, name: &str) -> ObjectReference {
    ObjectReference {
        api_version: api_version.into(),
        kind: kind.into(),
        namespace: namespace.into(),
        name: name.into(),
    }
}

fn source() -> ObjectReference {
    id("source.toolkit.fluxcd.io/v1", "GitRepository", "flux-system", "fleet")
}

fn kustomization(name: &str) -> ObjectReference {
    id("kustomize.toolkit.fluxcd.io/v1", "Kustomization", "flux-system", name)
}

fn settings() -> ObjectReference {
    id("v1", "ConfigMap", "default", "settings")
}

fn deployment() -> ObjectReference {
    id("apps/v1", "Deployment", "team", "web")
}

/// `status reason message` of the Ready condition.
fn ready(object: &Value) -> String {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == "Ready").cloned().unwrap_or_default();
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    format!("{} {} {}", text("status"), text("reason"), text("message"))
}

#[tokio::test(start_paused = true)]
async fn a_commit_becomes_objects_and_what_leaves_it_is_pruned() {
    let world = World::new(&[("apps/settings.yaml", CONFIG_MAP), ("apps/web.yaml", DEPLOYMENT)]).await;
    let first = world.commit(&[("readme.md", "x")]);
    world.kustomization("apps", json!({})).await;
    world.source(json!({})).await;
    let applied = world.ready(&kustomization("apps"), "True ReconciliationSucceeded").await;
    assert_eq!(ready(&applied), format!("True ReconciliationSucceeded Applied revision: {first}"));
    assert_eq!(applied["status"]["lastAppliedRevision"], json!(first));
    assert_eq!(
        applied["status"]["inventory"]["entries"],
        json!([{"id": "default_settings__ConfigMap", "v": "v1"}, {"id": "team_web_apps_Deployment", "v": "v1"}])
    );
    assert_eq!(applied["metadata"]["finalizers"], json!([FLUX_FINALIZER]));
    let stored = world.find(&source()).await.unwrap();
    assert_eq!(ready(&stored), format!("True Succeeded stored artifact for revision '{first}'"));
    assert_eq!(stored["status"]["artifact"]["revision"], json!(first));
    assert_eq!(world.find(&settings()).await.unwrap()["metadata"]["labels"][NAME_LABEL], "apps");

    let second = world.commit(&[("apps/settings.yaml", &CONFIG_MAP.replace("blue", "green")), ("apps/web.yaml", "")]);
    world.request(&source(), "1").await;
    let wanted = format!("True ReconciliationSucceeded Applied revision: {second}");
    let applied = world.ready(&kustomization("apps"), &wanted).await;
    assert_eq!(world.find(&settings()).await.unwrap()["data"], json!({"color": "green"}));
    assert_eq!(world.find(&deployment()).await, None);
    assert_eq!(applied["status"]["inventory"]["entries"], json!([{"id": "default_settings__ConfigMap", "v": "v1"}]));
    assert_eq!(applied["status"]["history"].as_array().map(Vec::len), Some(2));
    let told: Vec<String> = world.events(&kustomization("apps")).await.into_iter().map(|event| event.message).collect();
    for message in [
        "ConfigMap/default/settings created\nDeployment/team/web created",
        "ConfigMap/default/settings configured",
        "Deployment/team/web deleted",
    ] {
        assert!(told.iter().any(|told| told == message), "{message:?} is not in {told:?}");
    }
    assert!(told.iter().any(|told| told.starts_with("Reconciliation finished in ")), "{told:?}");
    // Alerts look for facts by their plain names: a Git service finds the commit by them.
    let events = world.events(&kustomization("apps")).await;
    assert!(events.iter().all(|event| event.metadata.contains_key("revision")), "{events:?}");
    let finished =
        events.iter().find(|event| event.reason == "ReconciliationSucceeded" && event.message.contains("finished"));
    assert_eq!(finished.and_then(|event| event.metadata.get("commit_status")).map(String::as_str), Some("update"));
}

#[tokio::test(start_paused = true)]
async fn a_manual_change_is_undone_and_nothing_else_is_written() {
    let world = World::new(&[("apps/settings.yaml", CONFIG_MAP)]).await;
    world.source(json!({})).await;
    world.kustomization("apps", json!({})).await;
    world.ready(&kustomization("apps"), "True").await;
    let before = world.find(&settings()).await.unwrap();
    world.request(&kustomization("apps"), "1").await;
    world.until(&kustomization("apps"), |object| object["status"]["lastHandledReconcileAt"] == "1").await;
    assert_eq!(world.find(&settings()).await.unwrap(), before);

    world.store.patch(&settings(), "somebody", &json!({"data": {"color": "red"}})).await.unwrap();
    world.request(&kustomization("apps"), "2").await;
    world.until(&settings(), |object| object["data"]["color"] == "blue").await;
}

#[tokio::test(start_paused = true)]
async fn a_dependent_waits_for_its_dependency_at_the_same_revision() {
    let world = World::new(&[("infra/settings.yaml", CONFIG_MAP), ("apps/web.yaml", DEPLOYMENT)]).await;
    world.source(json!({})).await;
    world.kustomization("apps", json!({"dependsOn": [{"name": "infra"}]})).await;
    let waiting = world.ready(&kustomization("apps"), "False DependencyNotReady").await;
    assert_eq!(ready(&waiting), "False DependencyNotReady dependency 'flux-system/infra' not found");
    assert_eq!(world.find(&deployment()).await, None);
    let told = world.events(&kustomization("apps")).await;
    assert!(told.iter().all(|event| event.severity == Severity::Info), "{told:?}");
    assert_eq!(told[0].message, "Dependencies do not meet ready condition, retrying in 30s");

    let start = clock::instant();
    world.kustomization("infra", json!({"path": "infra"})).await;
    world.ready(&kustomization("apps"), "True").await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn wait_holds_ready_back_until_the_objects_are_healthy() {
    let world = World::new(&[("apps/web.yaml", DEPLOYMENT)]).await;
    world.source(json!({})).await;
    world.kustomization("apps", json!({"wait": true})).await;
    let running = world.ready(&kustomization("apps"), "Unknown Progressing").await;
    assert_eq!(running["status"].get("lastAppliedRevision"), None);
    world.until(&deployment(), Value::is_object).await;
    let status = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1,
        "availableReplicas": 1, "conditions": [{"type": "Available", "status": "True"}]});
    world.store.write_status(&deployment(), "somebody", &status).await.unwrap();
    let healthy = world.ready(&kustomization("apps"), "True").await;
    let conditions = healthy["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|condition| condition["type"] == "Healthy" && condition["status"] == "True"));
}

#[tokio::test(start_paused = true)]
async fn a_health_check_that_runs_out_of_time_names_the_object_and_is_tried_again() {
    let world = World::new(&[("apps/settings.yaml", CONFIG_MAP)]).await;
    let check = json!([{"kind": "Deployment", "name": "web", "namespace": "team"}]);
    world.source(json!({})).await;
    world.kustomization("apps", json!({"healthChecks": check, "timeout": "1m"})).await;
    let failed = world.ready(&kustomization("apps"), "False HealthCheckFailed").await;
    let text = ready(&failed);
    assert!(text.contains("health check failed after 1m0s: timeout waiting for: ["), "{text}");
    assert!(text.contains("[Deployment/team/web status: 'NotFound']"), "{text}");
    assert_eq!(failed["status"]["inventory"]["entries"].as_array().map(Vec::len), Some(1));
    world
        .store
        .apply(
            "user",
            &json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "team"}, "spec": {"replicas": 0}}),
        )
        .await
        .unwrap();
    let status = json!({"conditions": [{"type": "Available", "status": "True"}]});
    world.store.write_status(&deployment(), "user", &status).await.unwrap();
    world.ready(&kustomization("apps"), "True").await;
}

#[tokio::test(start_paused = true)]
async fn a_newer_revision_ends_a_wait_for_health() {
    let world = World::new(&[("apps/web.yaml", DEPLOYMENT)]).await;
    world.source(json!({})).await;
    world.kustomization("apps", json!({"wait": true, "timeout": "50m"})).await;
    world.until(&deployment(), Value::is_object).await;
    let second = world.commit(&[("apps/web.yaml", ""), ("apps/settings.yaml", CONFIG_MAP)]);
    let start = clock::instant();
    world.request(&source(), "1").await;
    world.ready(&kustomization("apps"), &format!("True ReconciliationSucceeded Applied revision: {second}")).await;
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_is_said_and_mended_by_the_next_commit() {
    let world = World::new(&[("apps/settings.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n")]).await;
    world.kustomization("apps", json!({})).await;
    let missing = world.ready(&kustomization("apps"), "False ArtifactFailed").await;
    assert_eq!(ready(&missing), "False ArtifactFailed Source 'GitRepository/flux-system/fleet' not found");
    world.source(json!({})).await;
    let broken = world.ready(&kustomization("apps"), "False BuildFailed").await;
    assert!(ready(&broken).contains("apps/settings.yaml: line 1: metadata.name"), "{}", ready(&broken));
    let told = world.events(&kustomization("apps")).await;
    assert!(told.iter().any(|event| event.severity == Severity::Error && event.reason == "BuildFailed"), "{told:?}");
    world.commit(&[("apps/settings.yaml", CONFIG_MAP)]);
    world.request(&source(), "1").await;
    world.ready(&kustomization("apps"), "True").await;

    world.kustomization("elsewhere", json!({"path": "./nowhere"})).await;
    world.ready(&kustomization("elsewhere"), "False ArtifactFailed kustomization path not found").await;
    world.kustomization("sealed", json!({"decryption": {"provider": "vault"}})).await;
    let stalled = world.ready(&kustomization("sealed"), "False BuildFailed spec.decryption.provider").await;
    assert!(stalled["status"]["conditions"].as_array().unwrap().iter().any(|condition| condition["type"] == "Stalled"));
}

#[tokio::test(start_paused = true)]
async fn variables_come_from_config_maps_and_the_manifest() {
    let world = World::new(&[("apps/settings.yaml", &CONFIG_MAP.replace("blue", "'${color}-${tone:=dark}'"))]).await;
    world.source(json!({})).await;
    let from = json!([{"kind": "ConfigMap", "name": "vars"}]);
    world.kustomization("apps", json!({"postBuild": {"substituteFrom": from, "substitute": {"tone": "light"}}})).await;
    world.ready(&kustomization("apps"), "False BuildFailed substitute from 'ConfigMap/vars' error: not found").await;
    let vars = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "vars", "namespace": "flux-system"},
        "data": {"color": "red", "tone": "dark"}});
    world.store.apply("user", &vars).await.unwrap();
    world.ready(&kustomization("apps"), "True").await;
    assert_eq!(world.find(&settings()).await.unwrap()["data"]["color"], "red-light");
}

#[tokio::test(start_paused = true)]
async fn a_missing_branch_or_secret_is_named_and_the_last_artifact_stays() {
    let world = World::new(&[("apps/settings.yaml", CONFIG_MAP)]).await;
    world.source(json!({})).await;
    let stored = world.ready(&source(), "True").await;
    world.source(json!({"ref": {"branch": "none"}})).await;
    let failed = world.ready(&source(), "False GitOperationFailed").await;
    assert!(ready(&failed).contains("branch none not found"), "{}", ready(&failed));
    assert_eq!(failed["status"]["artifact"], stored["status"]["artifact"]);
    world.source(json!({"secretRef": {"name": "token"}})).await;
    let failed = world.ready(&source(), "False AuthenticationFailed").await;
    assert!(ready(&failed).contains("failed to get secret 'flux-system/token'"), "{}", ready(&failed));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_kustomization_takes_its_objects_with_it_as_its_policy_says() {
    let files = [("apps/settings.yaml", CONFIG_MAP), ("orphaned/web.yaml", DEPLOYMENT)];
    let world = World::new(&files).await;
    world.source(json!({})).await;
    world.kustomization("apps", json!({})).await;
    world.kustomization("orphaned", json!({"path": "orphaned", "deletionPolicy": "Orphan"})).await;
    for name in ["apps", "orphaned"] {
        world.ready(&kustomization(name), "True").await;
        world.store.delete(&kustomization(name)).await.unwrap();
        world.until(&kustomization(name), Value::is_null).await;
    }
    assert_eq!(world.find(&settings()).await, None);
    assert!(world.find(&deployment()).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_repository_can_include_a_folder_of_another() {
    let world = World::new(&[("apps/settings.yaml", CONFIG_MAP), ("base/web.yaml", DEPLOYMENT)]).await;
    world.source(json!({})).await;
    let url = format!("file://{}", world.folder.path().join("repository").display());
    let spec = json!({"url": url, "interval": "1h", "ref": {"branch": "main"},
        "include": [{"repository": {"name": "fleet"}, "fromPath": "base", "toPath": "shared"}]});
    world.apply("source.toolkit.fluxcd.io/v1", "GitRepository", "whole", spec, json!({})).await;
    let whole = ObjectReference { name: "whole".into(), ..source() };
    let stored = world.ready(&whole, "True").await;
    assert_eq!(stored["status"]["includedArtifacts"][0]["revision"], stored["status"]["artifact"]["revision"]);
    let reference = json!({"kind": "GitRepository", "name": "whole"});
    world.kustomization("apps", json!({"path": "./shared", "sourceRef": reference})).await;
    world.ready(&kustomization("apps"), "True").await;
    assert!(world.find(&deployment()).await.is_some());

    let lost = json!({"include": [{"repository": {"name": "nobody"}}]});
    world.source(lost).await;
    world.ready(&source(), "False NotFound could not get resource for include 'nobody'").await;
}

#[tokio::test(start_paused = true)]
async fn encrypted_objects_need_their_key() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: 'ENC[x]'}\n\
        sops: {age: [{recipient: age1x, enc: nothing}]}\n";
    let world = World::new(&[("apps/secret.yaml", secret)]).await;
    world.source(json!({})).await;
    world.kustomization("apps", json!({})).await;
    world.ready(&kustomization("apps"), "False ReconciliationFailed Secret/s is SOPS encrypted").await;
    world.kustomization("apps", json!({"decryption": {"provider": "sops", "secretRef": {"name": "keys"}}})).await;
    let missing = "False BuildFailed cannot get decryption Secret 'flux-system/keys': not found";
    world.ready(&kustomization("apps"), missing).await;
    let key = "AGE-SECRET-KEY-12TGYXGNC97C99UR9A0XVHK68SN9GCHXJ35NHSF3P0203866D4T9QWYRGQF";
    let metadata = json!({"name": "keys", "namespace": "flux-system"});
    let keys = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"a.agekey": key}});
    world.store.apply("user", &keys).await.unwrap();
    let unfit = "False BuildFailed decryption failed for 'Secret/s': no age identity of the Secret fits";
    world.ready(&kustomization("apps"), unfit).await;
}
