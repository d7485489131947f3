//! A proxy between slipway and the API server: it can refuse, lose and cut what passes, and it remembers what was written.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures::{StreamExt as _, TryStreamExt as _};
use http_body_util::BodyExt as _;
use kube::Client;
use reconcile::clock;
use serde_json::json;
use tokio::sync::watch;

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is refused with this status, and does nothing.
    Refused(u16),
    /// It does what it should, and the answer is lost.
    Lost,
}

/// Everything that goes wrong, in this order, over and over.
pub const FAULTS: [Fault; 6] = [
    Fault::Refused(500),
    Fault::Refused(429),
    Fault::Refused(504),
    Fault::Lost,
    Fault::Refused(409),
    Fault::Refused(503),
];

/// A request that changed something.
#[derive(Clone, Debug)]
pub struct Write {
    /// When it came.
    pub at: tokio::time::Instant,
    /// `PATCH /apis/…`
    pub what: String,
}

struct Inner {
    upstream: Client,
    /// Every n-th request meets a fault; 0: none does.
    every: AtomicU64,
    requests: AtomicU64,
    /// Those of them that were not about Leases.
    beside_leases: AtomicU64,
    faults: AtomicU64,
    /// What the next request meets.
    next: Mutex<Option<Fault>>,
    writes: Mutex<Vec<Write>>,
    /// Paths that were listed or watched with the content of their objects.
    whole: Mutex<BTreeSet<String>>,
    /// Watches end when this changes.
    cut: watch::Sender<u64>,
    /// The next watches to begin are told that their version is gone.
    gone: AtomicU64,
}

/// The proxy.
#[derive(Clone)]
pub struct Proxy {
    inner: Arc<Inner>,
    address: SocketAddr,
}

impl Proxy {
    /// Listens on loopback and passes everything on with the client's rights.
    pub async fn start(upstream: Client) -> Self {
        let inner = Arc::new(Inner {
            upstream,
            every: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            beside_leases: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            next: Mutex::default(),
            writes: Mutex::default(),
            whole: Mutex::default(),
            cut: watch::channel(0).0,
            gone: AtomicU64::new(0),
        });
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(pass).with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { inner, address }
    }

    /// A kubeconfig that leads to the proxy.
    pub fn kubeconfig(&self, folder: &Path) -> PathBuf {
        let file = folder.join(format!("proxy-{}.kubeconfig", self.address.port()));
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "nobody", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}],
            "current-context": "proxy",
        });
        std::fs::write(&file, config.to_string()).expect("a written file");
        file
    }

    /// Lets every n-th request meet a fault; 0 ends it.
    pub fn fail_every(&self, requests: u64) {
        self.inner.every.store(requests, Ordering::SeqCst);
    }

    /// Lets the next request meet this fault.
    pub fn fail_next(&self, fault: Fault) {
        *self.inner.next.lock().expect("the fault") = Some(fault);
    }

    /// How many requests there were.
    pub fn requests(&self) -> u64 {
        self.inner.requests.load(Ordering::SeqCst)
    }

    /// How many of them were not about Leases.
    pub fn requests_beside_leases(&self) -> u64 {
        self.inner.beside_leases.load(Ordering::SeqCst)
    }

    /// How many faults there were.
    pub fn faults(&self) -> u64 {
        self.inner.faults.load(Ordering::SeqCst)
    }

    /// Ends all running watches.
    pub fn cut_watches(&self) {
        self.inner.cut.send_modify(|count| *count += 1);
    }

    /// Tells that many beginning watches that their version is gone (410): by turns in the watch and in place of it.
    pub fn expire_watches(&self, count: u64) {
        self.inner.gone.store(count, Ordering::SeqCst);
    }

    /// Which paths were listed or watched with the content of their objects.
    pub fn whole(&self) -> BTreeSet<String> {
        self.inner.whole.lock().expect("the paths").clone()
    }

    /// What was written so far.
    pub fn writes(&self) -> Vec<Write> {
        self.inner.writes.lock().expect("the writes").clone()
    }
}

async fn pass(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let is_watch = path.contains("watch=true");
    let accepted = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if (is_watch || path.contains("limit=")) && !accepted.contains("PartialObjectMetadata") {
        inner.whole.lock().expect("the paths").insert(request.uri().path().to_owned());
    }
    inner.beside_leases.fetch_add(u64::from(!path.contains("/leases")), Ordering::SeqCst);
    let number = inner.requests.fetch_add(1, Ordering::SeqCst) + 1;
    let take = |left: u64| left.checked_sub(1);
    if is_watch && let Ok(left) = inner.gone.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
        let gone = refused(410);
        return if left.is_multiple_of(2) { in_the_watch(gone).await } else { gone };
    }
    let every = inner.every.load(Ordering::SeqCst);
    let asked = inner.next.lock().expect("the fault").take();
    let is_due = every > 0 && number.is_multiple_of(every);
    let fault = (is_due || asked.is_some()).then(|| {
        let count = inner.faults.fetch_add(1, Ordering::SeqCst);
        asked.unwrap_or(FAULTS[count as usize % FAULTS.len()])
    });
    if let Some(Fault::Refused(status)) = fault {
        return refused(status);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let what = format!("{} {path}", request.method());
        inner.writes.lock().expect("the writes").push(Write { at: clock::instant(), what });
    }
    let answer = forward(&inner, request, &path, is_watch).await;
    match fault {
        Some(Fault::Lost) => refused(504),
        _ => answer,
    }
}

async fn forward(inner: &Inner, request: Request, path: &str, is_watch: bool) -> Response {
    let (mut parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, 16 << 20).await else { return refused(400) };
    parts.uri = path.parse().expect("a path");
    for name in [header::HOST, header::CONTENT_LENGTH, header::CONNECTION, header::TRANSFER_ENCODING] {
        parts.headers.remove(name);
    }
    let forwarded = http::Request::from_parts(parts, kube::client::Body::from(body.to_vec()));
    let Ok(answer) = inner.upstream.send(forwarded).await else { return refused(502) };
    let (mut parts, body) = answer.into_parts();
    for name in [header::CONTENT_LENGTH, header::CONNECTION, header::TRANSFER_ENCODING] {
        parts.headers.remove(name);
    }
    let mut cut = inner.cut.subscribe();
    let data = body.into_data_stream().map_err(std::io::Error::other);
    let body = match is_watch {
        // In the middle of a line, if it must be.
        true => Body::from_stream(data.take_until(async move { cut.changed().await.is_ok() }).boxed()),
        false => Body::from_stream(data),
    };
    Response::from_parts(parts, body)
}

/// The refusal as an event of a watch, which is how the API server itself does it.
async fn in_the_watch(refusal: Response) -> Response {
    let status = to_bytes(refusal.into_body(), 4096).await.expect("a status");
    let status: serde_json::Value = serde_json::from_slice(&status).expect("a status");
    axum::Json(json!({"type": "ERROR", "object": status})).into_response()
}

fn refused(code: u16) -> Response {
    let reason = match code {
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        504 => "Timeout",
        _ => "InternalError",
    };
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason,
        "message": "asked for by the test",
    });
    let code = StatusCode::from_u16(code).expect("a status");
    (code, [(header::RETRY_AFTER, "0")], axum::Json(status)).into_response()
}
