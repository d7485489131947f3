//! `zoom`: a rich message by an incoming webhook of Team Chat.

use bytes::Bytes;
use reconcile::Event;
use serde_json::{Value, json};

use super::{Settings, post, words};
use crate::Error;

/// The request. The verification token stands alone in `Authorization`.
pub fn message(settings: &Settings, event: &Event) -> Result<http::Request<Bytes>, Error> {
    let mut url = url::Url::parse(&settings.address).map_err(|_| Error::Invalid("the address is not a URL".into()))?;
    if !url.query_pairs().any(|(name, value)| name == "format" && !value.is_empty()) {
        url.query_pairs_mut().append_pair("format", "full");
    }
    let mut body = vec![json!({"type": "message", "text": event.message})];
    if !event.metadata.is_empty() {
        let items: Vec<Value> = event.metadata.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
        body.push(json!({"type": "fields", "items": items}));
    }
    let head = json!({"text": words::object(event), "sub_head": {"text": words::severity(event)}});
    let payload = json!({"content": {"head": head, "body": body}});
    post(url.as_str(), payload.to_string().into_bytes(), &[("authorization", &settings.token)])
}
