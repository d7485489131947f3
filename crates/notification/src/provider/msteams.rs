//! `msteams`: an Adaptive Card for workflows; the old MessageCard where a connector of Office 365 still listens.

use bytes::Bytes;
use reconcile::{Event, Severity};
use serde_json::{Value, json};

use super::{Settings, post, words};
use crate::Error;

/// Hosts of the connectors that take MessageCards only.
const CONNECTORS: &str = ".webhook.office.com";

/// The request.
pub fn message(settings: &Settings, event: &Event) -> Result<http::Request<Bytes>, Error> {
    let url = url::Url::parse(&settings.address).ok();
    let is_old = url.as_ref().and_then(url::Url::host_str).is_some_and(|host| host.ends_with(CONNECTORS));
    let body = if is_old { message_card(event) } else { adaptive_card(event) };
    post(&settings.address, body.to_string().into_bytes(), &[])
}

fn message_card(event: &Event) -> Value {
    let facts: Vec<_> = event.metadata.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({
        "@type": "MessageCard",
        "@context": "http://schema.org/extensions",
        "themeColor": words::by_severity(event, "FF0000", "0076D7"),
        "summary": words::object(event),
        "sections": [{
            "activityTitle": event.message,
            "activitySubtitle": words::object(event),
            "facts": facts,
        }],
    })
}

fn adaptive_card(event: &Event) -> Value {
    let mut text = json!({"type": "TextBlock", "text": event.message, "wrap": true});
    if event.severity == Severity::Error {
        text["color"] = "attention".into();
    }
    let fact = |(title, value): (&String, &String)| json!({"title": title, "value": value});
    let (summary, others): (Vec<_>, Vec<_>) = event.metadata.iter().partition(|(title, _)| *title == "summary");
    let facts: Vec<Value> = summary.into_iter().chain(others).map(fact).collect();
    let mut set = json!({"type": "FactSet"});
    if !facts.is_empty() {
        set["facts"] = facts.into();
    }
    let title =
        json!({"type": "TextBlock", "text": words::object(event), "size": "large", "weight": "bolder", "wrap": true});
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [{"type": "Container", "items": [title, text, set]}],
                "msteams": {"width": "Full"},
            },
        }],
    })
}
