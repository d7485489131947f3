//! Delivery on a cluster: what stands in Git is applied with the rights of the tenant, and pruned when it goes.

use serde_json::json;

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
