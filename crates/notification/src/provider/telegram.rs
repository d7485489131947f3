//! `telegram`: `sendMessage` of a bot, to a chat or (`chat:thread`) a topic of it.

use bytes::Bytes;
use reconcile::Event;
use serde_json::json;

use super::{Settings, post, words};
use crate::Error;

/// What means something in the bot's Markdown.
const SPECIAL: &str = "\\.-_[]()~>`#+=|{}!*";

/// The request. The token is part of the path.
pub fn message(settings: &Settings, event: &Event) -> Result<http::Request<Bytes>, Error> {
    let about = &event.involved_object.reference;
    let emoji = words::by_severity(event, "🚨", "💫");
    let heading = format!("{emoji} {}/{}/{}", about.kind.to_lowercase(), about.name, about.namespace);
    let facts: String =
        event.metadata.iter().map(|(key, value)| format!("\\- *{}*: {}\n", escape(key), escape(value))).collect();
    let text = format!("*{}*\n{}\n{facts}", escape(&heading), escape(&event.message));
    let (chat, thread) = settings
        .channel
        .split_once(':')
        .map_or((settings.channel.as_str(), None), |(chat, thread)| (chat, Some(thread)));
    let mut body = json!({"chat_id": chat, "text": text, "parse_mode": "MarkdownV2"});
    if let Some(thread) = thread.filter(|thread| !thread.is_empty()) {
        body["message_thread_id"] = thread.into();
    }
    let address = format!("{}/bot{}/sendMessage", settings.address.trim_end_matches('/'), settings.token);
    post(&address, body.to_string().into_bytes(), &[])
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if SPECIAL.contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
