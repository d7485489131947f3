//! Leader election: one acts at a time, and the next takes over.

use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use reconcile::clock;
use serde_json::json;

use super::{
    image::{IMAGE, Supply},
    manifests,
    proxy::Proxy,
    world::World,
};
use crate::demo::parts::Part;

const LEASE: (&str, &str) = ("coordination.k8s.io/v1", "Lease");
/// How long a lease lasts here: the machine may stand still for some seconds, and nobody is to lose the lead by that.
const LASTS: Duration = Duration::from_secs(12);

fn election(world: &World) -> Vec<String> {
    let flags = format!(
        "--enable-leader-election --leader-election-namespace={} --leader-election-lease-duration={}s \
         --leader-election-renew-deadline=10s --leader-election-retry-period=500ms",
        world.namespace,
        LASTS.as_secs()
    );
    flags.split_whitespace().map(str::to_owned).collect()
}

/// Starts a replica behind a proxy of its own.
async fn replica(world: &mut World, stages: &str, more: &[&str]) -> (Part, Proxy) {
    let proxy = Proxy::start(world.client.clone()).await;
    let kubeconfig = proxy.kubeconfig(world.folder.path());
    let flags = [election(world), more.iter().map(ToString::to_string).collect()].concat();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    (world.process(&kubeconfig, stages, &flags), proxy)
}

/// Who holds the lease, empty if nobody does, and how often it changed hands.
async fn holder(world: &World, lease: &str) -> (String, i64) {
    let found = world.find(LEASE.0, LEASE.1, lease).await.unwrap_or_default();
    let spec = &found["spec"];
    (spec["holderIdentity"].as_str().unwrap_or_default().to_owned(), spec["leaseTransitions"].as_i64().unwrap_or(0))
}

/// When leases were written through a proxy.
fn written(proxy: &Proxy) -> impl Iterator<Item = tokio::time::Instant> {
    // The first write makes it, in the list of them.
    proxy.writes().into_iter().filter(|write| write.what.contains("/leases")).map(|write| write.at)
}

fn signal(part: &Part, signal: &str) {
    let sent = std::process::Command::new("kill").args([signal, &part.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

/// Whether the process has ended; nobody has asked for its exit code yet, so it is a zombie then.
fn ended(part: &Part) -> Option<()> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", part.id())).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('Z')).then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_leader_does_nothing_more_when_it_wakes() {
    let mut world = World::new("frozen").await;
    world.measurable().await;
    world.apply(manifests::deployment("1.0.0", &json!({}))).await;
    // Many steps: the rollout is under way all the time.
    world.apply(manifests::canary("kubernetes", &json!({"iterations": 100}))).await;
    let (first, through_first) = replica(&mut world, "canary", &[]).await;
    world.reaches("Initialized", &["Failed"]).await;
    let (_second, through_second) = replica(&mut world, "canary", &[]).await;
    world.apply(manifests::deployment("1.1.0", &json!({}))).await;
    world.reaches("Progressing", &["Failed"]).await;
    let before = holder(&world, "flagger-leader-election").await;
    assert!(!before.0.is_empty());
    assert!(through_second.writes().iter().all(|write| write.what.contains("/leases/")), "the second one waits");

    signal(&first, "-STOP");
    let renewed = written(&through_first).max().expect("the first one keeps its lease");
    world
        .until("the second one to take over", async || {
            (holder(&world, "flagger-leader-election").await.0 != before.0).then_some(())
        })
        .await;
    let taken = written(&through_second).find(|at| *at > renewed).expect("the second one asks for the lease");
    assert!(taken - renewed >= LASTS, "after {:?}, before the lease ran out", taken - renewed);
    world
        .until("the second one to act", async || {
            through_second.writes().iter().any(|write| !write.what.contains("/leases/")).then_some(())
        })
        .await;
    let woken = clock::instant();
    signal(&first, "-CONT");
    world.until("the first one to end", async || ended(&first)).await;
    let late: Vec<_> = through_first.writes().into_iter().filter(|write| write.at >= woken).collect();
    assert!(late.is_empty(), "it wrote after it lost the lead: {late:?}");
    let after = holder(&world, "flagger-leader-election").await;
    assert_eq!(after.1, before.1 + 1, "the lead changed hands once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_ends_hands_over_at_once() {
    let mut world = World::new("handover").await;
    let supply = Supply::start(&world).await;
    let (first, _through_first) = replica(&mut world, "image", &[]).await;
    supply.push("1.1.0").await;
    supply.committed(&world, "1.1.0").await;
    let (_second, _through_second) = replica(&mut world, "image", &[]).await;
    signal(&first, "-TERM");
    world.until("the first one to end", async || ended(&first)).await;
    for lease in ["image-reflector-controller-leader-election", "image-automation-controller-leader-election"] {
        world.until("somebody to lead", async || (holder(&world, lease).await.1 > 0).then_some(())).await;
    }
    supply.push("1.2.0").await;
    supply.committed(&world, "1.2.0").await;
    assert_eq!(supply.log().await.len(), 3, "one commit for each image");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_may_hardly_ask_keeps_its_lease() {
    let mut world = World::new("throttled").await;
    let (_slipway, proxy) = replica(&mut world, "canary", &["--kube-api-qps=0.01", "--kube-api-burst=3"]).await;
    let renewals = Mutex::new(BTreeSet::new());
    world
        .until("the lease to be kept for longer than it lasts", async || {
            let lease = world.find(LEASE.0, LEASE.1, "flagger-leader-election").await?;
            let mut renewals = renewals.lock().expect("the renewals");
            renewals.insert(lease["spec"]["renewTime"].as_str()?.to_owned());
            (renewals.len() > 24).then_some(())
        })
        .await;
    let (holder, transitions) = holder(&world, "flagger-leader-election").await;
    assert!(!holder.is_empty() && transitions == 0, "{holder} {transitions}");
    assert_eq!(proxy.requests_beside_leases(), 3, "the rest of what it has to ask waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_lead_side_by_side_and_write_to_their_own_objects_only() {
    let mut world = World::new("shards").await;
    let spec = json!({"image": "127.0.0.1:1/app", "interval": "1m", "insecure": true});
    for (name, labels) in [("one", json!({"sharding.fluxcd.io/key": "one"})), ("rest", json!({}))] {
        let metadata = json!({"name": name, "labels": labels});
        world.apply(json!({"apiVersion": IMAGE, "kind": "ImageRepository", "metadata": metadata, "spec": spec})).await;
    }
    let (_one, by_one) = replica(&mut world, "image", &["--watch-label-selector=sharding.fluxcd.io/key=one"]).await;
    let (_rest, by_rest) = replica(&mut world, "image", &["--watch-label-selector=!sharding.fluxcd.io/key"]).await;
    for name in ["one", "rest"] {
        world
            .until(&format!("a scan of {name}"), async || {
                let found = world.find(IMAGE, "ImageRepository", name).await?;
                let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
                conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "False").then_some(())
            })
            .await;
    }
    for (name, proxy) in [("one", by_one), ("rest", by_rest)] {
        let written: Vec<_> = proxy.writes().into_iter().map(|write| write.what).collect();
        let (own, kind) = (format!("/imagerepositories/{name}"), "/imagerepositories/");
        assert!(written.iter().any(|what| what.contains(&own)), "{name}: {written:?}");
        assert!(written.iter().all(|what| what.contains(&own) || !what.contains(kind)), "{name}: {written:?}");
    }
}
