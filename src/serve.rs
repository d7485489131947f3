//! The HTTP port for people and scrapers: `/healthz`, `/readyz`, `/metrics`. The other ports are below.

pub mod events;
pub mod hooks;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::Context as _;
use axum::{
    Router, extract::State, http::StatusCode, http::header::CONTENT_TYPE, response::IntoResponse, routing::get,
};
use reconcile::{Metrics, Shutdown};

/// Media type of the metrics page.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the pages are made from.
#[derive(Clone)]
struct Pages {
    metrics: Metrics,
    starting: Starting,
}

/// Counts what has not begun yet; the count itself begins with one for who starts it all. Clones share it.
#[derive(Clone, Debug)]
pub struct Starting(Arc<AtomicUsize>);

/// One controller that was started and is to say when it has begun.
#[derive(Debug)]
pub struct Begun(Arc<AtomicUsize>);

impl Starting {
    /// One more controller is started.
    pub fn one(&self) -> Begun {
        self.0.fetch_add(1, Ordering::SeqCst);
        Begun(Arc::clone(&self.0))
    }

    /// All controllers are started.
    pub fn all_known(&self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }

    fn is_over(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

impl Begun {
    /// It has begun.
    pub fn say(self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The server, bound and not yet answering.
pub struct Server {
    listener: tokio::net::TcpListener,
    pages: Pages,
}

impl Server {
    /// Binds the address; port 0 takes a free one.
    pub async fn bind(address: SocketAddr, metrics: Metrics) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind(address);
        let listener = listener.await.with_context(|| format!("cannot listen on {address}"))?;
        Ok(Self { listener, pages: Pages { metrics, starting: Starting(Arc::new(AtomicUsize::new(1))) } })
    }

    /// Where it listens.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// What has to begin before `/readyz` answers 200; the caches must be filled then too.
    pub fn starting(&self) -> Starting {
        self.pages.starting.clone()
    }

    /// Answers until told to stop.
    pub async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let router = Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self.pages);
        let stop = async move { shutdown.cancelled().await };
        axum::serve(self.listener, router).with_graceful_shutdown(stop).await.context("the HTTP server ended")
    }
}

async fn ready(State(pages): State<Pages>) -> impl IntoResponse {
    match (pages.starting.is_over(), pages.metrics.caches().are_filled()) {
        (true, true) => (StatusCode::OK, "ok\n"),
        (true, false) => (StatusCode::SERVICE_UNAVAILABLE, "the objects are being listed\n"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "the controllers are starting\n"),
    }
}

async fn metrics(State(pages): State<Pages>) -> impl IntoResponse {
    ([(CONTENT_TYPE, OPENMETRICS)], pages.metrics.text())
}
