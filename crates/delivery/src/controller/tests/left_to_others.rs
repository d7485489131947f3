//! Fields that a Kustomization leaves to others.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_ignored_field_is_neither_drift_nor_undone_by_the_next_write() {
    let two = CONFIG_MAP.replace("blue}", "blue, tone: dark}");
    let world = World::new(&[("apps/settings.yaml", &two)]).await;
    world.source(json!({})).await;
    let ignore = json!([{"paths": ["/data/color"], "target": {"kind": "ConfigMap", "name": "settings"}}]);
    world.kustomization("apps", json!({"ignore": ignore})).await;
    world.ready(&kustomization("apps"), "True").await;
    assert_eq!(world.find(&settings()).await.unwrap()["data"], json!({"color": "blue", "tone": "dark"}));

    world.store.patch(&settings(), "somebody", &json!({"data": {"color": "red"}})).await.unwrap();
    let before = world.find(&settings()).await.unwrap();
    world.request(&kustomization("apps"), "1").await;
    world.until(&kustomization("apps"), |object| object["status"]["lastHandledReconcileAt"] == "1").await;
    assert_eq!(world.find(&settings()).await.unwrap(), before);

    world.store.patch(&settings(), "somebody", &json!({"data": {"tone": "light"}})).await.unwrap();
    world.request(&kustomization("apps"), "2").await;
    let settled = world.until(&settings(), |object| object["data"]["tone"] == "dark").await;
    assert_eq!(settled["data"]["color"], "red");

    // Without the rule the field is drift like any other.
    world.kustomization("apps", json!({})).await;
    world.until(&settings(), |object| object["data"]["color"] == "blue").await;
    world.kustomization("apps", json!({"ignore": [{"paths": ["data"]}]})).await;
    let wrong = ready(&world.ready(&kustomization("apps"), "False ReconciliationFailed").await);
    assert!(wrong.contains("spec.ignore[0].paths[0]: 'data' does not begin with /"), "{wrong}");
}
