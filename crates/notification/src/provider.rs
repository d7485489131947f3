//! What a Provider's service is sent. One file per service: an event goes in, a request comes out. Pure.
//! Source: reference delivery.md section 3.3.

pub mod generic;
pub mod slack;

use std::{collections::BTreeMap, time::Duration};

use api::notification::ProviderSpec;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};
use k8s_openapi::api::core::v1::Secret;
use reconcile::{Endpoint, Event};

use crate::{Error, alert::COMMIT_STATUS};

/// Longest address that is taken.
const MAX_ADDRESS_BYTES: usize = 2048;
/// Most bytes of an answer that are read: enough for a service to say what is wrong.
const ANSWER_LIMIT_BYTES: usize = 64 << 10;

/// The services we speak to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The event as JSON to any address.
    Generic,
    /// The same, signed with the token.
    GenericHmac,
    /// Slack, and what understands its payload.
    Slack,
}

/// A Provider as it is used: its spec with what its Secrets add.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Which service.
    pub service: Service,
    /// Where to.
    pub address: String,
    /// Channel, room; may be empty.
    pub channel: String,
    /// Shown sender; may be empty.
    pub username: String,
    /// Token or signing key; may be empty.
    pub token: String,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
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

impl Service {
    /// The service of a Provider's type.
    pub fn of(kind: &str) -> Result<Self, Error> {
        match kind {
            "generic" => Ok(Self::Generic),
            "generic-hmac" => Ok(Self::GenericHmac),
            "slack" => Ok(Self::Slack),
            other => Err(Error::Unsupported(other.to_owned())),
        }
    }

    /// Whether the service takes this event: commit statuses go to Git services and to generic ones only.
    pub fn takes(self, event: &Event) -> bool {
        event.metadata.get(COMMIT_STATUS).is_none_or(|value| value != "update") || self != Self::Slack
    }
}

impl Settings {
    /// Reads a Provider and its Secrets. An error names the field.
    pub fn read(spec: &ProviderSpec, secrets: Secrets<'_>) -> Result<Self, Error> {
        let service = Service::of(&spec.kind)?;
        let text = |key: &str| entry(secrets.main, key);
        let or = |key: &str, own: &str| text(key).map(|found| found.unwrap_or_else(|| own.to_owned()));
        let address = or("address", &spec.address)?;
        let parsed: Option<http::Uri> = address.parse().ok();
        let is_http =
            parsed.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
        if address.len() > MAX_ADDRESS_BYTES || !is_http {
            return Err(Error::Invalid("the address is not an http or https URL of at most 2048 bytes".into()));
        }
        let token = or("token", "")?;
        if service == Service::GenericHmac && token.is_empty() {
            return Err(Error::Invalid("type generic-hmac needs the key token in its Secret".into()));
        }
        let proxy = proxy(spec, secrets)?;
        let (ca, identity) = certificates(secrets.certificate)?;
        let endpoint = Endpoint {
            timeout: spec.timeout().max(Duration::from_secs(1)),
            limit: ANSWER_LIMIT_BYTES,
            ca,
            identity,
            proxy,
            insecure_skip_verify: false,
        };
        Ok(Self {
            service,
            address,
            channel: spec.channel.clone(),
            username: or("username", &spec.username)?,
            token,
            headers: text("headers")?.map_or_else(|| Ok(BTreeMap::new()), |yaml| headers(&yaml))?,
            endpoint,
        })
    }
}

/// The request that tells the service of the event.
pub fn message(settings: &Settings, event: &Event) -> Result<http::Request<Bytes>, Error> {
    match settings.service {
        Service::Generic | Service::GenericHmac => generic::message(settings, event),
        Service::Slack => slack::message(settings, event),
    }
}

/// What the service's answer means.
pub fn answered(settings: &Settings, answer: &http::Response<Bytes>) -> Result<(), Error> {
    if !answer.status().is_success() {
        return Err(refused(answer.status().as_u16(), answer.body()));
    }
    match settings.service {
        Service::Slack => slack::answered(settings, answer),
        Service::Generic | Service::GenericHmac => Ok(()),
    }
}

/// A refusal with the first words of the answer.
fn refused(status: u16, body: &[u8]) -> Error {
    let text = String::from_utf8_lossy(body);
    let words: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    let detail = if words.is_empty() { words } else { format!(": {words}") };
    Error::Refused { status, detail }
}

/// A POST of JSON.
fn post(address: &str, body: Vec<u8>, headers: &[(&str, &str)]) -> Result<http::Request<Bytes>, Error> {
    let mut request = http::Request::new(Bytes::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = address.parse().map_err(|_| Error::Invalid("the address is not a URL".into()))?;
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in headers {
        let parsed = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
        let (name, mut value) = parsed.ok_or_else(|| Error::Invalid(format!("header {name:?} cannot be sent")))?;
        value.set_sensitive(true);
        request.headers_mut().insert(name, value);
    }
    Ok(request)
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

/// Percent-encodes what would end a user or password within a URL.
fn escape(text: &str) -> String {
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

#[cfg(test)]
mod tests;
