//! Registry credentials from pull secrets and Docker's `config.json`, matched to images by the kubelet's rules.
//! Source: `reference/image-automation.md`, section 4.3; Kubernetes `pkg/credentialprovider/keyring.go`.

use std::{cmp::Reverse, collections::BTreeMap, fmt};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use serde::Deserialize;

use crate::{Error, Name, Result};

/// What proves who we are. Its debug form hides the secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// User and password.
    Basic {
        /// The user.
        username: String,
        /// The password, or what the registry takes for one.
        password: String,
    },
    /// A refresh token, exchanged at the token server.
    IdentityToken {
        /// The user it belongs to, often `<token>`.
        username: String,
        /// The token.
        token: String,
    },
    /// A bearer token, sent to the registry as it is.
    RegistryToken(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { username, .. } => write!(f, "Basic({username})"),
            Self::IdentityToken { username, .. } => write!(f, "IdentityToken({username})"),
            Self::RegistryToken(_) => f.write_str("RegistryToken"),
        }
    }
}

/// Credentials by registry, and the helper programs that know more.
#[derive(Clone, Debug, Default)]
pub struct Keychain {
    /// In descending byte order of their pattern; among equals the order they were added in.
    entries: Vec<(Pattern, Credential)>,
    helpers: BTreeMap<String, String>,
    default_helper: Option<String>,
}

/// Who knows the credential of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody: ask without.
    Anonymous,
    /// The file itself.
    Known(Credential),
    /// The program `docker-credential-<program>`, asked for `server`.
    Helper {
        /// The program's suffix.
        program: String,
        /// What it is asked for.
        server: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigFile {
    #[serde(default)]
    auths: Option<BTreeMap<String, Entry>>,
    #[serde(default)]
    cred_helpers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    identitytoken: Option<String>,
    #[serde(default)]
    registrytoken: Option<String>,
}

impl Keychain {
    /// Reads the key `.dockerconfigjson` of a Secret. Helpers named in it are ignored: a Secret must not choose a program to run.
    pub fn from_dockerconfigjson(content: &[u8]) -> Result<Self> {
        let keychain = Self::from_config_file(content)?;
        Ok(Self { entries: keychain.entries, ..Self::default() })
    }

    /// Reads the key `.dockercfg` of a Secret, the older form without `auths`.
    pub fn from_dockercfg(content: &[u8]) -> Result<Self> {
        Self::default().with_entries(serde_json::from_slice(content).map_err(|error| unreadable(&error))?)
    }

    /// Reads Docker's own `config.json`, with its helpers.
    pub fn from_config_file(content: &[u8]) -> Result<Self> {
        let file: ConfigFile = serde_json::from_slice(content).map_err(|error| unreadable(&error))?;
        let helpers = file.cred_helpers.unwrap_or_default();
        let default_helper = file.creds_store.filter(|helper| !helper.is_empty());
        Self { entries: Vec::new(), helpers, default_helper }.with_entries(file.auths.unwrap_or_default())
    }

    /// Both together; what was here first is preferred among equal patterns.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.entries.extend(other.entries);
        self.sort();
        for (registry, helper) in other.helpers {
            self.helpers.entry(registry).or_insert(helper);
        }
        self.default_helper = self.default_helper.or(other.default_helper);
        self
    }

    /// Who knows the credential for this image.
    pub fn find(&self, name: &Name) -> Source {
        let registry = name.registry();
        let names_registry = |key: &String| {
            Pattern::parse(key).is_some_and(|pattern| pattern.host == registry && pattern.path.is_empty())
        };
        if let Some((server, program)) = self.helpers.iter().find(|(key, _)| names_registry(key)) {
            return Source::Helper { program: program.clone(), server: server.clone() };
        }
        if let Some((_, credential)) = self.entries.iter().find(|(pattern, _)| pattern.matches(name)) {
            return Source::Known(credential.clone());
        }
        let server = if registry == crate::name::DOCKER_HUB { "https://index.docker.io/v1/" } else { registry };
        self.default_helper
            .clone()
            .map_or(Source::Anonymous, |program| Source::Helper { program, server: server.into() })
    }

    fn with_entries(mut self, auths: BTreeMap<String, Entry>) -> Result<Self> {
        for (key, entry) in auths {
            let pattern = Pattern::parse(&key).ok_or_else(|| {
                Error::Credentials(format!("registry {key:?} in the docker config is not an address"))
            })?;
            if let Some(credential) = entry
                .credential()
                .map_err(|problem| Error::Credentials(format!("the docker config's entry for {key:?}: {problem}")))?
            {
                self.entries.push((pattern, credential));
            }
        }
        self.sort();
        Ok(self)
    }

    fn sort(&mut self) {
        self.entries.sort_by_cached_key(|(pattern, _)| Reverse(format!("{}{}", pattern.host, pattern.path)));
    }
}

/// The parser's message names line and column only; it could otherwise quote a secret.
fn unreadable(error: &serde_json::Error) -> Error {
    Error::Credentials(format!(
        "the docker config is not readable JSON: line {}, column {}",
        error.line(),
        error.column()
    ))
}

impl Entry {
    /// `auth` is preferred over `username` and `password`, as in Kubernetes. `None` if the entry is empty.
    fn credential(self) -> Result<Option<Credential>, &'static str> {
        let text = |value: Option<String>| value.filter(|value| !value.is_empty());
        let pair = match text(self.auth) {
            Some(auth) => Some(decode(&auth)?),
            None => text(self.username)
                .or(text(self.password.clone()).map(|_| String::new()))
                .map(|user| (user, self.password.unwrap_or_default())),
        };
        if let Some(token) = text(self.identitytoken) {
            let username = pair.map(|(username, _)| username).unwrap_or_default();
            return Ok(Some(Credential::IdentityToken { username, token }));
        }
        if let Some(token) = text(self.registrytoken) {
            return Ok(Some(Credential::RegistryToken(token)));
        }
        Ok(pair.map(|(username, password)| Credential::Basic { username, password }))
    }
}

/// `auth`: base64 of `user:password`, with or without padding; Docker pads the password with NULs.
fn decode(auth: &str) -> Result<(String, String), &'static str> {
    let auth = auth.trim();
    let engine = if auth.ends_with('=') { STANDARD } else { STANDARD_NO_PAD };
    let bytes = engine.decode(auth).map_err(|_| "auth is not base64")?;
    let text = String::from_utf8(bytes).map_err(|_| "auth is not text")?;
    let (username, password) = text.split_once(':').ok_or("auth has no colon between user and password")?;
    Ok((username.into(), password.trim_matches('\0').into()))
}

/// A key of `auths`: host with globs, port, path prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    host: String,
    path: String,
}

impl Pattern {
    fn parse(key: &str) -> Option<Self> {
        let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
        let bare = bare.split(['?', '#']).next().unwrap_or_default();
        let (host, path) = bare.find('/').map_or((bare, ""), |slash| bare.split_at(slash));
        let path = match path.get(..4) {
            Some("/v1/" | "/v2/") => &path[3..],
            _ => path,
        };
        // Differs: Kubernetes lets entries for `docker.io` never match, although that is how most people name Docker Hub.
        let host = if host == "docker.io" { crate::name::DOCKER_HUB } else { host };
        let path = if path == "/" { "" } else { path };
        (!host.is_empty() && !host.contains([' ', '@'])).then(|| Self { host: host.into(), path: path.into() })
    }

    fn matches(&self, name: &Name) -> bool {
        let (glob, glob_port) = split_port(&self.host);
        let (host, port) = split_port(name.registry());
        let labels = || glob.split('.').zip(host.split('.'));
        glob_port == port
            && format!("/{}", name.repository()).starts_with(&self.path)
            && glob.split('.').count() == host.split('.').count()
            && labels().all(|(glob, label)| glob_matches(glob, label))
    }
}

fn split_port(host: &str) -> (&str, &str) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, ""),
    }
}

/// Shell globs within one label: `*`, `?`, `[a-z]`, `[^a]`. A malformed glob matches nothing.
fn glob_matches(glob: &str, text: &str) -> bool {
    let Some(token) = glob.chars().next() else { return text.is_empty() };
    let rest = &glob[token.len_utf8()..];
    let mut characters = text.chars();
    match token {
        '*' => glob_matches(rest, text) || (characters.next().is_some() && glob_matches(glob, characters.as_str())),
        '[' => {
            let Some((set, rest)) = rest.split_once(']') else { return false };
            characters.next().is_some_and(|c| set_contains(set, c)) && glob_matches(rest, characters.as_str())
        }
        '?' => characters.next().is_some() && glob_matches(rest, characters.as_str()),
        literal => characters.next() == Some(literal) && glob_matches(rest, characters.as_str()),
    }
}

fn set_contains(set: &str, character: char) -> bool {
    let (set, wanted) = set.strip_prefix('^').map_or((set, true), |set| (set, false));
    let set: Vec<char> = set.chars().collect();
    let mut position = 0;
    let mut found = false;
    while position < set.len() {
        if set.get(position + 1) == Some(&'-') && position + 2 < set.len() {
            found |= (set[position]..=set[position + 2]).contains(&character);
            position += 3;
        } else {
            found |= set[position] == character;
            position += 1;
        }
    }
    found == wanted
}

#[cfg(test)]
mod tests;
