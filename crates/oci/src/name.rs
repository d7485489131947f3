//! Image names as `spec.image` writes them: a repository in a registry, without scheme, tag or digest.
//! Source: fluxcd/image-reflector-controller debe2aa, which parses with go-containerregistry's `name` package.

use std::{fmt, net::Ipv4Addr, net::Ipv6Addr};

/// Docker Hub's name in canonical names.
pub const DOCKER_HUB: &str = "index.docker.io";

/// A repository in a registry. It prints as its canonical name, such as `index.docker.io/library/alpine`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    registry: String,
    repository: String,
    scheme: Scheme,
}

/// How a registry is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// Plain HTTP is allowed. HTTPS is still tried first.
    Http,
    /// Only HTTPS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Why a text is not an image name. The messages are Flux's, word for word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It has a URL scheme.
    #[error("image '{image}' should not include URL scheme; remove '{scheme}://'")]
    HasScheme {
        /// The text.
        image: String,
        /// What precedes the first `://`.
        scheme: String,
    },
    /// It has a tag or a digest.
    #[error("image '{image}' should not include a tag; remove ':{tag}'")]
    HasTag {
        /// The text.
        image: String,
        /// What follows the first colon of the repository's part.
        tag: String,
    },
    /// Its registry, repository, tag or digest breaks the grammar.
    #[error("could not parse reference: {0}")]
    Unparsable(String),
}

impl Name {
    /// Reads a name as `spec.image` writes it; a tag or digest is an error.
    pub fn parse(image: &str) -> Result<Self, NameError> {
        if let Some((scheme, _)) = image.split_once("://") {
            return Err(NameError::HasScheme { image: image.into(), scheme: scheme.into() });
        }
        let name = crate::Reference::parse(image)?.into_name();
        let path = image.strip_prefix(&name.registry).unwrap_or(image);
        match path.split(':').nth(1) {
            Some(tag) => Err(NameError::HasTag { image: image.into(), tag: tag.into() }),
            None => Ok(name),
        }
    }

    /// Reads a repository without tag and digest. `None` if registry or path break the grammar.
    pub(crate) fn repository_from(text: &str) -> Option<Self> {
        let (registry, path) = match text.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) => (host, path),
            _ => ("", text),
        };
        if !is_path(path) || !(registry.is_empty() || is_authority(registry)) {
            return None;
        }
        let registry = match registry {
            "" | "docker.io" => DOCKER_HUB,
            host => host,
        };
        let library = if registry == DOCKER_HUB && !path.contains('/') { "library/" } else { "" };
        let scheme = if is_local(registry) { Scheme::Http } else { Scheme::Https };
        Some(Self { registry: registry.into(), repository: format!("{library}{path}"), scheme })
    }

    /// The same name with plain HTTP allowed, as `insecure: true` asks.
    #[must_use]
    pub fn insecure(self) -> Self {
        Self { scheme: Scheme::Http, ..self }
    }

    /// Host and port of the registry.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path within the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Whether plain HTTP is allowed.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)
    }
}

/// Whether the text is a repository path: 2 to 255 characters of `a-z 0-9 _ - . /`.
fn is_path(path: &str) -> bool {
    (2..=255).contains(&path.chars().count())
        && path.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'/'))
}

/// Whether the text is host and optional port, as Go's `url.Parse` accepts them (1.26, which refuses stray colons).
fn is_authority(text: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.rsplit_once(']') else { return false };
        let port_is_good = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return port_is_good && address.parse::<Ipv6Addr>().is_ok();
    }
    let (host, port) = text.split_once(':').unwrap_or((text, ""));
    is_port(port)
        && host.chars().all(|c| {
            !c.is_ascii()
                || c.is_ascii_alphanumeric()
                || matches!(
                    c,
                    '-' | '_'
                        | '.'
                        | '~'
                        | '!'
                        | '$'
                        | '&'
                        | '\''
                        | '('
                        | ')'
                        | '*'
                        | '+'
                        | ','
                        | ';'
                        | '='
                        | '<'
                        | '>'
                        | '"'
                )
        })
}

/// Whether plain HTTP is allowed without `insecure`: private and loopback addresses, `localhost:port`, `*.localhost`, `*.local`.
fn is_local(registry: &str) -> bool {
    let host = registry.split(':').next().unwrap_or_default();
    let is_private = host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_private());
    let bare = match registry.rsplit_once(':') {
        Some((host, port)) if (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => registry,
    };
    is_private
        || registry.starts_with("localhost:")
        || bare.ends_with(".localhost")
        || bare.ends_with(".local")
        || registry.contains("127.0.0.1")
        || registry.contains("::1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_flux_reads_them() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cases/image/image_refs.jsonl");
        let text = std::fs::read_to_string(path).expect("tests/cases is part of the repository");
        for line in text.lines() {
            let case: serde_json::Value = serde_json::from_str(line).expect("a case is JSON");
            let outcome = Name::parse(case["image"].as_str().expect("a case has an image"));
            let outcome = outcome.map(|name| if case["insecure"] == true { name.insecure() } else { name });
            match (&outcome, case["error"].as_str()) {
                (Err(error), Some(expected)) => assert_eq!(error.to_string(), expected, "{line}"),
                (Ok(name), None) => {
                    assert_eq!(name.to_string(), case["canonical"], "{line}");
                    if let Some(registry) = case.get("registry") {
                        assert_eq!(
                            (name.registry(), name.repository()),
                            (registry.as_str().unwrap(), case["repository"].as_str().unwrap())
                        );
                        assert_eq!(name.scheme().as_str(), case["scheme"], "{line}");
                    }
                }
                _ => panic!("{outcome:?} for {line}"),
            }
        }
    }

    #[test]
    fn private_and_loopback_hosts_allow_plain_http() {
        let http = [
            "10.1.2.3:5000/ab",
            "172.31.0.1:80/ab",
            "192.168.0.9/ab",
            "127.0.0.1:5000/ab",
            "[::1]:5000/ab",
            "nas.local/ab",
            "localhost:1/ab",
        ];
        let https = [
            "172.32.0.1:80/ab",
            "8.8.8.8/ab",
            "ghcr.io/ab",
            "local.example.com/ab",
            "localhost/ab",
            "127.0.0.2:5000/ab",
        ];
        let scheme =
            |image: &str| Name::parse(image).map(|name| name.scheme()).unwrap_or_else(|e| panic!("{image}: {e}"));
        assert_eq!(http.map(scheme), [Scheme::Http; 7]);
        assert_eq!(https.map(scheme), [Scheme::Https; 6]);
    }

    #[test]
    fn hosts_that_are_no_authority_are_refused() {
        for image in [
            "foo:bar/baz",
            "a.b?c/dd",
            "a.b#c/dd",
            "u@a.b/dd",
            "a b.c/dd",
            "a.b%41/dd",
            "a:1:2/dd",
            "[::1/dd",
            "[zz]:1/dd",
            "ghcr.io/ABC",
        ] {
            assert_eq!(Name::parse(image), Err(NameError::Unparsable(image.into())));
        }
    }

    #[test]
    fn a_host_needs_a_dot_or_a_colon() {
        assert_eq!(Name::parse("localhost/foo").expect("parses").to_string(), "index.docker.io/localhost/foo");
        assert_eq!(Name::parse("docker.io/foo").expect("parses").to_string(), "index.docker.io/library/foo");
    }
}
