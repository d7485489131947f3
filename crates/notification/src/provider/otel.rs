//! `otel`: a span for each event, over OTLP/HTTP as JSON. All that comes of one revision is one trace.
//! Source: OpenTelemetry protocol 1.x, "OTLP/HTTP", "JSON Protobuf Encoding"; the identities are those that Flux computes.

use bytes::Bytes;
use reconcile::{Event, Severity};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Settings, authorized, basic, post};
use crate::Error;

/// Path of a receiver that is named without one.
const PATH: &str = "/v1/traces";
/// Kinds that a trace begins with.
const SOURCES: [&str; 5] = ["GitRepository", "HelmChart", "OCIRepository", "Bucket", "ExternalArtifact"];

/// The request.
pub fn message(settings: &Settings, event: &Event) -> Result<http::Request<Bytes>, Error> {
    let mut url = url::Url::parse(&settings.address).map_err(|_| Error::Invalid("the address is not a URL".into()))?;
    if matches!(url.path(), "" | "/") {
        url.set_path(PATH);
    }
    let origin = &settings.origin;
    let namespace = origin.alert.split('/').next().unwrap_or_default();
    let resource = attributes([
        ("service.name", origin.alert.as_str()),
        ("service.namespace", namespace),
        ("service.instance.id", origin.alert_uid.as_str()),
    ]);
    let scope = json!({"scope": {"name": "flux:notification-controller"}, "spans": [span(settings, event)]});
    let body = json!({"resourceSpans": [{"resource": {"attributes": resource}, "scopeSpans": [scope]}]});
    let login = match (settings.username.as_str(), settings.password.as_str(), settings.token.as_str()) {
        (user, password, _) if !user.is_empty() && !password.is_empty() => Some(basic(user, password)),
        (_, "", "") => None,
        (_, password, "") => Some(format!("Bearer {password}")),
        (_, _, token) => Some(format!("Bearer {token}")),
    };
    let is_given = settings.headers.keys().any(|name| name.eq_ignore_ascii_case("authorization"));
    let mut headers = if is_given { Vec::new() } else { authorized(login.as_ref()) };
    headers.extend(settings.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    post(url.as_str(), body.to_string().into_bytes(), &headers)
}

fn span(settings: &Settings, event: &Event) -> Value {
    let (about, revision) = (&event.involved_object, revision(event));
    let object = &about.reference;
    let own = [
        ("object.uid", about.uid.as_str()),
        ("object.kind", object.kind.as_str()),
        ("object.name", object.name.as_str()),
        ("object.namespace", object.namespace.as_str()),
    ];
    let facts = event.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let time = event.timestamp.as_nanosecond().to_string();
    let mut span = json!({
        "traceId": identity(&settings.origin.alert_uid, &revision, 16),
        "spanId": identity(&about.uid, &revision, 8),
        "name": format!("{}: {}/{}", object.kind, object.namespace, object.name),
        "kind": 1,
        "startTimeUnixNano": time,
        "endTimeUnixNano": time,
        "attributes": attributes(own.into_iter().chain(facts)),
        "status": match event.severity {
            Severity::Error => json!({"code": 2, "message": event.message}),
            _ => json!({"code": 1}),
        },
    });
    if !settings.origin.source_uid.is_empty() && !SOURCES.contains(&object.kind.as_str()) {
        span["parentSpanId"] = identity(&settings.origin.source_uid, &revision, 8).into();
    }
    span
}

/// The first bytes of the digest of UID and revision, in hex.
fn identity(uid: &str, revision: &str, bytes: usize) -> String {
    hex::encode(&Sha256::digest(format!("{uid}:{revision}"))[..bytes])
}

/// The revision of the trace's source.
fn revision(event: &Event) -> String {
    let fact = |key: &str| event.metadata.get(key).map(String::as_str);
    match (fact("revision"), fact("source-revision"), fact("app-version").zip(fact("oci-digest"))) {
        (None, ..) => "unknown".to_owned(),
        (_, Some(source), _) => source.to_owned(),
        (_, None, Some((version, digest))) => format!("{version}@{digest}"),
        (Some(revision), None, None) => revision.to_owned(),
    }
}

fn attributes<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Value> {
    pairs.into_iter().map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})).collect()
}
