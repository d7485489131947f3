//! The demo's web application, which its images start: `/` answers `version X`, `/healthz` answers 200.
//!
//! `POD_IP` and `PORT` (8080) say where it listens, `VERSION` what it answers, `FAIL_PERCENT` which share of requests it
//! answers with 500, exactly, and `LATENCY_MS` how long it takes. On SIGTERM it finishes what it has begun.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use reconcile::clock;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What the environment asks for.
struct App {
    version: HeaderValue,
    fail_percent: u64,
    latency: Duration,
    requests: AtomicU64,
}

/// Serves until SIGTERM or SIGINT.
pub async fn run() -> anyhow::Result<()> {
    let address = SocketAddr::new(variable("POD_IP", IpAddr::V4(Ipv4Addr::LOCALHOST))?, variable("PORT", 8080)?);
    let app = Arc::new(App {
        version: HeaderValue::from_str(&variable("VERSION", "unknown".to_owned())?).context("VERSION")?,
        fail_percent: variable("FAIL_PERCENT", 0)?,
        latency: Duration::from_millis(variable("LATENCY_MS", 0)?),
        requests: AtomicU64::new(0),
    });
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    crate::commands::print(&format!("listening on {address}\n"));
    let (stop, connections) = (CancellationToken::new(), TaskTracker::new());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        };
        if let Ok((stream, _)) = accepted {
            let _ = stream.set_nodelay(true);
            connections.spawn(serve(TokioIo::new(stream), app.clone(), stop.clone()));
        }
    }
    drop(listener);
    stop.cancel();
    connections.close();
    connections.wait().await;
    Ok(())
}

/// One connection; told to stop, it ends after the request it is working on.
async fn serve(stream: TokioIo<tokio::net::TcpStream>, app: Arc<App>, stop: CancellationToken) {
    let service = service_fn(|request| {
        let app = app.clone();
        async move { Ok::<_, Infallible>(app.answer(&request).await) }
    });
    let mut connection = std::pin::pin!(http1::Builder::new().serve_connection(stream, service));
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

impl App {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path() == "/healthz" {
            return Response::new(Full::from("ok\n"));
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        if !self.latency.is_zero() {
            clock::sleep(self.latency).await;
        }
        let version = self.version.to_str().unwrap_or_default();
        let mut response = Response::new(Full::from(format!("version {version}\n")));
        if fails(number, self.fail_percent) {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        response.headers_mut().insert("x-version", self.version.clone());
        response
    }
}

/// Whether the request of that number, from 0, fails: `percent` of every hundred do, evenly spread.
const fn fails(number: u64, percent: u64) -> bool {
    let percent = if percent > 100 { 100 } else { percent };
    percent > 0 && (number % 100 * percent) % 100 + percent >= 100
}

/// An environment variable as its type, or what holds without it.
fn variable<T: FromStr<Err: std::fmt::Display>>(name: &str, default: T) -> anyhow::Result<T> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => text.parse().map_err(|error| anyhow::anyhow!("{name}={text}: {error}")),
        _ => Ok(default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_failures_is_exact() {
        for percent in [0, 1, 20, 33, 99, 100] {
            assert_eq!((0..300).filter(|number| fails(*number, percent)).count() as u64, percent * 3);
        }
    }
}
