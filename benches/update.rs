//! From a tag that a scan sees to the commit at the Git server, beside the `git` program's own push at the same time.

use std::{path::Path, process::Stdio, time::Duration};

use api::meta::{ObjectReference, REQUESTED_AT};
use reconcile::{Event, clock};
use serde_json::json;
use tokio::process::Command;

use super::{
    ROUNDS,
    demo::{ci::Release, world::World},
    row, world,
};

/// From the scan that sees a tag to the commit that the Git server has.
pub async fn push(more: usize, goal: &str) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut world = world(folder.path(), more).await?;
    let (mut samples, mut plain) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let version: &'static str = Box::leak(format!("1.0.{}", round + 1).into_boxed_str());
        settle(&world).await?;
        plain.push(push_by_git(&world.folder.join("clone"), version).await?);
        world.push(Release { version, fail_percent: 0 }).await?;
        ask_for_scan(&world).await?;
        let pushed = world.told(&format!("to {}/demo/app:{version}", world.addresses.registry)).await?;
        if let Some(scanned) = scan_before(&world.events().await?, &pushed) {
            samples.push(pushed.timestamp.duration_since(scanned.timestamp).as_secs_f64() * 1e3);
        }
    }
    row(&format!("scan that sees a tag → pushed commit, {} files", more + 1), samples, "ms", goal);
    row(&format!("  the git program pushing a ready-made commit, {} files", more + 1), plain, "ms", "printed");
    Ok(())
}

/// Waits until nothing is told of for a moment: the round before is rolled out, which takes the machine's cores.
async fn settle(world: &World) -> anyhow::Result<()> {
    let mut known = None;
    let mut rounds = 0;
    while rounds < 40 {
        let count = world.events().await?.len();
        if known.replace(count) == Some(count) {
            break;
        }
        clock::sleep(Duration::from_millis(300)).await;
        rounds += 1;
    }
    Ok(())
}

/// The last scan that was told of before a push.
fn scan_before<'a>(events: &'a [Event], pushed: &Event) -> Option<&'a Event> {
    let scans = events.iter().filter(|event| event.involved_object.reference.kind == "ImageRepository");
    let found = scans.filter(|event| event.timestamp < pushed.timestamp && event.message.contains("found"));
    found.max_by_key(|event| event.timestamp)
}

async fn ask_for_scan(world: &World) -> anyhow::Result<()> {
    let id = ObjectReference {
        api_version: "image.toolkit.fluxcd.io/v1".into(),
        kind: "ImageRepository".into(),
        namespace: "flux-system".into(),
        name: "app".into(),
    };
    let patch = json!({"metadata": {"annotations": {REQUESTED_AT: clock::now().to_string()}}});
    world.store.patch(&id, "bench", &patch).await?;
    Ok(())
}

/// How long the `git` program takes to push a commit that is ready, to a branch that nobody follows; in milliseconds.
async fn push_by_git(clone: &Path, version: &str) -> anyhow::Result<f64> {
    std::fs::write(clone.join("peer.txt"), version)?;
    git(clone, &["add", "peer.txt"]).await?;
    git(clone, &["-c", "user.name=peer", "-c", "user.email=peer@example.com", "commit", "--quiet", "-m", version])
        .await?;
    let start = clock::instant();
    git(clone, &["push", "--quiet", "origin", "HEAD:refs/heads/peer"]).await?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

async fn git(folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null").stdin(Stdio::null());
    let done = command.output().await?;
    anyhow::ensure!(done.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}
