//! From a tag that a scan sees to the commit at the Git server, beside the `git` program's own push at the same time.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::Context as _;
use api::meta::{ObjectReference, REQUESTED_AT};
use reconcile::{Event, clock};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
};

use super::{
    ROUNDS,
    demo::{ci::Release, world::World},
    row, world,
};

/// From the scan that sees a tag to the commit that the Git server has.
pub async fn push(more: usize, goal: &str) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut world = world(folder.path(), more).await?;
    let (mut samples, mut plain, mut served) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let version: &'static str = Box::leak(format!("1.0.{}", round + 1).into_boxed_str());
        settle(&world).await?;
        plain.push(push_by_git(&world.folder.join("clone"), version).await?);
        served.push(receive_by_git(&world.folder.join("clone"), &world.folder.join("git/app.git"), version).await?);
        world.push(Release { version, fail_percent: 0 }).await?;
        ask_for_scan(&world).await?;
        let text = format!("to {}/demo/app:{version}", world.addresses.registry);
        world.told(&text).await?;
        samples.extend(scan_to_push(&world.events().await?, &text));
    }
    row(&format!("scan that sees a tag → pushed commit, {} files", more + 1), samples, "ms", goal);
    row(&format!("  the git program pushing a ready-made commit, {} files", more + 1), plain, "ms", "printed");
    row("  of either, the server's git taking such a push", served, "ms", "printed");
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

/// From the last scan that was told of before a push with this text to the push; in milliseconds. Who fetches the commit
/// later repeats its text.
fn scan_to_push(events: &[Event], text: &str) -> Option<f64> {
    let of = |kind: &'static str| events.iter().filter(move |event| event.involved_object.reference.kind == kind);
    let pushed = of("ImageUpdateAutomation").find(|event| event.message.contains(text))?;
    let scans = of("ImageRepository").filter(|event| event.message.contains("found"));
    let scanned = scans.filter(|event| event.timestamp < pushed.timestamp).max_by_key(|event| event.timestamp)?;
    Some(pushed.timestamp.duration_since(scanned.timestamp).as_secs_f64() * 1e3)
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
    commit_by_git(clone, version).await?;
    let start = clock::instant();
    git(clone, &["push", "--quiet", "origin", "HEAD:refs/heads/peer"], b"").await?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// How long the server's `git` takes from being started to its report on a push that it is handed; in milliseconds.
async fn receive_by_git(clone: &Path, bare: &Path, version: &str) -> anyhow::Result<f64> {
    commit_by_git(clone, &format!("{version} alone")).await?;
    let new = git(clone, &["rev-parse", "HEAD"], b"").await?;
    let new = String::from_utf8_lossy(&new).trim().to_owned();
    let wanted = format!("{new}\n^HEAD~1\n");
    let pack = git(clone, &["pack-objects", "--revs", "--thin", "--stdout", "-q"], wanted.as_bytes()).await?;
    let line = format!("{} {new} refs/heads/alone-{version}\0report-status", "0".repeat(40));
    let mut push = format!("{:04x}{line}0000", line.len() + 4).into_bytes();
    push.extend(pack);
    let start = clock::instant();
    let mut server = Command::new("git");
    server.args(["receive-pack", "--stateless-rpc"]).arg(bare).env("GIT_CONFIG_GLOBAL", "/dev/null");
    let mut server = server.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (mut input, output) = (server.stdin.take().context("stdin")?, server.stdout.take().context("stdout")?);
    input.write_all(&push).await?;
    drop(input);
    let mut report = BufReader::new(output).lines();
    let first = report.next_line().await?.unwrap_or_default();
    let taken = start.elapsed().as_secs_f64() * 1e3;
    anyhow::ensure!(first.contains("unpack ok"), "git receive-pack: {first}");
    while report.next_line().await?.is_some() {}
    server.wait().await?;
    Ok(taken)
}

async fn commit_by_git(clone: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(clone.join("peer.txt"), text)?;
    git(clone, &["add", "peer.txt"], b"").await?;
    let by = ["-c", "user.name=peer", "-c", "user.email=peer@example.com"];
    git(clone, &[&by[..], &["commit", "--quiet", "-m", text]].concat(), b"").await?;
    Ok(())
}

async fn git(folder: &Path, arguments: &[&str], input: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null");
    let mut running = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    running.stdin.take().context("stdin")?.write_all(input).await?;
    let done = running.wait_with_output().await?;
    anyhow::ensure!(done.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(done.stdout)
}
