//! The directory store over real files and a real database.

use std::time::Duration;

use api::{image::ImageRepository, meta::ObjectReference};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::{Notice, Severity, Store, event::Events, object};

const REPOSITORY: &str = "apiVersion: image.toolkit.fluxcd.io/v1beta2\nkind: ImageRepository\n\
                          metadata: {name: app, namespace: apps}\nspec: {image: ghcr.io/a/app, interval: 1m}\n";

struct World {
    folder: TempDir,
    store: Store,
}

impl World {
    async fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("manifests")).unwrap();
        let world = Self::write(&folder, files);
        let store = world.reopen().await;
        Self { folder, store }
    }

    fn write<'a>(folder: &'a TempDir, files: &[(&str, &str)]) -> Place<'a> {
        for (name, text) in files {
            std::fs::write(folder.path().join("manifests").join(name), text).unwrap();
        }
        Place(folder)
    }

    async fn change(&self, files: &[(&str, &str)]) {
        Self::write(&self.folder, files);
        self.rescan().await;
    }

    async fn rescan(&self) {
        let Store::Directory(directory) = &self.store else { unreachable!("a directory store") };
        directory.rescan().await.unwrap();
    }

    async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.store.find(&id(kind, name)).await.unwrap()
    }
}

struct Place<'a>(&'a TempDir);

impl Place<'_> {
    async fn reopen(&self) -> Store {
        let state = self.0.path().join("state.db");
        Store::Directory(Directory::open(&state, vec![self.0.path().join("manifests")]).await.unwrap())
    }
}

fn id(kind: &str, name: &str) -> ObjectReference {
    let api_version = match kind {
        "ImageRepository" => "image.toolkit.fluxcd.io/v1",
        "Deployment" => "apps/v1",
        _ => "v1",
    };
    ObjectReference { api_version: api_version.into(), kind: kind.into(), namespace: "apps".into(), name: name.into() }
}

fn config(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "apps"}, "data": data})
}

#[tokio::test]
async fn manifests_are_read_and_followed() {
    let world = World::new(&[("app.yaml", REPOSITORY)]).await;
    let first = world.store.get::<ImageRepository>("apps", "app").await.unwrap().unwrap();
    assert_eq!((first.spec.image.as_str(), first.metadata.generation), ("ghcr.io/a/app", Some(1)));
    world.change(&[("app.yaml", &REPOSITORY.replace("interval: 1m", "interval: 5m"))]).await;
    let second = world.store.get::<ImageRepository>("apps", "app").await.unwrap().unwrap();
    assert_eq!((second.metadata.uid, second.metadata.generation), (first.metadata.uid, Some(2)));
    std::fs::remove_file(world.folder.path().join("manifests/app.yaml")).unwrap();
    world.rescan().await;
    assert_eq!(world.get("ImageRepository", "app").await, None);
}

#[tokio::test]
async fn a_malformed_file_keeps_its_objects_and_says_so() {
    let world = World::new(&[("app.yaml", REPOSITORY), ("good.yaml", &config("good", &json!({})).to_string())]).await;
    world.change(&[("app.yaml", "kind: [broken\n")]).await;
    let marked = world.get("ImageRepository", "app").await.expect("the last good version stays");
    let condition = &marked["status"]["conditions"][0];
    assert_eq!((&condition["type"], &condition["status"]), (&json!("ManifestValid"), &json!("False")));
    let message = condition["message"].as_str().unwrap();
    assert!(message.contains("app.yaml: line 1"), "{message}");
    assert!(world.get("ConfigMap", "good").await.is_some());
    world.change(&[("app.yaml", REPOSITORY)]).await;
    assert_eq!(world.get("ImageRepository", "app").await.unwrap()["status"]["conditions"], json!([]));
}

#[tokio::test]
async fn an_object_that_does_not_fit_its_kind_is_marked_and_stops_nobody() {
    let bad = REPOSITORY.replace("name: app", "name: bad").replace("interval: 1m", "interval: 1y");
    let world = World::new(&[("app.yaml", REPOSITORY), ("bad.yaml", &bad)]).await;
    let mut watch = world.store.watch::<ImageRepository>();
    let mut names = Vec::new();
    loop {
        match watch.next().await.unwrap().unwrap() {
            kube::runtime::watcher::Event::InitApply(object) => names.push(object.metadata.name.unwrap()),
            kube::runtime::watcher::Event::InitDone => break,
            _ => {}
        }
    }
    assert_eq!(names, ["app"]);
    let conditions = world.get("ImageRepository", "bad").await.unwrap()["status"]["conditions"].to_string();
    assert!(conditions.contains("spec.interval") && conditions.contains("Stalled"), "{conditions}");
}

#[tokio::test]
async fn applying_the_same_writes_nothing_and_a_foreign_field_stays() {
    let world = World::new(&[]).await;
    let first = world.store.apply("us", &config("c", &json!({"a": "1"}))).await.unwrap();
    world.store.apply("them", &config("c", &json!({"b": "2"}))).await.unwrap();
    let third = world.store.apply("us", &config("c", &json!({"c": "3"}))).await.unwrap();
    assert_eq!(third["data"], json!({"b": "2", "c": "3"}));
    let again = world.store.apply("us", &config("c", &json!({"c": "3"}))).await.unwrap();
    assert_eq!(again["metadata"]["resourceVersion"], third["metadata"]["resourceVersion"]);
    assert_eq!(first["metadata"]["uid"], third["metadata"]["uid"]);
    let dry = world.store.dry_run("us", &config("new", &json!({}))).await.unwrap();
    assert_eq!(dry["metadata"].get("resourceVersion"), None);
    assert_eq!(world.get("ConfigMap", "new").await, None);
}

#[tokio::test]
async fn status_is_written_apart_and_does_not_raise_the_generation() {
    let world = World::new(&[("app.yaml", REPOSITORY)]).await;
    let written = world.store.write_status(&id("ImageRepository", "app"), "us", &json!({"x": {"y": 1}})).await.unwrap();
    assert_eq!((&written["metadata"]["generation"], &written["status"]), (&json!(1), &json!({"x": {"y": 1}})));
    let error = world.store.write_status(&id("ImageRepository", "none"), "us", &json!({})).await.unwrap_err();
    assert_eq!(error.to_string(), "ImageRepository/apps/none not found");
}

#[tokio::test]
async fn deletion_waits_for_finalizers_and_takes_owned_objects_along() {
    let world = World::new(&[]).await;
    let owner = world.store.apply("us", &config("owner", &json!({}))).await.unwrap();
    let mut owned = config("owned", &json!({}));
    owned["metadata"]["ownerReferences"] =
        json!([{"kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}]);
    world.store.apply("us", &owned).await.unwrap();
    let finalizers = json!({"metadata": {"finalizers": ["f"]}});
    world.store.patch(&id("ConfigMap", "owner"), "us", &finalizers).await.unwrap();
    assert!(world.store.delete(&id("ConfigMap", "owner")).await.unwrap());
    let marked = world.get("ConfigMap", "owner").await.unwrap();
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    assert!(world.get("ConfigMap", "owned").await.is_some());
    world.store.patch(&id("ConfigMap", "owner"), "us", &json!({"metadata": {"finalizers": []}})).await.unwrap();
    assert_eq!((world.get("ConfigMap", "owner").await, world.get("ConfigMap", "owned").await), (None, None));
    assert!(!world.store.delete(&id("ConfigMap", "owner")).await.unwrap());
}

#[tokio::test]
async fn a_second_process_is_refused_and_its_small_writes_are_noticed() {
    let world = World::new(&[("app.yaml", REPOSITORY)]).await;
    let state = world.folder.path().join("state.db");
    assert!(matches!(Directory::open(&state, Vec::new()).await, Err(Error::Locked { .. })));
    let Store::Directory(directory) = world.store.clone() else { unreachable!("a directory store") };
    let follower = tokio::spawn(async move { directory.follow_other_processes().await });
    let mut watch = world.store.watch::<ImageRepository>();
    while !matches!(watch.next().await.unwrap().unwrap(), kube::runtime::watcher::Event::InitDone) {}
    let other = Store::Directory(Directory::attach(&state).unwrap());
    let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}});
    other.patch(&id("ImageRepository", "app"), "cli", &patch).await.unwrap();
    let seen = tokio::time::timeout(Duration::from_secs(10), watch.next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(seen, kube::runtime::watcher::Event::Apply(object) if object.metadata.annotations.is_some()));
    follower.abort();
}

#[tokio::test]
async fn what_another_process_wrote_right_before_is_not_passed_over() {
    let world = World::new(&[("app.yaml", REPOSITORY)]).await;
    let other = Store::Directory(Directory::attach(&world.folder.path().join("state.db")).unwrap());
    let mut events = world.store.watch::<ImageRepository>();
    while !matches!(events.next().await, Some(Ok(kube::runtime::watcher::Event::InitDone))) {}
    let ask = json!({"metadata": {"annotations": {"asked": "now"}}});
    other.patch(&id("ImageRepository", "app"), "test", &ask).await.unwrap();
    // Nobody has looked since; a write of ours goes over the bus.
    let own = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "own", "namespace": "apps"}});
    world.store.apply("test", &own).await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(20), events.next()).await.expect("the change is told");
    let Some(Ok(kube::runtime::watcher::Event::Apply(object))) = told else { panic!("{told:?}") };
    assert_eq!(object.metadata.annotations.unwrap()["asked"], "now");
}

#[tokio::test]
async fn state_survives_and_unchanged_files_take_nothing_back() {
    let world = World::new(&[("c.yaml", &config("c", &json!({"a": "1"})).to_string())]).await;
    let patch = json!({"data": {"a": "2"}});
    world.store.patch(&id("ConfigMap", "c"), "us", &patch).await.unwrap();
    let World { folder, store } = world;
    drop(store);
    let store = Place(&folder).reopen().await;
    assert_eq!(store.find(&id("ConfigMap", "c")).await.unwrap().unwrap()["data"]["a"], "2");
}

#[tokio::test]
async fn the_same_event_is_counted_not_kept_twice() {
    let world = World::new(&[("app.yaml", REPOSITORY)]).await;
    let events = Events::new(world.store.clone(), "test");
    let about = object::to_value(&world.store.get::<ImageRepository>("apps", "app").await.unwrap().unwrap());
    let filter = crate::store::EventFilter { name: Some("app".into()), ..Default::default() };
    // What is told again stands behind what was told before it, so that who follows sees it.
    for (messages, expected) in
        [(&["one", "one", "two"][..], [("one", 2), ("two", 1)]), (&["one"], [("two", 1), ("one", 3)])]
    {
        for message in messages {
            events.publish(&about, "controller", &Notice::error("Failed", *message)).await.unwrap();
        }
        let kept = world.store.events(&filter).await.unwrap();
        let told: Vec<_> = kept.iter().map(|event| (event.message.as_str(), event.count)).collect();
        assert_eq!(told, expected);
        assert!(kept.iter().all(|event| event.severity == Severity::Error));
    }
}

#[tokio::test]
async fn a_status_and_what_is_told_of_it_are_there_together_or_not_at_all() {
    let world = World::new(&[("app.yaml", REPOSITORY)]).await;
    let events = Events::new(world.store.clone(), "test");
    let about = object::to_value(&world.store.get::<ImageRepository>("apps", "app").await.unwrap().unwrap());
    let mut gone = about.clone();
    gone["metadata"]["name"] = json!("gone");
    let (status, notices) = (json!({"x": 1}), [Notice::info("Succeeded", "one"), Notice::error("Failed", "two")]);
    let mut bus = events.subscribe();
    let stored = events.conclude(&about, "controller", Some(&status), &notices).await.unwrap().unwrap();
    assert_eq!(stored["status"]["x"], 1);
    let error = events.conclude(&gone, "controller", Some(&status), &notices).await.unwrap_err();
    assert!(matches!(error, Error::NotFound(_)), "{error}");
    let kept = world.store.events(&crate::store::EventFilter::default()).await.unwrap();
    let told: Vec<_> =
        kept.iter().map(|event| (event.involved_object.reference.name.as_str(), event.message.as_str())).collect();
    assert_eq!(told, [("app", "one"), ("app", "two")]);
    assert_eq!(bus.try_recv().unwrap().message + &bus.try_recv().unwrap().message, "onetwo");
    assert!(bus.try_recv().is_err(), "nobody is told of what is not there");
}
