//! What is told of a Canary beside its event.

use std::collections::BTreeMap;

use api::meta::ObjectReference;
use reconcile::Store;
use serde_json::Value;

use crate::facts;

/// Facts of the Canary and its target. A target that cannot be read costs the image's name, not the message.
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
