//! One repository's server: smart HTTP over a kept connection, `ssh`, or the local `git` program.
//!
//! Credentials are sent at once, to the host of the URL only. As in Git (`http.followRedirects=initial`), only the first
//! request of a conversation may be redirected; a redirect to another host goes on without credentials.

use std::{
    io::Read,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::Engine as _;
use reqwest::{
    Url,
    blocking::{Client, RequestBuilder, Response},
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION},
};

use crate::{
    Credentials, Error, Remote,
    error::causes,
    local,
    remote::{Location, Transport, redact},
    ssh::Ssh,
};

/// What a Git server is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Give.
    UploadPack,
    /// Take.
    ReceivePack,
}

impl Service {
    /// The command of `git` that does it.
    pub fn verb(self) -> &'static str {
        match self {
            Self::UploadPack => "upload-pack",
            Self::ReceivePack => "receive-pack",
        }
    }
}

/// The bytes of an answer.
pub(crate) type Answer = Box<dyn Read + Send>;

/// A server as seen from one remote.
pub(crate) struct Connection {
    /// The repository in messages: no secret in it.
    pub name: String,
    location: Location,
    way: Way,
    authorization: Option<String>,
    timeout: Duration,
    /// Where a redirect led, and whether that place may see the credentials.
    moved: Mutex<Option<(String, Trust)>>,
}

/// How the server is reached.
enum Way {
    Http(Client),
    Ssh(Ssh),
    File,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    SameHost,
    OtherHost,
}

const REDIRECTS: usize = 5;

impl Connection {
    /// Reads the remote. Nothing is sent yet.
    pub fn new(remote: &Remote, clients: &Clients) -> Result<Arc<Self>, Error> {
        let location = Location::parse(remote)?;
        let name = match location.transport {
            Transport::Http => redact(&location.address),
            Transport::Ssh(_) => location.address.clone(),
            Transport::File => format!("file://{}", location.address),
        };
        let way = match (&location.transport, &remote.credentials) {
            (Transport::Http, _) => Way::Http(clients.get(remote, &name)?),
            (Transport::Ssh(place), Credentials::Ssh { identity, known_hosts, passphrase }) => {
                let passphrase = passphrase.as_deref();
                Way::Ssh(Ssh::new(place.clone(), identity, known_hosts, passphrase, remote.timeout)?)
            }
            (Transport::Ssh(_), _) => {
                let cause = "invalid 'ssh' auth option: 'identity' is required".to_owned();
                return Err(Error::Client { url: name, cause });
            }
            (Transport::File, _) => Way::File,
        };
        let credentials = match &remote.credentials {
            Credentials::None => &location.credentials,
            given => given,
        };
        let authorization = match credentials {
            // An app that was not logged in is as good as nobody.
            Credentials::None | Credentials::Ssh { .. } | Credentials::GithubApp(_) => None,
            Credentials::Basic { username, password } => {
                let pair = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
                Some(format!("Basic {pair}"))
            }
            Credentials::Bearer(token) => Some(format!("Bearer {token}")),
        };
        let moved = Mutex::new(None);
        Ok(Arc::new(Self { name, location, way, authorization, timeout: remote.timeout, moved }))
    }

    /// Asks what `service` offers.
    pub fn advertisement(&self, service: Service) -> Result<Answer, Error> {
        let client = match &self.way {
            Way::Http(client) => client,
            Way::Ssh(ssh) => return Ok(Box::new(ssh.advertisement(service)?)),
            Way::File => return Ok(Box::new(local::advertisement(&self.location.address, service)?)),
        };
        let suffix = format!("/info/refs?service=git-{}", service.verb());
        let mut base = self.location.address.clone();
        let mut trust = Trust::SameHost;
        for _ in 0..=REDIRECTS {
            let mut request = client.get(format!("{base}{suffix}")).header(ACCEPT, "*/*");
            if service == Service::UploadPack {
                request = request.header("Git-Protocol", "version=2");
            }
            let answer = self.send(request, trust)?;
            if !answer.status().is_redirection() {
                self.remember(&base, trust);
                let kind = format!("application/x-git-{}-advertisement", service.verb());
                return self.body(answer, &kind);
            }
            (base, trust) = self.redirect(&base, &suffix, &answer, trust)?;
        }
        Err(self.protocol("too many redirects"))
    }

    /// Sends one request to `service`, and returns its answer.
    pub fn request(&self, service: Service, body: Vec<u8>) -> Result<Answer, Error> {
        let client = match &self.way {
            Way::Http(client) => client,
            Way::Ssh(ssh) => return Ok(Box::new(ssh.request(service, &body)?)),
            Way::File => return Ok(Box::new(local::request(&self.location.address, service, &body)?)),
        };
        let moved = self.moved.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let (base, trust) = moved.unwrap_or_else(|| (self.location.address.clone(), Trust::SameHost));
        let verb = service.verb();
        let kind = format!("application/x-git-{verb}-result");
        let mut request = client
            .post(format!("{base}/git-{verb}"))
            .header(CONTENT_TYPE, format!("application/x-git-{verb}-request"))
            .header(ACCEPT, &kind)
            .body(body);
        if service == Service::UploadPack {
            request = request.header("Git-Protocol", "version=2");
        }
        let answer = self.send(request, trust)?;
        self.body(answer, &kind)
    }

    /// Nothing more is wanted of an answer. Over HTTP the rest is read aside, so that the connection can be used again.
    pub fn leave(&self, mut rest: impl Read + Send + 'static) {
        // What could not be read was not wanted.
        let mut read = move || drop(std::io::copy(&mut rest, &mut std::io::sink()));
        if matches!(self.way, Way::Http(_)) {
            // Without a thread the connection is closed, that is all.
            let _ = std::thread::Builder::new().name("git-rest".to_owned()).spawn(read);
        } else {
            read();
        }
    }

    /// The conversation is over for now: what only waits for its next word is ended.
    pub fn rest(&self) {
        if let Way::Ssh(ssh) = &self.way {
            ssh.rest();
        }
    }

    /// An answer that is not what a Git server says.
    pub fn protocol(&self, what: impl Into<String>) -> Error {
        Error::Protocol { url: self.name.clone(), what: what.into() }
    }

    /// Reading an answer failed half-way.
    pub fn broken(&self, error: &std::io::Error) -> Error {
        match error.kind() {
            std::io::ErrorKind::InvalidData => self.protocol(causes(error)),
            std::io::ErrorKind::UnexpectedEof => self.protocol("it ends too early"),
            _ => Error::Request { url: self.name.clone(), cause: causes(error) },
        }
    }

    fn send(&self, mut request: RequestBuilder, trust: Trust) -> Result<Response, Error> {
        if let (Some(authorization), Trust::SameHost) = (&self.authorization, trust) {
            let mut value = reqwest::header::HeaderValue::from_str(authorization).map_err(|_| Error::Client {
                url: self.name.clone(),
                cause: "the credentials hold a character that a header cannot carry".to_owned(),
            })?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request.timeout(self.timeout).send().map_err(|error| Error::Request {
            url: self.name.clone(),
            cause: match error.is_timeout() {
                true => format!("no answer within {:?}", self.timeout),
                false => causes(&error.without_url()),
            },
        })
    }

    fn body(&self, answer: Response, kind: &str) -> Result<Answer, Error> {
        let url = self.name.clone();
        match answer.status().as_u16() {
            200 => {}
            status @ (401 | 403) => return Err(Error::AuthenticationFailed { url, status }),
            404 | 410 => return Err(Error::RepositoryNotFound { url }),
            status => return Err(Error::Status { url, status }),
        }
        let given = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if given.split(';').next().map(str::trim) != Some(kind) {
            return Err(self.protocol(format!("expected {kind}, got '{given}': not a Git server, or one too old")));
        }
        Ok(Box::new(answer))
    }

    fn redirect(&self, base: &str, suffix: &str, answer: &Response, trust: Trust) -> Result<(String, Trust), Error> {
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let refused = || Error::Redirect { url: self.name.clone(), to: redact(location) };
        let from = Url::parse(base).map_err(|_| refused())?;
        let to = Url::parse(&format!("{base}{suffix}")).and_then(|url| url.join(location)).map_err(|_| refused())?;
        // Never from https to http. User and password in a redirect are someone's attempt to be clever.
        let downgrade = from.scheme() == "https" && to.scheme() != "https";
        if downgrade || !matches!(to.scheme(), "http" | "https") || !to.username().is_empty() || to.password().is_some()
        {
            return Err(refused());
        }
        let next = to.as_str().strip_suffix(suffix).ok_or_else(refused)?.to_owned();
        let upgrade = from.scheme() == "http" && to.scheme() == "https" && from.port().is_none() && to.port().is_none();
        let same_port = from.scheme() == to.scheme() && from.port_or_known_default() == to.port_or_known_default();
        let same = from.host_str() == to.host_str() && (same_port || upgrade);
        Ok((next, if same { trust } else { Trust::OtherHost }))
    }

    fn remember(&self, base: &str, trust: Trust) {
        let moved = (base != self.location.address).then(|| (base.to_owned(), trust));
        *self.moved.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = moved;
    }
}

/// HTTP clients with their kept connections, one for each way to prove and to reach.
#[derive(Default)]
pub(crate) struct Clients {
    known: Mutex<Vec<(Settings, Client)>>,
}

#[derive(PartialEq, Eq)]
struct Settings {
    ca: Option<Vec<u8>>,
    identity: Option<Vec<u8>>,
    proxy: Option<String>,
    /// No TLS is spoken, neither to the server nor to a proxy.
    plain: bool,
}

impl Clients {
    /// So many different certificates and proxies are kept; beyond, the oldest client goes.
    const LIMIT: usize = 32;

    /// The client for a remote.
    pub fn get(&self, remote: &Remote, name: &str) -> Result<Client, Error> {
        let settings = Settings {
            ca: remote.ca.clone(),
            identity: remote.identity.clone(),
            proxy: remote.proxy.clone(),
            plain: name.starts_with("http://") && remote.proxy.is_none() && !has_proxy_variable(),
        };
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, client)) = known.iter().find(|(other, _)| *other == settings) {
            return Ok(client.clone());
        }
        let client = build(&settings).map_err(|cause| Error::Client { url: name.to_owned(), cause })?;
        if known.len() == Self::LIMIT {
            known.remove(0);
        }
        known.push((settings, client.clone()));
        Ok(client)
    }
}

/// Whether the environment names a proxy for plain HTTP, which may itself be spoken to over TLS.
fn has_proxy_variable() -> bool {
    ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"].iter().any(|name| std::env::var_os(name).is_some())
}

fn build(settings: &Settings) -> Result<Client, String> {
    let invalid = |error: reqwest::Error| causes(&error.without_url());
    // The binary installs the provider first thing; tests and examples need it too. A second attempt changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .tcp_nodelay(true)
        .timeout(None)
        .connect_timeout(Duration::from_secs(30))
        // Some servers tell Git from browsers by this name.
        .user_agent(concat!("git/slipway-", env!("CARGO_PKG_VERSION")));
    let identity = settings.identity.as_deref();
    match settings.ca.as_deref() {
        // No certificate will be met: the system's, which take a megabyte and milliseconds to read, are left alone.
        _ if settings.plain => builder = builder.tls_certs_only([]),
        Some(ca) => {
            let tls = trust::client(Some(ca), identity).map_err(|error| error.to_string())?;
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
