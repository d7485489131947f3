//! Live traffic through the gateway, counted by the version that answered.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

/// Requests answered and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// All requests.
    pub sent: u64,
    /// Those answered with 500 and above, or not at all.
    pub failed: u64,
}

/// Counts by version; requests that no version answered stand under the empty name.
pub type Counts = BTreeMap<String, Count>;

/// A stream of requests that goes on until dropped.
#[derive(Debug)]
pub struct Traffic {
    counts: Arc<Mutex<Counts>>,
    task: tokio::task::JoinHandle<()>,
}

/// A client for requests through the gateway.
pub type Requests = Client<HttpConnector, Full<Bytes>>;

/// A client that keeps its connections.
pub fn client() -> Requests {
    Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(30)).build_http()
}

/// One request to the application. The version that answered and whether it did well.
pub async fn ask(client: &Requests, gateway: SocketAddr) -> (String, bool) {
    let request = http::Request::builder()
        .uri(format!("http://{gateway}/"))
        .header("host", "app.example.com")
        .body(Full::default())
        .expect("because the URI is made of an address");
    let answer = tokio::time::timeout(Duration::from_secs(10), client.request(request)).await;
    let Ok(Ok(answer)) = answer else { return (String::new(), false) };
    let version = answer.headers().get("x-version").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (version, good) = (version.to_owned(), answer.status().is_success());
    let whole = answer.into_body().collect().await.is_ok();
    (version, good && whole)
}

impl Traffic {
    /// Sends `per_second` requests a second to the application, each without waiting for the others.
    pub fn start(gateway: SocketAddr, per_second: u32) -> Self {
        let counts: Arc<Mutex<Counts>> = Arc::default();
        let shared = Arc::clone(&counts);
        let task = tokio::spawn(async move {
            let client = client();
            let mut beat = tokio::time::interval(Duration::from_secs(1) / per_second);
            loop {
                beat.tick().await;
                let (client, counts) = (client.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    let (version, good) = ask(&client, gateway).await;
                    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                    let count = counts.entry(version).or_default();
                    count.sent += 1;
                    count.failed += u64::from(!good);
                });
            }
        });
        Self { counts, task }
    }

    /// What has been counted so far.
    pub fn counts(&self) -> Counts {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.task.abort();
    }
}
