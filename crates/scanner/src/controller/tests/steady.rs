//! Many repositories under virtual time: how evenly a registry is asked. `cargo bench -- steady` does it with 10,000.

use std::collections::BTreeMap;

use bytes::Bytes;
use reconcile::simulation::{self, Verdict};

use super::*;

const REPOSITORIES: usize = 60;
const INTERVAL: Duration = Duration::from_secs(60);
/// Scans are counted in spans of so many seconds.
const SPAN: u64 = 6;

#[tokio::test(start_paused = true)]
async fn repositories_that_begin_together_are_not_scanned_together_ever_after() {
    let _plan = simulation::plan("2026-01-02T03:04:05Z".parse().expect("a time"), |_| Verdict::Pass);
    let listings = Arc::new(Mutex::new(Vec::new()));
    let seen = listings.clone();
    let http = Http::to_handler(move |request: http::Request<Bytes>| {
        if request.uri().path().ends_with("/tags/list") {
            seen.lock().expect("whole").push(clock::instant());
        }
        std::future::ready(Ok(http::Response::new(Bytes::from_static(br#"{"tags": ["1.0.0"]}"#))))
    });
    let folder = tempfile::tempdir().expect("a folder");
    let directory = Directory::open(&folder.path().join("state.db"), Vec::new()).await.expect("a store");
    let store = Store::Directory(directory);
    let shutdown = Shutdown::new();
    let context = Context::new(store.clone(), http, "test");
    let loops = tokio::spawn(controllers(context, Options::default(), shutdown.clone()));
    let begin = clock::instant();
    for number in 0..REPOSITORIES {
        let object = json!({"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImageRepository",
            "metadata": {"namespace": "apps", "name": format!("app{number}")},
            "spec": {"image": format!("registry.example.com/team/app{number}"), "interval": "1m"}});
        store.apply("test", &object).await.expect("applied");
    }
    // The first round, which is due at once, and six more.
    clock::sleep(INTERVAL * 7).await;
    shutdown.cancel();
    loops.await.expect("the loops end");

    let listings: Vec<Duration> = listings.lock().expect("whole").iter().map(|at| at.duration_since(begin)).collect();
    let cold = listings.iter().filter(|since| **since < INTERVAL / 4).count();
    assert_eq!(cold, REPOSITORIES, "who has no tags yet does not wait");
    let mut spans: BTreeMap<u64, usize> = BTreeMap::new();
    let later = listings.iter().filter(|since| **since >= INTERVAL);
    later.for_each(|since| *spans.entry(since.as_secs() / SPAN).or_default() += 1);
    let mean = REPOSITORIES as f64 * SPAN as f64 / INTERVAL.as_secs_f64();
    let most = spans.values().max().copied().unwrap_or_default();
    assert!(most as f64 <= 2.5 * mean, "{most} scans in one span, where the mean is {mean}: {spans:?}");
    let total: usize = spans.values().sum();
    assert!((5 * REPOSITORIES..=7 * REPOSITORIES).contains(&total), "{total} scans: {spans:?}");
}
