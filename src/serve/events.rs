//! The port for events of other controllers, in Flux's format: slipway's Alerts take them like its own.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::{
    Router,
    body::{Bytes, HttpBody as _},
    extract::{DefaultBodyLimit, Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::Response,
};
use notification::intake;
use reconcile::{Context, Shutdown, telemetry::Calls};

/// Binds the port. The future takes events until told to stop.
pub fn serve(
    address: SocketAddr,
    context: Context,
    shutdown: Shutdown,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let listener =
        std::net::TcpListener::bind(address).with_context(|| format!("cannot listen for events on {address}"))?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tracing::info!(listen = %listener.local_addr()?, "events are taken");
    Ok(async move {
        let router = Router::new()
            // At every path, as Flux's notification controller takes them.
            .fallback(take)
            .layer(DefaultBodyLimit::max(intake::MAX_EVENT_BYTES))
            .layer(middleware::from_fn_with_state(Calls::new(&context.metrics, "gotk_event", "/"), counted))
            .with_state(context);
        let stop = async move { shutdown.cancelled().await };
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop).await {
            tracing::warn!(%error, "the server of events ended");
        }
    })
}

async fn counted(State(calls): State<Calls>, request: Request, next: Next) -> Response {
    let told = |answer: &Response| (answer.status(), answer.body().size_hint().lower());
    calls.count(request.method().clone(), next.run(request), told).await
}

/// The event is kept when the caller is answered.
async fn take(State(context): State<Context>, body: Bytes) -> StatusCode {
    let event = match intake::read(&body) {
        Ok(event) => event,
        Err(problem) => {
            tracing::debug!(problem, "posted event refused");
            return StatusCode::BAD_REQUEST;
        }
    };
    match context.events.relay(event).await {
        Ok(()) => StatusCode::ACCEPTED,
        Err(error) => {
            tracing::warn!(%error, "posted event is not kept");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}
