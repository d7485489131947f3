//! A machine as a cluster, for one test.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use api::gateway::{Gateway, HttpRoute};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use local::{Options, controllers};
use oci::{Name, image::File, manifest::Process};
use reconcile::{Context, Directory, Http, Shutdown, Store, clock};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::registry::Registry;

/// How long any one thing may take, on a machine that stands still now and then too.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct World {
    pub folder: tempfile::TempDir,
    pub context: Context,
    registry: Registry,
    shutdown: Shutdown,
    _tasks: JoinSet<()>,
}

async fn context(state: &Path, manifests: Vec<PathBuf>) -> Context {
    let store = Store::Directory(Directory::open(state, manifests).await.unwrap());
    Context::new(store, Http::new("test"), "test")
}

fn options(folder: &Path) -> Options {
    Options::new(folder.join("files"))
}

impl World {
    pub async fn start() -> Self {
        Self::start_behind(local::Choice::Builtin).await
    }

    /// A machine whose gateway is another program.
    pub async fn start_behind(gateway: local::Choice) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("manifests")).unwrap();
        let context = context(&folder.path().join("state.db"), vec![]).await;
        let shutdown = Shutdown::new();
        let mut tasks = JoinSet::new();
        let options = Options { gateway, ..options(folder.path()) };
        for controller in controllers(&context, options, &shutdown).unwrap() {
            tasks.spawn(controller);
        }
        Self { folder, context, registry: Registry::start(), shutdown, _tasks: tasks }
    }

    pub fn image(&self, tag: &str) -> String {
        format!("{}/test/app:{tag}", self.registry.address)
    }

    /// Pushes an image that runs this binary as the application.
    pub async fn push(&self, tag: &str, more: &str) {
        let binary = std::env::current_exe().unwrap();
        let script = format!("#!/bin/sh\nexec '{}' \"$@\" # {more}\n", binary.display());
        let files = vec![File { path: "bin/app".into(), mode: 0o755, content: Bytes::from(script) }];
        let process = Process {
            entrypoint: vec!["/bin/app".into(), "app".into()],
            env: vec![format!("VERSION={tag}")],
            ..Process::default()
        };
        let packed = oci::image::pack(&[files], process).unwrap();
        let client = oci::Client::new(local::image::transport(&Http::new("test")));
        let name = Name::parse(&format!("{}/test/app", self.registry.address)).unwrap();
        client.repository(&name, None).push_image(tag, &packed).await.unwrap();
    }

    pub async fn apply(&self, object: &Value) {
        self.context.store.apply("test", object).await.unwrap();
    }

    /// Serves a Deployment through a Gateway on a free port; returns where.
    pub async fn route(&self, name: &str) -> SocketAddr {
        let metadata = json!({"name": name, "namespace": "test"});
        for object in [
            json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata,
                "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http"}]}}),
            json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": metadata,
                "spec": {"gatewayClassName": "slipway", "listeners": [{"name": "http", "port": 0, "protocol": "HTTP"}]}}),
            json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata,
                "spec": {"parentRefs": [{"name": name}], "rules": [{"backendRefs": [{"name": name, "port": 80}]}]}}),
        ] {
            self.apply(&object).await;
        }
        let address = self.listens(name).await;
        eventually("the route is accepted", async || {
            let route: Option<HttpRoute> = self.context.store.get("test", name).await.unwrap();
            let route = route.unwrap();
            let parents = route.status.clone().unwrap_or_default().parents;
            parents.first().is_some_and(|parent| {
                let is_true = |kind| {
                    let found = api::conditions::find(&parent.conditions, kind);
                    found.is_some_and(|found| {
                        found.status == "True" && found.observed_generation == route.metadata.generation
                    })
                };
                is_true("Accepted") && is_true("ResolvedRefs")
            })
        })
        .await;
        address
    }

    /// Waits until a Gateway's first listener is open; where it is.
    pub async fn listens(&self, name: &str) -> SocketAddr {
        let programmed = async || {
            let gateway: Option<Gateway> = self.context.store.get("test", name).await.unwrap();
            let status = gateway.and_then(|gateway| gateway.status)?;
            let condition = api::conditions::find(&status.listeners.first()?.conditions, "Programmed")?.clone();
            condition.message.strip_prefix("listening on ")?.parse().ok()
        };
        eventually("the Gateway listens", async || programmed().await.is_some()).await;
        programmed().await.unwrap()
    }

    /// Waits until the status of a Deployment is so; returns it.
    pub async fn until(&self, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let status = async || {
            let found: Option<Deployment> = self.context.store.get("test", name).await.unwrap();
            serde_json::to_value(found.and_then(|deployment| deployment.status)).unwrap()
        };
        let start = clock::instant();
        loop {
            let status = status().await;
            if holds(&status) {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "the status stays {status:#}");
            clock::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The log of the only pod.
    pub async fn log(&self) -> Option<PathBuf> {
        let folder = std::fs::read_dir(self.folder.path().join("files/logs/test")).ok()?.flatten().next()?;
        Some(folder.path().join("app.log"))
    }

    /// Command lines of processes that belong to this world's pods.
    pub fn marked(&self, folder: &str) -> Vec<String> {
        let mark = std::fs::read_to_string(self.folder.path().join(folder).join("files/mark"))
            .unwrap_or_else(|_| "none".into());
        let needle = format!("SLIPWAY_STATE_MARK={mark}");
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let marked = processes.filter(|entry| {
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(needle.as_bytes()))
        });
        marked
            .map(|entry| {
                String::from_utf8_lossy(&std::fs::read(entry.path().join("cmdline")).unwrap_or_default())
                    .replace('\0', " ")
            })
            .collect()
    }

    /// Waits until so many processes of pods are there: those of this world and of the one that can be killed.
    pub async fn processes(&self, count: usize) {
        eventually(&format!("{count} processes"), async || {
            self.marked("").len() + self.marked("killable").len() == count
        })
        .await;
    }

    /// Runs a second machine in a process of its own, with one Deployment; waits until its pods are ready.
    pub async fn run_killable(&self, object: &Value) -> Child {
        let folder = self.folder.path().join("killable");
        std::fs::create_dir_all(folder.join("manifests")).unwrap();
        std::fs::write(folder.join("manifests/app.yaml"), object.to_string()).unwrap();
        let _ = std::fs::remove_file(folder.join("ready"));
        let child = Command::new(std::env::current_exe().unwrap()).arg("run").arg(&folder).spawn().unwrap();
        eventually("the pods are ready", async || folder.join("ready").exists()).await;
        child
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// The part of slipway: runs until SIGTERM, and says when the Deployment is available.
pub async fn run(folder: &str) {
    let folder = Path::new(folder);
    let context = context(&folder.join("state.db"), vec![folder.join("manifests")]).await;
    let shutdown = Shutdown::new();
    let mut tasks = JoinSet::new();
    for controller in controllers(&context, options(folder), &shutdown).unwrap() {
        tasks.spawn(controller);
    }
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
    let mark = folder.join("ready");
    let ready = async {
        // The status of the run before may still be there: this run's pods count.
        eventually("pods", async || {
            let found: Option<Deployment> = context.store.get("test", "app").await.unwrap();
            let logs = std::fs::read_dir(folder.join("files/logs/test")).map_or(0, Iterator::count);
            logs >= 2 && found.and_then(|found| found.status?.available_replicas) == Some(2)
        })
        .await;
        std::fs::write(&mark, "").unwrap();
        std::future::pending::<()>().await;
    };
    tokio::select! { () = ready => {}, _ = terminate.recv() => {} }
    shutdown.cancel();
    while tasks.join_next().await.is_some() {}
}

/// A Deployment with a readiness probe.
pub fn deployment(name: &str, image: &str, replicas: u32) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "test"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"terminationGracePeriodSeconds": 5, "containers": [{
                "name": "app", "image": image, "ports": [{"name": "http", "containerPort": 8080}],
                "env": [{"name": "MY_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1}}]}}}})
}

/// Status and reason of a condition; empty if it is not there.
pub fn condition<'a>(status: &'a Value, kind: &str) -> (&'a str, &'a str) {
    let found = status["conditions"].as_array().into_iter().flatten().find(|condition| condition["type"] == kind);
    found.map_or(("", ""), |found| {
        (found["status"].as_str().unwrap_or_default(), found["reason"].as_str().unwrap_or_default())
    })
}

/// One request on a connection of its own.
pub async fn http_status(address: SocketAddr, path: &str) -> (u16, String) {
    type Body = http_body_util::Empty<Bytes>;
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Body>(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(path).header("host", "app.test").body(Body::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8_lossy(&body).into_owned())
}

pub async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let start = clock::instant();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "still not: {what}");
        clock::sleep(Duration::from_millis(5)).await;
    }
}
