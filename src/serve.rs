//! The HTTP port for people and scrapers: `/healthz`, `/readyz`, `/metrics`. The other ports are below.

pub mod events;
pub mod hooks;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
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
    ready: Arc<AtomicBool>,
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
        Ok(Self { listener, pages: Pages { metrics, ready: Arc::default() } })
    }

    /// Where it listens.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Set when the controllers work: `/readyz` answers 200 from then on.
    pub fn ready(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.pages.ready)
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
    match pages.ready.load(Ordering::SeqCst) {
        true => (StatusCode::OK, "ok\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the controllers are starting\n"),
    }
}

async fn metrics(State(pages): State<Pages>) -> impl IntoResponse {
    ([(CONTENT_TYPE, OPENMETRICS)], pages.metrics.text())
}
