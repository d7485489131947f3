//! `sentry`: an error as an event, anything else as a transaction; the address is the project's DSN.

use bytes::Bytes;
use http::{HeaderValue, header};
use reconcile::{Event, Severity};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Settings, post, words};
use crate::Error;

/// The request: an envelope. The environment is the Provider's channel.
pub fn message(settings: &Settings, event: &Event) -> Result<http::Request<Bytes>, Error> {
    let invalid = || Error::Invalid("the address is not a DSN: https://KEY@HOST/PROJECT".into());
    let dsn = url::Url::parse(&settings.address).map_err(|_| invalid())?;
    let (path, project) = dsn.path().trim_end_matches('/').rsplit_once('/').ok_or_else(invalid)?;
    if dsn.username().is_empty() || project.is_empty() {
        return Err(invalid());
    }
    let port = dsn.port().map(|port| format!(":{port}")).unwrap_or_default();
    let host = dsn.host_str().ok_or_else(invalid)?;
    let address = format!("{}://{host}{port}{path}/api/{project}/envelope/", dsn.scheme());
    // The same for the same event, so that Sentry knows a repetition.
    let identity = hex::encode(Sha256::digest(serde_json::to_vec(event).unwrap_or_default()));
    let (kind, payload) = payload(settings, event, &identity);
    let sent = json!({"event_id": identity[..32], "sent_at": words::time(event)});
    let body = format!("{sent}\n{}\n{payload}\n", json!({"type": kind, "length": payload.to_string().len()}));
    let key = format!("Sentry sentry_version=7, sentry_client=slipway/1, sentry_key={}", dsn.username());
    let mut request = post(&address, body.into_bytes(), &[("x-sentry-auth", &key)])?;
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-sentry-envelope"));
    Ok(request)
}

fn payload(settings: &Settings, event: &Event, identity: &str) -> (&'static str, Value) {
    let about = &event.involved_object.reference;
    let mut payload = json!({
        "event_id": identity[..32],
        "timestamp": words::time(event),
        "platform": "other",
        "transaction": format!("{}: {}/{}", about.kind, about.namespace, about.name),
        "message": event.message,
    });
    if !settings.channel.is_empty() {
        payload["environment"] = settings.channel.clone().into();
    }
    if event.severity == Severity::Error {
        payload["level"] = "error".into();
        payload["server_name"] = event.reporting_controller.clone().into();
        payload["extra"] = json!(event.metadata);
        return ("event", payload);
    }
    let mut tags = event.metadata.clone();
    let own = [
        ("flux_involved_object_kind", &about.kind),
        ("flux_involved_object_namespace", &about.namespace),
        ("flux_involved_object_name", &about.name),
        ("flux_reporting_controller", &event.reporting_controller),
        ("flux_reporting_instance", &event.reporting_instance),
        ("flux_reason", &event.reason),
    ];
    tags.extend(own.map(|(key, value)| (key.to_owned(), value.clone())));
    payload["type"] = "transaction".into();
    payload["start_timestamp"] = words::time(event).into();
    payload["tags"] = json!(tags);
    payload["contexts"] = json!({"trace": {"trace_id": identity[32..], "span_id": identity[16..32], "op": "event"}});
    payload["spans"] = json!([]);
    ("transaction", payload)
}
