//! The port for webhooks: `/hook/<digest>`. Reads no more than it must, and waits for nobody.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use futures::StreamExt as _;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Body as _, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use notification::{
    Hooks,
    controller::{Answer, MAX_BODY_BYTES},
};
use reconcile::{Metrics, Shutdown, clock, telemetry::Calls};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

/// Limits of one call. Source: reference image-automation.md section 9.3.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_HEADER_BYTES: usize = 256 << 10;
/// Connections at the same time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 512;
/// Bodies of more than [`SMALL_BODY_BYTES`] that are held at the same time.
const MAX_LARGE_BODIES: usize = 16;
const SMALL_BODY_BYTES: u64 = 64 << 10;
/// How much of a refused body is taken off the line.
const DRAIN_BYTES: usize = 64 << 20;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Wait before a port that is in use is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// What callers get.
type Answered = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Where the server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Here, as asked; not being able to is an error.
    Asked(SocketAddr),
    /// Here unless somebody else does; then as soon as it is free.
    Default(SocketAddr),
}

/// The server: what it answers with, and the bounds that all calls share.
struct Server {
    hooks: Arc<Hooks>,
    calls: Calls,
    large: Semaphore,
}

/// Binds the port. The future answers calls until told to stop.
pub fn serve(
    place: Place,
    hooks: Arc<Hooks>,
    metrics: &Metrics,
    shutdown: Shutdown,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let calls = Calls::new(metrics, "gotk_receiver", "/hook/");
    let server = Arc::new(Server { hooks, calls, large: Semaphore::new(MAX_LARGE_BODIES) });
    let (address, bound) = match place {
        Place::Asked(address) => {
            (address, Some(bind(address).with_context(|| format!("cannot listen for webhooks on {address}"))?))
        }
        Place::Default(address) => (address, bind(address).ok()),
    };
    Ok(async move {
        let waiting = async {
            let mut listener = bound;
            if listener.is_none() {
                tracing::warn!(%address, "webhooks are not served: the port is in use; --receiver-listen names another");
            }
            while listener.is_none() {
                clock::sleep(PAUSE).await;
                listener = bind(address).ok();
            }
            if let Some(listener) = listener {
                accept(server, listener, &shutdown).await;
            }
        };
        tokio::select! { () = waiting => {}, () = shutdown.cancelled() => {} }
    })
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    tracing::info!(listen = %listener.local_addr()?, "webhooks are served");
    Ok(listener)
}

async fn accept(server: Arc<Server>, listener: TcpListener, shutdown: &Shutdown) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (server, shutdown) = (server.clone(), shutdown.clone());
                tokio::spawn(async move {
                    converse(server, stream, peer, shutdown).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a webhook's connection was not accepted");
                clock::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// One connection, to its end or ours; then the call under way is still answered.
async fn converse(server: Arc<Server>, stream: TcpStream, peer: SocketAddr, shutdown: Shutdown) {
    let service = service_fn(|request| {
        let server = server.clone();
        async move {
            let (method, answer) = (request.method().clone(), server.answer(request, peer));
            let told = |answer: &Answered| (answer.status(), answer.body().size_hint().lower());
            Ok::<_, Infallible>(server.calls.count(method, answer, told).await)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a webhook's connection broke");
    }
}

impl Server {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Answered {
        let (parts, mut body) = request.into_parts();
        let uri = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let known = match self.hooks.find(&uri).await {
            Ok(known) => known,
            Err(refused) => return respond(&refused),
        };
        if let Err(refused) = known.is_open(Some(peer.ip())) {
            return respond(&refused);
        }
        let size = body.size_hint();
        if size.lower() > MAX_BODY_BYTES as u64 {
            return too_large(body);
        }
        let _permit = match size.upper() {
            Some(..=SMALL_BODY_BYTES) => None,
            _ => self.large.acquire().await.ok(),
        };
        let limited = Limited::new(&mut body, MAX_BODY_BYTES);
        let read = tokio::time::timeout(BODY_TIMEOUT, limited.collect()).await;
        match read {
            Ok(Ok(body)) => respond(&self.hooks.answer(&known, &parts.headers, &body.to_bytes()).await),
            Ok(Err(error)) if error.is::<LengthLimitError>() => too_large(body),
            Ok(Err(_)) => plain(StatusCode::BAD_REQUEST),
            Err(_) => plain(StatusCode::REQUEST_TIMEOUT),
        }
    }
}

/// Refuses a body at once. The answer ends only after [`drain`]: hyper ends the connection with it, and a sender that is
/// still sending would not get to read it.
fn too_large(body: Incoming) -> Answered {
    let words = plain(StatusCode::PAYLOAD_TOO_LARGE);
    words.map(|words| {
        let drained =
            futures::stream::once(drain(body)).filter_map(|()| async { None::<Result<Frame<Bytes>, Infallible>> });
        let words = http_body_util::BodyStream::new(words);
        StreamBody::new(words.chain(drained).boxed()).boxed_unsync()
    })
}

/// Takes a refused body off the line for a while, keeping nothing.
async fn drain(body: Incoming) {
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, async {
        let mut body = Limited::new(body, DRAIN_BYTES);
        while let Some(Ok(_)) = body.frame().await {}
    })
    .await;
}

fn respond(answer: &Answer) -> Answered {
    for problem in &answer.problems {
        tracing::info!(status = answer.status.as_u16(), problem, "webhook refused");
    }
    if !answer.woken.is_empty() {
        tracing::debug!(woken = answer.woken.len(), "webhook taken");
    }
    plain(answer.status)
}

/// A status with its own words; callers learn nothing else.
fn plain(status: StatusCode) -> Answered {
    let words = status.canonical_reason().unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from_static(words.as_bytes())).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
    response
}
