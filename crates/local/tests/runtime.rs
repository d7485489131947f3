//! Deployments, Services, Gateways and HTTPRoutes on this machine, with a real registry and real processes.
//!
//! This binary plays four parts: the tests, the guard of each pod (`pod-process`), the program in the pods (`app`), and a
//! slipway that is killed (`run`).

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test may fail by panic, and prints")]

#[path = "runtime/app.rs"]
mod app;
#[path = "runtime/programs.rs"]
mod programs;
#[path = "support/registry.rs"]
mod registry;
#[path = "runtime/world.rs"]
mod world;

use std::{cell::RefCell, collections::BTreeSet, panic::AssertUnwindSafe, time::Duration};

use futures::{FutureExt as _, future::LocalBoxFuture};
use reconcile::clock;
use serde_json::{Value, json};
use world::{World, condition, deployment, http_status};

/// A test by the claim it makes.
type Test = (&'static str, fn() -> LocalBoxFuture<'static, ()>);

const TESTS: [Test; 10] = [
    ("a_deployment_is_served_through_the_gateway", || Box::pin(a_deployment_is_served_through_the_gateway())),
    ("a_rolling_update_loses_no_request", || Box::pin(a_rolling_update_loses_no_request())),
    ("a_request_under_way_ends_before_its_pod", || Box::pin(a_request_under_way_ends_before_its_pod())),
    ("a_bad_image_is_told_and_the_old_pods_stay", || Box::pin(a_bad_image_is_told_and_the_old_pods_stay())),
    ("a_process_that_ends_is_started_again", || Box::pin(a_process_that_ends_is_started_again())),
    ("pods_end_with_their_deployment", || Box::pin(pods_end_with_their_deployment())),
    ("what_is_not_supported_is_named", || Box::pin(what_is_not_supported_is_named())),
    ("no_process_outlives_slipway", || Box::pin(no_process_outlives_slipway())),
    ("haproxy_fails_no_request_while_weights_change", || {
        Box::pin(programs::no_request_fails_while_weights_change(programs::haproxy(), 10))
    }),
    ("envoy_fails_no_request_while_weights_change", || {
        Box::pin(programs::no_request_fails_while_weights_change(programs::envoy(), 80))
    }),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["pod-process", "--parent", parent, "--", ..] => {
            let error = local::guard::become_command(&arguments[4..], parent.parse().ok());
            panic!("the guard became nothing: {error}");
        }
        ["app", ..] => app::main(),
        ["run", state] => runtime().block_on(world::run(state)),
        _ => test(words.iter().find(|word| !word.starts_with('-')).copied().unwrap_or_default()),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Runs the tests whose name holds the filter.
fn test(filter: &str) {
    let mut failed = 0;
    for (name, test) in TESTS.iter().filter(|(name, _)| name.contains(filter)) {
        let limited = async { tokio::time::timeout(Duration::from_secs(180), test()).await };
        let outcome = runtime().block_on(AssertUnwindSafe(limited).catch_unwind());
        let good = matches!(outcome, Ok(Ok(())));
        failed += i32::from(!good);
        println!("test {name} ... {}", if good { "ok" } else { "FAILED" });
    }
    assert_eq!(failed, 0, "tests failed");
}

async fn a_deployment_is_served_through_the_gateway() {
    let world = World::start().await;
    world.push("1.0.0", "").await;
    world.apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config", "namespace": "test"}, "data": {"colour": "blue"}})).await;
    world.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": "test"}, "stringData": {"password": "p"}})).await;
    let mut object = deployment("app", &world.image("1.0.0"), 2);
    let env = object["spec"]["template"]["spec"]["containers"][0]["env"].as_array_mut().unwrap();
    env.push(json!({"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "config", "key": "colour"}}}));
    env.push(json!({"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}}));
    world.apply(&object).await;
    let address = world.route("app").await;
    let status = world.until("app", |status| status["availableReplicas"] == 2).await;
    assert_eq!(condition(&status, "Available"), ("True", "MinimumReplicasAvailable"));
    assert_eq!(condition(&status, "Progressing"), ("True", "NewReplicaSetAvailable"));
    assert_eq!(
        (&status["observedGeneration"], &status["updatedReplicas"], &status["readyReplicas"]),
        (&json!(1), &json!(2), &json!(2))
    );
    assert!(status.get("unavailableReplicas").is_none_or(Value::is_null));
    // Available is told before the gateway knows, and it hears of one pod after the other.
    let seen = RefCell::new(BTreeSet::new());
    world::eventually("the gateway knows both pods", async || {
        let (code, body) = http_status(address, "/").await;
        if code == 200 {
            seen.borrow_mut().insert(body);
        }
        seen.borrow().len() == 2
    })
    .await;
    let mut pods = BTreeSet::new();
    for _ in 0..4 {
        let (code, body) = http_status(address, "/").await;
        assert_eq!(code, 200, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (&body["colour"], &body["password"], &body["version"]),
            (&json!("blue"), &json!("p"), &json!("1.0.0"))
        );
        pods.insert((body["address"].to_string(), body["pod"].to_string()));
    }
    assert_eq!(pods.len(), 2, "both pods serve, each with an address of its own: {pods:?}");
    let metrics = world.context.metrics.text();
    assert!(metrics.contains("envoy_cluster_upstream_rq{envoy_cluster_name=\"test_app_80\",namespace=\"test\",envoy_response_code=\"200\""), "{metrics}");
    let logs = world.folder.path().join("files/logs/test");
    assert_eq!(std::fs::read_dir(logs).unwrap().count(), 2);
}

async fn a_rolling_update_loses_no_request() {
    let world = World::start().await;
    world.push("1.0.0", "").await;
    world.push("1.1.0", "").await;
    world.apply(&deployment("app", &world.image("1.0.0"), 2)).await;
    let address = world.route("app").await;
    world.until("app", |status| status["availableReplicas"] == 2).await;
    world::eventually("the gateway knows the pods", async || http_status(address, "/").await.0 == 200).await;
    let load = tokio::spawn(async move {
        let mut versions = Vec::new();
        while versions.iter().filter(|version| *version == "1.1.0").count() < 200 {
            let (code, body) = http_status(address, "/").await;
            assert_eq!(code, 200, "{body}");
            let body: Value = serde_json::from_str(&body).unwrap();
            versions.push(body["version"].as_str().unwrap().to_owned());
        }
        versions
    });
    world.apply(&deployment("app", &world.image("1.1.0"), 2)).await;
    let versions = load.await.unwrap();
    assert!(versions.contains(&"1.0.0".to_owned()), "the load began before the update");
    let status = world
        .until("app", |status| {
            status["replicas"] == 2 && status["updatedReplicas"] == 2 && status["availableReplicas"] == 2
        })
        .await;
    assert_eq!(status["observedGeneration"], 2);
    assert_eq!(condition(&status, "Progressing"), ("True", "NewReplicaSetAvailable"));
    world.processes(2).await;
}

async fn a_request_under_way_ends_before_its_pod() {
    let world = World::start().await;
    world.push("1.0.0", "").await;
    world.apply(&deployment("app", &world.image("1.0.0"), 1)).await;
    let address = world.route("app").await;
    world.until("app", |status| status["availableReplicas"] == 1).await;
    world::eventually("the gateway knows the pod", async || http_status(address, "/").await.0 == 200).await;
    let slow = tokio::spawn(async move { http_status(address, "/slow").await });
    let text = "1 slow request";
    world::eventually("the request is under way", async || {
        std::fs::read_to_string(world.log().await.unwrap_or_default()).is_ok_and(|log| log.contains(text))
    })
    .await;
    world.apply(&deployment("app", &world.image("1.0.0"), 0)).await;
    world::eventually("the pod leaves the endpoints", async || http_status(address, "/").await.0 == 503).await;
    assert_eq!(slow.await.unwrap().0, 200, "the request is answered although its pod is told to end");
    world.processes(0).await;
}

async fn a_bad_image_is_told_and_the_old_pods_stay() {
    let world = World::start().await;
    world.push("1.0.0", "").await;
    world.apply(&deployment("app", &world.image("1.0.0"), 1)).await;
    let address = world.route("app").await;
    world.until("app", |status| status["availableReplicas"] == 1).await;
    let mut object = deployment("app", &world.image("9.9.9"), 1);
    object["spec"]["progressDeadlineSeconds"] = json!(1);
    world.apply(&object).await;
    let status = world.until("app", |status| condition(status, "Progressing").1 == "ProgressDeadlineExceeded").await;
    assert_eq!(condition(&status, "Progressing").0, "False");
    assert_eq!(condition(&status, "ReplicaFailure"), ("True", "ErrImagePull"));
    assert!(status.to_string().contains(":9.9.9"), "the image is named: {status}");
    assert_eq!(
        (&status["replicas"], &status["availableReplicas"], &status["unavailableReplicas"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert_eq!(http_status(address, "/").await.0, 200);
    world.apply(&deployment("app", &world.image("1.0.0"), 1)).await;
    let status = world
        .until("app", |status| {
            status["replicas"] == 1 && condition(status, "Progressing").1 == "NewReplicaSetAvailable"
        })
        .await;
    assert_eq!(condition(&status, "ReplicaFailure").0, "", "the problem is gone");
}

async fn a_process_that_ends_is_started_again() {
    let world = World::start().await;
    world.push("1.0.0", "").await;
    world.apply(&deployment("app", &world.image("1.0.0"), 1)).await;
    let address = world.route("app").await;
    world.until("app", |status| status["availableReplicas"] == 1).await;
    let (_, before) = http_status(address, "/").await;
    let _ = http_status(address, "/exit").await;
    world::eventually("it serves again", async || {
        let (code, body) = http_status(address, "/").await;
        code == 200 && body != before
    })
    .await;
    world.until("app", |status| status["availableReplicas"] == 1).await;
}

async fn pods_end_with_their_deployment() {
    let world = World::start().await;
    world.push("1.0.0", "").await;
    world.apply(&deployment("app", &world.image("1.0.0"), 2)).await;
    world.until("app", |status| status["availableReplicas"] == 2).await;
    world.processes(2).await;
    let id = reconcile::object::named::<k8s_openapi::api::apps::v1::Deployment>("test", "app");
    assert!(world.context.store.delete(&id).await.unwrap());
    world.processes(0).await;
}

async fn what_is_not_supported_is_named() {
    let world = World::start().await;
    let mut object = deployment("app", &world.image("1.0.0"), 1);
    object["spec"]["template"]["spec"]["volumes"] = json!([{"name": "v", "hostPath": {"path": "/etc"}}]);
    world.apply(&object).await;
    let status = world.until("app", |status| condition(status, "ReplicaFailure").1 == "Unsupported").await;
    assert!(status.to_string().contains("spec.template.spec.volumes[0].hostPath"), "{status}");
    assert_eq!(condition(&status, "Available").0, "False");
    world.processes(0).await;
}

async fn no_process_outlives_slipway() {
    let world = World::start().await;
    world.push("1.0.0", "").await;
    let mut object = deployment("app", &world.image("1.0.0"), 2);
    object["spec"]["template"]["spec"]["containers"][0]["env"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "CHILD", "value": "yes"}));
    let mut killed = world.run_killable(&object).await;
    world.processes(4).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    world.processes(2).await;
    assert!(world.marked("").iter().all(|line| line.contains("child")), "only children of pods are left");
    let second = world.run_killable(&object).await;
    world.processes(4).await;
    let start = clock::instant();
    rustix::process::kill_process(rustix::process::Pid::from_child(&second), rustix::process::Signal::TERM).unwrap();
    world.processes(0).await;
    assert!(start.elapsed() < Duration::from_secs(9));
    drop(second);
}
