//! Whether a request matches a rule, and which of two matches is the more specific. Pure.
//!
//! Source: Gateway API v1 `HTTPRouteRule.matches` (precedence) and `HTTPRouteSpec.hostnames`.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, Method};
use regex::Regex;

/// What of a request is matched.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Host without port.
    pub host: &'a str,
    /// Path as sent, not decoded; begins with `/`.
    pub path: &'a str,
    /// Query string without `?`.
    pub query: Option<&'a str>,
    /// Request method.
    pub method: &'a Method,
    /// Request header fields.
    pub headers: &'a HeaderMap,
}

/// A hostname that requests are compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hostname {
    /// Any host.
    Any,
    /// Exactly this host, in lower case.
    Exact(String),
    /// `*.example.com`, kept as `.example.com`: one label or more in front.
    Wildcard(String),
}

impl Hostname {
    /// Reads `example.com`, `*.example.com`; an empty text is any host.
    pub fn parse(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        match text.strip_prefix('*') {
            _ if text.is_empty() => Self::Any,
            Some("") => Self::Any,
            Some(suffix) => Self::Wildcard(suffix.to_owned()),
            None => Self::Exact(text),
        }
    }

    /// Whether the host is meant. Letter case does not matter.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => name.eq_ignore_ascii_case(host),
            Self::Wildcard(suffix) => host
                .len()
                .checked_sub(suffix.len())
                .is_some_and(|at| at > 0 && host.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(suffix))),
        }
    }

    /// The hosts that both mean; `None` when there are none.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Any, host) | (host, Self::Any) => Some(host.clone()),
            (Self::Exact(name), host) | (host, Self::Exact(name)) => {
                host.matches(name).then(|| Self::Exact(name.clone()))
            }
            (Self::Wildcard(left), Self::Wildcard(right)) if left.ends_with(right.as_str()) => Some(self.clone()),
            (Self::Wildcard(left), Self::Wildcard(right)) if right.ends_with(left.as_str()) => Some(other.clone()),
            (Self::Wildcard(_), Self::Wildcard(_)) => None,
        }
    }

    /// Order of precedence: exact before wildcard, then the longer one; bigger comes first.
    pub fn rank(&self) -> (u8, usize) {
        match self {
            Self::Any => (0, 0),
            Self::Wildcard(suffix) => (1, suffix.len()),
            Self::Exact(name) => (2, name.len()),
        }
    }
}

/// How a path is compared.
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// Path segments at the beginning, kept without the final `/`; empty means every path.
    Prefix(String),
    /// An expression for the whole path.
    Regex(Regex),
}

impl PathMatch {
    /// A prefix; a final `/` does not matter. Source: Gateway API v1 `PathMatchPathPrefix`.
    pub fn prefix(text: &str) -> Self {
        Self::Prefix(text.trim_end_matches('/').to_owned())
    }

    /// Whether the path matches.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(whole) => whole == path,
            Self::Prefix(prefix) => {
                path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Regex(expression) => expression.is_match(path),
        }
    }

    fn rank(&self) -> (u8, usize) {
        match self {
            Self::Prefix(prefix) => (0, prefix.len()),
            Self::Regex(expression) => (1, expression.as_str().len()),
            Self::Exact(whole) => (2, whole.len()),
        }
    }
}

/// How the value of a header field or query parameter is compared.
#[derive(Clone, Debug)]
pub enum TextMatch {
    /// The whole value.
    Exact(String),
    /// An expression for the whole value.
    Regex(Regex),
}

impl TextMatch {
    /// Whether the value matches.
    pub fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(text) => text == value,
            Self::Regex(expression) => expression.is_match(value),
        }
    }
}

/// An expression that matches whole texts only, as Envoy reads them.
pub fn whole(expression: &str) -> Result<Regex, regex::Error> {
    Regex::new(&format!("^(?:{expression})$"))
}

/// One `matches` entry: all parts must match.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// The path.
    pub path: PathMatch,
    /// The method; absent means any.
    pub method: Option<Method>,
    /// Header fields.
    pub headers: Vec<(HeaderName, TextMatch)>,
    /// Query parameters.
    pub query: Vec<(String, TextMatch)>,
}

impl Default for Matcher {
    /// Every request.
    fn default() -> Self {
        Self { path: PathMatch::Prefix(String::new()), method: None, headers: Vec::new(), query: Vec::new() }
    }
}

impl Matcher {
    /// Whether the request matches.
    pub fn matches(&self, head: &Head<'_>) -> bool {
        self.method.as_ref().is_none_or(|method| method == head.method)
            && self.path.matches(head.path)
            && self.headers.iter().all(|(name, value)| header_matches(head.headers, name, value))
            && self.query.iter().all(|(name, value)| query_matches(head.query, name, value))
    }

    /// Order of precedence, bigger first: exact path, expression, longer prefix, method, more header fields, more query parameters.
    pub fn rank(&self) -> impl Ord + Copy + use<> {
        (self.path.rank(), self.method.is_some(), self.headers.len(), self.query.len())
    }
}

/// Any of the field's values matches.
fn header_matches(headers: &HeaderMap, name: &HeaderName, wanted: &TextMatch) -> bool {
    headers
        .get_all(name)
        .iter()
        .any(|value| std::str::from_utf8(value.as_bytes()).is_ok_and(|value| wanted.matches(value)))
}

/// The parameter's first value matches. Source: Gateway API v1 `HTTPQueryParamMatch`.
fn query_matches(query: Option<&str>, name: &str, wanted: &TextMatch) -> bool {
    query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(key, _)| decode(key) == name)
        .is_some_and(|(_, value)| wanted.matches(&decode(value)))
}

/// A part of a query string in plain text: `+` is a space, `%41` a byte. What is no escape stays as it is.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escape = (byte == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        decoded.push(match byte {
            b'+' => b' ',
            byte => escape.unwrap_or(byte),
        });
        at += if escape.is_some() { 3 } else { 1 };
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_at_segment_borders() {
        for (prefix, path, expected) in [
            ("/", "/", true),
            ("/", "/anything", true),
            ("/foo", "/foo", true),
            ("/foo", "/foo/", true),
            ("/foo/", "/foo", true),
            ("/foo", "/foo/bar", true),
            ("/foo", "/foobar", false),
            ("/foo", "/fo", false),
            ("/foo/bar", "/foo", false),
        ] {
            assert_eq!(PathMatch::prefix(prefix).matches(path), expected, "{prefix} {path}");
        }
    }

    #[test]
    fn wildcard_hosts_need_a_label_in_front() {
        for (name, host, expected) in [
            ("", "any.where", true),
            ("a.example.com", "A.Example.com", true),
            ("a.example.com", "b.example.com", false),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "b.a.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "aexample.com", false),
            ("*.example.com", "é.example.co", false),
        ] {
            assert_eq!(Hostname::parse(name).matches(host), expected, "{name} {host}");
        }
    }

    #[test]
    fn listener_and_route_hostnames_meet() {
        for (left, right, expected) in [
            ("", "a.com", Some("a.com")),
            ("*.com", "a.com", Some("a.com")),
            ("a.com", "*.com", Some("a.com")),
            ("*.com", "*.a.com", Some("*.a.com")),
            ("a.com", "b.com", None),
            ("*.a.com", "*.b.com", None),
            ("*.a.com", "a.com", None),
        ] {
            let met = Hostname::parse(left).intersection(&Hostname::parse(right));
            assert_eq!(met, expected.map(Hostname::parse), "{left} {right}");
        }
    }

    #[test]
    fn query_parameters_are_decoded_and_the_first_counts() {
        for (query, expected) in [
            (Some("animal=whale"), true),
            (Some("x=1&animal=wh%61le&animal=dolphin"), true),
            (Some("animal=dolphin&animal=whale"), false),
            (Some("anim%61l=whale"), true),
            (Some("animal"), false),
            (Some("animal=%"), false),
            (None, false),
        ] {
            assert_eq!(query_matches(query, "animal", &TextMatch::Exact("whale".into())), expected, "{query:?}");
        }
    }

    #[test]
    fn all_parts_of_a_match_count() {
        let matcher = Matcher {
            path: PathMatch::Exact("/a".into()),
            method: Some(Method::GET),
            headers: vec![(HeaderName::from_static("x-user"), TextMatch::Regex(whole("in.*r").unwrap()))],
            query: vec![],
        };
        let mut headers = HeaderMap::new();
        let matches = |headers: &HeaderMap, method: &Method, path: &str| {
            matcher.matches(&Head { host: "", path, query: None, method, headers })
        };
        assert!(!matches(&headers, &Method::GET, "/a"));
        headers.insert("x-user", "insider".parse().unwrap());
        assert!(matches(&headers, &Method::GET, "/a"));
        assert!(!matches(&headers, &Method::POST, "/a"));
        assert!(!matches(&headers, &Method::GET, "/a/"));
        headers.insert("x-user", "an insider".parse().unwrap());
        assert!(!matches(&headers, &Method::GET, "/a"), "expressions match whole values");
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(query in "\\PC{0,20}", host in "\\PC{0,20}", name in "\\PC{0,20}", path in "\\PC{0,20}") {
            let _ = query_matches(Some(&query), &name, &TextMatch::Exact(host.clone()));
            let _ = Hostname::parse(&name).matches(&host);
            let _ = Hostname::parse(&name).intersection(&Hostname::parse(&host));
            let _ = PathMatch::prefix(&name).matches(&path);
        }

        #[test]
        fn a_meeting_of_hostnames_is_what_both_match(left in "(\\*\\.)?[ab](\\.[ab]){0,2}", right in "(\\*\\.)?[ab](\\.[ab]){0,2}", host in "[ab](\\.[ab]){0,3}") {
            let (left, right) = (Hostname::parse(&left), Hostname::parse(&right));
            let both = left.matches(&host) && right.matches(&host);
            proptest::prop_assert_eq!(left.intersection(&right).is_some_and(|met| met.matches(&host)), both);
        }
    }
}
