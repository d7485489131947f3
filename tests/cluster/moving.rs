//! Moving in and out: slipway in the place of Flux's controllers and Flagger, with no more rights than it asks for, and gone.

use reconcile::{Scope, Store};
use serde_json::{Value, json};

use super::{
    canary::{runs, settled},
    image::Supply,
    manifests, rights,
    server::{self, ControlPlane},
    world::{self, World},
};
use crate::support::{Run, slipway};

const FLUX: &str = "flux-system";
/// A hash as Flagger computes it, and nobody else.
const FLAGGERS: &str = "7d5f8c9b6f";
const IMAGE: &str = "image.toolkit.fluxcd.io/v1";

/// Definitions as others left them: Flagger's own, and the rest as older releases did: objects stored in the oldest version,
/// any field allowed, no columns.
fn older() -> Vec<Value> {
    let mut definitions = manifests::definitions();
    definitions.retain(|definition| definition["spec"]["group"] != "flagger.app");
    for definition in &mut definitions {
        let versions = definition["spec"]["versions"].as_array_mut().expect("versions");
        let last = versions.len() - 1;
        for (index, version) in versions.iter_mut().enumerate() {
            let open = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
            *version = json!({"name": version["name"], "served": true, "storage": index == last, "schema": open,
                "subresources": {"status": {}}});
        }
        definition["spec"]["names"].as_object_mut().expect("names").remove("shortNames");
    }
    definitions.extend(server::flaggers_definitions());
    definitions
}

fn theirs(name: &str, image: &str, arguments: &[&str]) -> Value {
    let labels = json!({"app": name});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": FLUX}, "spec": {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [
            {"name": "manager", "image": image, "args": arguments}]}}}})
}

/// Runs a verb against a cluster.
async fn verb(words: &str, plane: &ControlPlane) -> Run {
    let words = format!("{words} --kubeconfig {}", plane.kubeconfig().display());
    let run = move || slipway(&words.split(' ').collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.expect("slipway runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_takes_over_works_and_goes_without_a_trace() {
    let folder = tempfile::Builder::new().prefix("slipway-kube-").tempdir().expect("a folder");
    let plane = ControlPlane::start(folder.path(), None).await;
    let client = server::client(&plane.kubeconfig()).await;
    let admin = world::store(client.clone(), folder.path(), Scope::default());
    let run = verb("check --pre", &plane).await;
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let run = verb("check --takeover", &plane).await;
    assert!(run.stdout.contains("neither Flux's controllers nor Flagger run"), "{}", run.stdout);

    server::define(&client, &older()).await;
    let apply = async |object: Value| admin.apply("flux", &object).await.unwrap_or_else(|error| panic!("{error}"));
    apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": FLUX, "labels": {"app.kubernetes.io/part-of": "flux"}}})).await;
    let reflector = "ghcr.io/fluxcd/image-reflector-controller:v1.1.0";
    apply(theirs("image-reflector-controller", reflector, &["--log-level=info", "--concurrent=10"])).await;
    apply(theirs("flagger", "ghcr.io/fluxcd/flagger:1.44.0", &["-mesh-provider=nginx", "-log-level=info"])).await;
    let mut world = World::on("moving", &plane.kubeconfig()).await;
    let repository = json!({"apiVersion": "image.toolkit.fluxcd.io/v1beta2", "kind": "ImageRepository",
        "metadata": {"name": "app"}, "spec": {"image": "127.0.0.1:1/app", "interval": "1m", "insecure": true}});
    world.apply(repository).await;

    let run = verb("check --takeover", &plane).await;
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let command = "slipway install -n flux-system --controllers image,canary --mesh-provider=nginx -- --concurrent=10";
    assert!(run.stdout.contains("nothing would change") && run.stdout.contains(command), "{}", run.stdout);

    for name in ["image-reflector-controller", "flagger"] {
        let id = api::meta::ObjectReference { namespace: FLUX.into(), ..world.id("apps/v1", "Deployment", name) };
        assert!(admin.delete(&id).await.expect("deleted"));
    }
    let run = verb("install -n flux-system --controllers image,canary", &plane).await;
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let run = verb("check -n flux-system", &plane).await;
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("all checks passed"), "{}", run.stdout);
    let again = verb("install -n flux-system --controllers image,canary", &plane).await;
    assert!(again.code == 0 && !again.stderr.contains(" changed"), "{}", again.stderr);

    works_with_its_own_rights(&mut world).await;
    goes(&plane, &world, &admin).await;
}

/// The installed rights are enough for a rollout, a scan and the leader election.
async fn works_with_its_own_rights(world: &mut World) {
    world.measurable().await;
    world.apply(manifests::deployment("1.0.0", &json!({}))).await;
    world.apply(manifests::canary("kubernetes", &json!({"iterations": 2}))).await;
    let kubeconfig = rights::account(&world.client, &world.kubeconfig, FLUX, world.folder.path()).await;
    let election = ["--enable-leader-election", "--leader-election-namespace", FLUX];
    let _slipway = world.process(&kubeconfig, "image,canary", &election);
    world.reaches("Initialized", &["Failed"]).await;
    world.apply(manifests::deployment("1.1.0", &json!({}))).await;
    world.reaches("Succeeded", &["Failed"]).await;
    let failed = |object: &Value| {
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|one| one["type"] == "Ready" && one["reason"] == "ReadOperationFailed")
    };
    world
        .until("a scan that cannot reach its registry", async || {
            world.find(IMAGE, "ImageRepository", "app").await.filter(failed)
        })
        .await;
    assert!(!world.log().contains("orbidden"), "{}", world.log());
}

/// What was installed goes; what is the users' stays until they say otherwise.
async fn goes(plane: &ControlPlane, world: &World, admin: &Store) {
    let run = verb("uninstall -n flux-system --yes", plane).await;
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let own = api::meta::ObjectReference { namespace: FLUX.into(), ..world.id("apps/v1", "Deployment", "slipway") };
    assert_eq!(admin.find(&own).await.expect("an answer"), None);
    let namespace = world.id("v1", "Namespace", FLUX);
    let left = admin.find(&namespace).await.expect("an answer").expect("a namespace shared with others stays");
    assert_eq!(left["metadata"].get("deletionTimestamp"), None);
    assert!(world.find(IMAGE, "ImageRepository", "app").await.is_some());
    let again = verb("uninstall -n flux-system --yes", plane).await;
    assert!(again.code == 0 && again.stderr.contains("Nothing of slipway"), "{}", again.stderr);

    let run = verb("uninstall -n flux-system --yes --crds", plane).await;
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    for definition in manifests::definitions() {
        let id = api::meta::ObjectReference::of(&definition).expect("a reference");
        world.until(&format!("{id} to be gone"), async || admin.find(&id).await.ok()?.is_none().then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_place_of_the_originals_nothing_rolls_out_and_nothing_is_committed() {
    let mut world = World::new("takeover").await;
    let supply = Supply::start(&world).await;
    world.measurable().await;
    world.apply(manifests::deployment("1.0.0", &json!({}))).await;
    world.apply(manifests::canary("gatewayapi:v1", &json!({"stepWeights": [50]}))).await;
    // Stands for the originals: the objects have the same fields, and it is gone afterwards with all that it knew.
    let first = world.process(&world.account.clone(), "image,canary", &[]);
    world.told("Latest image tag for").await;
    supply.push("1.1.0").await;
    supply.committed(&world, "1.1.0").await;
    world.reaches("Initialized", &["Failed"]).await;
    world.apply(manifests::deployment("1.1.0", &json!({}))).await;
    world.reaches("Succeeded", &["Failed"]).await;
    settled(&world, "1.1.0").await;
    drop(first);
    as_flagger_leaves_them(&world).await;
    let before = generations(&world).await;

    let _second = world.process(&world.account.clone(), "image,canary", &[]);
    let asked = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "moved"}}});
    for kind in ["ImageRepository", "ImagePolicy", "ImageUpdateAutomation"] {
        world.store.patch(&world.id(IMAGE, kind, "app"), "kubectl", &asked).await.expect("patched");
        world
            .until(&format!("{kind} to be reconciled"), async || {
                let found = world.find(IMAGE, kind, "app").await?;
                (found["status"]["lastHandledReconcileAt"] == "moved").then_some(())
            })
            .await;
    }
    assert_eq!(supply.log().await.len(), 2, "no commit is made");
    world
        .until("the Canary to be adopted", async || {
            let status = world.canary().await["status"].clone();
            (status["lastAppliedSpec"] != FLAGGERS).then_some(())
        })
        .await;
    assert_eq!(generations(&world).await, before, "nothing was changed");
    assert_eq!(world.canary().await["status"]["phase"], "Succeeded");
    // The next version goes its way.
    world.apply(manifests::deployment("1.2.0", &json!({}))).await;
    world.reaches("Progressing", &["Failed"]).await;
    assert_eq!(runs(&world, "app-primary").await.0, "example.com/app:1.1.0");
    world.reaches("Succeeded", &["Failed"]).await;
    settled(&world, "1.2.0").await;
}

/// Flagger's own hashes and ids in the place of ours.
async fn as_flagger_leaves_them(world: &World) {
    let status = json!({"lastAppliedSpec": FLAGGERS, "lastPromotedSpec": FLAGGERS});
    let canary = world.id("flagger.app/v1beta1", "Canary", "app");
    world.store.write_status(&canary, "flagger", &status).await.expect("a written status");
}

/// Generations of what must not change.
async fn generations(world: &World) -> Value {
    let mut found = json!({});
    for name in ["app", "app-primary"] {
        found[name] = world.get("apps/v1", "Deployment", name).await["metadata"]["generation"].clone();
    }
    found["route"] =
        world.get("gateway.networking.k8s.io/v1", "HTTPRoute", "app").await["metadata"]["generation"].clone();
    found
}
