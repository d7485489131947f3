//! What filters do to the head of a request or response. Pure.
//!
//! Source: Gateway API v1 `HTTPRouteFilter`.

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode, Uri,
    uri::{InvalidUri, PathAndQuery},
};

use super::table::ServicePort;

/// Changes of header fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChange {
    /// Fields that replace all of their name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Fields that are added.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Fields that are taken away.
    pub remove: Vec<HeaderName>,
}

impl HeaderChange {
    /// Makes the changes.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name.clone(), value.clone());
        }
        for name in &self.remove {
            headers.remove(name);
        }
    }
}

/// How a path is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathChange {
    /// By this path.
    Full(String),
    /// The prefix that matched, by this one.
    Prefix(String),
}

impl PathChange {
    /// The new path. The query is no part of it.
    pub fn apply(&self, path: &str, matched_prefix: Option<&str>) -> String {
        match self {
            Self::Full(new) => new.clone(),
            Self::Prefix(new) => {
                let rest = matched_prefix.and_then(|prefix| path.strip_prefix(prefix)).unwrap_or(path);
                let joined = match (new.ends_with('/'), rest.strip_prefix('/')) {
                    (true, Some(rest)) => format!("{new}{rest}"),
                    _ => format!("{new}{rest}"),
                };
                if joined.starts_with('/') { joined } else { format!("/{joined}") }
            }
        }
    }
}

/// `URLRewrite`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// The new `Host`.
    pub hostname: Option<HeaderValue>,
    /// The new path.
    pub path: Option<PathChange>,
}

/// `RequestRedirect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// `http` or `https`; absent means that of the request.
    pub scheme: Option<String>,
    /// Absent means that of the request.
    pub hostname: Option<String>,
    /// Absent means the path of the request.
    pub path: Option<PathChange>,
    /// Absent means the well-known port of a given scheme, else the port of the listener.
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

impl Redirect {
    /// The value of `Location` for a request that came over HTTP to the port.
    pub fn location(&self, host: &str, port: u16, uri: &Uri, matched_prefix: Option<&str>) -> String {
        let scheme = self.scheme.as_deref().unwrap_or("http");
        let well_known = if scheme == "https" { 443 } else { 80 };
        let port = self.port.unwrap_or(if self.scheme.is_some() { well_known } else { port });
        let port = if port == well_known { String::new() } else { format!(":{port}") };
        let path = match &self.path {
            Some(change) => change.apply(uri.path(), matched_prefix),
            None => uri.path().to_owned(),
        };
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{scheme}://{}{port}{path}{query}", self.hostname.as_deref().unwrap_or(host))
    }
}

/// `RequestMirror`: a copy whose answer nobody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Where the copy goes.
    pub service: ServicePort,
    /// Share of requests that are copied: `numerator` of `denominator`.
    pub numerator: u32,
    /// Greater than 0.
    pub denominator: u32,
}

impl Mirror {
    /// Whether the request with that number, counted from 0, is copied. Exact within every `denominator` requests.
    pub fn takes(&self, number: u64) -> bool {
        let (numerator, denominator) = (u64::from(self.numerator), u64::from(self.denominator).max(1));
        (number % denominator * numerator) % denominator + numerator >= denominator && numerator > 0
    }
}

/// The filters of a rule or of a backend. A kind of filter occurs once, mirrors excepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// `RequestHeaderModifier`.
    pub request: HeaderChange,
    /// `ResponseHeaderModifier`.
    pub response: HeaderChange,
    /// `URLRewrite`.
    pub rewrite: Rewrite,
    /// `RequestRedirect`.
    pub redirect: Option<Redirect>,
    /// `RequestMirror`.
    pub mirrors: Vec<Mirror>,
}

impl Filters {
    /// The path and query that a backend gets.
    pub fn path_and_query(&self, uri: &Uri, matched_prefix: Option<&str>) -> Result<PathAndQuery, InvalidUri> {
        match (&self.rewrite.path, uri.path_and_query()) {
            (None, Some(same)) => Ok(same.clone()),
            (None, None) => Ok(PathAndQuery::from_static("/")),
            (Some(change), _) => {
                let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
                format!("{}{query}", change.apply(uri.path(), matched_prefix)).parse()
            }
        }
    }
}

/// Fields that concern one connection only and are never passed on. Source: RFC 9110 section 7.6.1.
const HOP_BY_HOP: [HeaderName; 8] = [
    http::header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    http::header::PROXY_AUTHENTICATE,
    http::header::PROXY_AUTHORIZATION,
    http::header::TE,
    http::header::TRANSFER_ENCODING,
    http::header::UPGRADE,
];

/// Takes away the fields of one connection, and those that `Connection` names.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(http::header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(http::header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_replaced_as_the_gateway_api_says() {
        // Source: the table in Gateway API v1 `HTTPPathModifier.replacePrefixMatch`.
        for (path, prefix, replacement, expected) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/", "/foo", "/xyz/", "/xyz/"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo", "/foo", "/xyz/", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/bar", "/foo", "/", "/bar"),
            ("/foo", "/foo", "", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/bar", "", "/xyz", "/xyz/bar"),
        ] {
            let new = PathChange::Prefix(replacement.into()).apply(path, Some(prefix));
            assert_eq!(new, expected, "{path} {prefix} {replacement}");
        }
    }

    #[test]
    fn redirects_leave_well_known_ports_out() {
        let redirect = |scheme: Option<&str>, port| Redirect {
            scheme: scheme.map(str::to_owned),
            hostname: Some("b.com".into()),
            path: None,
            port,
            status: StatusCode::FOUND,
        };
        let uri = Uri::from_static("/a?b=c");
        for (scheme, port, expected) in [
            (None, None, "http://b.com:8080/a?b=c"),
            (Some("https"), None, "https://b.com/a?b=c"),
            (Some("http"), None, "http://b.com/a?b=c"),
            (Some("https"), Some(8443), "https://b.com:8443/a?b=c"),
            (None, Some(80), "http://b.com/a?b=c"),
        ] {
            assert_eq!(redirect(scheme, port).location("a.com", 8080, &uri, None), expected);
        }
    }

    #[test]
    fn fields_of_the_connection_are_not_passed_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("connection", "close, X-Own"), ("x-own", "1"), ("te", "trailers"), ("x-kept", "1")] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-kept"]);
    }

    #[test]
    fn mirrors_take_their_exact_share() {
        let service = ServicePort { namespace: "a".into(), service: "b".into(), port: 80 };
        for (numerator, denominator) in [(0, 100), (1, 100), (33, 100), (100, 100), (2, 3), (1, 1)] {
            let mirror = Mirror { service: service.clone(), numerator, denominator };
            let taken = (0..u64::from(denominator) * 3).filter(|number| mirror.takes(*number)).count();
            assert_eq!(taken, numerator as usize * 3, "{numerator}/{denominator}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_new_path_is_always_absolute(path in "/[a/]{0,6}", prefix in "(/a)?", new in "[/a-z]{0,6}") {
            proptest::prop_assert!(PathChange::Prefix(new).apply(&path, Some(&prefix)).starts_with('/'));
        }
    }
}
