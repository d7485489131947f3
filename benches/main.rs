//! `make bench`: the numbers that the design sets as goals, measured on real parts and printed with their goals.
//!
//! Not a test: nothing fails here. Machines are noisy, so compare ratios, and quote command, machine and date.

mod canaries;
mod cluster;
mod commits;
#[allow(dead_code, reason = "the demo's world is shared; not every part of it is measured")]
#[path = "../src/demo.rs"]
mod demo;
mod hooks;
mod scan;
#[allow(dead_code, reason = "what tests share; little of it is needed to measure")]
#[path = "../tests/support.rs"]
mod support;
mod update;

use std::{path::Path, time::Duration};

use demo::{
    ci::{Program, Release},
    parts,
    world::World,
};
use reconcile::clock;
use serde_json::json;
use support::SLIPWAY;

const ROUNDS: usize = 30;

/// All of them, or those that the command line names: `cargo bench -- update idle`. A number says how many objects the
/// cluster gets, or are scanned at their intervals: `cargo bench -- cluster 100`.
fn main() -> anyhow::Result<()> {
    let given = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let (numbers, named): (Vec<String>, Vec<String>) = given.partition(|argument| argument.parse::<usize>().is_ok());
    let count = numbers.first().and_then(|number| number.parse().ok());
    let (steady, count) = (count.unwrap_or(10_000), count.unwrap_or(1_000));
    let is_wanted = |name: &str| named.is_empty() || named.iter().any(|wanted| wanted == name);
    demo::say(&format!("{:<58} {:>12} {:>12} {:>14}", "what", "p50", "p95", "goal (p50)"));
    if is_wanted("choose") {
        choose(10_000, "2 ms")?;
        choose(100_000, "25 ms")?;
    }
    if is_wanted("edit") {
        edit(1_000, "60 ms");
        edit(1, "15 ms");
        edit_known("15 ms");
    }
    if is_wanted("steady") {
        scan::steady(steady)?;
    }
    // Each of its clients needs the provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        if is_wanted("scan") {
            scan::request(10, "4 ms").await?;
            scan::request(10_000, "12 ms").await?;
        }
        if is_wanted("cold") {
            scan::cold(1000, "5 s").await?;
        }
        if is_wanted("kept") {
            scan::kept(10_000, 1_000, "300 MB").await?;
        }
        if is_wanted("update") {
            update::push(0, "25 ms").await?;
            update::push(999, "30 ms").await?;
        }
        if is_wanted("commits") {
            commits::files(1_000, "0.4 s").await?;
            commits::policies(1_000, "5 s").await?;
            commits::memory(10_000, "60 MB").await?;
        }
        if is_wanted("hooks") {
            hooks::hooks().await?;
            hooks::wake().await?;
            hooks::pushed().await?;
        }
        if is_wanted("events") {
            hooks::events().await?;
        }
        if is_wanted("canaries") {
            canaries::ticking(1_000).await?;
        }
        if is_wanted("idle") {
            idle().await?;
        }
        if is_wanted("cluster") || is_wanted("cluster-images") {
            cluster::images(count).await?;
        }
        if is_wanted("cluster") || is_wanted("cluster-canaries") {
            cluster::canaries(count).await?;
        }
        Ok(())
    })
}

fn row(what: &str, mut samples: Vec<f64>, unit: &str, goal: &str) {
    samples.sort_by(f64::total_cmp);
    let at = |share: f64| samples.get(((samples.len().max(1) - 1) as f64 * share).round() as usize).copied();
    let text = |share| at(share).map_or_else(|| "no sample".to_owned(), |value| format!("{value:.1} {unit}"));
    demo::say(&format!("{what:<58} {:>12} {:>12} {goal:>14}", text(0.5), text(0.95)));
}

/// Choosing the highest of many tags in a range.
fn choose(count: usize, goal: &str) -> anyhow::Result<()> {
    let spec: api::image::ImagePolicySpec = serde_json::from_value(json!({
        "imageRepositoryRef": {"name": "app"}, "policy": {"semver": {"range": ">=1.0.0"}}
    }))?;
    let tags: Vec<String> = (0..count).map(|n| format!("{}.{}.{}", n % 7, n / 100, n % 100)).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let mut samples = Vec::new();
    for _ in 0..ROUNDS {
        let start = clock::instant();
        policy::Policy::new(&spec)?.latest(&tags)?;
        samples.push(start.elapsed().as_secs_f64() * 1e3);
    }
    row(&format!("choose among {count} tags"), samples, "ms", goal);
    Ok(())
}

/// 1,000 files with a marker each, of which some are due, and what the policies say.
fn marked(due: usize) -> (Vec<updater::setters::Named>, updater::setters::Policies) {
    let image =
        |tag: &str| api::image::ImageRef { name: "example.com/app".into(), tag: tag.into(), ..Default::default() };
    let policies = [("apps:now".to_owned(), image("2")), ("apps:before".to_owned(), image("1"))];
    let file = |n: usize| {
        let policy = if n < due { "now" } else { "before" };
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: app{n}, namespace: apps}}\nspec:\n  replicas: 2\n  \
             template:\n    spec:\n      containers:\n      - name: app\n        image: example.com/app:1 # \
             {{\"$imagepolicy\": \"apps:{policy}\"}}\n        ports: [{{containerPort: 8080}}]\n"
        )
    };
    let files = (0..1_000).map(|n| (format!("app{n}.yaml"), file(n).into_bytes()));
    (files.collect(), updater::setters::Policies::new(policies))
}

/// Editing 1,000 files that nobody has read before.
fn edit(due: usize, goal: &str) {
    let (files, policies) = marked(due);
    let mut samples = Vec::new();
    for _ in 0..ROUNDS {
        let start = clock::instant();
        let edits = updater::setters::edit_all(&files, &policies);
        let changed = edits.iter().filter(|edited| edited.content.is_some()).count();
        samples.push(start.elapsed().as_secs_f64() * 1e3);
        assert_eq!(changed, due, "because as many markers are due");
    }
    row(&format!("edit 1,000 files with 1,000 markers, {due} due"), samples, "ms", goal);
}

/// The same where an earlier run has read the files: who has no value that is behind is not read again.
fn edit_known(goal: &str) {
    let (files, policies) = marked(1);
    let known: Vec<_> = updater::setters::edit_all(&files, &policies).into_iter().map(|edited| edited.places).collect();
    let mut samples = Vec::new();
    for _ in 0..ROUNDS {
        let start = clock::instant();
        let unsettled =
            files.iter().zip(&known).filter(|((name, _), places)| places.settled(name, &policies).is_none());
        let behind: Vec<_> = unsettled.map(|(file, _)| file.clone()).collect();
        let changed = updater::setters::edit_all(&behind, &policies);
        samples.push(start.elapsed().as_secs_f64() * 1e3);
        assert_eq!(changed.len(), 1, "because one marker is due");
    }
    row("  the same files read in an earlier run, 1 due", samples, "ms", goal);
}

async fn world(folder: &Path, more: usize) -> anyhow::Result<World> {
    let files = (0..more).map(|n| {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{n}, namespace: default}}\ndata: {{n: \"{n}\"}}\n"
        );
        (format!("other/team{}/config{n:04}.yaml", n % 10), text)
    });
    let (program, first) = (Program::script(Path::new(SLIPWAY)), Release { version: "1.0.0", fail_percent: 0 });
    let mut world = World::start(folder, Path::new(SLIPWAY), program, first, files.collect()).await?;
    world.reaches(&["Initialized"], &["Failed"]).await?;
    Ok(world)
}

/// Memory and processor time of slipway when nothing happens.
async fn idle() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let world = world(folder.path(), 0).await?;
    clock::sleep(Duration::from_secs(5)).await;
    let (before, start) = (parts::cpu_seconds(world.slipway.id()), clock::instant());
    clock::sleep(Duration::from_secs(20)).await;
    let used = parts::cpu_seconds(world.slipway.id()).zip(before).map_or(f64::NAN, |(after, before)| after - before);
    let share = used / start.elapsed().as_secs_f64() * 100.0;
    demo::say(&format!("{:<58} {share:>10.2} % {:>27}", "idle with the demo's objects: share of a core", "0.5 %"));
    let resident = parts::resident_bytes(world.slipway.id()).unwrap_or_default();
    row("idle with the demo's objects: resident memory", vec![resident as f64 / 1e6], "MB", "30 MB");
    Ok(())
}
