//! Who may look, and from where: a page of somebody else's must not reach through a visitor's browser.
//!
//! On loopback the `Host` has to be this machine's (or the external URL's): a name that its owner points at 127.0.0.1
//! tomorrow is no name of ours. No answer may be framed, sniffed or scripted from elsewhere.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{Options, answer::Refusal};

const POLICY: &str =
    "default-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

/// Which hosts are ours.
#[derive(Clone, Debug)]
pub struct Guard(Arc<Hosts>);

#[derive(Debug)]
struct Hosts {
    is_loopback: bool,
    external: Option<String>,
}

impl Guard {
    /// For a server at that address.
    pub fn new(options: &Options, address: SocketAddr) -> Self {
        let external = options.external_url.as_deref().and_then(|url| url.parse::<http::Uri>().ok());
        let external = external.and_then(|url| url.host().map(str::to_lowercase));
        Self(Arc::new(Hosts { is_loopback: address.ip().is_loopback(), external }))
    }

    /// Whether only this machine can connect.
    pub fn is_loopback(&self) -> bool {
        self.0.is_loopback
    }

    fn takes(&self, headers: &HeaderMap) -> bool {
        if !self.0.is_loopback {
            return true;
        }
        let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
        let name = name_of(host);
        name == "localhost"
            || self.0.external.as_deref() == Some(name.as_str())
            || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// The host without port and brackets.
fn name_of(host: &str) -> String {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.to_lowercase()
}

/// Whether a request that changes something was made by a page of ours, or by no page.
pub fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if text(header::HeaderName::from_static("sec-fetch-site")).is_some_and(|site| site != "same-origin") {
        return false;
    }
    match text(header::ORIGIN) {
        None => true,
        Some(origin) => {
            let host = origin.split_once("://").map(|(_, host)| host.to_lowercase());
            host.is_some() && host == text(header::HOST).map(str::to_lowercase)
        }
    }
}

/// Refuses foreign hosts; every answer says how browsers have to treat it.
pub async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = match guard.takes(request.headers()) {
        true => next.run(request).await,
        false => Refusal::new(StatusCode::MISDIRECTED_REQUEST, "this host name is not the dashboard's")
            .with_hint("name it with --external-url")
            .into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn on_loopback_only_this_machine_is_meant() {
        let guard = |address: &str| {
            let external_url = Some("https://slipway.example/x".to_owned());
            let mode = crate::args::run::Dashboard::Read;
            let options = Options { mode, tokens: None, external_url, cluster: String::new() };
            Guard::new(&options, address.parse().expect("an address"))
        };
        for (host, expected) in [
            ("127.0.0.1:8080", true),
            ("localhost", true),
            ("LOCALHOST:1", true),
            ("[::1]:8080", true),
            ("slipway.example", true),
            ("evil.example:8080", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example", false),
        ] {
            assert_eq!(guard("127.0.0.1:8080").takes(&headers(&[("host", host)])), expected, "{host}");
            assert!(guard("0.0.0.0:8080").takes(&headers(&[("host", host)])));
        }
        assert!(!guard("127.0.0.1:8080").takes(&HeaderMap::new()));
    }

    #[test]
    fn pages_of_others_change_nothing() {
        for (pairs, expected) in [
            (&[("host", "a:1")][..], true),
            (&[("host", "a:1"), ("origin", "http://a:1")], true),
            (&[("host", "a:1"), ("origin", "http://a:2")], false),
            (&[("host", "a:1"), ("origin", "null")], false),
            (&[("host", "a:1"), ("origin", "http://a:1"), ("sec-fetch-site", "cross-site")], false),
            (&[("host", "a:1"), ("origin", "http://a:1"), ("sec-fetch-site", "same-origin")], true),
        ] {
            assert_eq!(is_same_origin(&headers(pairs)), expected, "{pairs:?}");
        }
    }
}
