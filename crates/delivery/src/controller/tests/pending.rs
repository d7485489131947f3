//! What a run did that ended before it could tell.

use super::*;

/// The note that a run leaves before it changes the objects.
async fn note(world: &World, revision: &str, changes: &str) {
    let text = format!("{revision}\n{changes}");
    world.store.database().note("changes", "flux-system/apps", text.as_bytes()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_run_did_and_could_not_tell_is_told_once() {
    let world = World::new(&[("apps/settings.yaml", CONFIG_MAP), ("apps/web.yaml", DEPLOYMENT)]).await;
    world.source(json!({})).await;
    world.kustomization("apps", json!({})).await;
    world.ready(&kustomization("apps"), "True").await;
    // As an earlier run over the next commit leaves the world: one object deleted, one applied, nobody told.
    let revision = world.commit(&[("apps/settings.yaml", "")]);
    world.store.delete(&settings()).await.unwrap();
    let [gone, kept] = [settings().to_string(), deployment().to_string()];
    note(&world, &revision, &format!("{gone} deleted\n{kept} configured")).await;
    world.request(&source(), "1").await;
    let done = format!("True ReconciliationSucceeded Applied revision: {revision}");
    world.ready(&kustomization("apps"), &done).await;
    let count = async |text: String| {
        let events = world.events(&kustomization("apps")).await;
        events.iter().filter(|event| event.reason == "Progressing" && event.message == text).count()
    };
    assert_eq!((count(format!("{gone} deleted")).await, count(format!("{kept} configured")).await), (1, 1));

    // Told, it is noted no more; and what is noted for another revision is not this one's.
    note(&world, "main@sha1:0", &format!("{kept} configured")).await;
    world.request(&kustomization("apps"), "2").await;
    let handled = |object: &Value| object["status"]["lastHandledReconcileAt"] == "2";
    world.until(&kustomization("apps"), handled).await;
    assert_eq!((count(format!("{gone} deleted")).await, count(format!("{kept} configured")).await), (1, 1));
}
