//! The main job on real parts, in the demo's world: to the end, and to the same end when things go wrong on the way.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use crate::{
    dashboard,
    demo::{
        ci::{Clone, Program, Release},
        parts,
        traffic::Traffic,
        world::World,
    },
    simulation::stand_ins,
    support::SLIPWAY,
};
use k8s_openapi::api::apps::v1::Deployment;
use reconcile::clock;
use serde_json::Value;
use tempfile::TempDir;

const FIRST: Release = Release { version: "1.0.0", fail_percent: 0 };
const GOOD: Release = Release { version: "1.1.0", fail_percent: 0 };
const BAD: Release = Release { version: "1.2.0", fail_percent: 20 };

/// A world in which 1.0.0 serves under traffic, and the folder that holds it. Without traffic there are no numbers to
/// judge a canary by, and it would be rolled back.
async fn serving() -> (World, Traffic, TempDir) {
    let folder = tempfile::Builder::new().prefix("slipway-test-").tempdir().expect("a folder");
    let program = Program::script(Path::new(SLIPWAY));
    let world = World::start(folder.path(), Path::new(SLIPWAY), program, FIRST, Vec::new()).await;
    let mut world = world.expect("the world starts");
    world.reaches(&["Initialized"], &["Failed"]).await.expect("1.0.0 is initialized");
    world.serves(FIRST.version, 3).await.expect("1.0.0 serves");
    let traffic = Traffic::start(world.gateway(), 50);
    (world, traffic, folder)
}

/// Commits that slipway made, oldest first.
async fn bumps(world: &World) -> Vec<String> {
    let mut log = world.log().await.expect("the log");
    log.retain(|line| line.contains(" slipway: "));
    log.reverse();
    log
}

/// What must hold after 1.1.0 was promoted: one commit for it, it serves, the canary has no traffic and no process.
async fn promoted(world: &mut World) {
    world.serves(GOOD.version, 20).await.expect("1.1.0 has all of traffic");
    assert_eq!(world.canary_weight().await.expect("a canary"), 0);
    let bumps = bumps(world).await;
    assert_eq!(bumps.len(), 1, "{bumps:?}");
    assert!(bumps[0].contains("demo/app:1.1.0"), "{bumps:?}");
}

/// Processes whose working directory lies below a folder: the pods.
fn pods(folder: &Path) -> BTreeSet<u32> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    ids.filter(|id| {
        let pod = fs::read(format!("/proc/{id}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains("demo-app"));
        pod && fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder))
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_image_is_promoted_and_a_bad_one_rolled_back_under_traffic() {
    let (mut world, traffic, _folder) = serving().await;
    let primary = world.store.get::<Deployment>("default", "app-primary").await.expect("the store");
    let differences = stand_ins::differences(&primary.expect("a primary"));
    assert!(differences.is_empty(), "the simulation's machine must write what this one writes: {differences:?}");
    let chat = world.folder.join("manifests/chat.yaml");
    fs::write(chat, chat_alert(&world)).expect("a written file");
    world.exists("Alert", "chat").await.expect("the alert is read");
    world.push(GOOD).await.expect("1.1.0 is pushed");
    world.reaches(&["Succeeded"], &["Failed"]).await.expect("1.1.0 is promoted");
    promoted(&mut world).await;
    world.push(BAD).await.expect("1.2.0 is pushed");
    world.reaches(&["Progressing"], &["Failed"]).await.expect("1.2.0 is tried");
    world.reaches(&["Failed"], &["Promoting", "Succeeded"]).await.expect("1.2.0 is rolled back");
    world.serves(GOOD.version, 20).await.expect("traffic returns to 1.1.0");

    let counts = traffic.counts();
    for version in [FIRST.version, GOOD.version, ""] {
        assert_eq!(counts.get(version).map_or(0, |count| count.failed), 0, "{version:?}: {counts:?}");
    }
    assert!(counts[BAD.version].failed > 0, "{counts:?}");
    let events: Vec<String> = world.events().await.expect("events").into_iter().map(|event| event.message).collect();
    for weight in [10, 20, 50, 80, 100] {
        assert!(events.contains(&format!("Advance app.default canary weight {weight}")), "{weight}: {events:#?}");
    }
    let told = |alerts: &[Value], words: &str, image: &str| {
        alerts.iter().any(|alert| {
            let attachment = &alert["attachments"][0];
            let mut fields = attachment["fields"].as_array().into_iter().flatten();
            attachment["text"].as_str().is_some_and(|text| text.starts_with(words))
                && fields.any(|field| field["title"] == "image" && field["value"].to_string().contains(image))
        })
    };
    let (mut alerts, start) = (Vec::new(), clock::instant());
    while !told(&alerts, "Promotion completed!", "demo/app:1.1.0") || !told(&alerts, "Canary failed!", "demo/app:1.2.0")
    {
        alerts.extend(std::iter::from_fn(|| world.alerts.try_recv().ok()));
        world.pause(start, "chat is not told of both ends with their images").await.expect("slipway runs");
    }
    assert!(alerts.iter().any(|alert| alert["involvedObject"]["kind"] == "Canary"), "{alerts:#?}");
    assert_eq!(bumps(&world).await.len(), 2);
    dashboard::every_query_answers(world.metrics_server).await;
}

/// A chat in Slack's form that is told of Canaries.
fn chat_alert(world: &World) -> String {
    let api = "notification.toolkit.fluxcd.io/v1beta3";
    let metadata = serde_json::json!({"name": "chat", "namespace": "default"});
    let provider = serde_json::json!({"apiVersion": api, "kind": "Provider", "metadata": metadata,
        "spec": {"type": "slack", "channel": "dev", "address": format!("http://{}/alerts", world.addresses.sink)}});
    let alert = serde_json::json!({"apiVersion": api, "kind": "Alert", "metadata": metadata,
        "spec": {"providerRef": {"name": "chat"}, "eventSources": [{"kind": "Canary", "name": "*"}]}});
    format!("{provider}\n---\n{alert}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_a_rollout_reaches_the_same_end() {
    let (mut world, _traffic, folder) = serving().await;
    world.push(GOOD).await.expect("1.1.0 is pushed");
    world.told("canary weight 20").await.expect("the canary has 20 %");
    let before = pods(folder.path());
    assert!(before.len() >= 2, "primary and canary run: {before:?}");
    let weight = world.canary_weight().await.expect("a weight");
    world.slipway.kill();
    let start = clock::instant();
    while pods(folder.path()).iter().any(|id| before.contains(id)) {
        assert!(start.elapsed() < Duration::from_secs(10), "processes of the killed run are left behind");
        clock::sleep(Duration::from_millis(10)).await;
    }
    world.restart().expect("slipway starts again");
    let mut seen = Vec::new();
    loop {
        let phase = world.phase().await.expect("a phase");
        if phase == "Succeeded" {
            break;
        }
        assert_ne!(phase, "Failed", "{:#?}", world.events().await);
        if phase == "Progressing" {
            seen.push(world.canary_weight().await.expect("a weight"));
        }
        world.pause(start, "the canary is not promoted").await.expect("slipway runs");
    }
    assert!(seen.iter().all(|later| *later >= weight), "weights go on where they were ({weight}): {seen:?}");
    promoted(&mut world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_an_update_makes_one_commit() {
    let (mut world, _traffic, _folder) = serving().await;
    world.push(GOOD).await.expect("1.1.0 is pushed");
    world.told("resolved to 1.1.0").await.expect("the policy has chosen");
    world.slipway.kill();
    world.restart().expect("slipway starts again");
    world.reaches(&["Succeeded"], &["Failed"]).await.expect("1.1.0 is promoted");
    promoted(&mut world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_fails_for_a_while_is_waited_for() {
    let (mut world, _traffic, folder) = serving().await;
    world.push(GOOD).await.expect("1.1.0 is pushed");
    world.told("resolved to 1.1.0").await.expect("the policy has chosen");
    let address = world.addresses.registry;
    world.registry.kill();
    let broken = broken_server(address).await;
    let failed = world.told("scan failed").await.expect("the failure is told");
    assert_eq!(failed.reason, "ReadOperationFailed");
    broken.abort();
    let _ = broken.await;
    world.registry = parts::registry_at(Path::new(SLIPWAY), folder.path(), address).expect("the registry starts again");
    world.reaches(&["Succeeded"], &["Failed"]).await.expect("1.1.0 is promoted all the same");
    promoted(&mut world).await;
}

/// A server that answers 500 to everything.
async fn broken_server(address: std::net::SocketAddr) -> tokio::task::JoinHandle<()> {
    let start = clock::instant();
    let listener = loop {
        match tokio::net::TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) => assert!(start.elapsed() < Duration::from_secs(10), "{address}: {error}"),
        }
        clock::sleep(Duration::from_millis(20)).await;
    };
    let router = axum::Router::new().fallback(async || axum::http::StatusCode::INTERNAL_SERVER_ERROR);
    tokio::spawn(async move {
        let _ = axum::serve(listener, router).await;
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_push_is_built_upon_not_lost() {
    let (mut world, _traffic, folder) = serving().await;
    let clone = folder.path().join("clone");
    tokio::task::spawn_blocking(move || {
        let clone = Clone { folder: &clone };
        clone.write(&[("deploy/note.yaml".into(), "# somebody was here\n".into())])?;
        clone.commit_and_push("Leave a note")
    })
    .await
    .expect("git runs")
    .expect("the note is pushed");
    world.push(GOOD).await.expect("1.1.0 is pushed");
    world.reaches(&["Succeeded"], &["Failed"]).await.expect("1.1.0 is promoted");
    promoted(&mut world).await;
    let log = world.log().await.expect("the log");
    assert!(log.iter().any(|line| line.contains("Leave a note")), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_manifest_disturbs_nothing_else() {
    let (mut world, _traffic, folder) = serving().await;
    fs::write(folder.path().join("manifests/broken.yaml"), "kind: [unclosed\n").expect("a written file");
    let wrong = "apiVersion: image.toolkit.fluxcd.io/v1\nkind: ImageRepository\n\
                 metadata: {name: wrong, namespace: flux-system}\nspec: {image: x, interval: 1y}\n";
    fs::write(folder.path().join("manifests/wrong.yaml"), wrong).expect("a written file");
    world.push(GOOD).await.expect("1.1.0 is pushed");
    world.reaches(&["Succeeded"], &["Failed"]).await.expect("1.1.0 is promoted");
    promoted(&mut world).await;
    let id = api::meta::ObjectReference {
        api_version: "image.toolkit.fluxcd.io/v1".into(),
        kind: "ImageRepository".into(),
        namespace: "flux-system".into(),
        name: "wrong".into(),
    };
    let marked = world.store.find(&id).await.expect("the store").expect("the object").to_string();
    assert!(marked.contains("Stalled") && marked.contains("spec.interval"), "{marked}");
    let log = fs::read_to_string(world.slipway.log()).expect("a log");
    assert!(log.contains("broken.yaml"), "{log}");
}
