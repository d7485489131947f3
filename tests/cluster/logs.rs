//! `slipway logs` on a cluster: what the API server passes on from the kubelet.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use serde_json::json;

use super::{manifests, world::World};
use crate::support::{Run, SLIPWAY, slipway};

/// A Deployment whose pods have written this.
async fn writes(world: &World, name: &str, labels: &serde_json::Value, log: &str) {
    let mut deployment = manifests::deployment("1.0.0", &json!({"kubetest/log": log}));
    deployment["metadata"]["name"] = name.into();
    deployment["spec"]["selector"]["matchLabels"] = labels.clone();
    deployment["spec"]["template"]["metadata"]["labels"] = labels.clone();
    world.apply(deployment).await;
    world
        .until(&format!("{name} to run"), async || {
            let found = world.find("apps/v1", "Deployment", name).await?;
            (found["status"]["readyReplicas"] == 1).then_some(())
        })
        .await;
}

fn words<'a>(world: &'a World, kubeconfig: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["logs", "-n", &world.namespace, "--kubeconfig", kubeconfig], more].concat()
}

async fn logs(world: &World, more: &[&str]) -> Run {
    let kubeconfig = world.kubeconfig.display().to_string();
    let words: Vec<String> = words(world, &kubeconfig, more).into_iter().map(str::to_owned).collect();
    let run = move || slipway(&words.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.expect("slipway runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_of_pods_and_of_slipway_itself_are_shown() {
    let world = World::new("logs").await;
    writes(&world, "app", &json!({"app": "app"}), "one\ntwo").await;
    writes(&world, "other", &json!({"app": "other"}), "not this").await;

    let lines = |run: &Run| run.stdout.lines().map(|line| line.split_once("  ").expect("a pod").1.to_owned()).collect();
    let run = logs(&world, &["--for", "deployment/app"]).await;
    let shown: Vec<String> = lines(&run);
    assert_eq!(shown, ["one", "two"], "{}", run.stderr);
    let run = logs(&world, &["--for", "deployment/app", "--tail", "1", "-o", "json"]).await;
    assert_eq!(run.json()["line"], "two");
    let pod = run.json()["pod"].as_str().expect("a pod").to_owned();
    let run = logs(&world, &["--for", &format!("pod/{pod}")]).await;
    assert_eq!(lines(&run) as Vec<String>, shown);
    assert_eq!(logs(&world, &["--for", "deployment/none"]).await.code, 1);

    // A pod that never starts hides nothing.
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"kubetest/fail": "ImagePullBackOff"}}}}});
    world.store.patch(&world.id("apps/v1", "Deployment", "app"), "kubectl", &patch).await.expect("patched");
    world
        .until("the pod that does not start", async || {
            let run = logs(&world, &["--for", "deployment/app"]).await;
            assert_eq!(lines(&run) as Vec<String>, shown, "{}", run.stderr);
            run.stderr.contains("is waiting to start: ImagePullBackOff").then_some(())
        })
        .await;

    let entry = |name: &str, message: &str| {
        json!({"level": "info", "ts": "2026-05-04T09:16:42Z", "msg": message, "controllerKind": "Canary",
            "name": name, "namespace": world.namespace})
        .to_string()
    };
    let log = [entry("app", "weight raised"), entry("other", "all quiet")].join("\n");
    writes(&world, "slipway", &json!({"app.kubernetes.io/name": "slipway"}), &log).await;
    let run = logs(&world, &["--for", "canary/app", "--slipway-namespace", &world.namespace]).await;
    assert!(run.stdout.contains("weight raised") && !run.stdout.contains("all quiet"), "{}{}", run.stdout, run.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_followed() {
    let world = World::new("logs-followed").await;
    writes(&world, "app", &json!({"app": "app"}), "one").await;
    let kubeconfig = world.kubeconfig.display().to_string();
    let arguments = words(&world, &kubeconfig, &["--for", "deployment/app", "--follow"]);
    let mut follower = Command::new(SLIPWAY).args(arguments).stdout(Stdio::piped()).spawn().expect("slipway starts");
    let mut line = String::new();
    BufReader::new(follower.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    assert!(line.trim_end().ends_with("  one"), "{line:?}");
    assert!(follower.try_wait().expect("a child").is_none(), "it goes on");
    follower.kill().expect("it ends");
    follower.wait().expect("it ends");
}
