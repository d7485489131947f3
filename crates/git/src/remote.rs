//! Which repository, as whom, and how to reach it: the values a caller hands over.

use std::{fmt, time::Duration};

use crate::{Error, GithubApp, ssh};

/// A repository on some server, and everything needed to speak to it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Remote {
    /// `http(s)://…`, `ssh://…` or `file://…`. A user and password inside are used where `credentials` are [`Credentials::None`];
    /// no error ever repeats them.
    pub url: String,
    /// Who asks, for example the namespace. Two scopes never share a mirror, so that the one cannot read what only the
    /// other has the credentials for.
    pub scope: String,
    /// What proves to the server who we are.
    pub credentials: Credentials,
    /// Certificates (PEM) trusted besides the system's own.
    pub ca: Option<Vec<u8>>,
    /// Client certificate and key (PEM, one after the other).
    pub identity: Option<Vec<u8>>,
    /// Address of a proxy, with its user and password if it wants them.
    pub proxy: Option<String>,
    /// Longest time one request may take, answer included.
    pub timeout: Duration,
    /// Whether `file://` may be read: on one machine yes, in a cluster never, where it would show the controller's own disk.
    pub local_paths: LocalPaths,
}

impl Remote {
    /// The repository at `url`, asked anonymously, with a minute for each request and no `file://`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            scope: String::new(),
            credentials: Credentials::None,
            ca: None,
            identity: None,
            proxy: None,
            timeout: Duration::from_secs(60),
            local_paths: LocalPaths::Refuse,
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = |set: bool| if set { "***" } else { "none" };
        formatter
            .debug_struct("Remote")
            .field("url", &redact(&self.url))
            .field("scope", &self.scope)
            .field("credentials", &self.credentials)
            .field("ca", &self.ca.as_ref().map(Vec::len))
            .field("identity", &secret(self.identity.is_some()))
            .field("proxy", &self.proxy.as_deref().map(redact))
            .field("timeout", &self.timeout)
            .field("local_paths", &self.local_paths)
            .finish()
    }
}

/// Proof of who asks.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Credentials {
    /// Nothing: the repository is public, or the URL holds a user and password.
    None,
    /// HTTP basic authentication.
    Basic {
        /// The name; may be empty where the server only looks at the password.
        username: String,
        /// The password or access token.
        password: String,
    },
    /// An `Authorization: Bearer` token.
    Bearer(String),
    /// An app of GitHub's, for which [`crate::Mirrors::login`] gets a token.
    GithubApp(GithubApp),
    /// A key for `ssh://`.
    Ssh {
        /// The private key.
        identity: Vec<u8>,
        /// The keys of the hosts that may be spoken to, as in `~/.ssh/known_hosts`.
        known_hosts: Vec<u8>,
        /// What opens the key, if it is encrypted.
        passphrase: Option<String>,
    },
}

impl Credentials {
    /// A login that a cloud gave: without a user's name it is a bearer token.
    pub fn of_cloud(username: Option<String>, password: String) -> Self {
        match username {
            Some(username) => Self::Basic { username, password },
            None => Self::Bearer(password),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("None"),
            Self::Basic { username, .. } => write!(formatter, "Basic {{ username: {username:?}, password: *** }}"),
            Self::Bearer(_) => formatter.write_str("Bearer(***)"),
            Self::GithubApp(app) => fmt::Debug::fmt(app, formatter),
            Self::Ssh { .. } => formatter.write_str("Ssh(***)"),
        }
    }
}

/// What to do with `file://` URLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LocalPaths {
    /// They are an unknown transport, as in Flux.
    Refuse,
    /// They are served by the `git` program of this machine.
    Allow,
}

/// A URL as understood: where it leads, with user and password taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// The address without user, password and trailing slash.
    pub address: String,
    /// How to get there.
    pub transport: Transport,
    /// User and password of the URL itself.
    pub credentials: Credentials,
}

/// How a repository is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Http,
    Ssh(ssh::Place),
    File,
}

impl Location {
    /// Reads the URL of `remote`. The texts for schemes we cannot speak are those of Flux (`pkg/git/options.go`).
    pub fn parse(remote: &Remote) -> Result<Self, Error> {
        let Some((scheme, rest)) = remote.url.split_once("://") else {
            return Err(match remote.url.is_empty() || remote.url.starts_with('/') {
                true => Error::NoTransport,
                false => Error::Url { url: redact(&remote.url) },
            });
        };
        let bad = || Error::Url { url: redact(&remote.url) };
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => {}
            "ssh" => {
                let url = reqwest::Url::parse(&remote.url).ok();
                let place = url.and_then(|url| ssh::Place::parse(&url, percent_decode)).ok_or_else(bad)?;
                let (address, credentials) = (place.address(), Credentials::None);
                return Ok(Self { address, transport: Transport::Ssh(place), credentials });
            }
            "file" if remote.local_paths == LocalPaths::Allow => {
                let path = percent_decode(rest).filter(|path| path.starts_with('/') && !path.contains('\0'));
                let (address, credentials) = (path.ok_or_else(bad)?, Credentials::None);
                return Ok(Self { address, transport: Transport::File, credentials });
            }
            "" => return Err(Error::NoTransport),
            other => return Err(Error::UnknownTransport { scheme: other.to_owned() }),
        }
        let mut url = reqwest::Url::parse(&remote.url).map_err(|_| bad())?;
        let decode = |text: &str| percent_decode(text).ok_or_else(bad);
        let credentials = match (decode(url.username())?, url.password()) {
            (username, None) if username.is_empty() => Credentials::None,
            (username, password) => Credentials::Basic { username, password: decode(password.unwrap_or_default())? },
        };
        url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| bad())?;
        url.set_fragment(None);
        let address = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { address, transport: Transport::Http, credentials })
    }
}

/// `url` without user and password, fit for messages.
pub(crate) fn redact(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        // Something like `user:token@host:path`: nothing before an @ is safe to show but the name that all servers share.
        let place = url.rsplit_once('@').filter(|(user, _)| *user != "git");
        return place.map_or_else(|| url.to_owned(), |(_, rest)| format!("***@{rest}"));
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // A secret with an unescaped slash pushes its @ into the path, so an @ anywhere hides all before it.
    let shown = match (authority.rsplit_once('@'), path.rsplit_once('@')) {
        (_, Some((_, after))) if !authority.contains('@') && authority.contains(':') => {
            return format!("{scheme}://***@{after}");
        }
        (Some((_, host)), _) => host,
        (None, _) => authority,
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}://{shown}{path}")
}

/// Undoes `%41`; `None` when the result is no text.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_we_do_not_speak_are_named() {
        let cases = [
            ("ssh://-oProxyCommand=x/a", "failed to parse URL 'ssh://-oProxyCommand=x/a'"),
            ("ext::sh -c evil", "failed to parse URL 'ext::sh -c evil'"),
            ("git://example.com/a", "unknown transport 'git'"),
            ("file:///tmp/a", "unknown transport 'file'"),
            ("", "no transport type set"),
            ("git@example.com:a/b.git", "failed to parse URL 'git@example.com:a/b.git'"),
            ("token@example.com:a/b.git", "failed to parse URL '***@example.com:a/b.git'"),
        ];
        for (url, expected) in cases {
            let error = Location::parse(&Remote::new(url)).expect_err(url);
            assert_eq!(error.to_string(), expected, "{url}");
        }
    }

    #[test]
    fn user_and_password_leave_the_url() {
        let location = Location::parse(&Remote::new("https://bot:p%40ss@example.com/a/b.git/")).unwrap();
        assert_eq!(location.address, "https://example.com/a/b.git");
        assert_eq!(location.credentials, Credentials::Basic { username: "bot".into(), password: "p@ss".into() });
    }

    #[test]
    fn secrets_are_never_printed() {
        let mut remote = Remote::new("https://bot:hunter2@example.com/a?token=hunter2");
        remote.credentials = Credentials::Bearer("hunter2".into());
        remote.proxy = Some("http://u:hunter2@proxy:3128".into());
        assert!(!format!("{remote:?}").contains("hunter2"));
        remote.credentials = Credentials::Basic { username: "bot".into(), password: "hunter2".into() };
        assert!(!format!("{remote:?}").contains("hunter2"));
        for url in ["https://bot:hun/ter2@example.com/a", "bot:hunter2@example.com:a"] {
            assert!(!redact(url).contains("hun"), "{}", redact(url));
        }
    }
}
