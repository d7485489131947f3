//! `azureeventhub`: the event itself, sent over HTTPS. The address is a connection string, or the name of a hub whose
//! namespace is the channel.
//! Source: learn.microsoft.com, "Event Hubs: Send event" (REST), "Authenticate with shared access signatures".

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use jiff::Timestamp;
use reconcile::{Event, http::escaped};
use ring::hmac;

use super::{Settings, post};
use crate::Error;

/// What the token of a managed identity is for.
pub const RESOURCE: &str = "https://eventhubs.azure.net/";
/// How long a signature is good for.
const LASTS_SECONDS: i64 = 300;

/// A connection string, read.
#[derive(Debug, PartialEq, Eq)]
struct Connection<'a> {
    host: &'a str,
    hub: &'a str,
    key_name: &'a str,
    key: &'a str,
    /// The emulator, which is spoken to without TLS.
    is_emulated: bool,
}

/// Whether the address signs for itself.
pub fn is_connection(address: &str) -> bool {
    address.contains("SharedAccessKey")
}

/// The request.
pub fn message(settings: &Settings, event: &Event, now: Timestamp) -> Result<http::Request<Bytes>, Error> {
    let body = serde_json::to_vec(event).map_err(|error| Error::Invalid(error.to_string()))?;
    if !is_connection(&settings.address) {
        let url = format!("https://{}.servicebus.windows.net/{}/messages", settings.channel, settings.address);
        let token = if settings.token.is_empty() { &settings.access } else { &settings.token };
        return post(&url, body, &[("authorization", &format!("Bearer {token}"))]);
    }
    let connection = Connection::parse(&settings.address)?;
    let scheme = if connection.is_emulated { "http" } else { "https" };
    let resource = format!("{scheme}://{}/{}", connection.host, connection.hub);
    post(&format!("{resource}/messages"), body, &[("authorization", &connection.signature(&resource, now))])
}

impl<'a> Connection<'a> {
    fn parse(text: &'a str) -> Result<Self, Error> {
        let part = |name: &str| {
            let mut parts = text.split(';').filter_map(|part| part.split_once('='));
            parts.find(|(key, _)| key.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        let missing = |name: &str| Error::Invalid(format!("the connection string has no {name}"));
        let required = |name: &str| part(name).filter(|value| !value.is_empty()).ok_or_else(|| missing(name));
        let endpoint = required("Endpoint")?;
        let host = endpoint.split_once("://").map_or(endpoint, |(_, host)| host).trim_end_matches('/');
        Ok(Self {
            host,
            hub: required("EntityPath")?,
            key_name: required("SharedAccessKeyName")?,
            key: required("SharedAccessKey")?,
            is_emulated: part("UseDevelopmentEmulator").is_some_and(|value| value.eq_ignore_ascii_case("true")),
        })
    }

    fn signature(&self, resource: &str, now: Timestamp) -> String {
        let (resource, expires) = (escaped(resource), now.as_second() + LASTS_SECONDS);
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.key.as_bytes());
        let signature = BASE64_STANDARD.encode(hmac::sign(&key, format!("{resource}\n{expires}").as_bytes()));
        let name = escaped(self.key_name);
        format!("SharedAccessSignature sr={resource}&sig={}&se={expires}&skn={name}", escaped(&signature))
    }
}
