//! `matrix`: a text message into a room.

use bytes::Bytes;
use http::Method;
use reconcile::Event;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{Settings, request, words};
use crate::Error;

/// The request. Its transaction is the same for the same event, so that a repetition shows once.
pub fn message(settings: &Settings, event: &Event) -> Result<http::Request<Bytes>, Error> {
    let facts: String = event.metadata.iter().map(|(key, value)| format!("- {key}: {value}\n")).collect();
    let heading = format!("{} {}", words::by_severity(event, "🚨", "💫"), words::object(event));
    let body = json!({"body": format!("{heading}\n{}\n{facts}", event.message), "msgtype": "m.text"});
    let identity = serde_json::to_vec(event).map_err(|error| Error::Invalid(error.to_string()))?;
    let address = format!(
        "{}/_matrix/client/r0/rooms/{}/send/m.room.message/{}",
        settings.address.trim_end_matches('/'),
        settings.channel.replace('#', "%23"),
        &hex::encode(Sha256::digest(identity))[..40]
    );
    let bearer = format!("Bearer {}", settings.token);
    request(Method::PUT, &address, body.to_string().into_bytes(), &[("authorization", &bearer)])
}
