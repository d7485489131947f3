//! A Provider as it is used: its spec with what its Secrets add. Pure.
//! Source: reference delivery.md section 3.3.

use std::{collections::BTreeMap, time::Duration};

use api::notification::{Alert, Provider, ProviderSpec};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use reconcile::{
    Endpoint, Event,
    http::escaped,
    identity::{git::AZURE_DEVOPS, github::App},
};

use super::{Service, address, azureeventhub, commit_status};
use crate::Error;

/// Most bytes of an answer that are read: enough for a service to say what is wrong, and for a page of commit statuses.
const ANSWER_LIMIT_BYTES: usize = 256 << 10;

/// A Provider as it is used.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Which service.
    pub service: Service,
    /// Where to.
    pub address: String,
    /// Channel, room; may be empty.
    pub channel: String,
    /// Shown sender, or name of the login; may be empty.
    pub username: String,
    /// Password of the login; may be empty.
    pub password: String,
    /// Token or signing key; may be empty.
    pub token: String,
    /// The GitHub App that logs in where no token is given.
    pub app: Option<App>,
    /// The token that a cloud gave for this message; empty where none is needed.
    pub access: String,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
    /// What commit statuses are filed under, for Git services.
    pub status_context: String,
    /// The objects that the message comes from.
    pub origin: Origin,
    /// Limit, TLS and proxy.
    pub endpoint: Endpoint,
}

/// The objects that a message comes from, as far as its service is told of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// UID of the Provider.
    pub provider_uid: String,
    /// Namespace and name of the Alert, with a slash between.
    pub alert: String,
    /// UID of the Alert.
    pub alert_uid: String,
    /// UID of the source that the event's object is made from; empty where none is known.
    pub source_uid: String,
}

/// A login that has to be asked for before anything is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login<'a> {
    /// Google's, for the account whose key is given, else our own.
    Google(Option<&'a str>),
    /// Azure's for this resource, for our own identity.
    Azure(&'static str),
    /// That of an installation of an App.
    App(&'a App),
}

impl Login<'_> {
    /// Whether it is our own identity, or that of an account that stands in for it, that a cloud is asked for.
    pub const fn is_ours(&self) -> bool {
        matches!(self, Self::Google(None) | Self::Azure(_))
    }
}

/// The Secrets that a Provider names, those that it does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Secrets<'a> {
    /// `spec.secretRef`.
    pub main: Option<&'a Secret>,
    /// `spec.certSecretRef`.
    pub certificate: Option<&'a Secret>,
    /// `spec.proxySecretRef`.
    pub proxy: Option<&'a Secret>,
}

impl Settings {
    /// Reads a Provider and its Secrets. An error names the field.
    pub fn read(spec: &ProviderSpec, secrets: Secrets<'_>) -> Result<Self, Error> {
        let service = Service::of(&spec.kind)?;
        let text = |key: &str| entry(secrets.main, key);
        let or = |key: &str, own: &str| text(key).map(|found| found.unwrap_or_else(|| own.to_owned()));
        let address = address::of(service, or("address", &spec.address)?)?;
        let (token, username, password) = (or("token", "")?, or("username", &spec.username)?, or("password", "")?);
        let has_login = !token.is_empty() || (!username.is_empty() && !password.is_empty());
        let app = if service.takes_app() && token.is_empty() { app(&text)? } else { None };
        let is_complete = match service {
            Service::Bitbucketserver => has_login,
            // Without a token it is our own identity that logs in.
            Service::Azuredevops => true,
            _ if app.is_some() => true,
            service => !service.needs_token() || !token.is_empty(),
        };
        if !is_complete {
            return Err(Error::Invalid(format!("type {} needs the key token in its Secret", spec.kind)));
        }
        let needs_channel = match service {
            Service::Pagerduty | Service::Telegram | Service::Matrix | Service::Zulip => true,
            Service::Googlepubsub | Service::Nats => true,
            Service::Azureeventhub => !azureeventhub::is_connection(&address),
            _ => false,
        };
        if needs_channel && spec.channel.is_empty() {
            return Err(Error::Invalid(format!("type {} needs spec.channel", spec.kind)));
        }
        let (ca, identity) = certificates(secrets.certificate)?;
        let endpoint = Endpoint {
            timeout: spec.timeout().max(Duration::from_secs(1)),
            limit: ANSWER_LIMIT_BYTES,
            ca,
            identity,
            proxy: proxy(spec, secrets)?,
            insecure_skip_verify: false,
        };
        Ok(Self {
            service,
            address,
            channel: spec.channel.clone(),
            username,
            password,
            token,
            app,
            access: String::new(),
            headers: text("headers")?.map_or_else(|| Ok(BTreeMap::new()), |yaml| headers(&yaml))?,
            status_context: String::new(),
            origin: Origin::default(),
            endpoint,
        })
    }

    /// With what comes of the objects around the event. `alert` is needed where [`Service::names_alert`] says so.
    pub fn of(mut self, provider: &Provider, alert: Option<&Alert>, event: &Event) -> Result<Self, Error> {
        self.origin.provider_uid = provider.uid().unwrap_or_default();
        let Some(alert) = alert else { return Ok(self) };
        self.origin.alert = format!("{}/{}", alert.namespace().unwrap_or_default(), alert.name_any());
        self.origin.alert_uid = alert.uid().unwrap_or_default();
        if self.service.has_commit_status() {
            self.status_context = commit_status::context(provider, alert, event)?;
        }
        Ok(self)
    }

    /// The login that has to be asked for first, if one has to.
    pub fn login(&self) -> Option<Login<'_>> {
        let key = Some(self.token.as_str()).filter(|token| !token.is_empty());
        match self.service {
            Service::Googlepubsub => Some(Login::Google(key)),
            Service::Azureeventhub if key.is_none() && !azureeventhub::is_connection(&self.address) => {
                Some(Login::Azure(azureeventhub::RESOURCE))
            }
            Service::Azuredevops if key.is_none() => Some(Login::Azure(AZURE_DEVOPS)),
            _ => self.app.as_ref().map(Login::App),
        }
    }

    /// With the answer to [`Settings::login`].
    #[must_use]
    pub fn logged_in(mut self, token: String) -> Self {
        match self.app {
            Some(_) => self.token = token,
            None => self.access = token,
        }
        self
    }
}

/// The GitHub App in a Secret.
fn app(text: &impl Fn(&str) -> Result<Option<String>, Error>) -> Result<Option<App>, Error> {
    let mut found = BTreeMap::new();
    for key in App::KEYS {
        found.extend(text(key)?.map(|value| (key, value)));
    }
    App::read(&found).map_err(Error::Invalid)
}

/// A text of a Secret, without the line break that a file ends with.
fn entry(secret: Option<&Secret>, key: &str) -> Result<Option<String>, Error> {
    let Some(value) = secret.and_then(|secret| secret.data.as_ref()).and_then(|data| data.get(key)) else {
        return Ok(None);
    };
    let text = String::from_utf8(value.0.clone())
        .map_err(|_| Error::Invalid(format!("key {key} of the Secret is not text")))?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()).filter(|text| !text.is_empty()))
}

fn headers(yaml: &str) -> Result<BTreeMap<String, String>, Error> {
    let value = api::manifest::parse(yaml).ok();
    let parsed = value.and_then(|value| serde_json::from_value(value).ok());
    parsed.ok_or_else(|| Error::Invalid("key headers of the Secret is not a YAML map of texts".into()))
}

fn proxy(spec: &ProviderSpec, secrets: Secrets<'_>) -> Result<Option<String>, Error> {
    let Some(secret) = secrets.proxy else {
        let own = Some(spec.proxy.clone()).filter(|proxy| !proxy.is_empty());
        return Ok(entry(secrets.main, "proxy")?.or(own));
    };
    let address = entry(Some(secret), "address")?
        .ok_or_else(|| Error::Invalid("the proxy's Secret has no key address".into()))?;
    let user = entry(Some(secret), "username")?;
    let password = entry(Some(secret), "password")?.unwrap_or_default();
    Ok(Some(match (user, address.split_once("://")) {
        (Some(user), Some((scheme, host))) => format!("{scheme}://{}:{}@{host}", escaped(&user), escaped(&password)),
        _ => address,
    }))
}

type Pem = Option<Vec<u8>>;

/// Certificate authorities, and client certificate with key.
fn certificates(secret: Option<&Secret>) -> Result<(Pem, Pem), Error> {
    let text = |new: &str, old: &str| Ok::<_, Error>(entry(secret, new)?.or(entry(secret, old)?));
    let ca = text("ca.crt", "caFile")?.map(String::into_bytes);
    let identity = match (text("tls.crt", "certFile")?, text("tls.key", "keyFile")?) {
        (Some(certificate), Some(key)) => Some(format!("{certificate}\n{key}\n").into_bytes()),
        (None, None) => None,
        _ => return Err(Error::Invalid("the certificate's Secret needs both tls.crt and tls.key, or neither".into())),
    };
    Ok((ca, identity))
}
