//! What the Secrets of a GitRepository say about its remote. Pure.
//! Source: reference image-automation.md section 6.2.

use std::collections::BTreeMap;

use crate::{Credentials, Remote, remote::Location};

/// A Secret that does not fit the URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSecret(pub(crate) String);

impl Remote {
    /// The remote with the credentials and certificates of a Secret: `username` and `password`, each from the URL where it
    /// is not in the Secret, or `bearerToken`, which wins; `tls.crt` and `tls.key`; `ca.crt`, or the older `caFile`. For
    /// `ssh://`: `identity`, `known_hosts`, and `password`, which opens the key.
    ///
    /// # Errors
    /// When there is a password without a user name, a token beside a user of the URL, or no host, no key or no known host
    /// for ssh.
    pub fn with_secret(mut self, data: &BTreeMap<String, Vec<u8>>) -> Result<Self, InvalidSecret> {
        let text = |key: &str| {
            let value = data.get(key).map(|value| String::from_utf8_lossy(value).trim_end().to_owned());
            value.filter(|value| !value.is_empty())
        };
        if self.is_ssh() {
            if self.has_no_host() {
                return Err(InvalidSecret("invalid 'ssh' auth option: 'host' is required".into()));
            }
            let required = |key: &str| {
                let value = data.get(key).filter(|value| !value.is_empty()).cloned();
                value.ok_or_else(|| InvalidSecret(format!("invalid 'ssh' auth option: '{key}' is required")))
            };
            let (identity, known_hosts) = (required("identity")?, required("known_hosts")?);
            self.credentials = Credentials::Ssh { identity, known_hosts, passphrase: text("password") };
            return Ok(self);
        }
        let (own_user, own_password) = match Location::parse(&self).map(|location| location.credentials) {
            Ok(Credentials::Basic { username, password }) => (Some(username), Some(password)),
            _ => (None, None),
        };
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let (token, user) = (text("bearerToken"), text("username"));
        self.credentials = match (token, user.or_else(|| filled(own_user.clone())), text("password")) {
            (Some(_), ..) if filled(own_user).is_some() => {
                return Err(InvalidSecret("basic auth and bearer token cannot be set at the same time".into()));
            }
            (Some(token), ..) => Credentials::Bearer(token),
            (None, None, Some(_)) => {
                let scheme = self.url.split("://").next().unwrap_or_default();
                let problem = format!("invalid '{scheme}' auth option: 'password' requires 'username' to be set");
                return Err(InvalidSecret(problem));
            }
            (None, Some(username), password) => {
                Credentials::Basic { username, password: password.or(own_password).unwrap_or_default() }
            }
            (None, None, None) => self.credentials,
        };
        self.ca = data.get("ca.crt").or_else(|| data.get("caFile")).cloned().or(self.ca);
        if let (Some(certificate), Some(key)) = (data.get("tls.crt"), data.get("tls.key")) {
            self.identity = Some([certificate.as_slice(), b"\n", key].concat());
        }
        Ok(self)
    }

    /// The remote without a Secret.
    ///
    /// # Errors
    /// For `ssh://`, which nobody enters without a key.
    pub fn without_secret(self) -> Result<Self, InvalidSecret> {
        match self.is_ssh() {
            true => Err(InvalidSecret("invalid 'ssh' auth option: 'identity' is required".into())),
            false => Ok(self),
        }
    }

    fn is_ssh(&self) -> bool {
        self.url.to_ascii_lowercase().starts_with("ssh://")
    }

    fn has_no_host(&self) -> bool {
        let authority = self.url.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
        let host = authority.map(|authority| authority.rsplit_once('@').map_or(authority, |(_, host)| host));
        host.is_none_or(|host| host.split(':').next().is_none_or(str::is_empty))
    }

    /// The remote behind the proxy of a Secret: `address`, and `username` and `password` if it wants them.
    ///
    /// # Errors
    /// When the address is missing, too long, or no URL of a proxy that is known.
    pub fn with_proxy(mut self, data: &BTreeMap<String, Vec<u8>>) -> Result<Self, InvalidSecret> {
        let invalid = |problem: &str| InvalidSecret(format!("invalid proxy secret: {problem}"));
        let text = |key: &str| data.get(key).and_then(|value| std::str::from_utf8(value).ok()).map(str::trim);
        let address = text("address").filter(|address| !address.is_empty());
        let address = address.ok_or_else(|| invalid("the key 'address' is missing"))?;
        let url = api::proxy::url(address, text("username"), text("password"));
        let url = url.map_err(|error| invalid(&error.to_string()))?;
        self.proxy = Some(url.trim_end_matches('/').to_owned());
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
    }

    fn read(pairs: &[(&str, &str)]) -> Result<Credentials, InvalidSecret> {
        Remote::new("https://example.com").with_secret(&data(pairs)).map(|remote| remote.credentials)
    }

    #[test]
    fn a_bearer_token_wins_and_a_password_needs_a_user() {
        let basic = Credentials::Basic { username: "u".into(), password: "p".into() };
        assert_eq!(read(&[("username", "u"), ("password", "p\n")]), Ok(basic));
        let all = [("username", "u"), ("password", "p"), ("bearerToken", "t")];
        assert_eq!(read(&all), Ok(Credentials::Bearer("t".into())));
        let error = read(&[("password", "p")]).unwrap_err().to_string();
        assert_eq!(error, "invalid 'https' auth option: 'password' requires 'username' to be set");
    }

    #[test]
    fn what_the_secret_lacks_is_taken_from_the_url() {
        let read = |url: &str, pairs: &[(&str, &str)]| {
            Remote::new(url)
                .with_secret(&data(pairs))
                .map(|remote| remote.credentials)
                .map_err(|error| error.to_string())
        };
        let basic = |username: &str, password: &str| {
            Ok(Credentials::Basic { username: username.into(), password: password.into() })
        };
        assert_eq!(read("https://ada@example.com/a", &[("password", "p")]), basic("ada", "p"));
        assert_eq!(read("https://ada:own@example.com/a", &[("username", "bob")]), basic("bob", "own"));
        assert_eq!(read("https://ada:own@example.com/a", &[("username", "bob"), ("password", "p")]), basic("bob", "p"));
        let both = Err("basic auth and bearer token cannot be set at the same time".to_owned());
        assert_eq!(read("https://ada@example.com/a", &[("bearerToken", "t")]), both);
        let (key, hosts) = (("identity", "k"), ("known_hosts", "h"));
        for (url, pairs, missing) in [
            ("ssh://git@/a", &[key, hosts][..], "host"),
            ("ssh://git@[::1]/a", &[hosts], "identity"),
            ("ssh://example.com/a", &[key], "known_hosts"),
        ] {
            assert_eq!(read(url, pairs), Err(format!("invalid 'ssh' auth option: '{missing}' is required")), "{url}");
        }
    }

    #[test]
    fn a_proxy_carries_its_login() {
        let login = data(&[("address", "http://proxy:3128"), ("username", "u"), ("password", "p")]);
        let remote = Remote::new("https://example.com").with_proxy(&login).unwrap();
        assert_eq!(remote.proxy.as_deref(), Some("http://u:p@proxy:3128"));
        for (wrong, problem) in [
            (vec![], "the key 'address' is missing"),
            (vec![("address", " ")], "the key 'address' is missing"),
            (vec![("address", "//proxy")], "the address is no URL: relative URL without a base"),
            (vec![("address", "ftp://proxy")], "the address must begin with http, https or socks5"),
        ] {
            let refused = Remote::new("https://example.com").with_proxy(&data(&wrong)).map(|remote| remote.proxy);
            assert_eq!(refused, Err(InvalidSecret(format!("invalid proxy secret: {problem}"))));
        }
    }
}
