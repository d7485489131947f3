//! Webhooks and events at full speed.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use futures::future::join_all;
use reconcile::{Context, Directory, Http, Notice, Shutdown, Store, clock};
use ring::hmac;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    ROUNDS, SLIPWAY,
    demo::{
        self,
        ci::{self, Program, Release},
        parts::{self, Part},
    },
    row,
};

const HOOKS: usize = 20_000;
const CONNECTIONS: usize = 50;
const EVENTS: usize = 10_000;
const ALERTS: usize = 100;
const TOKEN: &str = "token";
const PATIENCE: Duration = Duration::from_secs(300);

/// Signed calls, every second one with a wrong signature, from many connections.
pub async fn hooks() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let manifests = [
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": "apps"}, "stringData": {"token": TOKEN}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app", "namespace": "apps"}}),
        json!({"apiVersion": "notification.toolkit.fluxcd.io/v1", "kind": "Receiver", "metadata": {"name": "hook", "namespace": "apps"},
            "spec": {"type": "generic-hmac", "secretRef": {"name": "token"}, "resources": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "app"}]}}),
    ];
    let (slipway, url) = receiving(folder.path(), &manifests, "notification", parts::free_address()?).await?;
    let url = Arc::new(url);
    let body = json!({"action": "push"}).to_string();
    let signature = hex::encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, TOKEN.as_bytes()), body.as_bytes()));
    let start = clock::instant();
    let workers = (0..CONNECTIONS).map(|_| {
        let (url, body, signature) = (url.clone(), body.clone(), signature.clone());
        tokio::spawn(async move { call(&reqwest::Client::new(), &url, &body, &signature).await })
    });
    let mut samples = Vec::new();
    for worker in join_all(workers).await {
        samples.extend(worker??);
    }
    let seconds = start.elapsed().as_secs_f64();
    samples.sort_by(f64::total_cmp);
    let worst = samples[samples.len() * 99 / 100];
    let memory = parts::resident_bytes(slipway.id()).unwrap_or_default() as f64 / 1e6;
    row(&format!("webhook, {CONNECTIONS} connections, half of them wrong"), samples, "ms", "-");
    demo::say(&format!(
        "{:<58} {worst:>9.1} ms p99, {:.0} a second, {memory:.0} MB resident",
        "",
        HOOKS as f64 / seconds
    ));
    Ok(())
}

/// A slipway over these manifests, among them the Receiver `hook` and its token, that listens there for hooks; and their URL.
async fn receiving(
    folder: &Path,
    manifests: &[Value],
    controllers: &str,
    hooks: SocketAddr,
) -> anyhow::Result<(Part, String)> {
    let file = folder.join("manifests.yaml");
    std::fs::write(&file, manifests.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n---\n"))?;
    let state = folder.join("state.db");
    let (file, state, listen) = (file.display().to_string(), state.display().to_string(), hooks.to_string());
    let mut command = vec![SLIPWAY, "run", "--manifests", &file, "--state", &state, "--listen", "127.0.0.1:0"];
    command.extend(["--receiver-listen", &listen, "--controllers", controllers]);
    let mut slipway = Part::start(Path::new(SLIPWAY), folder, "slipway", &command)?;
    parts::listening(&mut slipway, hooks).await?;
    let path = hex::encode(Sha256::new().chain_update(TOKEN).chain_update("hook").chain_update("apps").finalize());
    let url = format!("http://{hooks}/hook/{path}");
    let (client, start) = (reqwest::Client::new(), clock::instant());
    while client.post(&url).body("").send().await?.status() == 404 {
        anyhow::ensure!(start.elapsed() < PATIENCE, "the Receiver does not become ready");
        clock::sleep(Duration::from_millis(10)).await;
    }
    Ok((slipway, url))
}

/// When something was heard.
type Heard = tokio::sync::mpsc::UnboundedReceiver<tokio::time::Instant>;

/// A server on a free port that notes when it is asked, and lists a tag whatever the question.
async fn listening_registry() -> anyhow::Result<(SocketAddr, Heard)> {
    let (heard, asked) = tokio::sync::mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let answer = move || {
        // Nobody listens any more when the bench is over.
        let _ = heard.send(clock::instant());
        std::future::ready(axum::Json(json!({"name": "demo/app", "tags": ["1.0.0"]})))
    };
    tokio::spawn(axum::serve(listener, axum::Router::new().fallback(answer)).into_future());
    Ok((address, asked))
}

/// What a Receiver needs that has a repository scanned.
fn waking(registry: SocketAddr) -> [Value; 3] {
    [
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": "apps"}, "stringData": {"token": TOKEN}}),
        json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImageRepository", "metadata": {"name": "app", "namespace": "apps"},
            "spec": {"image": format!("{registry}/demo/app"), "interval": "1h", "insecure": true}}),
        json!({"apiVersion": "notification.toolkit.fluxcd.io/v1", "kind": "Receiver", "metadata": {"name": "hook", "namespace": "apps"},
            "spec": {"type": "generic", "secretRef": {"name": "token"}, "resources": [{"kind": "ImageRepository", "name": "app"}]}}),
    ]
}

/// Milliseconds from that moment to the first word of the scan.
async fn until_asked(asked: &mut Heard, start: tokio::time::Instant) -> anyhow::Result<f64> {
    let first = tokio::time::timeout(PATIENCE, asked.recv()).await?.context("the registry has ended")?;
    Ok(first.saturating_duration_since(start).as_secs_f64() * 1e3)
}

/// From a hook to the first word of the scan that it asks for, as a registry hears it.
pub async fn wake() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (registry, mut asked) = listening_registry().await?;
    let hooks = parts::free_address()?;
    let (_slipway, url) = receiving(folder.path(), &waking(registry), "notification,image", hooks).await?;
    let (client, mut samples) = (reqwest::Client::new(), Vec::new());
    for _ in 0..ROUNDS {
        rest(&mut asked).await;
        let start = clock::instant();
        anyhow::ensure!(client.post(&url).body("{}").send().await?.status() == 200, "the hook is refused");
        samples.push(until_asked(&mut asked, start).await?);
    }
    row("webhook → the scan's first request at the registry", samples, "ms", "5 ms");
    Ok(())
}

/// From a push to docker-registry, which notifies slipway by itself, to the first word of the scan. The registry that is
/// scanned is another one, so that it can be heard.
pub async fn pushed() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (scanned, mut asked) = listening_registry().await?;
    let [address, hooks] = [parts::free_address()?, parts::free_address()?];
    let (_slipway, url) = receiving(folder.path(), &waking(scanned), "notification,image", hooks).await?;
    let (told, mut notified) = tokio::sync::mpsc::unbounded_channel();
    let relay = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let notify = format!("http://{}/", relay.local_addr()?);
    let client = reqwest::Client::new();
    // What the registry sends passes through here, so that it is known when.
    let pass = move |body: Bytes| {
        let _ = told.send(clock::instant());
        let (client, url) = (client.clone(), url.clone());
        async move { client.post(&url).body(body).send().await.map_err(|_| axum::http::StatusCode::BAD_GATEWAY).map(drop) }
    };
    tokio::spawn(axum::serve(relay, axum::Router::new().fallback(axum::routing::post(pass))).into_future());
    let config = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\nhttp: {{addr: '{address}'}}\n\
         notifications: {{endpoints: [{{name: slipway, url: '{notify}', timeout: 1s, threshold: 5, backoff: 1s}}]}}\n",
        folder.path().join("data").display()
    );
    let file = folder.path().join("registry.yaml");
    std::fs::write(&file, config)?;
    let command = ["docker-registry", "serve", &file.display().to_string()];
    let mut registry = Part::start(Path::new(SLIPWAY), folder.path(), "registry", &command)?;
    parts::listening(&mut registry, address).await?;
    let (program, release) = (Program::script(Path::new(SLIPWAY)), Release { version: "1.0.0", fail_percent: 0 });
    let (mut samples, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        rest(&mut asked).await;
        while notified.try_recv().is_ok() {}
        let push = clock::instant();
        ci::push_image(address, release, &program).await?;
        let first = tokio::time::timeout(PATIENCE, notified.recv()).await?.context("the relay has ended")?;
        samples.push(until_asked(&mut asked, first).await?);
        whole.push(push.elapsed().as_secs_f64() * 1e3);
    }
    row("docker-registry's own notification → the first request", samples, "ms", "50 ms");
    row("  with the push before it", whole, "ms", "");
    Ok(())
}

/// Until what the scan before still asks and writes is over.
async fn rest(asked: &mut Heard) {
    clock::sleep(Duration::from_millis(200)).await;
    while asked.try_recv().is_ok() {}
}

/// Calls one after another; every answer must be the right one.
async fn call(client: &reqwest::Client, url: &str, body: &str, signature: &str) -> anyhow::Result<Vec<f64>> {
    let mut samples = Vec::new();
    for number in 0..HOOKS / CONNECTIONS {
        let (signature, expected) = if number % 2 == 0 { (signature, 200) } else { ("00", 400) };
        let start = clock::instant();
        let request = client.post(url).header("x-signature", format!("sha256={signature}")).body(body.to_owned());
        let status = request.send().await?.status();
        samples.push(start.elapsed().as_secs_f64() * 1e3);
        anyhow::ensure!(status == expected, "answered {status}, not {expected}");
    }
    Ok(samples)
}

/// Events through many Alerts, each of which takes its share, to one service.
pub async fn events() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (sink, mut received) = demo::sink::listen().await?;
    let directory = Directory::open(&folder.path().join("state.db"), Vec::new()).await?;
    let store = Store::Directory(directory);
    let provider = json!({"apiVersion": "notification.toolkit.fluxcd.io/v1beta3", "kind": "Provider", "metadata": {"name": "sink", "namespace": "apps"},
        "spec": {"type": "generic", "address": format!("http://{sink}/alerts")}});
    store.apply("bench", &provider).await?;
    for number in 0..ALERTS {
        let alert = json!({"apiVersion": "notification.toolkit.fluxcd.io/v1beta3", "kind": "Alert", "metadata": {"name": format!("a{number}"), "namespace": "apps"},
            "spec": {"providerRef": {"name": "sink"}, "eventSources": [{"kind": "ConfigMap", "name": format!("c{number}")}], "exclusionList": ["^nothing$"]}});
        store.apply("bench", &alert).await?;
    }
    let context = Context::new(store, Http::new("bench"), "bench");
    let shutdown = Shutdown::new();
    let controller = notification::Notification::new(context.clone(), notification::Settings::default());
    let running = tokio::spawn(controller.run(shutdown.clone()));
    let used = || parts::cpu_seconds(std::process::id()).unwrap_or_default();
    let (start, before) = (clock::instant(), used());
    for number in 0..EVENTS {
        let about = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("c{}", number % ALERTS), "namespace": "apps"}});
        context.events.publish(&about, "bench", &Notice::info("Synced", format!("message {number}"))).await?;
    }
    for _ in 0..EVENTS {
        tokio::time::timeout(PATIENCE, received.recv()).await.context("a message is missing")?;
    }
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), used() - before);
    shutdown.cancel();
    running.await?;
    demo::say(&format!(
        "{:<58} {seconds:>10.1} s {cpu:>8.1} CPU s",
        format!("{EVENTS} events through {ALERTS} Alerts")
    ));
    Ok(())
}
