//! Slipway on a cluster: a thousand images from cold to Ready, a thousand Canaries that wait and that roll out. What it
//! costs in processor time, memory and requests to a real API server.

#![allow(clippy::panic, reason = "the tests' control plane fails by panicking")]

#[path = "../tests/cluster/manifests.rs"]
mod manifests;
#[allow(dead_code, reason = "the tests' control plane; not every part of it is measured")]
#[path = "../tests/cluster/server.rs"]
mod server;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use api::{
    conditions::{self, READY},
    flagger::{Canary, Phase},
    image::ImagePolicy,
};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams, PostParams},
    core::GroupVersionKind,
};
use reconcile::clock;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::server::ControlPlane;
use super::{
    SLIPWAY,
    demo::{
        self,
        parts::{self, Part},
    },
    scan,
};

/// How long is measured.
const MEASURED: Duration = Duration::from_secs(60);
/// Longest wait for all to be as they should.
const PATIENCE: Duration = Duration::from_secs(1200);
/// Objects made at the same time.
const AT_ONCE: usize = 16;
const NAMESPACE: &str = "apps";

/// A control plane with our definitions, and slipway over it.
struct World {
    client: Client,
    folder: tempfile::TempDir,
    kubeconfig: PathBuf,
    _plane: ControlPlane,
}

/// What slipway has used so far.
#[derive(Clone, Debug, Default)]
struct Used {
    cpu_seconds: f64,
    /// Requests to the API server, by method.
    requests: Vec<(String, f64)>,
}

impl Used {
    fn since(&self, before: &Self) -> Self {
        let was = |method: &str| before.requests.iter().find(|(known, _)| known == method).map_or(0.0, |(_, n)| *n);
        let requests = self.requests.iter().map(|(method, number)| (method.clone(), number - was(method)));
        Self { cpu_seconds: self.cpu_seconds - before.cpu_seconds, requests: requests.collect() }
    }

    fn total(&self) -> f64 {
        self.requests.iter().map(|(_, number)| number).sum()
    }

    /// Requests by method, for people.
    fn methods(&self) -> String {
        let one = |(method, number): &(String, f64)| format!("{number:.0} {method}");
        self.requests.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

/// Slipway as a process, and where its metrics are.
struct Running {
    part: Part,
    metrics: String,
}

impl Running {
    async fn used(&self) -> anyhow::Result<Used> {
        let page = reqwest::get(&self.metrics).await?.text().await?;
        let mut requests: Vec<(String, f64)> = Vec::new();
        for line in page.lines().filter(|line| line.starts_with("rest_client_requests_total{")) {
            let method = line.split("method=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
            let number: f64 = line.rsplit(' ').next().unwrap_or_default().parse()?;
            match requests.iter_mut().find(|(known, _)| known == method) {
                Some((_, sum)) => *sum += number,
                None => requests.push((method.to_owned(), number)),
            }
        }
        Ok(Used { cpu_seconds: parts::cpu_seconds(self.part.id()).unwrap_or_default(), requests })
    }

    /// Most memory that it ever had, in megabytes.
    fn peak(&self) -> f64 {
        parts::peak_bytes(self.part.id()).unwrap_or_default() as f64 / 1e6
    }
}

impl World {
    async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let plane = ControlPlane::start(folder.path(), None).await;
        let kubeconfig = plane.kubeconfig();
        let client = server::client(&kubeconfig).await;
        server::install(&client).await;
        let world = Self { client, folder, kubeconfig, _plane: plane };
        world.create(vec![json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})]).await?;
        Ok(world)
    }

    /// Starts slipway without a limit of its own on requests: the flags' default of 50 a second would be measured.
    async fn slipway(&self, stages: &str, more: &[&str]) -> anyhow::Result<Running> {
        let listen = parts::free_address()?;
        let (at, storage) = (listen.to_string(), self.folder.path().join("storage").display().to_string());
        let kubeconfig = self.kubeconfig.display().to_string();
        let mut command = vec![SLIPWAY, "run", "--kubeconfig", &kubeconfig, "--controllers", stages, "--listen", &at];
        command.extend(["--storage-path", &storage, "--kube-api-qps=-1"]);
        let level = std::env::var("BENCH_LOG_LEVEL").unwrap_or_else(|_| "error".into());
        command.extend(["--log-level", &level]);
        command.extend(more);
        let mut part = Part::start(Path::new(SLIPWAY), self.folder.path(), "slipway", &command)?;
        parts::listening(&mut part, listen).await?;
        Ok(Running { part, metrics: format!("http://{listen}/metrics") })
    }

    /// Makes objects, several at once.
    async fn create(&self, objects: Vec<Value>) -> anyhow::Result<()> {
        let create = |object: Value| async move {
            let api = self.api(object["apiVersion"].as_str().unwrap_or(""), object["kind"].as_str().unwrap_or(""))?;
            let object: DynamicObject = serde_json::from_value(object)?;
            api.create(&PostParams::default(), &object).await?;
            anyhow::Ok(())
        };
        futures::stream::iter(objects.into_iter().map(create)).buffer_unordered(AT_ONCE).try_collect().await
    }

    fn api(&self, api_version: &str, kind: &str) -> anyhow::Result<Api<DynamicObject>> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Ok(match kind {
            "Namespace" => Api::all_with(self.client.clone(), &resource),
            _ => Api::namespaced_with(self.client.clone(), NAMESPACE, &resource),
        })
    }

    /// Waits until as many objects as wanted pass.
    async fn until<K>(&self, part: &mut Part, count: usize, passes: impl Fn(&K) -> bool) -> anyhow::Result<()>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let (api, start): (Api<K>, _) = (Api::namespaced(self.client.clone(), NAMESPACE), clock::instant());
        loop {
            part.check()?;
            let found = api.list(&ListParams::default()).await?;
            let number = found.items.iter().filter(|one| passes(one)).count();
            if number >= count {
                return Ok(());
            }
            anyhow::ensure!(start.elapsed() < PATIENCE, "{number} of {count} are as they should be");
            clock::sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Repositories of ten tags and policies, made before slipway starts, to all Ready.
pub async fn images(count: usize) -> anyhow::Result<()> {
    let world = World::start().await?;
    let lists: Vec<_> = (0..count).map(|number| (format!("team/app{number}"), 10)).collect();
    let (_part, registry) = scan::registry(world.folder.path(), &lists).await?;
    let object = |kind: &str, number: usize, spec: Value| {
        let metadata = json!({"name": format!("app{number}"), "namespace": NAMESPACE});
        json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": kind, "metadata": metadata, "spec": spec})
    };
    let both = |number: usize| {
        let image = format!("{registry}/team/app{number}");
        let policy =
            json!({"imageRepositoryRef": {"name": format!("app{number}")}, "policy": {"semver": {"range": "1.x"}}});
        [
            object("ImageRepository", number, json!({"image": image, "interval": "10m"})),
            object("ImagePolicy", number, policy),
        ]
    };
    world.create((0..count).flat_map(both).collect()).await?;
    let start = clock::instant();
    let mut running = world.slipway("image", &[]).await?;
    world
        .until(&mut running.part, count, |policy: &ImagePolicy| {
            let ready = policy.status.as_ref().and_then(|status| conditions::find(&status.conditions, READY));
            ready.is_some_and(|ready| ready.status == "True")
        })
        .await?;
    let took = start.elapsed().as_secs_f64();
    let used = running.used().await?;
    say(&format!("{count} images on a cluster, cold to Ready"), &format!("{took:.1} s (20)"));
    cost(&running, &used, "4 CPU s, 50 MB, 5 requests an image");
    each(&used, count as f64, "image");
    keep_log(&running)
}

/// Canaries of Deployments from nothing to Initialized, then a minute in which nothing changes, then a minute of rollouts.
pub async fn canaries(count: usize) -> anyhow::Result<()> {
    let world = World::start().await?;
    let slipway = Path::new(SLIPWAY);
    let (mut prometheus, server) = parts::prometheus(slipway, world.folder.path(), parts::free_address()?)?;
    parts::listening(&mut prometheus, server).await?;
    let server = format!("http://{server}");
    world.create(vec![manifests::template(&server, "none")]).await?;
    world.create((0..count).flat_map(|number| rollout(number, &server)).collect()).await?;

    let start = clock::instant();
    let mut running = world.slipway("canary", &["--metrics-server", &server]).await?;
    let in_phase =
        |phase: Phase| move |canary: &Canary| canary.status.as_ref().is_some_and(|status| status.phase == phase);
    world.until(&mut running.part, count, in_phase(Phase::Initialized)).await?;
    let used = running.used().await?;
    let what = format!("{count} Canaries on a cluster, nothing to Initialized");
    say(&what, &format!("{:.0} s", start.elapsed().as_secs_f64()));
    cost(&running, &used, "-, 80 MB");
    each(&used, count as f64, "Canary");

    let (minute, ticks) = measured(&running).await?;
    say("  a minute in which nothing changes", &format!("{ticks:.0} ticks"));
    cost(&running, &minute, "6 CPU s, 80 MB, 2 requests a tick");
    each(&minute, ticks, "tick");

    let image =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "example.com/app:2"}]}}}});
    let deployments = world.api("apps/v1", "Deployment")?;
    let change = |number: usize| {
        let (deployments, patch) = (deployments.clone(), kube::api::Patch::Strategic(image.clone()));
        async move { deployments.patch(&format!("app{number}"), &Default::default(), &patch).await }
    };
    let changes: Vec<_> = futures::stream::iter((0..count).map(change)).buffer_unordered(AT_ONCE).try_collect().await?;
    anyhow::ensure!(changes.len() == count, "not every Deployment was changed");
    let is_moving = |canary: &Canary| canary.status.as_ref().is_some_and(|status| status.canary_weight > 0);
    world.until(&mut running.part, count, is_moving).await?;
    let (minute, ticks) = measured(&running).await?;
    say("  a minute of rollouts: each tick asks, moves a weight, says so", &format!("{ticks:.0} ticks"));
    cost(&running, &minute, "6 CPU s, 80 MB");
    each(&minute, ticks, "tick");
    keep_log(&running)
}

/// A Deployment and its Canary, which ticks every ten seconds.
fn rollout(number: usize, server: &str) -> [Value; 2] {
    let name = format!("app{number}");
    let mut deployment = manifests::deployment("1", &json!({}));
    let mut canary = manifests::canary("gatewayapi:v1", &json!({"interval": "10s", "stepWeight": 1, "maxWeight": 99}));
    let query = format!("vector({number}) >= bool 0");
    canary["spec"]["analysis"]["metrics"] = json!([{"name": "good", "query": query, "thresholdRange": {"min": 1}}]);
    canary["spec"]["metricsServer"] = server.into();
    canary["spec"]["targetRef"]["name"] = name.clone().into();
    deployment["spec"]["selector"]["matchLabels"]["app"] = name.clone().into();
    deployment["spec"]["template"]["metadata"]["labels"]["app"] = name.clone().into();
    for object in [&mut deployment, &mut canary] {
        object["metadata"]["name"] = name.clone().into();
        object["metadata"]["namespace"] = NAMESPACE.into();
    }
    [deployment, canary]
}

/// What a while costs, and how many ticks there were.
async fn measured(running: &Running) -> anyhow::Result<(Used, f64)> {
    let ticks = async || {
        let page = reqwest::get(&running.metrics).await?.text().await?;
        let counts = page.lines().filter(|line| line.starts_with("flagger_canary_duration_seconds_count"));
        counts.map(|line| line.rsplit(' ').next().unwrap_or_default().parse::<f64>().context("a count")).sum()
    };
    let (before, first): (_, anyhow::Result<f64>) = (running.used().await?, ticks().await);
    clock::sleep(MEASURED).await;
    Ok((running.used().await?.since(&before), ticks().await? - first?))
}

fn say(what: &str, value: &str) {
    demo::say(&format!("{what:<58} {value:>12}"));
}

fn cost(running: &Running, used: &Used, goal: &str) {
    let text = format!("{:.1} CPU s, {:.0} MB at most", used.cpu_seconds, running.peak());
    demo::say(&format!("{:<58} {text:>12} ({goal})", ""));
}

fn each(used: &Used, count: f64, what: &str) {
    let each = used.total() / count;
    demo::say(&format!("{:<58} {each:.2} requests each {what} ({})", "", used.methods()));
}

/// With `BENCH_LOG`, slipway's log is copied there: at `BENCH_LOG_LEVEL=trace` it names every request.
fn keep_log(running: &Running) -> anyhow::Result<()> {
    if let Some(file) = std::env::var_os("BENCH_LOG") {
        std::fs::copy(running.part.log(), file)?;
    }
    Ok(())
}
