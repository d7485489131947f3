//! What the tests share: a control plane, started once for the test run, and a Prometheus over numbers that tests set.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, mpsc},
};

use axum::{Router, routing::get};

use super::{
    rights,
    server::{self, ControlPlane},
};
use crate::{demo::parts, support::SLIPWAY};

/// What all tests of the run share.
pub struct Shared {
    /// What reaches the API server as its administrator.
    pub kubeconfig: PathBuf,
    /// What reaches it with slipway's rights, but for that to apply whatever stands in Git.
    pub account: PathBuf,
    /// Address of Prometheus.
    pub prometheus: SocketAddr,
    /// The numbers it scrapes, by the label `namespace`.
    pub numbers: Arc<Mutex<BTreeMap<String, f64>>>,
}

/// The cluster of the test run: that of `KUBECONFIG_TEST`, else one of our own.
pub async fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    tokio::task::spawn_blocking(|| SHARED.get_or_init(start)).await.expect("the test cluster starts")
}

/// Children end with the thread that started them, so this one lives as long as the process.
fn start() -> Shared {
    let (started, shared) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.expect("a runtime").block_on(async move {
            let _parts = serve(&started).await;
            std::future::pending::<()>().await;
        });
    });
    shared.recv().expect("the test cluster starts")
}

async fn serve(started: &mpsc::Sender<Shared>) -> (Option<ControlPlane>, parts::Part, tempfile::TempDir) {
    let folder = tempfile::Builder::new().prefix("slipway-cluster-").tempdir().expect("a folder");
    let (plane, kubeconfig) = match std::env::var_os("KUBECONFIG_TEST") {
        Some(file) => (None, PathBuf::from(file)),
        None => {
            // The program takes its folder away when the test run ends.
            let own = tempfile::Builder::new().prefix("slipway-kube-").tempdir().expect("a folder").keep();
            let plane = ControlPlane::start(&own, None).await;
            let kubeconfig = plane.kubeconfig();
            (Some(plane), kubeconfig)
        }
    };
    let client = server::client(&kubeconfig).await;
    server::install(&client).await;
    rights::give(&client, folder.path()).await;
    let account = rights::account(&client, &kubeconfig, rights::NAMESPACE, folder.path()).await;
    let numbers: Arc<Mutex<BTreeMap<String, f64>>> = Arc::default();
    let (mut part, prometheus) =
        parts::prometheus(Path::new(SLIPWAY), folder.path(), export(numbers.clone()).await).expect("prometheus");
    parts::listening(&mut part, prometheus).await.expect("prometheus listens");
    started.send(Shared { kubeconfig, account, prometheus, numbers }).expect("somebody waits");
    (plane, part, folder)
}

/// Serves the numbers for Prometheus to scrape.
async fn export(numbers: Arc<Mutex<BTreeMap<String, f64>>>) -> SocketAddr {
    let page = move || {
        let numbers = numbers.lock().expect("the numbers").clone();
        let lines = numbers.iter().map(|(name, value)| format!("test_success{{name=\"{name}\"}} {value}\n"));
        std::future::ready(lines.collect::<String>())
    };
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/metrics", get(page))).await });
    address
}
