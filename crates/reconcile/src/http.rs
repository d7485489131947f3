//! The one HTTP client: no redirects of its own, bounded bodies, one TLS provider, every request an effect.

mod login;
mod plain;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, future::BoxFuture, stream::BoxStream};

use self::plain::Plain;
use crate::{Fault, Site, causes, effect};

/// Limit for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection that nobody uses is kept.
const IDLE: Duration = Duration::from_secs(60);
/// Such connections kept to each server. As many as a loop has runs under way: one that is closed for want of room is made
/// again a moment later.
const KEPT: usize = 16;

/// A body that arrives in pieces.
pub type Body = BoxStream<'static, Result<Bytes, HttpError>>;

/// A text as one part of a path or of a query: all but letters, digits and four marks as `%XX`. Source: RFC 3986 section 2.3.
pub fn escaped(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
        escaped
    })
}

/// `Authorization` of a user with a password. Source: RFC 7617.
pub fn basic(user: impl AsRef<[u8]>, password: impl AsRef<[u8]>) -> String {
    format!("Basic {}", BASE64_STANDARD.encode([user.as_ref(), b":", password.as_ref()].concat()))
}

/// Why a request got no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HttpError {
    /// The client could not be made from the endpoint's settings.
    #[error("TLS or proxy settings: {0}")]
    Settings(String),
    /// The server could not be reached, or the connection broke.
    #[error("{0}")]
    Unreachable(String),
    /// The answer took longer than allowed.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The answer is larger than allowed.
    #[error("answer is larger than {0} bytes")]
    TooLarge(usize),
    /// A test plan made the request fail.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl HttpError {
    /// Whether the same request may succeed a moment later: settings do not mend themselves.
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Settings(_) | Self::TooLarge(_))
    }
}

/// How a server is talked to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Limit for connecting and for the whole answer.
    pub timeout: Duration,
    /// Most bytes of a body that [`Http::send`] reads.
    pub limit: usize,
    /// Certificate authorities in PEM that are trusted beside the system's.
    pub ca: Option<Vec<u8>>,
    /// Client certificate and key in PEM.
    pub identity: Option<Vec<u8>>,
    /// Proxy URL, `http`, `https` or `socks5`, credentials included.
    pub proxy: Option<String>,
    /// Takes any certificate; only where a manifest asks for it by name.
    pub insecure_skip_verify: bool,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            limit: 32 << 20,
            ca: None,
            identity: None,
            proxy: None,
            insecure_skip_verify: false,
        }
    }
}

type Handler =
    Arc<dyn Fn(http::Request<Bytes>) -> BoxFuture<'static, Result<http::Response<Bytes>, HttpError>> + Send + Sync>;

#[derive(Clone)]
enum Way {
    Network {
        /// For requests without TLS and without a proxy; none where the environment names a proxy for them.
        plain: Option<Plain>,
        others: Arc<Mutex<HashMap<Settings, reqwest::Client>>>,
    },
    Handler(Handler),
}

/// What needs a client of its own, where TLS or a proxy is spoken.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Settings {
    ca: Option<Vec<u8>>,
    identity: Option<Vec<u8>>,
    proxy: Option<String>,
    insecure_skip_verify: bool,
}

/// The HTTP client. Clones share its connections.
#[derive(Clone)]
pub struct Http {
    way: Way,
    user_agent: String,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Http")
    }
}

impl Http {
    /// A client on the network. `user_agent` is sent with every request.
    pub fn new(user_agent: impl Into<String>) -> Self {
        // Somebody may have installed the provider before us: it is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let user_agent = user_agent.into();
        let plain = (!has_proxy_variable()).then(|| Plain::new(&user_agent));
        Self { way: Way::Network { plain, others: Arc::default() }, user_agent }
    }

    /// A client whose requests go to a function in the place of the network, for simulated worlds.
    pub fn to_handler<F, R>(handler: F) -> Self
    where
        F: Fn(http::Request<Bytes>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<http::Response<Bytes>, HttpError>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |request| Box::pin(handler(request)));
        Self { way: Way::Handler(handler), user_agent: "slipway".into() }
    }

    /// Sends a request and reads the whole answer, whatever its status. Redirects are answers, not followed.
    pub async fn send(
        &self,
        request: http::Request<Bytes>,
        endpoint: &Endpoint,
    ) -> Result<http::Response<Bytes>, HttpError> {
        let key = SiteKey::of(&request);
        let exchange = async {
            let (parts, mut body) = self.exchange(request, endpoint).await?.into_parts();
            let mut read = BytesMut::new();
            while let Some(piece) = body.next().await {
                let piece = piece?;
                if read.len() + piece.len() > endpoint.limit {
                    return Err(HttpError::TooLarge(endpoint.limit));
                }
                read.extend_from_slice(&piece);
            }
            Ok(http::Response::from_parts(parts, read.freeze()))
        };
        effect(Site::Http, &key, async {
            tokio::time::timeout(endpoint.timeout, exchange).await.unwrap_or(Err(HttpError::Timeout(endpoint.timeout)))
        })
        .await
    }

    /// Sends a request; the body of the answer arrives in pieces and is not bounded. The timeout holds for the headers.
    pub async fn stream(
        &self,
        request: http::Request<Bytes>,
        endpoint: &Endpoint,
    ) -> Result<http::Response<Body>, HttpError> {
        let key = SiteKey::of(&request);
        effect(Site::Http, &key, async {
            tokio::time::timeout(endpoint.timeout, self.exchange(request, endpoint))
                .await
                .unwrap_or(Err(HttpError::Timeout(endpoint.timeout)))
        })
        .await
    }

    /// [`Http::stream`] to servers that are talked to in one way, as a function that owns what it needs.
    pub fn streaming(
        &self,
        endpoint: Endpoint,
    ) -> impl Fn(http::Request<Bytes>) -> BoxFuture<'static, Result<http::Response<Body>, HttpError>> + Send + Sync + 'static
    {
        let (http, endpoint) = (self.clone(), Arc::new(endpoint));
        move |request| {
            let (http, endpoint) = (http.clone(), endpoint.clone());
            Box::pin(async move { http.stream(request, &endpoint).await })
        }
    }

    async fn exchange(
        &self,
        mut request: http::Request<Bytes>,
        endpoint: &Endpoint,
    ) -> Result<http::Response<Body>, HttpError> {
        login::take(&mut request);
        let clients = match &self.way {
            Way::Handler(handler) => {
                let answer = handler(request).await?;
                return Ok(answer.map(|body| futures::stream::once(async { Ok(body) }).boxed()));
            }
            Way::Network { plain: Some(plain), .. } if is_plain(&request, endpoint) => {
                return plain.send(request).await;
            }
            Way::Network { others, .. } => others,
        };
        let client = self.client(clients, endpoint)?;
        let request = reqwest::Request::try_from(request).map_err(|error| unreachable(&error))?;
        let answer: http::Response<reqwest::Body> =
            client.execute(request).await.map_err(|error| unreachable(&error))?.into();
        Ok(answer.map(|body| pieces(body, unreachable)))
    }

    fn client(
        &self,
        clients: &Mutex<HashMap<Settings, reqwest::Client>>,
        endpoint: &Endpoint,
    ) -> Result<reqwest::Client, HttpError> {
        let settings = Settings {
            ca: endpoint.ca.clone(),
            identity: endpoint.identity.clone(),
            proxy: endpoint.proxy.clone(),
            insecure_skip_verify: endpoint.insecure_skip_verify,
        };
        let mut clients = clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&settings) {
            return Ok(client.clone());
        }
        let client = build(&self.user_agent, &settings)?;
        clients.insert(settings, client.clone());
        Ok(client)
    }
}

/// A body of hyper's as its pieces of data.
fn pieces<B>(body: B, failed: fn(&B::Error) -> HttpError) -> Body
where
    B: http_body_util::BodyExt<Data = Bytes> + Send + 'static,
    B::Error: Send,
{
    let frames = http_body_util::BodyStream::new(body).filter_map(move |frame| async move {
        match frame {
            Ok(frame) => frame.into_data().ok().map(Ok),
            Err(error) => Some(Err(failed(&error))),
        }
    });
    frames.boxed()
}

/// Whether a request goes to its server in plain text.
fn is_plain(request: &http::Request<Bytes>, endpoint: &Endpoint) -> bool {
    request.uri().scheme() == Some(&http::uri::Scheme::HTTP) && endpoint.proxy.is_none()
}

/// Whether the environment names a proxy for plain HTTP.
fn has_proxy_variable() -> bool {
    ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"].iter().any(|name| std::env::var_os(name).is_some())
}

fn build(user_agent: &str, settings: &Settings) -> Result<reqwest::Client, HttpError> {
    let invalid = |error: reqwest::Error| HttpError::Settings(chain(&error));
    let mut builder = reqwest::Client::builder()
        .user_agent(user_agent)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(KEPT)
        .tls_danger_accept_invalid_certs(settings.insecure_skip_verify);
    let identity = settings.identity.as_deref();
    match settings.ca.as_deref().filter(|_| !settings.insecure_skip_verify) {
        Some(ca) => {
            let tls = trust::client(Some(ca), identity).map_err(|error| HttpError::Settings(error.to_string()))?;
            builder = builder.tls_backend_preconfigured(tls);
        }
        None => {
            if let Some(identity) = identity {
                builder = builder.identity(reqwest::Identity::from_pem(identity).map_err(invalid)?);
            }
        }
    }
    if let Some(proxy) = &settings.proxy {
        builder = builder.proxy(reqwest::Proxy::all(proxy).map_err(invalid)?);
    }
    builder.build().map_err(invalid)
}

/// Method, host and path of a request: enough to tell effects apart, and free of secrets.
struct SiteKey(http::Method, http::Uri);

impl SiteKey {
    fn of(request: &http::Request<Bytes>) -> Self {
        Self(request.method().clone(), request.uri().clone())
    }
}

impl std::fmt::Display for SiteKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}{}", self.0, self.1.host().unwrap_or_default(), self.1.path())
    }
}

fn unreachable(error: &reqwest::Error) -> HttpError {
    HttpError::Unreachable(chain(error))
}

/// The error with its causes, without the URL, which may carry credentials.
fn chain(error: &reqwest::Error) -> String {
    match std::error::Error::source(error).map(causes).unwrap_or_default().as_str() {
        "" if error.is_timeout() => "timed out".into(),
        "" if error.is_builder() => "the request is malformed".into(),
        "" => "the connection broke".into(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
