//! What a hook is sent, and what its answer means. Source: reference progressive-delivery.md, section D.

use std::collections::BTreeMap;

use api::flagger::{Canary, CanaryStatus, Hook, Phase};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use crate::events::Event;

/// The body of a call.
pub fn payload(canary: &Canary, status: &CanaryStatus, hook: &Hook, phase: Phase) -> Value {
    let mut payload = json!({
        "name": canary.name(),
        "namespace": canary.namespace(),
        "phase": phase,
        "checksum": checksum(status),
    });
    if let Some(metadata) = &hook.metadata {
        payload["metadata"] = json!(metadata);
    }
    payload
}

/// The body of a call to an event hook: the event, and the hook's own metadata under other keys.
pub fn event_payload(canary: &Canary, hook: &Hook, event: &Event, now: Timestamp) -> Value {
    let status = canary.status();
    let mut metadata = hook.metadata.clone().unwrap_or_default();
    metadata.extend(BTreeMap::from([
        ("eventMessage".to_owned(), event.text.clone()),
        ("eventType".to_owned(), event.kind.as_str().to_owned()),
        ("timestamp".to_owned(), now.as_millisecond().to_string()),
    ]));
    let hook = Hook { metadata: Some(metadata), ..hook.clone() };
    payload(canary, &status, &hook, event.phase.unwrap_or(status.phase))
}

/// Identifies the revision a hook is asked about.
fn checksum(status: &CanaryStatus) -> String {
    let identity = json!([status.tracked_configs, status.last_applied_spec]);
    hex::encode(&Sha256::digest(identity.to_string().as_bytes())[..8])
}

/// The call itself.
pub fn request(hook: &Hook, payload: &Value) -> Result<http::Request<Bytes>, String> {
    http::Request::post(&hook.url)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(Bytes::from(api::manifest::text(payload)))
        .map_err(|error| format!("{}: {error}", shown(&hook.url)))
}

/// An address as people may read it. Source: Go's `URL.Redacted`.
pub fn shown(address: &str) -> String {
    let Some(mut url) = Url::parse(address).ok().filter(|url| url.password().is_some()) else {
        return address.to_owned();
    };
    match url.set_password(Some("xxxxx")) {
        Ok(()) => url.into(),
        Err(()) => address.to_owned(),
    }
}

/// Whether another attempt may help.
pub fn may_retry(status: u16) -> bool {
    status >= 500 || status == 429
}

/// What the answer means: up to 202 agrees, everything else refuses with the body as the reason.
pub fn verdict(hook: &Hook, status: u16, body: &str) -> Result<(), String> {
    match status {
        0..=202 => Ok(()),
        _ if may_retry(status) => {
            Err(format!("POST {} giving up after {} attempt(s)", shown(&hook.url), u64::from(hook.retries()) + 1))
        }
        _ => Err(body.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_three_successes_agree() {
        let hook = Hook { url: "http://hooks/gate".into(), ..Default::default() };
        for status in [200, 201, 202] {
            assert_eq!(verdict(&hook, status, ""), Ok(()));
        }
        assert_eq!(verdict(&hook, 204, ""), Err(String::new()));
        assert_eq!(verdict(&hook, 403, "Forbidden"), Err("Forbidden".into()));
        assert_eq!(verdict(&hook, 500, "x"), Err("POST http://hooks/gate giving up after 1 attempt(s)".into()));
        let hook = Hook { url: "http://ci:secret@hooks/gate".into(), ..Default::default() };
        let told = "POST http://ci:xxxxx@hooks/gate giving up after 1 attempt(s)";
        assert_eq!(verdict(&hook, 500, "x"), Err(told.into()));
    }

    #[test]
    fn payload_names_the_canary_and_what_it_is_asked_about() {
        let canary = Canary::new("podinfo", Default::default());
        let body = payload(&canary, &CanaryStatus::default(), &Hook::default(), Phase::Waiting);
        assert_eq!(
            (&body["name"], &body["namespace"], &body["phase"]),
            (&json!("podinfo"), &json!("default"), &json!("Waiting"))
        );
        assert!(body.get("metadata").is_none() && body["checksum"].as_str().is_some_and(|text| text.len() == 16));
    }
}
