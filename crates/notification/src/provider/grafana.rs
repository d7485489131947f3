//! `grafana`: an annotation.

use bytes::Bytes;
use reconcile::Event;
use serde_json::json;

use super::{Settings, authorized, login, post, words};
use crate::Error;

/// The request.
pub fn message(settings: &Settings, event: &Event) -> Result<http::Request<Bytes>, Error> {
    let about = &event.involved_object.reference;
    let mut tags = vec!["flux".to_owned(), event.reporting_controller.clone()];
    let plain = |text: &str| text.replace(':', "|");
    tags.extend(event.metadata.iter().map(|(key, value)| format!("{}: {}", plain(key), plain(value))));
    tags.extend([
        format!("kind: {}", about.kind),
        format!("name: {}", about.name),
        format!("namespace: {}", about.namespace),
    ]);
    let body = json!({"when": event.timestamp.as_second(), "text": words::object(event), "tags": tags});
    post(&settings.address, body.to_string().into_bytes(), &authorized(login(settings).as_ref()))
}
