//! Many rollouts at the same time, judged by a real Prometheus.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;
use api::flagger::{Canary, Phase};
use reconcile::{Directory, Store, clock};
use serde_json::json;

use crate::{
    SLIPWAY,
    demo::{
        self,
        parts::{self, Part},
        sink,
    },
};

/// Time between two ticks of a Canary.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long is measured.
const MEASURED: Duration = Duration::from_secs(60);
/// Longest wait for all to begin.
const PATIENCE: Duration = Duration::from_secs(300);

/// Services that are their own targets, and their Canaries. Each tick asks Prometheus, calls a hook, and moves a weight.
fn manifests(count: usize, revision: u16, hook: &str) -> String {
    let object = |number: usize| {
        let name = format!("app{number}");
        let metadata = json!({"name": name, "namespace": "apps"});
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8000 + revision}]}});
        let canary = json!({"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": metadata,
            "spec": {"provider": "gatewayapi:v1", "targetRef": {"apiVersion": "v1", "kind": "Service", "name": name},
                "service": {"name": format!("{name}-apex"), "port": 80, "gatewayRefs": [{"name": "gateway"}]},
                "analysis": {"interval": "10s", "threshold": 5, "stepWeight": 1, "maxWeight": 99,
                    "metrics": [{"name": "good", "query": format!("vector({number})"), "thresholdRange": {"min": 0}}],
                    "webhooks": [{"name": "seen", "type": "rollout", "url": hook}]}}});
        format!("{service}\n---\n{canary}\n")
    };
    (0..count).map(object).collect::<Vec<_>>().join("---\n")
}

/// Lag between due and actual ticks, processor time and memory while all Canaries are in the middle of their rollouts.
pub async fn ticking(count: usize) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let slipway = Path::new(SLIPWAY);
    let listen = parts::free_address()?;
    // It is asked, and scrapes nobody: the demo's two scrapes a second of so many series are no part of a tick.
    let (mut prometheus, server) = parts::prometheus(slipway, folder.path(), parts::free_address()?)?;
    parts::listening(&mut prometheus, server).await?;
    let (address, mut seen) = sink::listen().await?;
    let (file, state) = (folder.path().join("manifests.yaml"), folder.path().join("state.db"));
    let hook = format!("http://{address}/alerts");
    std::fs::write(&file, manifests(count, 1, &hook))?;
    let [files, database] = [&file, &state].map(|path| path.display().to_string());
    let (listen, server) = (listen.to_string(), format!("http://{server}"));
    let mut command = vec![SLIPWAY, "run", "--manifests", &files, "--state", &database, "--listen", &listen];
    command.extend(["--controllers", "canary", "--metrics-server", &server, "--log-level", "error"]);
    let mut part = Part::start(slipway, folder.path(), "slipway", &command)?;
    initialized(&mut part, &state, count).await?;
    std::fs::write(&file, manifests(count, 2, &hook))?;

    let name = |body: &serde_json::Value| body["name"].as_str().unwrap_or_default().to_owned();
    let (mut begun, start) = (HashSet::new(), clock::instant());
    while begun.len() < count {
        let left = PATIENCE.saturating_sub(start.elapsed());
        let body = tokio::time::timeout(left, seen.recv()).await.context("not all rollouts begin")?;
        begun.insert(name(&body.context("the hooks have ended")?));
    }
    let (mut last, mut lags) = (HashMap::new(), Vec::new());
    let (start, before) = (clock::instant(), parts::cpu_seconds(part.id()).unwrap_or_default());
    while let Ok(Some(body)) = tokio::time::timeout(MEASURED.saturating_sub(start.elapsed()), seen.recv()).await {
        let now = clock::instant();
        if let Some(before) = last.insert(name(&body), now) {
            lags.push((now - before).saturating_sub(INTERVAL).as_secs_f64() * 1e3);
        }
    }
    let (seconds, used) = (start.elapsed().as_secs_f64(), parts::cpu_seconds(part.id()).unwrap_or_default() - before);
    lags.sort_by(f64::total_cmp);
    let at = |share: f64| lags.get(((lags.len().max(1) - 1) as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    demo::say(&format!(
        "{:<58} {:>9.1} ms {:>9.1} ms {:>14}",
        format!("{count} Canaries every 10 s: lag of a tick, p50 and p99"),
        at(0.5),
        at(0.99),
        "p99 100 ms"
    ));
    let resident = parts::resident_bytes(part.id()).unwrap_or_default() as f64 / 1e6;
    let (ticks, due) = (lags.len(), count * (MEASURED.as_secs() / INTERVAL.as_secs() - 1) as usize);
    demo::say(&format!(
        "{:<58} {:.1} CPU s a minute (6), {resident:.0} MB (80), {ticks} of {due} ticks",
        "",
        used / seconds * 60.0
    ));
    Ok(())
}

/// Waits until all Canaries have their primary.
async fn initialized(part: &mut Part, state: &Path, count: usize) -> anyhow::Result<()> {
    let start = clock::instant();
    let mut store = None;
    loop {
        part.check()?;
        anyhow::ensure!(start.elapsed() < PATIENCE, "not all Canaries are initialized");
        clock::sleep(Duration::from_millis(200)).await;
        if store.is_none() {
            store = Directory::attach(state).ok().map(Store::Directory);
        }
        let Some(store) = &store else { continue };
        let canaries: Vec<Canary> = store.list(Some("apps")).await?;
        let are_ready = canaries.iter().all(|canary| canary.status().phase == Phase::Initialized);
        if canaries.len() == count && are_ready {
            return Ok(());
        }
    }
}
