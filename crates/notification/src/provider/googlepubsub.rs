//! `googlepubsub`: the event itself, as a message of a topic. The address is the project, the channel the topic.
//! Source: cloud.google.com, Pub/Sub REST reference, `projects.topics.publish`.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use reconcile::Event;
use serde_json::json;

use super::{Settings, post};
use crate::Error;

/// What the token is asked for.
pub const SCOPE: &str = "https://www.googleapis.com/auth/pubsub";

/// The request. The Secret's headers are the message's attributes.
pub fn message(settings: &Settings, event: &Event) -> Result<http::Request<Bytes>, Error> {
    let data = serde_json::to_vec(event).map_err(|error| Error::Invalid(error.to_string()))?;
    let mut message = json!({"data": BASE64_STANDARD.encode(data)});
    if !settings.headers.is_empty() {
        message["attributes"] = json!(settings.headers);
    }
    let url =
        format!("https://pubsub.googleapis.com/v1/projects/{}/topics/{}:publish", settings.address, settings.channel);
    let bearer = format!("Bearer {}", settings.access);
    post(&url, json!({"messages": [message]}).to_string().into_bytes(), &[("authorization", &bearer)])
}
