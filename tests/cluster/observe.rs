//! What a cluster's probes and scrapers see of slipway.

use super::{manifests, world::World};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn it_is_ready_once_its_caches_are_filled_and_counts_under_known_names() {
    let mut world = World::new("observed").await;
    world.measurable().await;
    world.apply(manifests::deployment("1.0.0", &json!({}))).await;
    world.apply(manifests::canary("kubernetes", &json!({"iterations": 2}))).await;
    let proxy = world.proxy().await;
    let kubeconfig = proxy.kubeconfig(world.folder.path());
    // Nothing can be listed.
    proxy.fail_every(1);
    let _slipway = world.process(&kubeconfig, "canary", &[]);
    let base = format!("http://{}", world.listen);
    let page = async |path: &str| {
        let answer = crate::support::client().get(format!("{base}{path}")).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    };
    let status = async |path: &str| page(path).await.map(|(status, _)| status);
    world.until("it to live", async || (status("/healthz").await == Some(200)).then_some(())).await;
    world.until("it to ask", async || (proxy.requests() > 5).then_some(())).await;
    assert_eq!(status("/readyz").await, Some(503));

    proxy.fail_every(0);
    world.until("it to be ready", async || (status("/readyz").await == Some(200)).then_some(())).await;
    world.reaches("Initialized", &["Failed"]).await;
    let (_, series) = page("/metrics").await.expect("the metrics");
    for name in [
        "rest_client_requests_total{code=\"200\",method=\"GET\"}",
        "rest_client_requests_total{code=\"500\",method=\"GET\"}",
        "rest_client_request_duration_seconds_bucket{le=\"0.025\",verb=\"PATCH\"}",
        "rest_client_request_duration_seconds_count{verb=\"GET\"}",
        "workqueue_depth{name=\"canary\",controller=\"canary\"}",
        "workqueue_adds_total{name=\"canary\",controller=\"canary\"}",
        "workqueue_retries_total{name=\"canary\",controller=\"canary\"}",
        "workqueue_queue_duration_seconds_count{name=\"canary\",controller=\"canary\"}",
        "workqueue_work_duration_seconds_count{name=\"canary\",controller=\"canary\"}",
        "controller_runtime_active_workers{controller=\"canary\"}",
        "controller_runtime_max_concurrent_reconciles{controller=\"canary\"} 16",
    ] {
        assert!(series.contains(name), "{name} is missing in\n{series}");
    }

    let whole = proxy.whole();
    assert!(whole.iter().any(|path| path.ends_with("/canaries")), "{whole:?}");
    for kind in ["secrets", "configmaps", "services"] {
        assert!(
            !whole.iter().any(|path| path.ends_with(&format!("/{kind}"))),
            "contents of all {kind} travel: {whole:?}"
        );
    }
}
