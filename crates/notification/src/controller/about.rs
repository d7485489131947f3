//! What the object of an event carries: labels, annotations that travel, and what is told of a Canary.

use std::collections::BTreeMap;

use api::meta::{EVENT_ANNOTATION_PREFIX, ObjectReference};
use reconcile::Store;
use serde_json::Value;

use crate::facts;

/// What is told of a Canary beside its event. A target that cannot be read costs the image's name, not the message.
pub(super) async fn canary_facts(
    store: &Store,
    canary: &Value,
    external_url: Option<&str>,
) -> BTreeMap<String, String> {
    let text = |pointer: &str| canary.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let target = ObjectReference {
        api_version: text("/spec/targetRef/apiVersion"),
        kind: text("/spec/targetRef/kind"),
        namespace: text("/metadata/namespace"),
        name: text("/spec/targetRef/name"),
    };
    let found = if target.kind.is_empty() { None } else { store.find(&target).await.unwrap_or_default() };
    facts::of_canary(canary, &found.unwrap_or_default(), external_url)
}

fn texts(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    object.pointer(pointer).and_then(|map| serde_json::from_value(map.clone()).ok()).unwrap_or_default()
}

/// The object's labels.
pub(super) fn labels(object: &Value) -> BTreeMap<String, String> {
    texts(object, "/metadata/labels")
}

/// The object's annotations that travel with its events, without their prefix.
pub(super) fn annotations(object: &Value) -> BTreeMap<String, String> {
    let all = texts(object, "/metadata/annotations").into_iter();
    all.filter_map(|(key, value)| Some((key.strip_prefix(EVENT_ANNOTATION_PREFIX)?.to_owned(), value))).collect()
}
