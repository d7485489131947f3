//! Events as controllers post them to each other: Flux's form, with the facts' keys under the object's API group. Pure.
//! Source: reference delivery.md section 3.1.

use std::collections::BTreeMap;

use api::meta::EVENT_ANNOTATION_PREFIX;
use reconcile::{Event, Severity, event::InvolvedObject};
use serde::Deserialize;

/// Most bytes of an event.
pub const MAX_EVENT_BYTES: usize = 3 << 20;

/// An event of another controller. What Flux's controllers may leave out is left out here too.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object with the event's fields")]
struct Posted {
    involved_object: InvolvedObject,
    severity: Severity,
    timestamp: jiff::Timestamp,
    message: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    reporting_controller: String,
    #[serde(default)]
    reporting_instance: String,
}

/// Reads a posted event. Facts under the object's group lose their prefix. The object's annotations keep theirs, by which
/// [`crate::alert::outgoing`] knows them as weaker than an Alert's facts. Others are dropped.
pub fn read(body: &[u8]) -> Result<Event, String> {
    let posted: Posted = serde_json::from_slice(body).map_err(|error| format!("the body is no event: {error}"))?;
    let group = format!("{}/", posted.involved_object.reference.group());
    let own = |(key, value): (String, String)| match key.strip_prefix(&group) {
        Some(name) => Some((name.to_owned(), value)),
        None => key.starts_with(EVENT_ANNOTATION_PREFIX).then_some((key, value)),
    };
    let metadata = posted.metadata.unwrap_or_default().into_iter().filter_map(own).collect();
    Ok(Event {
        involved_object: posted.involved_object,
        severity: posted.severity,
        timestamp: posted.timestamp,
        message: posted.message,
        reason: posted.reason,
        metadata,
        reporting_controller: posted.reporting_controller,
        reporting_instance: posted.reporting_instance,
        count: 1,
    })
}

/// The event as it is posted to others.
pub fn write(event: &Event) -> Vec<u8> {
    let group = event.involved_object.reference.group();
    let name = |key: &String| match key.starts_with(EVENT_ANNOTATION_PREFIX) {
        true => key.clone(),
        false => format!("{group}/{key}"),
    };
    let metadata = event.metadata.iter().map(|(key, value)| (name(key), value.clone())).collect();
    serde_json::to_vec(&Event { metadata, count: 1, ..event.clone() }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::alert::tests::event;

    #[test]
    fn facts_lose_and_get_their_groups_prefix_and_annotations_keep_theirs() {
        let posted = json!({"involvedObject": {"kind": "Kustomization", "namespace": "apps", "name": "a", "uid": "u",
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "resourceVersion": "1"}, "severity": "info",
            "timestamp": "2026-01-02T03:04:05Z", "message": "applied", "reason": "ReconciliationSucceeded",
            "metadata": {"kustomize.toolkit.fluxcd.io/revision": "main@sha1:abc", "event.toolkit.fluxcd.io/env": "prod",
                "event.toolkit.fluxcd.io/revision": "weak", "other/x": "1", "plain": "2"},
            "reportingController": "kustomize-controller", "reportingInstance": "pod"});
        let event = read(posted.to_string().as_bytes()).unwrap();
        let facts: Vec<_> = event.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let annotations = [("event.toolkit.fluxcd.io/env", "prod"), ("event.toolkit.fluxcd.io/revision", "weak")];
        assert_eq!(facts, [annotations[0], annotations[1], ("revision", "main@sha1:abc")]);
        assert_eq!(read(&write(&event)).unwrap(), event);
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for body in ["", "null", "{}", "[]", r#"{"involvedObject":{"kind":"A"},"severity":"loud"}"#] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_between_two_of_us(message in ".{0,60}", key in "(event[.]toolkit[.]fluxcd[.]io/)?[a-zA-Z]{1,10}", value in ".{0,20}") {
            let event = Event { message, metadata: [(key, value)].into(), count: 1, ..event() };
            prop_assert_eq!(read(&write(&event)).unwrap(), event);
        }

        #[test]
        fn no_body_breaks_the_reader(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&body);
        }
    }
}
