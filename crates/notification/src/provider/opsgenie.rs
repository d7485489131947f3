//! `opsgenie`: an alert.

use bytes::Bytes;
use reconcile::Event;
use serde_json::json;

use super::{Settings, post, words};
use crate::Error;

/// The request.
pub fn message(settings: &Settings, event: &Event) -> Result<http::Request<Bytes>, Error> {
    let about = &event.involved_object.reference;
    let mut details = event.metadata.clone();
    details.insert("severity".into(), words::severity(event).into());
    let body = json!({
        "message": format!("{}/{}", about.kind, about.name),
        "description": event.message,
        "details": details,
    });
    let key = format!("GenieKey {}", settings.token);
    post(&settings.address, body.to_string().into_bytes(), &[("authorization", &key)])
}
