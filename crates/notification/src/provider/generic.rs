//! `generic` and `generic-hmac`: the event itself as JSON.

use bytes::Bytes;
use hmac::{Hmac, Mac as _};
use reconcile::Event;
use sha2::Sha256;

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
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("because HMAC takes keys of any length");
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}
