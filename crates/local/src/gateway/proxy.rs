//! Forwards one request: finds its rule, applies the filters, picks backend and endpoint, passes the bodies on.

pub mod body;
pub mod listen;
pub mod server;
pub mod upstream;

use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header, request::Parts, uri::Scheme};
use hyper::body::{Body as _, Incoming};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use self::{
    body::{Exchange, Kept, Outgoing, Reply},
    upstream::{Endpoint, InFlight, Upstreams},
};
use super::{
    filters::{Filters, Redirect, remove_hop_by_hop},
    matching::Head,
    metrics::Cluster,
    table::{Backend, Rule, ServicePort, Socket, Table, host_without_port},
};

/// Attempts at different endpoints before a request is given up.
const ATTEMPTS: usize = 4;
/// Longest time for a connection to an endpoint: it is on this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections without a request are closed after that time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest time a copy of a request may take.
const MIRROR_TIMEOUT: Duration = Duration::from_secs(30);

/// What is served at this moment.
#[derive(Debug, Default)]
pub struct Routing {
    /// Which rule serves a request.
    pub table: Table,
    /// Where its backends are.
    pub upstreams: Upstreams,
}

/// Forwards requests by the routing of the moment.
#[derive(Debug)]
pub struct Proxy {
    routing: RwLock<Routing>,
    client: Client<HttpConnector, Outgoing>,
}

/// What came of looking for a rule.
enum Plan {
    Answer(Response<Reply>),
    Forward(Forward),
}

/// A request that is to be forwarded.
struct Forward {
    rule: Arc<Rule>,
    backend: usize,
    prefix: Option<String>,
}

/// An endpoint that was picked, marked as working on the request.
struct Target {
    endpoint: Endpoint,
    in_flight: InFlight,
}

impl Default for Proxy {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .set_host(false)
            .build(connector);
        Self { routing: RwLock::default(), client }
    }
}

impl Proxy {
    /// Puts a new routing in place of the old one. When it returns, no request will begin by the old one any more.
    pub fn swap(&self, routing: Routing) {
        let mut current = self.routing.write().unwrap_or_else(PoisonError::into_inner);
        // What is replaced is dropped after the lock, so that no request waits for it.
        let previous = std::mem::replace(&mut *current, routing);
        drop(current);
        drop(previous);
    }

    /// Looks at the routing of the moment.
    pub fn with<T>(&self, look: impl FnOnce(&Routing) -> T) -> T {
        look(&self.routing.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers a request that came over the socket. Never fails: failures are answers.
    pub async fn serve(
        &self,
        socket: &Socket,
        port: u16,
        client: &HeaderValue,
        request: Request<Incoming>,
    ) -> Response<Reply> {
        let (mut parts, body) = request.into_parts();
        if let Some(host) = parts.uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
            parts.headers.insert(header::HOST, host);
        }
        match self.plan(socket, port, &parts) {
            Plan::Answer(response) => response,
            Plan::Forward(forward) => {
                remove_hop_by_hop(&mut parts.headers);
                parts.headers.append("x-forwarded-for", client.clone());
                parts.headers.entry("x-forwarded-proto").or_insert(HeaderValue::from_static("http"));
                self.forward(forward, parts, body).await
            }
        }
    }

    /// Finds the rule and the backend whose turn it is, or the answer we give ourselves.
    fn plan(&self, socket: &Socket, port: u16, parts: &Parts) -> Plan {
        let host = host(parts);
        let head = Head {
            host: host_without_port(host),
            path: parts.uri.path(),
            query: parts.uri.query(),
            method: &parts.method,
            headers: &parts.headers,
        };
        self.with(|routing| {
            let Some(found) = routing.table.find(socket, &head) else {
                return Plan::Answer(own(StatusCode::NOT_FOUND, "no route matches\n"));
            };
            if let Some(redirect) = &found.rule.filters.redirect {
                return Plan::Answer(redirected(redirect, head.host, port, &parts.uri, found.prefix));
            }
            let Some(backend) = found.rule.balance.pick() else {
                return Plan::Answer(own(StatusCode::INTERNAL_SERVER_ERROR, "the route has no backend\n"));
            };
            if let Some(redirect) = &found.rule.backends[backend].filters.redirect {
                return Plan::Answer(redirected(redirect, head.host, port, &parts.uri, found.prefix));
            }
            Plan::Forward(Forward { rule: found.rule.clone(), backend, prefix: found.prefix.map(str::to_owned) })
        })
    }

    /// Sends the request to its backend and the copies to the mirrors.
    async fn forward(&self, forward: Forward, mut parts: Parts, body: Incoming) -> Response<Reply> {
        let Forward { rule, backend, prefix } = forward;
        let backend: &Backend = &rule.backends[backend];
        let Some(cluster) = self.cluster(&backend.service) else {
            return own(StatusCode::INTERNAL_SERVER_ERROR, "the backend of the route does not exist\n");
        };
        for filters in [&rule.filters, &backend.filters] {
            if change_request(filters, &mut parts, prefix.as_deref()).is_err() {
                return own(StatusCode::INTERNAL_SERVER_ERROR, "the new path is not valid\n");
            }
        }
        let kept: Kept = Arc::default();
        let mut outgoing = Outgoing::Empty;
        if !body.is_end_stream() {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
            outgoing = Outgoing::Streamed { body: kept.clone(), mirrors: Vec::new() };
        }
        self.mirror(&rule, backend, &parts, &mut outgoing);
        let timeout = rule.request_timeout;
        let begun = reconcile::clock::instant();
        let sent = self.send(&rule, backend, &parts, outgoing, &kept, &cluster);
        let mut response = match timeout {
            None => sent.await,
            Some(limit) => match tokio::time::timeout_at(begun + limit, sent).await {
                Ok(response) => response,
                Err(_) => failed(&cluster, StatusCode::GATEWAY_TIMEOUT, "the backend took too long\n"),
            },
        };
        *response.version_mut() = http::Version::HTTP_11;
        remove_hop_by_hop(response.headers_mut());
        rule.filters.response.apply(response.headers_mut());
        backend.filters.response.apply(response.headers_mut());
        response
    }

    /// Tries endpoints until one takes the connection. After that nothing is tried again: the request may have been seen.
    async fn send(
        &self,
        rule: &Rule,
        backend: &Backend,
        parts: &Parts,
        mut outgoing: Outgoing,
        kept: &Kept,
        cluster: &Arc<Cluster>,
    ) -> Response<Reply> {
        let mut tried: Vec<SocketAddr> = Vec::new();
        let begun = reconcile::clock::instant();
        while let Some(target) = self.target(&backend.service, &tried) {
            let address = target.endpoint.address;
            let mut exchange = Exchange::begin(cluster.clone(), Some(target.in_flight), rule.request_timeout);
            exchange.deadline = rule.request_timeout.map(|limit| begun + limit);
            let sent = self.client.request(request(parts, &target.endpoint, outgoing));
            let outcome = match rule.backend_timeout {
                None => sent.await,
                Some(limit) => match tokio::time::timeout(limit, sent).await {
                    Ok(outcome) => outcome,
                    Err(_) => return failed(cluster, StatusCode::GATEWAY_TIMEOUT, "the backend took too long\n"),
                },
            };
            match outcome {
                Ok(response) => {
                    cluster.responded(response.status());
                    return response.map(|body| Reply::backend(body, exchange));
                }
                Err(error) if error.is_connect() => {
                    tracing::debug!(%address, "endpoint refused the connection");
                    exchange.forget();
                    tried.push(address);
                    let body = kept.lock().unwrap_or_else(PoisonError::into_inner).is_some();
                    outgoing = if body {
                        Outgoing::Streamed { body: kept.clone(), mirrors: Vec::new() }
                    } else {
                        Outgoing::Empty
                    };
                }
                Err(error) => {
                    tracing::debug!(%address, error = &error as &dyn std::error::Error, "exchange with backend failed");
                    return failed(cluster, StatusCode::BAD_GATEWAY, "the backend ended the connection\n");
                }
            }
            if tried.len() >= ATTEMPTS {
                break;
            }
        }
        failed(cluster, StatusCode::SERVICE_UNAVAILABLE, "the backend has no endpoint\n")
    }

    /// The endpoint whose turn it is. It is marked busy before the routing can change, so that draining sees it.
    fn target(&self, service: &ServicePort, tried: &[SocketAddr]) -> Option<Target> {
        self.with(|routing| {
            let endpoint = routing.upstreams.get(service)?.pick(tried)?.clone();
            let in_flight = InFlight::begin(endpoint.load.clone());
            Some(Target { endpoint, in_flight })
        })
    }

    /// The counts of a backend that exists.
    fn cluster(&self, service: &ServicePort) -> Option<Arc<Cluster>> {
        self.with(|routing| routing.upstreams.get(service).map(|upstream| upstream.cluster.clone()))
    }

    /// Sends copies of the request to the mirrors whose turn it is. Their answers are counted and dropped.
    fn mirror(&self, rule: &Rule, backend: &Backend, parts: &Parts, outgoing: &mut Outgoing) {
        let mirrors = rule.filters.mirrors.iter().chain(&backend.filters.mirrors);
        if rule.filters.mirrors.is_empty() && backend.filters.mirrors.is_empty() {
            return;
        }
        let number = rule.requests.fetch_add(1, Ordering::Relaxed);
        for mirror in mirrors.filter(|mirror| mirror.takes(number)) {
            let (Some(cluster), Some(target)) = (self.cluster(&mirror.service), self.target(&mirror.service, &[]))
            else {
                continue;
            };
            let sent = self.client.request(request(parts, &target.endpoint, outgoing.mirror()));
            tokio::spawn(async move {
                let _exchange = Exchange::begin(cluster.clone(), Some(target.in_flight), None);
                let answered = tokio::time::timeout(MIRROR_TIMEOUT, async {
                    let response = sent.await?;
                    cluster.responded(response.status());
                    let mut body = response.into_body();
                    while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
                        let _ = frame;
                    }
                    Ok::<_, hyper_util::client::legacy::Error>(())
                });
                match answered.await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => cluster.responded(StatusCode::SERVICE_UNAVAILABLE),
                    Err(_) => cluster.responded(StatusCode::GATEWAY_TIMEOUT),
                }
            });
        }
    }
}

/// Host of a request, from its URI or its field; empty if it has none.
fn host(parts: &Parts) -> &str {
    let field = || parts.headers.get(header::HOST).and_then(|value| value.to_str().ok());
    parts.uri.authority().map(http::uri::Authority::as_str).or_else(field).unwrap_or_default()
}

/// The request for an endpoint. The host stays that of the client, or the rewritten one.
fn request(parts: &Parts, endpoint: &Endpoint, body: Outgoing) -> Request<Outgoing> {
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(endpoint.authority.clone());
    uri.path_and_query = parts.uri.path_and_query().cloned();
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
    *request.headers_mut() = parts.headers.clone();
    request.headers_mut().entry(header::HOST).or_insert_with(|| {
        HeaderValue::from_str(endpoint.authority.as_str()).unwrap_or(HeaderValue::from_static("localhost"))
    });
    request
}

/// Applies the filters of a rule or backend to the head of the request.
fn change_request(filters: &Filters, parts: &mut Parts, prefix: Option<&str>) -> Result<(), http::Error> {
    filters.request.apply(&mut parts.headers);
    if let Some(host) = &filters.rewrite.hostname {
        parts.headers.insert(header::HOST, host.clone());
    }
    if filters.rewrite.path.is_some() || parts.uri.path_and_query().is_none() || parts.uri.authority().is_some() {
        let path = filters.path_and_query(&parts.uri, prefix)?;
        parts.uri = Uri::builder().path_and_query(path).build()?;
    }
    Ok(())
}

fn redirected(redirect: &Redirect, host: &str, port: u16, uri: &Uri, prefix: Option<&str>) -> Response<Reply> {
    let mut response = own(redirect.status, "");
    if let Ok(location) = HeaderValue::try_from(redirect.location(host, port, uri, prefix)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// An answer in place of the backend's, counted as the backend's: a backend that does not answer has failed.
fn failed(cluster: &Cluster, status: StatusCode, text: &'static str) -> Response<Reply> {
    cluster.responded(status);
    own(status, text)
}

/// An answer of our own.
fn own(status: StatusCode, text: &'static str) -> Response<Reply> {
    let body = (!text.is_empty()).then(|| Bytes::from_static(text.as_bytes()));
    let mut response = Response::new(Reply::Own(body));
    *response.status_mut() = status;
    if !text.is_empty() {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    response
}
