//! `incident.io`: an alert that fires with an error and is resolved by anything else.

use bytes::Bytes;
use reconcile::Event;
use serde_json::json;

use super::{Settings, post, words};
use crate::Error;

/// The request.
pub fn message(settings: &Settings, event: &Event) -> Result<http::Request<Bytes>, Error> {
    let mut metadata = event.metadata.clone();
    let own = [
        ("severity", words::severity(event)),
        ("reason", &event.reason),
        ("reportingController", &event.reporting_controller),
    ];
    metadata.extend(
        own.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    let body = json!({
        "title": format!("{}: {}", words::object(event), event.reason),
        "status": words::by_severity(event, "firing", "resolved"),
        "deduplication_key": event.involved_object.uid,
        "description": event.message,
        "metadata": metadata,
    });
    let bearer = format!("Bearer {}", settings.token);
    post(&settings.address, body.to_string().into_bytes(), &[("authorization", &bearer)])
}
