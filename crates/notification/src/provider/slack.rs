//! `slack`: an incoming webhook, or `chat.postMessage` with a token.

use bytes::Bytes;
use reconcile::{Event, Severity};
use serde::Deserialize;
use serde_json::json;

use super::{Settings, post};
use crate::Error;

/// The request: one attachment, coloured by severity, with the facts as fields.
pub fn message(settings: &Settings, event: &Event) -> Result<http::Request<Bytes>, Error> {
    let about = &event.involved_object.reference;
    let author = format!("{}/{}.{}", about.kind.to_lowercase(), about.name, about.namespace);
    let username = if settings.username.is_empty() { &event.reporting_controller } else { &settings.username };
    let fields: Vec<_> =
        event.metadata.iter().map(|(title, value)| json!({"title": title, "value": value, "short": false})).collect();
    let body = json!({
        "channel": settings.channel,
        "username": username,
        "icon_url": "",
        "icon_emoji": "",
        "attachments": [{
            "fallback": format!("{author}: {}", event.message),
            "color": if event.severity == Severity::Error { "danger" } else { "good" },
            "author_name": author,
            "text": event.message,
            "mrkdwn_in": ["text"],
            "fields": fields,
        }],
    });
    let authorization = format!("Bearer {}", settings.token);
    let token = [("authorization", authorization.as_str())];
    post(&settings.address, body.to_string().into_bytes(), if settings.token.is_empty() { &[] } else { &token })
}

/// `chat.postMessage` answers 200 even when it refuses; the body tells.
pub fn answered(settings: &Settings, answer: &http::Response<Bytes>) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Answer {
        ok: bool,
        #[serde(default)]
        error: String,
    }
    let path = settings.address.split('?').next().unwrap_or_default();
    if !path.ends_with("/chat.postMessage") {
        return Ok(());
    }
    let refused = |error: String| Error::Refused { status: answer.status().as_u16(), detail: format!(": {error}") };
    match serde_json::from_slice::<Answer>(answer.body()) {
        Ok(Answer { ok: true, .. }) => Ok(()),
        Ok(Answer { error, .. }) => Err(refused(error)),
        Err(_) => Err(refused("not the JSON that chat.postMessage answers with".into())),
    }
}
