//! `generic` and `generic-hmac`: the event itself as JSON.

use bytes::Bytes;
use reconcile::Event;
use ring::hmac;

use super::{Service, Settings, post};
use crate::Error;

/// The request: the event, the controller in `Gotk-Component`, the Secret's headers, and with HMAC the signature of the body.
pub fn message(settings: &Settings, event: &Event) -> Result<http::Request<Bytes>, Error> {
    let body = serde_json::to_vec(event).map_err(|error| Error::Invalid(error.to_string()))?;
    let signature = match settings.service {
        Service::GenericHmac => Some(format!("sha256={}", sign(settings.token.as_bytes(), &body))),
        _ => None,
    };
    let mut headers = vec![("gotk-component", event.reporting_controller.as_str())];
    headers.extend(settings.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    headers.extend(signature.as_deref().map(|signature| ("x-signature", signature)));
    post(&settings.address, body, &headers)
}

/// HMAC-SHA-256 in lower-case hex.
pub fn sign(key: &[u8], body: &[u8]) -> String {
    hex::encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), body))
}
