//! The HTTP port for people and scrapers: `/healthz`, `/readyz`, `/metrics`, and the dashboard. The other ports are below.

pub mod events;
pub mod hooks;

use std::{convert::Infallible, net::SocketAddr};

use anyhow::Context as _;
use axum::{
    Router, body::Body, extract::State, http::StatusCode, http::header::CONTENT_TYPE, response::IntoResponse,
    routing::get,
};
use reconcile::{Metrics, Shutdown};

/// Media type of the metrics page.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The server, bound and not yet answering.
pub struct Server {
    listener: tokio::net::TcpListener,
    metrics: Metrics,
}

impl Server {
    /// Binds the address; port 0 takes a free one.
    pub async fn bind(address: SocketAddr, metrics: Metrics) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind(address);
        let listener = listener.await.with_context(|| format!("cannot listen on {address}"))?;
        Ok(Self { listener, metrics })
    }

    /// Where it listens.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Answers until told to stop, with these pages beside its own.
    pub async fn run(self, pages: Router, shutdown: Shutdown) -> anyhow::Result<()> {
        let router = Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self.metrics)
            .merge(pages);
        let stop = async move { shutdown.cancelled().await };
        axum::serve(self.listener, router).with_graceful_shutdown(stop).await.context("the HTTP server ended")
    }
}

async fn ready(State(metrics): State<Metrics>) -> impl IntoResponse {
    match metrics.readiness().is_reached() {
        true => (StatusCode::OK, "ok\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not every kind is listed yet\n"),
    }
}

async fn metrics(State(metrics): State<Metrics>) -> impl IntoResponse {
    let pieces = metrics.page().into_iter().map(Ok::<_, Infallible>);
    ([(CONTENT_TYPE, OPENMETRICS)], Body::from_stream(futures::stream::iter(pieces)))
}
