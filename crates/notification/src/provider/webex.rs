//! `webex`: a message in Markdown to a room.

use bytes::Bytes;
use reconcile::Event;
use serde_json::json;

use super::{Settings, post, words};
use crate::Error;

/// The request.
pub fn message(settings: &Settings, event: &Event) -> Result<http::Request<Bytes>, Error> {
    let facts: String = event.metadata.iter().map(|(key, value)| format!(">**{key}**: {value}\n")).collect();
    let emoji = words::by_severity(event, "💣", "✅");
    let text = format!("{emoji} **{}**\n{}\n{facts}", words::object(event), event.message);
    let bearer = format!("Bearer {}", settings.token);
    let body = json!({"roomId": settings.channel, "markdown": text});
    post(&settings.address, body.to_string().into_bytes(), &[("authorization", &bearer)])
}
