//! A Provider as it is used: its spec with what its Secrets add. Pure.
//! Source: reference delivery.md section 3.3.

use std::{collections::BTreeMap, time::Duration};

use api::notification::ProviderSpec;
use k8s_openapi::api::core::v1::Secret;
use reconcile::Endpoint;

use super::Service;
use crate::Error;

/// Longest address that is taken.
const MAX_ADDRESS_BYTES: usize = 2048;
/// Most bytes of an answer that are read: enough for a service to say what is wrong, and for a page of commit statuses.
const ANSWER_LIMIT_BYTES: usize = 256 << 10;
/// Where PagerDuty takes events.
const PAGERDUTY: &str = "https://events.pagerduty.com";
/// Where bots of Telegram are spoken to.
const TELEGRAM: &str = "https://api.telegram.org";

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
    /// Further headers.
    pub headers: BTreeMap<String, String>,
    /// What commit statuses are filed under, for Git services.
    pub status_context: String,
    /// Limit, TLS and proxy.
    pub endpoint: Endpoint,
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
        let address = address(service, or("address", &spec.address)?)?;
        let (token, username, password) = (or("token", "")?, or("username", &spec.username)?, or("password", "")?);
        let has_login = !token.is_empty() || (!username.is_empty() && !password.is_empty());
        let is_complete = match service {
            Service::Bitbucketserver => has_login,
            service => !service.needs_token() || !token.is_empty(),
        };
        if !is_complete {
            return Err(Error::Invalid(format!("type {} needs the key token in its Secret", spec.kind)));
        }
        let needs_channel =
            matches!(service, Service::Pagerduty | Service::Telegram | Service::Matrix | Service::Zulip);
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
            headers: text("headers")?.map_or_else(|| Ok(BTreeMap::new()), |yaml| headers(&yaml))?,
            status_context: String::new(),
            endpoint,
        })
    }
}

/// The address, checked.
///
/// Differs: a `pagerduty` Provider without one means PagerDuty's own; Flux refuses it and the event is lost.
fn address(service: Service, given: String) -> Result<String, Error> {
    let address = match (service, given.as_str()) {
        (Service::Pagerduty, "") => PAGERDUTY.to_owned(),
        // Bots have one address; another one is for tests and for proxies.
        (Service::Telegram, "") => TELEGRAM.to_owned(),
        _ => given,
    };
    let parsed = url::Url::parse(&address).ok().filter(url::Url::has_host);
    let is_known = parsed.is_some_and(|url| {
        matches!(url.scheme(), "http" | "https") || (service.is_git() && matches!(url.scheme(), "ssh" | "git"))
    });
    // `git@host:owner/repository`, as Git's own tools write it.
    let is_short = service.is_git() && !address.contains("://") && address.contains('@') && address.contains(':');
    if address.len() > MAX_ADDRESS_BYTES || !(is_known || is_short) {
        return Err(Error::Invalid("the address is not an http or https URL of at most 2048 bytes".into()));
    }
    Ok(address)
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
        (Some(user), Some((scheme, host))) => format!("{scheme}://{}:{}@{host}", escape(&user), escape(&password)),
        _ => address,
    }))
}

/// Percent-encodes what would end a part of a URL.
pub(super) fn escape(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
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
