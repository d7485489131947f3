//! Bodies of services that sign nothing: their shape, and what expressions see of them. Pure.
//!
//! Read as Go reads them: the first JSON value counts, names match without case, null fits everywhere.

use api::notification::ReceiverType;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{Hook, Refusal, signature::media_type};

/// What a value must look like.
enum Shape {
    Text,
    Texts,
    Members(&'static [(&'static str, Shape)]),
}

const DOCKER_HUB: Shape = Shape::Members(&[
    ("push_data", Shape::Members(&[("tag", Shape::Text)])),
    ("repository", Shape::Members(&[("repo_url", Shape::Text)])),
]);
const QUAY: Shape = Shape::Members(&[("docker_url", Shape::Text), ("updated_tags", Shape::Texts)]);
const ACR: Shape = Shape::Members(&[
    ("action", Shape::Text),
    ("target", Shape::Members(&[("repository", Shape::Text), ("tag", Shape::Text)])),
]);
const NEXUS: Shape = Shape::Members(&[("action", Shape::Text), ("repositoryName", Shape::Text)]);
const PUBSUB: Shape =
    Shape::Members(&[("message", Shape::Members(&[("data", Shape::Text), ("messageId", Shape::Text)]))]);
const PUSH: Shape = Shape::Members(&[("action", Shape::Text), ("digest", Shape::Text), ("tag", Shape::Text)]);

/// Whether the body is what this service sends.
pub fn check(kind: ReceiverType, body: &[u8]) -> Result<(), Refusal> {
    let shape = match kind {
        ReceiverType::Dockerhub => DOCKER_HUB,
        ReceiverType::Quay => QUAY,
        ReceiverType::Acr => ACR,
        ReceiverType::Nexus => NEXUS,
        _ => return Ok(()),
    };
    fits(&first(body)?, &shape)
}

/// The tags or digest that a service which names them says were pushed; null where it does not.
pub fn pushed(kind: ReceiverType, body: &[u8]) -> Result<Value, Refusal> {
    let body = first(body)?;
    let at = |outer: &str, inner: &str| member(&body, outer).and_then(|value| member(value, inner)).cloned();
    let found = match kind {
        ReceiverType::Dockerhub => at("push_data", "tag"),
        ReceiverType::Quay => member(&body, "updated_tags").cloned(),
        ReceiverType::Acr => at("target", "tag").or_else(|| at("target", "digest")),
        _ => None,
    };
    Ok(found.unwrap_or_default())
}

/// The message within a Pub/Sub envelope.
pub fn pubsub(body: &[u8]) -> Result<Value, Refusal> {
    let envelope = first(body)?;
    fits(&envelope, &PUBSUB)?;
    let data = member(&envelope, "message").and_then(|message| member(message, "data"));
    let data = data.and_then(Value::as_str).unwrap_or_default();
    let decoded = BASE64_STANDARD.decode(data).map_err(|_| Refusal::new("message.data is not base64"))?;
    let message = serde_json::from_slice(&decoded).map_err(|_| Refusal::new("message.data holds no JSON"))?;
    fits(&message, &PUSH)?;
    Ok(message)
}

/// The body as expressions see it under `req`: JSON if the header says so, otherwise nothing.
pub fn request(kind: Option<ReceiverType>, hook: Hook<'_>) -> Result<Value, Refusal> {
    if kind == Some(ReceiverType::Gcr) {
        return pubsub(hook.body);
    }
    if media_type(hook) != "application/json" {
        return Ok(json!({}));
    }
    match first(hook.body)? {
        Value::Null => Ok(json!({})),
        body @ Value::Object(_) => Ok(body),
        _ => Err(Refusal::new("the body is not a JSON object")),
    }
}

/// The first JSON value of the text; what follows it does not count.
fn first(body: &[u8]) -> Result<Value, Refusal> {
    let mut values = serde_json::Deserializer::from_slice(body).into_iter();
    values.next().and_then(Result::ok).ok_or_else(|| Refusal::new("the body is not JSON"))
}

fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let members = value.as_object()?;
    members.get(name).or_else(|| members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, found)| found))
}

fn fits(value: &Value, shape: &Shape) -> Result<(), Refusal> {
    match (shape, value) {
        (_, Value::Null) | (Shape::Text, Value::String(_)) => Ok(()),
        (Shape::Texts, Value::Array(items)) => items.iter().try_for_each(|item| fits(item, &Shape::Text)),
        (Shape::Members(members), Value::Object(_)) => {
            members.iter().try_for_each(|(name, shape)| member(value, name).map_or(Ok(()), |found| fits(found, shape)))
        }
        _ => Err(Refusal::new("the body does not have the shape that the service sends")),
    }
}
