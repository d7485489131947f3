//! `slack`: an incoming webhook, or `chat.postMessage` with a token; `discord` and `rocket` understand the same payload.

use bytes::Bytes;
use reconcile::Event;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Service, Settings, authorized, post, words};
use crate::Error;

/// The request: one attachment, coloured by severity, with the facts as fields.
pub fn message(settings: &Settings, event: &Event) -> Result<http::Request<Bytes>, Error> {
    let author = words::object(event);
    let (good, bad) = match settings.service {
        Service::Rocket => ("#0076D7", "#FF0000"),
        _ => ("good", "danger"),
    };
    let username = match (settings.service, settings.username.as_str()) {
        (Service::Slack | Service::Discord, "") => &event.reporting_controller,
        _ => &settings.username,
    };
    let fields: Vec<_> =
        event.metadata.iter().map(|(title, value)| json!({"title": title, "value": value, "short": false})).collect();
    let mut attachment = json!({
        "color": words::by_severity(event, bad, good),
        "author_name": author,
        "text": event.message,
        "mrkdwn_in": ["text"],
        "fields": fields,
    });
    if settings.service == Service::Slack {
        attachment["fallback"] = Value::from(format!("{author}: {}", event.message));
    }
    let channel = if settings.service == Service::Discord { "" } else { &settings.channel };
    let body = json!({"channel": channel, "username": username, "icon_url": "", "icon_emoji": "", "attachments": [attachment]});
    let bearer = (settings.service == Service::Slack && !settings.token.is_empty())
        .then(|| format!("Bearer {}", settings.token));
    post(&address(settings)?, body.to_string().into_bytes(), &authorized(bearer.as_ref()))
}

/// Discord takes Slack's payload at a path of its own.
fn address(settings: &Settings) -> Result<String, Error> {
    if settings.service != Service::Discord {
        return Ok(settings.address.clone());
    }
    let mut url = url::Url::parse(&settings.address).map_err(|_| Error::Invalid("the address is not a URL".into()))?;
    if !url.path().ends_with("/slack") {
        let path = format!("{}/slack", url.path().trim_end_matches('/'));
        url.set_path(&path);
    }
    Ok(url.into())
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
    let refused = |error: String| Error::Refused {
        status: answer.status().as_u16(),
        detail: format!(": {error}"),
        retry_after: None,
    };
    match serde_json::from_slice::<Answer>(answer.body()) {
        Ok(Answer { ok: true, .. }) => Ok(()),
        Ok(Answer { error, .. }) => Err(refused(error)),
        Err(_) => Err(refused("not the JSON that chat.postMessage answers with".into())),
    }
}
