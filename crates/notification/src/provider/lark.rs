//! `lark`: an interactive card.

use bytes::Bytes;
use reconcile::Event;
use serde_json::json;

use super::{Settings, post, words};
use crate::Error;

/// The request.
pub fn message(settings: &Settings, event: &Event) -> Result<http::Request<Bytes>, Error> {
    let facts: String = event.metadata.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
    let title = format!("{} {}", words::by_severity(event, "🚨", "💫"), words::object(event));
    let body = json!({
        "msg_type": "interactive",
        "card": {
            "config": {"wide_screen_mode": true},
            "header": {
                "title": {"tag": "plain_text", "content": title},
                "template": words::by_severity(event, "red", "turquoise"),
            },
            "elements": [{"tag": "div", "text": {"tag": "lark_md", "content": format!("**{}**\n\n{facts}", event.message)}}],
        },
    });
    post(&settings.address, body.to_string().into_bytes(), &[])
}
