//! The same claims about both stores, so that neither drifts from the other; then what only a cluster does.

use std::time::Duration;

use api::{flagger::Canary, meta::ObjectReference};
use futures::{StreamExt as _, stream::BoxStream};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{ResourceExt as _, core::PartialObjectMeta};
use reconcile::{Directory, Error, Event, Object, Scope, Severity, Store, clock, event, store::EventFilter, watcher};
use serde_json::{Value, json};

use super::{
    proxy::Proxy,
    server,
    world::{self, World},
};

/// One store and the namespace to work in.
struct Place {
    store: Store,
    namespace: String,
}

impl Place {
    fn id(&self, api_version: &str, kind: &str, name: &str) -> ObjectReference {
        let (api_version, kind, name) = (api_version.into(), kind.into(), name.into());
        ObjectReference { api_version, kind, namespace: self.namespace.clone(), name }
    }

    fn config_map(&self, name: &str, data: &Value) -> Value {
        let metadata = json!({"name": name, "namespace": self.namespace});
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    }

    fn canary(&self, name: &str, spec: &Value) -> Value {
        let metadata = json!({"name": name, "namespace": self.namespace});
        json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": metadata, "spec": spec})
    }
}

fn target(deadline: u32) -> Value {
    json!({
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"},
        "progressDeadlineSeconds": deadline,
        "service": {"port": 80},
        "analysis": {"interval": "1m", "threshold": 1, "iterations": 1},
    })
}

fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().expect("a version").to_owned()
}

/// What holds for every store.
async fn conforms(place: &Place) {
    applied_objects_are_stored_as_managers_agree(place).await;
    status_has_its_own_verb(place).await;
    patches_need_the_object_and_its_version(place).await;
    deletion_waits_for_finalizers_and_takes_owned_objects_along(place).await;
    watches_list_and_then_follow(place).await;
    events_are_counted(place).await;
}

async fn applied_objects_are_stored_as_managers_agree(place: &Place) {
    let Place { store, .. } = place;
    let id = place.id("v1", "ConfigMap", "shared");
    assert_eq!(store.find(&id).await.expect("an answer"), None);
    let first = place.config_map("shared", &json!({"a": "1", "b": "1"}));
    let preview = store.dry_run("one", &first).await.expect("a preview");
    assert_eq!(preview["metadata"]["resourceVersion"], Value::Null, "nothing there: it would be created");
    let made = store.apply("one", &first).await.expect("applied");
    assert!(made["metadata"]["uid"].is_string() && made["kind"] == "ConfigMap", "{made}");
    let again = store.apply("one", &made).await.expect("what was read can be applied");
    assert_eq!(version(&again), version(&made), "nothing changed, nothing is written");
    assert_eq!(store.dry_run("one", &first).await.expect("a preview")["metadata"]["resourceVersion"], version(&made));

    store.apply("two", &place.config_map("shared", &json!({"b": "2", "c": "2"}))).await.expect("applied by force");
    let both = store.apply("one", &place.config_map("shared", &json!({"a": "1"}))).await.expect("applied");
    assert_eq!(both["data"], json!({"a": "1", "b": "2", "c": "2"}), "b is the other's now");
    let left = store.apply("two", &place.config_map("shared", &json!({"c": "2"}))).await.expect("applied");
    assert_eq!(left["data"], json!({"a": "1", "c": "2"}), "nobody wants b any more");

    let listed = store.list::<ConfigMap>(Some(&place.namespace)).await.expect("a list");
    assert!(listed.iter().any(|one| one.name_any() == "shared"));
    assert!(store.list::<ConfigMap>(Some("nowhere")).await.expect("a list").is_empty());

    let mut secret = place.config_map("secret", &json!({"old": "b2xk"}));
    secret["kind"] = "Secret".into();
    secret["stringData"] = json!({"plain": "new"});
    store.apply("one", &secret).await.expect("applied");
    let secret = store.get::<Secret>(&place.namespace, "secret").await.expect("an answer").expect("the secret");
    assert_eq!(secret.data.expect("data")["plain"].0, b"new");
}

async fn status_has_its_own_verb(place: &Place) {
    let Place { store, .. } = place;
    let id = place.id("flagger.app/v1beta1", "Canary", "status");
    let mut canary = place.canary("status", &target(60));
    canary["status"] = json!({"phase": "Failed"});
    let made = store.apply("one", &canary).await.expect("applied");
    assert_eq!((&made["status"]["phase"], &made["metadata"]["generation"]), (&Value::Null, &json!(1)));
    let told = store.write_status(&id, "flagger", &json!({"phase": "Initializing", "canaryWeight": 5})).await;
    let told = told.expect("written");
    assert_eq!((&told["status"]["phase"], &told["metadata"]["generation"]), (&json!("Initializing"), &json!(1)));
    let same = store.write_status(&id, "flagger", &json!({"canaryWeight": 5})).await.expect("written");
    assert_eq!(version(&same), version(&told), "nothing changed, nothing is written");
    let less = store.write_status(&id, "flagger", &json!({"canaryWeight": null})).await.expect("written");
    assert_eq!((&less["status"]["canaryWeight"], &less["status"]["phase"]), (&Value::Null, &json!("Initializing")));
    let patch = json!({"spec": {"progressDeadlineSeconds": 61}, "status": {"phase": "Succeeded"}});
    let patched = store.patch(&id, "one", &patch).await.expect("patched");
    assert_eq!((&patched["status"]["phase"], &patched["metadata"]["generation"]), (&json!("Initializing"), &json!(2)));
    let reapplied = store.apply("one", &place.canary("status", &target(60))).await.expect("applied");
    assert_eq!(reapplied["status"]["phase"], "Initializing", "an apply leaves the status alone");
}

async fn patches_need_the_object_and_its_version(place: &Place) {
    let Place { store, .. } = place;
    let missing = place.id("v1", "ConfigMap", "missing");
    assert!(matches!(store.patch(&missing, "one", &json!({})).await, Err(Error::NotFound(_))));
    let missing = place.id("flagger.app/v1beta1", "Canary", "missing");
    assert!(matches!(store.write_status(&missing, "one", &json!({})).await, Err(Error::NotFound(_))));
    let id = place.id("v1", "ConfigMap", "patched");
    let made = store.apply("one", &place.config_map("patched", &json!({"a": "1"}))).await.expect("applied");
    let patch = |value: &str, version: &str| json!({"metadata": {"resourceVersion": version}, "data": {"a": value}});
    let changed = store.patch(&id, "one", &patch("2", &version(&made))).await.expect("patched");
    assert_eq!(changed["data"]["a"], "2");
    let late = store.patch(&id, "one", &patch("3", &version(&made))).await;
    assert!(matches!(late, Err(Error::Conflict(_))), "{late:?}");
    let removed = store.patch(&id, "one", &json!({"data": {"a": null, "b": "1"}})).await.expect("patched");
    assert_eq!(removed["data"], json!({"b": "1"}));
}

async fn deletion_waits_for_finalizers_and_takes_owned_objects_along(place: &Place) {
    let Place { store, .. } = place;
    let id = place.id("v1", "ConfigMap", "owner");
    assert!(!store.delete(&id).await.expect("an answer"), "it was not there");
    let mut owner = place.config_map("owner", &json!({}));
    owner["metadata"]["finalizers"] = json!(["example.com/wait"]);
    let owner = store.apply("one", &owner).await.expect("applied");
    let mut owned = place.config_map("owned", &json!({}));
    owned["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}]);
    store.apply("one", &owned).await.expect("applied");
    assert!(store.delete(&id).await.expect("an answer"));
    let going = store.find(&id).await.expect("an answer").expect("it waits");
    assert!(going["metadata"]["deletionTimestamp"].is_string());
    store.patch(&id, "one", &json!({"metadata": {"finalizers": []}})).await.expect("patched");
    assert_eq!(store.find(&id).await.expect("an answer"), None);
    let start = clock::instant();
    while store.find(&place.id("v1", "ConfigMap", "owned")).await.expect("an answer").is_some() {
        assert!(start.elapsed() < Duration::from_secs(60), "what it owned is still there");
        clock::sleep(Duration::from_millis(20)).await;
    }
}

/// The next event of a watch, `Init` and the like by name.
async fn next<K: Object>(events: &mut BoxStream<'static, reconcile::Result<watcher::Event<K>>>) -> (String, String) {
    let event = tokio::time::timeout(Duration::from_secs(60), events.next()).await.expect("an event in time");
    let (kind, name) = match event.expect("the watch goes on").expect("the watch holds") {
        watcher::Event::Init => ("init", String::new()),
        watcher::Event::InitApply(object) => ("listed", object.name_any()),
        watcher::Event::InitDone => ("done", String::new()),
        watcher::Event::Apply(object) => ("applied", object.name_any()),
        watcher::Event::Delete(object) => ("deleted", object.name_any()),
    };
    (kind.to_owned(), name)
}

/// Passes over what other claims left behind until the list is done; gives what was listed.
async fn listed<K: Object>(events: &mut BoxStream<'static, reconcile::Result<watcher::Event<K>>>) -> Vec<String> {
    assert_eq!(next(events).await.0, "init");
    let mut names = Vec::new();
    loop {
        match next(events).await {
            (kind, _) if kind == "done" => return names,
            (_, name) => names.push(name),
        }
    }
}

async fn watches_list_and_then_follow(place: &Place) {
    let Place { store, .. } = place;
    let id = place.id("flagger.app/v1beta1", "Canary", "watched");
    store.apply("one", &place.canary("listed", &target(60))).await.expect("applied");
    let mut canaries = store.watch::<Canary>();
    assert!(listed(&mut canaries).await.contains(&"listed".to_owned()));
    store.apply("one", &place.canary("watched", &target(60))).await.expect("applied");
    assert_eq!(next(&mut canaries).await, ("applied".into(), "watched".into()));
    store.write_status(&id, "flagger", &json!({"phase": "Initializing"})).await.expect("written");
    assert_eq!(next(&mut canaries).await, ("applied".into(), "watched".into()));
    store.delete(&id).await.expect("deleted");
    assert_eq!(next(&mut canaries).await, ("deleted".into(), "watched".into()));

    // Of a large or secret kind only metadata is kept, and a new version tells of a change.
    store.apply("one", &place.config_map("plain", &json!({"a": "1"}))).await.expect("applied");
    let mut metadata = store.watch_metadata::<ConfigMap>();
    assert!(listed(&mut metadata).await.contains(&"plain".to_owned()));
    store.apply("one", &place.config_map("plain", &json!({"a": "2"}))).await.expect("applied");
    let changed = metadata.next().await.expect("the watch goes on").expect("the watch holds");
    let watcher::Event::Apply(PartialObjectMeta { metadata, .. }) = changed else { panic!("{changed:?}") };
    let live = store.find(&place.id("v1", "ConfigMap", "plain")).await.expect("an answer").expect("the object");
    assert_eq!((metadata.resource_version, metadata.managed_fields), (Some(version(&live)), None));

    // An object that does not fit its kind is told so, and stops nobody.
    let mut canaries = store.watch::<Canary>();
    listed(&mut canaries).await;
    let mut wrong = target(60);
    wrong["progressDeadlineSeconds"] = "soon".into();
    match store.apply("one", &place.canary("wrong", &wrong)).await {
        Ok(_) => {}
        // Where the API server knows the schema, it does not let such an object in.
        Err(Error::Invalid { .. }) if !store.is_standalone() => return,
        Err(error) => panic!("{error}"),
    }
    store.apply("one", &place.canary("right", &target(60))).await.expect("applied");
    while next(&mut canaries).await.1 != "right" {}
    let id = place.id("flagger.app/v1beta1", "Canary", "wrong");
    let marked = store.find(&id).await.expect("an answer").expect("the object");
    assert!(marked["status"].to_string().contains("Stalled"), "{marked}");
}

async fn events_are_counted(place: &Place) {
    let Place { store, .. } = place;
    let about = store.apply("one", &place.config_map("told", &json!({}))).await.expect("applied");
    let event = |reason: &str, severity| Event {
        involved_object: event::InvolvedObject {
            reference: place.id("v1", "ConfigMap", "told"),
            uid: about["metadata"]["uid"].as_str().unwrap_or_default().to_owned(),
            resource_version: version(&about),
        },
        severity,
        timestamp: "2026-11-21T08:00:00Z".parse().expect("a time"),
        message: format!("something {reason}"),
        reason: reason.to_owned(),
        metadata: [("revision".to_owned(), "main@sha1:abc".to_owned())].into(),
        reporting_controller: "flagger".to_owned(),
        reporting_instance: "test".to_owned(),
        count: 1,
    };
    for reason in ["Synced", "Synced", "Failed", "Synced"] {
        let severity = if reason == "Failed" { Severity::Error } else { Severity::Info };
        store.record(&event(reason, severity)).await.expect("recorded");
    }
    store.record(&event("Seen", Severity::Trace)).await.expect("recorded");
    // The same words, but nothing to be told: the event that is keeps its place.
    store.record(&event("Synced", Severity::Trace)).await.expect("recorded");
    let filter = EventFilter {
        kind: Some("configmap".into()),
        namespace: Some(place.namespace.clone()),
        name: Some("told".into()),
    };
    let mut kept = store.events(&filter).await.expect("events");
    kept.sort_by_key(|one| (one.reason.clone(), one.severity == Severity::Trace));
    let counts: Vec<_> = kept.iter().map(|one| (one.reason.as_str(), one.severity, one.count)).collect();
    let [failed, seen] = [("Failed", Severity::Error, 1), ("Seen", Severity::Trace, 1)];
    let [synced, traced] = [("Synced", Severity::Info, 3), ("Synced", Severity::Trace, 1)];
    assert_eq!(counts, [failed, seen, synced, traced]);
    assert_eq!(Event { count: 1, ..kept.remove(2) }, event("Synced", Severity::Info), "all of it is kept");
    let other = EventFilter { name: Some("other".into()), ..filter };
    assert!(store.events(&other).await.expect("events").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_store_does_what_every_store_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = Directory::open(&folder.path().join("state.db"), Vec::new()).await.expect("a store");
    conforms(&Place { store: Store::Directory(directory), namespace: "default".into() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_store_does_what_every_store_does() {
    let world = World::new("store").await;
    let scope = Scope { namespace: Some(world.namespace.clone()), selector: None };
    let store = world::store(world.client.clone(), world.folder.path(), scope);
    conforms(&Place { store, namespace: world.namespace.clone() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_survives_cuts_and_expiry_and_tells_what_it_missed() {
    let world = World::new("watch").await;
    let proxy = Proxy::start(world.client.clone()).await;
    let client = server::client(&proxy.kubeconfig(world.folder.path())).await;
    let scope = Scope { namespace: Some(world.namespace.clone()), selector: None };
    let store = world::store(client, world.folder.path(), scope);
    let place = Place { store: world.store.clone(), namespace: world.namespace.clone() };
    let mut canaries = store.watch::<Canary>();
    assert!(listed(&mut canaries).await.is_empty());

    // Cut: it goes on where it stopped, with no new list.
    place.store.apply("one", &place.canary("a", &target(60))).await.expect("applied");
    assert_eq!(next(&mut canaries).await, ("applied".into(), "a".into()));
    proxy.cut_watches();
    place.store.apply("one", &place.canary("b", &target(60))).await.expect("applied");
    assert_eq!(next(&mut canaries).await, ("applied".into(), "b".into()));

    // Expired: it lists again, and what went meanwhile is missing from the list.
    proxy.expire_watches(2);
    proxy.cut_watches();
    place.store.delete(&place.id("flagger.app/v1beta1", "Canary", "a")).await.expect("deleted");
    let start = clock::instant();
    let names = loop {
        assert!(start.elapsed() < Duration::from_secs(60), "there is no new list");
        match tokio::time::timeout(Duration::from_secs(30), canaries.next()).await.expect("in time") {
            Some(Ok(watcher::Event::Init)) => {
                let mut names = Vec::new();
                loop {
                    match next(&mut canaries).await {
                        (kind, _) if kind == "done" => break,
                        (_, name) => names.push(name),
                    }
                }
                break names;
            }
            Some(_) => {}
            None => panic!("the watch ended"),
        }
    };
    assert_eq!(names, ["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_sees_its_own_objects_only() {
    let world = World::new("shard").await;
    let place = Place { store: world.store.clone(), namespace: world.namespace.clone() };
    let mut ours = place.canary("ours", &target(60));
    ours["metadata"]["labels"] = json!({"sharding.fluxcd.io/key": "one"});
    place.store.apply("kubectl", &ours).await.expect("applied");
    place.store.apply("kubectl", &place.canary("theirs", &target(60))).await.expect("applied");
    let scope =
        |selector: &str| Scope { namespace: Some(world.namespace.clone()), selector: Some(selector.to_owned()) };
    for (selector, expected) in [("sharding.fluxcd.io/key=one", "ours"), ("!sharding.fluxcd.io/key", "theirs")] {
        let store = world::store(world.client.clone(), world.folder.path(), scope(selector));
        assert_eq!(listed(&mut store.watch_own::<Canary>()).await, [expected]);
        assert_eq!(listed(&mut store.watch::<Canary>()).await.len(), 2, "what they refer to may lie elsewhere");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acting_as_a_service_account_has_its_rights_and_no_others() {
    let world = World::new("account").await;
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "patch", "create"]}]);
    let role = "rbac.authorization.k8s.io/v1";
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tenant"}});
    world.apply(account).await;
    world.apply(json!({"apiVersion": role, "kind": "Role", "metadata": {"name": "tenant"}, "rules": rules})).await;
    world
        .apply(json!({
            "apiVersion": role, "kind": "RoleBinding", "metadata": {"name": "tenant"},
            "subjects": [{"kind": "ServiceAccount", "name": "tenant", "namespace": world.namespace}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "tenant"},
        }))
        .await;
    let tenant = world.store.acting_as(&world.namespace, "tenant").expect("a name");
    let place = Place { store: tenant.clone(), namespace: world.namespace.clone() };
    let allowed = world
        .until("the role to take effect", async || {
            tenant.apply("tenant", &place.config_map("own", &json!({"a": "1"}))).await.ok()
        })
        .await;
    assert_eq!(allowed["data"]["a"], "1");
    let refused = tenant.find(&world.id("v1", "Secret", "any")).await;
    assert!(matches!(&refused, Err(Error::Refused { problem, .. }) if problem.contains("tenant")), "{refused:?}");
    for (namespace, account) in [("", "x"), ("x", "")] {
        assert!(world.store.acting_as(namespace, account).is_err(), "nobody in particular must not be us");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_watch_tells_is_not_asked_for() {
    let world = World::new("cached").await;
    let proxy = Proxy::start(world.client.clone()).await;
    let through = server::client(&proxy.kubeconfig(world.folder.path())).await;
    let folder = tempfile::tempdir().expect("a folder");
    let scope = Scope { namespace: Some(world.namespace.clone()), ..Scope::default() };
    let store = world::store(through, folder.path(), scope);
    let place = Place { store: store.clone(), namespace: world.namespace.clone() };
    let (id, secret) = (place.id("v1", "ConfigMap", "a"), place.id("v1", "Secret", "a"));
    let color = async || Some(store.find_cached(&id).await.ok()??["data"]["color"].clone());
    // Whether a look made no request.
    let is_free = async || {
        let before = proxy.requests();
        color().await;
        (proxy.requests() == before).then_some(())
    };

    assert_eq!(color().await, None);
    world.until("absence to be known", is_free).await;
    world.apply(place.config_map("a", &json!({"color": "red"}))).await;
    world.until("what others made", async || color().await.filter(|color| color == "red")).await;
    world.until("it to be known", is_free).await;
    store.apply("one", &place.config_map("a", &json!({"color": "green"}))).await.expect("applied");
    assert_eq!(color().await.expect("the object"), "green", "our own write is never missed");
    world.until("it to be known", is_free).await;
    proxy.cut_watches();
    world.store.patch(&id, "kubectl", &json!({"data": {"color": "blue"}})).await.expect("patched");
    world.until("what others changed meanwhile", async || color().await.filter(|color| color == "blue")).await;
    world.store.delete(&id).await.expect("deleted");
    world.until("what others deleted", async || color().await.is_none().then_some(())).await;
    world.until("absence to be known", is_free).await;

    for _ in 0..3 {
        let before = proxy.requests();
        assert_eq!(store.find_cached(&secret).await.expect("an answer"), None);
        assert!(proxy.requests() > before, "Secrets are not kept");
    }

    // A status that is so already is not written again.
    world.apply(place.canary("a", &target(60))).await;
    let canary = place.id("flagger.app/v1beta1", "Canary", "a");
    let status = json!({"phase": "Initialized", "conditions": null});
    store.find_cached(&canary).await.expect("an answer");
    store.write_status(&canary, "flagger", &status).await.expect("written");
    world
        .until("nothing to write", async || {
            store.find_cached(&canary).await.ok()??;
            let before = proxy.writes().len();
            store.write_status(&canary, "flagger", &status).await.ok()?;
            (proxy.writes().len() == before).then_some(())
        })
        .await;
    assert_eq!(world.store.find(&canary).await.expect("an answer").expect("it")["status"]["phase"], "Initialized");
}
