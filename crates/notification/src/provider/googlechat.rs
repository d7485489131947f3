//! `googlechat`: a card (version 1) with the message and the facts.

use bytes::Bytes;
use reconcile::{Event, Severity};
use serde_json::{Value, json};

use super::{Settings, post, words};
use crate::Error;

/// The request.
pub fn message(settings: &Settings, event: &Event) -> Result<http::Request<Bytes>, Error> {
    let text = match event.severity {
        Severity::Error => format!("<font color=\"#ff0000\">{}</font>", event.message),
        _ => event.message.clone(),
    };
    let section = |widgets: Vec<Value>| json!({"header": "", "widgets": widgets});
    let mut sections = vec![section(vec![json!({"textParagraph": {"text": text}, "keyValue": null})])];
    let fact = |(label, content): (&String, &String)| {
        json!({"textParagraph": null, "keyValue": {"topLabel": label, "content": content, "contentMultiline": false,
            "bottomLabel": null, "icon": null}})
    };
    if !event.metadata.is_empty() {
        sections.push(section(event.metadata.iter().map(fact).collect()));
    }
    let header = json!({"title": words::object(event), "subtitle": event.reporting_controller, "imageUrl": null, "imageStyle": null});
    let body = json!({"cards": [{"header": header, "sections": sections}]});
    post(&settings.address, body.to_string().into_bytes(), &[])
}
