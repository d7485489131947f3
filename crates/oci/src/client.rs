//! One request to a registry: scheme, authorization, redirects, retries. Nothing here knows what is asked for.
//! Source: `reference/image-automation.md`, sections 4.2 and 4.4.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::future::{self, Either};
use http::{HeaderMap, Method, StatusCode, header};
use url::Url;

use crate::{
    Body, Credential, Error, Name, Repository, Result, Transport,
    challenge::{self, Demand},
    name::Scheme,
    transport, words,
};

/// Waits between the three tries.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
/// A registry that asks for a longer pause gets it from the caller's schedule, not from a request that hangs.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 10;
const ERROR_BODY_LIMIT_BYTES: usize = 64 << 10;
/// How long HTTPS is alone before plain HTTP joins, where both are allowed.
const PLAIN_JOINS_AFTER: Duration = Duration::from_millis(300);

/// A client for any number of registries. Clones share what was learnt: schemes, challenges, tokens.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) transport: Transport,
    pub(crate) memory: Arc<Mutex<Memory>>,
}

/// What earlier requests learnt.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) doors: HashMap<(String, Scheme), Door>,
    /// By token server, service, scopes and credential.
    pub(crate) tokens: HashMap<[u8; 32], String>,
}

/// How a registry is entered.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    /// Scheme, host and port.
    pub(crate) base: Url,
    pub(crate) demand: Demand,
}

/// A request as a value.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// An answer, and the address it came from.
pub(crate) struct Answer {
    pub(crate) request: String,
    pub(crate) url: Url,
    pub(crate) response: http::Response<Body>,
}

impl Client {
    /// A client that sends through the transport.
    pub fn new(transport: Transport) -> Self {
        Self { transport, memory: Arc::default() }
    }

    /// A repository, entered with this credential.
    pub fn repository(&self, name: &Name, credential: Option<Credential>) -> Repository {
        Repository { client: self.clone(), name: name.clone(), credential }
    }

    pub(crate) fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries up to three times while the failure may pass, at the registry's pace.
    pub(crate) async fn retrying<T, F: Future<Output = Result<T>>>(&self, act: impl Fn() -> F) -> Result<T> {
        for wait in WAITS {
            match act().await {
                Err(error) if error.is_transient() => {
                    let wait = error.retry_after().unwrap_or(wait);
                    if wait > LONGEST_PAUSE {
                        return Err(error);
                    }
                    tracing::debug!(%error, ?wait, "asking the registry again");
                    self.transport.sleep(wait).await;
                }
                outcome => return outcome,
            }
        }
        act().await
    }

    /// How to enter the registry, asked once: `GET /v2/`.
    pub(crate) async fn door(&self, name: &Name) -> Result<Door> {
        let key = (name.registry().to_owned(), name.scheme());
        if let Some(door) = self.memory().doors.get(&key) {
            return Ok(door.clone());
        }
        let secure = self.ping(name, Scheme::Https);
        let door = match name.scheme() {
            Scheme::Https => secure.await?,
            Scheme::Http => {
                first_good(secure, self.transport.sleep(PLAIN_JOINS_AFTER), self.ping(name, Scheme::Http)).await?
            }
        };
        self.memory().doors.insert(key, door.clone());
        Ok(door)
    }

    /// Forgets how to enter, so that a registry that moved to HTTPS or changed its login is found again.
    pub(crate) fn forget(&self, name: &Name) {
        self.memory().doors.remove(&(name.registry().to_owned(), name.scheme()));
    }

    async fn ping(&self, name: &Name, scheme: Scheme) -> Result<Door> {
        let address = format!("{}://{}", scheme.as_str(), name.registry());
        let base = Url::parse(&address).map_err(|_| Error::protocol(format!("GET {address}/v2/"), "not an address"))?;
        let call = Call::get(base.join("/v2/").map_err(|_| Error::protocol(&address, "not an address"))?);
        let answer = self.follow(call, None, |_| Ok(())).await?;
        let demand = match answer.response.status() {
            StatusCode::OK => Demand::Open,
            StatusCode::UNAUTHORIZED => answer.demand().ok_or_else(|| {
                Error::protocol(&answer.request, "the registry asks for a login that is neither Basic nor Bearer")
            })?,
            _ => return Err(answer.into_error().await),
        };
        Ok(Door { base, demand })
    }

    /// Sends, and follows redirects. `authorization` goes to the call's own server only; each next address must pass `allowed`.
    pub(crate) async fn follow(
        &self,
        mut call: Call,
        authorization: Option<&str>,
        allowed: impl Fn(&Url) -> Result<(), &'static str>,
    ) -> Result<Answer> {
        let home = call.url.origin();
        for _ in 0..=MAX_REDIRECTS {
            let request = call.label();
            let own = authorization.filter(|_| call.url.origin() == home);
            let response = self
                .transport
                .send(call.request(own)?)
                .await
                .map_err(|source| Error::Transport { request: request.clone(), source })?;
            let location = response.headers().get(header::LOCATION).filter(|_| is_redirect(response.status()));
            let Some(location) = location else { return Ok(Answer { request, url: call.url, response }) };
            let next = location.to_str().ok().and_then(|location| call.url.join(location).ok());
            let next = next.ok_or_else(|| Error::protocol(&request, "the redirect leads nowhere"))?;
            let problem = match (call.url.scheme(), next.scheme()) {
                ("https", "http") => Err("refused a redirect from HTTPS to HTTP"),
                (_, "http" | "https") if !call.body.is_empty() && next.origin() != home => {
                    Err("refused to send a body to another server")
                }
                (_, "http" | "https") => allowed(&next),
                _ => Err("the redirect leads to a scheme that is not HTTP"),
            };
            problem.map_err(|problem| Error::protocol(&request, problem))?;
            if matches!(response.status().as_u16(), 301..=303) && !matches!(call.method, Method::GET | Method::HEAD) {
                call.method = Method::GET;
                call.body = Bytes::new();
            }
            call.url = next;
        }
        Err(Error::protocol(call.label(), format!("stopped after {MAX_REDIRECTS} redirects")))
    }
}

/// HTTPS alone at first; plain HTTP joins when HTTPS has failed or is slow. The first good answer wins. Where there is none,
/// both errors are told: that of HTTPS is mostly the one that matters.
async fn first_good<T>(
    secure: impl Future<Output = Result<T>>,
    delay: impl Future<Output = ()>,
    plain: impl Future<Output = Result<T>>,
) -> Result<T> {
    let (secure, delay, plain) = (Box::pin(secure), Box::pin(delay), Box::pin(plain));
    let secure = match future::select(secure, delay).await {
        Either::Left((Ok(door), _)) => return Ok(door),
        Either::Left((Err(error), _)) => return plain.await.map_err(|plain| Error::both(error, plain)),
        Either::Right(((), secure)) => secure,
    };
    match future::select(secure, plain).await {
        Either::Left((Ok(door), _)) | Either::Right((Ok(door), _)) => Ok(door),
        Either::Left((Err(error), plain)) => plain.await.map_err(|plain| Error::both(error, plain)),
        Either::Right((Err(plain), secure)) => secure.await.map_err(|error| Error::both(error, plain)),
    }
}

impl Call {
    pub(crate) fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// Method and address without user, password and query, but for the query of a page of tags: what a message may show.
    pub(crate) fn label(&self) -> String {
        let is_page = self.url.query_pairs().all(|(key, _)| matches!(key.as_ref(), "n" | "last"));
        let query = self.url.query().filter(|_| is_page).map(|query| format!("?{query}")).unwrap_or_default();
        format!("{} {}{}{query}", self.method, self.url.origin().ascii_serialization(), self.url.path())
    }

    fn request(&self, authorization: Option<&str>) -> Result<http::Request<Bytes>> {
        let mut url = self.url.clone();
        // Credentials in an address would travel with redirects.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        url.set_fragment(None);
        let mut request = http::Request::new(self.body.clone());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = url.as_str().parse().map_err(|_| Error::protocol(self.label(), "not an address"))?;
        *request.headers_mut() = self.headers.clone();
        if let Some(value) = authorization {
            let mut value = header::HeaderValue::from_str(value)
                .map_err(|_| Error::Credentials("a credential holds a line break".into()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        Ok(request)
    }
}

impl Answer {
    pub(crate) fn demand(&self) -> Option<Demand> {
        let values = self.response.headers().get_all(header::WWW_AUTHENTICATE);
        challenge::demand(values.iter().filter_map(|value| value.to_str().ok()))
    }

    /// The answer if its status is one of these, else the error it tells of.
    pub(crate) async fn expect(self, statuses: &[StatusCode]) -> Result<Self> {
        if statuses.contains(&self.response.status()) { Ok(self) } else { Err(self.into_error().await) }
    }

    /// The whole body.
    pub(crate) async fn collect(self, limit_bytes: usize) -> Result<(HeaderMap, Bytes)> {
        let (parts, body) = self.response.into_parts();
        let bytes = transport::collect(body, limit_bytes).await;
        Ok((parts.headers, bytes.map_err(|source| Error::Transport { request: self.request, source })?))
    }

    pub(crate) async fn into_error(self) -> Error {
        let (parts, body) = self.response.into_parts();
        let bytes = transport::collect(body, ERROR_BODY_LIMIT_BYTES).await.unwrap_or_default();
        let detail = words::of(parts.status, &parts.headers, &bytes);
        Error::Status { request: self.request, status: parts.status, detail, retry_after: retry_after(&parts.headers) }
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// `Retry-After`, in seconds or as a date, which is compared with the answer's own `Date`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    let value = text(header::RETRY_AFTER)?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text| jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp());
    let pause = date(value)?.duration_since(date(text(header::DATE)?)?);
    Some(pause.try_into().unwrap_or_default())
}

/// Whether the host is an address of this machine or of a private network.
pub(crate) fn is_private_address(url: &Url) -> bool {
    let address = match url.host() {
        Some(url::Host::Ipv4(address)) => IpAddr::V4(address),
        Some(url::Host::Ipv6(address)) => address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4),
        Some(url::Host::Domain(domain)) => return domain == "localhost" || domain.ends_with(".localhost"),
        None => return true,
    };
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let headers = |entries: &[(&'static str, &'static str)]| {
            entries
                .iter()
                .map(|(name, value)| (header::HeaderName::from_static(name), header::HeaderValue::from_static(value)))
                .collect::<HeaderMap>()
        };
        let now = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for (entries, expected) in [
            (vec![("retry-after", "7")], Some(7)),
            (vec![now, ("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")], Some(60)),
            (vec![now, ("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")], Some(0)),
            (vec![("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")], None),
            (vec![("retry-after", "-3")], None),
            (vec![], None),
        ] {
            assert_eq!(retry_after(&headers(&entries)), expected.map(Duration::from_secs), "{entries:?}");
        }
    }

    #[test]
    fn labels_show_no_secrets() {
        let url = Url::parse("https://me:secret@r.example/v2/x?signature=secret").unwrap();
        assert_eq!(Call::get(url).label(), "GET https://r.example/v2/x");
        let page = Url::parse("https://r.example/v2/x/tags/list?n=1000&last=b").unwrap();
        assert_eq!(Call::get(page).label(), "GET https://r.example/v2/x/tags/list?n=1000&last=b");
    }

    #[test]
    fn private_addresses_are_recognised_in_every_spelling() {
        let check = |host: &str| is_private_address(&Url::parse(&format!("https://{host}/t")).unwrap());
        for host in [
            "127.0.0.1",
            "2130706433",
            "10.0.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "[::1]",
            "[::ffff:10.0.0.1]",
            "[fe80::1]",
            "[fd00::1]",
            "localhost",
        ] {
            assert!(check(host), "{host}");
        }
        for host in ["auth.docker.io", "8.8.8.8", "[2606:4700::1]"] {
            assert!(!check(host), "{host}");
        }
    }
}
