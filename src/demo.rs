//! `slipway demo`: the main job on real parts, from a push to all of traffic, and a bad image rolled back.
//!
//! Nothing here is known to the controllers: the demo is a CI system, a developer, a crowd of users and a chat,
//! around an ordinary `slipway run`.

// Paths are spelled out because tests and benches include this file from elsewhere.
#[path = "demo/ci.rs"]
pub mod ci;
#[path = "demo/git_server.rs"]
pub mod git_server;
#[path = "demo/manifests.rs"]
pub mod manifests;
#[path = "demo/parts.rs"]
pub mod parts;
#[path = "demo/sink.rs"]
pub mod sink;
#[path = "demo/timeline.rs"]
pub mod timeline;
#[path = "demo/traffic.rs"]
pub mod traffic;
#[path = "demo/world.rs"]
pub mod world;

use std::{io::Write as _, path::Path, time::Duration};

use anyhow::{Context as _, bail, ensure};
use oci::Transport;
use reconcile::{Endpoint, Http, HttpError, clock};

use ci::{Program, Release};
use timeline::Timeline;
use traffic::{Count, Counts, Traffic};
use world::World;

const FIRST: Release = Release { version: "1.0.0", fail_percent: 0 };
const GOOD: Release = Release { version: "1.1.0", fail_percent: 0 };
const BAD: Release = Release { version: "1.2.0", fail_percent: 20 };
const REQUESTS_PER_SECOND: u32 = 100;

/// What the demo measured.
#[derive(Debug, Default)]
pub struct Summary {
    push_to_commit: f64,
    commit_to_start: f64,
    rollout: f64,
    rollback: f64,
    resident_bytes: u64,
    counts: Counts,
    log: Vec<String>,
    alerts: usize,
}

/// Prints a line to standard output. A reader that went away is no error.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Requests of the registry client over the one HTTP client.
pub fn transport(http: &Http) -> Transport {
    Transport::over(http.streaming(Endpoint::default()), HttpError::is_transient, clock::sleep)
}

/// Runs the demo in `folder` with this slipway binary behind that gateway; `keep` leaves it running until interrupted.
pub async fn run(folder: &Path, binary: &Path, gateway: &'static str, keep: bool) -> anyhow::Result<()> {
    let start = clock::now();
    let timeline = Timeline::new(start);
    timeline
        .note(clock::now(), &format!("starting registry, Git server, Prometheus and slipway in {}", folder.display()));
    let mut world = World::start_behind(gateway, folder, binary, Program::binary(binary)?, FIRST, Vec::new()).await?;
    let printer = tokio::spawn(follow(world.store.clone(), timeline));
    let outcome = scenario(&mut world).await;
    // What was told last is still to be printed.
    clock::sleep(Duration::from_millis(200)).await;
    printer.abort();
    let summary = outcome?;
    summary.print(&world);
    if keep {
        say(&format!(
            "\nStill running: http://{}/ (host app.example.com), dashboard at http://{}/",
            world.gateway(),
            world.listen
        ));
        say("Stop with Ctrl-C.");
        tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")?;
    }
    Ok(())
}

/// Prints events as they come, until aborted.
async fn follow(store: reconcile::Store, mut timeline: Timeline) {
    loop {
        if let Ok(events) = store.events(&reconcile::store::EventFilter::default()).await {
            timeline.print(&events);
        }
        clock::sleep(Duration::from_millis(50)).await;
    }
}

/// The story: 1.0.0 serves, 1.1.0 is promoted under traffic, 1.2.0 is rolled back.
async fn scenario(world: &mut World) -> anyhow::Result<Summary> {
    let mut summary = Summary::default();
    world.reaches(&["Initialized"], &["Failed"]).await.context("1.0.0 was not initialized")?;
    world.serves(FIRST.version, 3).await?;
    summary.resident_bytes = parts::resident_bytes(world.slipway.id()).unwrap_or_default();
    let traffic = Traffic::start(world.gateway(), REQUESTS_PER_SECOND);

    world.push(GOOD).await?;
    let pushed = clock::now();
    let commit = world.told("Update flux-system:app to").await.context("no commit for 1.1.0")?;
    world.reaches(&["Progressing"], &["Failed"]).await?;
    let begun = clock::now();
    world.reaches(&["Succeeded"], &["Failed"]).await.context("1.1.0 was not promoted")?;
    summary.push_to_commit = commit.timestamp.duration_since(pushed).as_secs_f64();
    summary.commit_to_start = begun.duration_since(commit.timestamp).as_secs_f64();
    summary.rollout = clock::now().duration_since(begun).as_secs_f64();
    world.serves(GOOD.version, 20).await.context("1.1.0 does not have all of traffic")?;

    world.push(BAD).await?;
    world.reaches(&["Progressing"], &["Failed"]).await.context("1.2.0 did not start")?;
    let begun = clock::now();
    world.reaches(&["Failed"], &["Succeeded", "Promoting"]).await.context("1.2.0 was not rolled back")?;
    summary.rollback = clock::now().duration_since(begun).as_secs_f64();
    world.serves(GOOD.version, 20).await.context("traffic did not return to 1.1.0")?;

    summary.counts = traffic.counts();
    drop(traffic);
    summary.log = world.log().await?;
    while world.alerts.try_recv().is_ok() {
        summary.alerts += 1;
    }
    summary.check()?;
    Ok(summary)
}

impl Summary {
    /// Errs unless everything happened that the demo promises.
    fn check(&self) -> anyhow::Result<()> {
        let count = |version: &str| self.counts.get(version).copied().unwrap_or_default();
        for version in [FIRST.version, GOOD.version, ""] {
            let Count { failed, .. } = count(version);
            ensure!(failed == 0, "{failed} requests of version {version:?} failed; none may");
        }
        ensure!(count(BAD.version).failed > 0, "no request of 1.2.0 failed: it was not tried under traffic");
        ensure!(count(GOOD.version).sent > 0, "1.1.0 answered no request");
        let bumps: Vec<_> = self.log.iter().filter(|line| line.contains("slipway: Update")).collect();
        if bumps.len() != 2 {
            bail!("{} commits by slipway, 2 were expected: {bumps:?}", bumps.len());
        }
        ensure!(self.alerts > 0, "no alert reached the sink");
        Ok(())
    }

    fn print(&self, world: &World) {
        say("\nSummary");
        say(&format!("  push to commit           {:.2} s", self.push_to_commit));
        say(&format!("  commit to canary start   {:.2} s", self.commit_to_start));
        say(&format!("  1.1.0 promoted after     {:.1} s", self.rollout));
        say(&format!("  1.2.0 rolled back after  {:.1} s", self.rollback));
        say(&format!("  alerts delivered         {}", self.alerts));
        say(&format!("  slipway's memory         {:.1} MB before traffic", self.resident_bytes as f64 / 1e6));
        say("  requests                 sent   failed");
        for (version, count) in &self.counts {
            say(&format!(
                "    {:<20} {:>7}  {:>7}",
                if version.is_empty() { "no answer" } else { version },
                count.sent,
                count.failed
            ));
        }
        say("  Git log");
        for line in &self.log {
            say(&format!("    {line}"));
        }
        say(&format!("  everything is in         {}", world.folder.display()));
    }
}
