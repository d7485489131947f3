//! `datadog`: an event.

use bytes::Bytes;
use reconcile::Event;
use serde_json::json;

use super::{Settings, post, words};
use crate::Error;

/// The request.
pub fn message(settings: &Settings, event: &Event) -> Result<http::Request<Bytes>, Error> {
    let about = &event.involved_object.reference;
    let mut tags = vec![
        format!("flux_reporting_controller:{}", event.reporting_controller),
        format!("flux_reason:{}", event.reason),
        format!("kube_kind:{}", about.kind),
        format!("kube_name:{}", about.name),
        format!("kube_namespace:{}", about.namespace),
    ];
    tags.extend(event.metadata.iter().map(|(key, value)| format!("{key}:{value}")));
    let tags: Vec<String> = tags.iter().map(|tag| tag.to_lowercase()).collect();
    let body = json!({
        "title": format!("Events from the {} {}/{}", about.kind, about.name, about.namespace),
        "text": event.message,
        "tags": tags,
        "source_type_name": "fluxcd",
        "date_happened": event.timestamp.as_second(),
        "alert_type": words::severity(event),
    });
    let url = url::Url::parse(&settings.address).map_err(|_| Error::Invalid("the address is not a URL".into()))?;
    let address = format!("{}/api/v1/events", &url[..url::Position::BeforePath]);
    post(&address, body.to_string().into_bytes(), &[("dd-api-key", &settings.token)])
}
