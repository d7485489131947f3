//! Delivery on a cluster: what stands in Git is applied with the rights of the tenant, and pruned when it goes.

use serde_json::{Value, json};

use super::{manifests, world::World};
use crate::demo::{ci::Clone, git_server::GitServer};

const KUSTOMIZATION: (&str, &str) = ("kustomize.toolkit.fluxcd.io/v1", "Kustomization");

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_applied_and_pruned_with_the_rights_of_the_tenant() {
    let mut world = World::new("delivery").await;
    let git = GitServer::start(&world.folder.path().join("git"), None).await.expect("a Git server");
    let url = git.create_repository("app").expect("a repository");
    let files = ["one", "two"].map(|name| {
        let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{from: git}}\n");
        (format!("deploy/{name}.yaml"), text)
    });
    let (clone, remote) = (world.folder.path().join("clone"), url.clone());
    let create = move || Clone { folder: &clone }.create(&remote, &files);
    tokio::task::spawn_blocking(create).await.expect("git runs").expect("the repository is filled");
    let namespace = world.namespace.clone();
    let flow = manifests::parse(&format!(
        "
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: app}}
spec: {{interval: 1s, url: {url:?}, ref: {{branch: main}}}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: app}}
spec:
  interval: 1m
  retryInterval: 1s
  prune: true
  path: ./deploy
  sourceRef: {{kind: GitRepository, name: app}}
  targetNamespace: {namespace}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: tenant}}
"
    ));
    for object in flow {
        world.apply(object).await;
    }
    // Where no account is named, what stands in Git is applied with all rights.
    world.account = world.kubeconfig.clone();
    world.start("delivery", &["--default-service-account", "tenant"]);
    let message = async || {
        let found = world.find(KUSTOMIZATION.0, KUSTOMIZATION.1, "app").await.unwrap_or_default();
        let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.into_iter().find(|one| one["type"] == "Ready").unwrap_or_default();
        (ready["status"] == "True", ready["message"].to_string())
    };
    world
        .until("the tenant to be refused", async || {
            let (ready, message) = message().await;
            assert!(!ready, "applied with rights that the tenant does not have");
            message.contains("system:serviceaccount:").then_some(())
        })
        .await;

    let group = "rbac.authorization.k8s.io";
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}]);
    let version = format!("{group}/v1");
    world.apply(json!({"apiVersion": version, "kind": "Role", "metadata": {"name": "tenant"}, "rules": rules})).await;
    world
        .apply(json!({
            "apiVersion": version, "kind": "RoleBinding", "metadata": {"name": "tenant"},
            "subjects": [{"kind": "ServiceAccount", "name": "tenant", "namespace": namespace}],
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "tenant"},
        }))
        .await;
    world.until("the Kustomization to be ready", async || message().await.0.then_some(())).await;
    assert_eq!(world.get("v1", "ConfigMap", "two").await["data"]["from"], "git");

    let clone = world.folder.path().join("clone");
    let remove = move || {
        let clone = Clone { folder: &clone };
        clone.git(&["rm", "--quiet", "deploy/two.yaml"])?;
        clone.commit_and_push("Remove two")
    };
    tokio::task::spawn_blocking(remove).await.expect("git runs").expect("pushed");
    let two = world.id("v1", "ConfigMap", "two");
    world.until("two to be pruned", async || world.store.find(&two).await.ok()?.is_none().then_some(())).await;
    assert!(world.find("v1", "ConfigMap", "one").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kubectl_did_is_undone_and_what_is_left_to_others_stays() {
    let mut world = World::new("takeover").await;
    let git = GitServer::start(&world.folder.path().join("git"), None).await.expect("a Git server");
    let url = git.create_repository("app").expect("a repository");
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {color: blue, tone: dark, size: '1'}\n";
    // A Kustomization that another one applies carries our finalizer, which Git does not say.
    let child = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: child}\n\
        spec: {interval: 1h, prune: true, path: ./child, sourceRef: {kind: GitRepository, name: app}}\n";
    let empty = "resources: []\n";
    let files = [("deploy/one.yaml", text), ("deploy/child.yaml", child), ("child/kustomization.yaml", empty)];
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    let (clone, remote) = (world.folder.path().join("clone"), url.clone());
    let create = move || Clone { folder: &clone }.create(&remote, &files);
    tokio::task::spawn_blocking(create).await.expect("git runs").expect("the repository is filled");
    // As `kubectl apply` leaves it: the fields are its own, and a note of all of them.
    let note = json!({"kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "kept"});
    let mut one = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"old": "1", "tone": "dark", "size": "1"}});
    one["metadata"]["annotations"] = note;
    world.apply(one).await;
    let flow = manifests::parse(&format!(
        "
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: app}}
spec: {{interval: 1h, url: {url:?}, ref: {{branch: main}}}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: app}}
spec:
  interval: 1s
  prune: true
  path: ./deploy
  sourceRef: {{kind: GitRepository, name: app}}
  targetNamespace: {}
  ignore:
  - paths: [/data/tone, /data/size]
    target: {{kind: ConfigMap}}
",
        world.namespace
    ));
    for object in flow {
        world.apply(object).await;
    }
    world.account = world.kubeconfig.clone();
    world.start("delivery", &["--override-manager", "argocd"]);
    let id = world.id("v1", "ConfigMap", "one");
    let data = async |wanted: Value| {
        world
            .until(&format!("{wanted}"), async || {
                let found = world.store.find(&id).await.ok()??;
                (found["data"] == wanted).then_some(found)
            })
            .await
    };
    let blue = json!({"color": "blue", "tone": "dark", "size": "1"});
    let taken = data(blue.clone()).await;
    assert_eq!(taken["metadata"]["annotations"], Value::Null);

    // Fields that `kubectl edit` adds go again; what another manager adds stays, unless it is one to override.
    let add = async |manager: &str, key: &str| {
        let merge = json!({"data": {key: "new", "color": "red"}});
        world.store.patch(&id, manager, &merge).await.expect("a patch");
    };
    for manager in ["kubectl-edit", "argocd-controller"] {
        add(manager, "extra").await;
        data(blue.clone()).await;
    }
    add("somebody", "kept").await;
    let kept = json!({"color": "blue", "tone": "dark", "size": "1", "kept": "new"});
    data(kept).await;

    // A field that is left to others is no drift, and no write brings it back: neither one that somebody applies, nor one
    // that somebody wrote over.
    let size = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": world.namespace},
        "data": {"size": "5"}});
    world.store.apply("scaler", &size).await.expect("applied");
    world.store.patch(&id, "somebody", &json!({"data": {"tone": "light", "color": "red"}})).await.expect("a patch");
    let left = json!({"color": "blue", "tone": "light", "size": "5", "kept": "new"});
    let settled = data(left.clone()).await;
    let owned = world.store.find_with_owners(&id).await.expect("the API server answers").expect("the object");
    let owners = |field: &str| {
        let managers = owned["metadata"]["managedFields"].as_array().expect("managers");
        let applied = managers.iter().filter(|entry| entry["operation"] == "Apply");
        let owning = applied.filter(|entry| entry["fieldsV1"]["f:data"].get(field).is_some());
        owning.map(|entry| entry["manager"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(owners("f:size"), ["scaler"]);
    assert_eq!(owners("f:tone"), ["kustomize-controller"]);
    // Three more rounds write nothing.
    let ready = async || {
        let found = world.find(KUSTOMIZATION.0, KUSTOMIZATION.1, "app").await.unwrap_or_default();
        found["status"]["history"][0]["totalReconciliations"].as_i64().unwrap_or_default()
    };
    let rounds = ready().await + 3;
    world.until("three more rounds", async || (ready().await >= rounds).then_some(())).await;
    let after = data(left).await;
    assert_eq!(after["metadata"]["resourceVersion"], settled["metadata"]["resourceVersion"]);
    let child = world.get(KUSTOMIZATION.0, KUSTOMIZATION.1, "child").await;
    assert_eq!(child["metadata"]["finalizers"], json!(["finalizers.fluxcd.io"]));
    let told = world.events().await;
    assert!(told.iter().all(|event| !event.message.contains("child configured")), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_decide_over_health_and_readiness() {
    let mut world = World::new("expressions").await;
    let git = GitServer::start(&world.folder.path().join("git"), None).await.expect("a Git server");
    let url = git.create_repository("app").expect("a repository");
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {color: blue}\n";
    let files = ["infra/one.yaml", "apps/two.yaml"].map(|path| {
        let text = if path.starts_with("apps") { text.replace("one", "two") } else { text.to_owned() };
        (path.to_owned(), text)
    });
    let (clone, remote) = (world.folder.path().join("clone"), url.clone());
    let create = move || Clone { folder: &clone }.create(&remote, &files);
    tokio::task::spawn_blocking(create).await.expect("git runs").expect("the repository is filled");
    let kustomization = |name: &str, more: &str| {
        format!(
            "
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: {name}}}
spec:
  interval: 1h
  prune: true
  path: ./{name}
  sourceRef: {{kind: GitRepository, name: app}}
  targetNamespace: {}
{more}
",
            world.namespace
        )
    };
    let judged = "
  wait: true
  timeout: 5m
  healthCheckExprs:
  - {apiVersion: v1, kind: ConfigMap, current: has(metadata.labels.seen)}";
    // Suspended or not, ready or not: the expression alone counts.
    let waiting = "
  dependsOn:
  - name: infra
    readyExpr: dep.status.inventory.entries.exists(e, e.id.endsWith('_one__ConfigMap')) && self.spec.prune";
    let flow = format!(
        "
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: app}}
spec: {{interval: 1h, url: {url:?}, ref: {{branch: main}}}}
{}{}",
        kustomization("infra", judged),
        kustomization("apps", waiting)
    );
    for object in manifests::parse(&flow) {
        world.apply(object).await;
    }
    world.account = world.kubeconfig.clone();
    world.start("delivery", &[]);
    let is_ready = async |name: &str| {
        let found = world.find(KUSTOMIZATION.0, KUSTOMIZATION.1, name).await.unwrap_or_default();
        let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
    };
    world.until("the dependent to be ready", async || is_ready("apps").await.then_some(())).await;
    assert!(!is_ready("infra").await, "the ConfigMap is not healthy yet");
    let labels = json!({"metadata": {"labels": {"seen": "yes"}}});
    world.store.patch(&world.id("v1", "ConfigMap", "one"), "somebody", &labels).await.expect("a patch");
    world.until("the dependency to be ready", async || is_ready("infra").await.then_some(())).await;
}
