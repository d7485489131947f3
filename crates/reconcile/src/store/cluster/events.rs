//! Events of the Kubernetes API. The same event about the same object is counted, not kept twice.

use std::{collections::HashMap, sync::PoisonError};

use api::meta::{EVENT_ANNOTATION_PREFIX, ObjectReference};
use k8s_openapi::api::core::v1;
use kube::{
    Api, Resource as _,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::Request,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Cluster, PAGE, code, failed};
use crate::{Event, Result, Severity, event::InvolvedObject, object::effective_namespace, store::EventFilter};

/// Counts remembered; more are forgotten and asked for again.
const REMEMBERED: usize = 4096;
/// Longest object name in an event's own name, which may have 253 characters with the digest.
const NAME_LENGTH: usize = 230;
/// Annotation for the severity that the API has no word for.
const SEVERITY: &str = "slipway.dev/severity";

/// How often each kept event was seen, by namespace and name of the event.
pub(super) type Told = HashMap<(String, String), u64>;

impl Cluster {
    pub(crate) async fn record(&self, event: &Event) -> Result<()> {
        let about = &event.involved_object.reference;
        let namespace = effective_namespace("", &about.namespace).to_owned();
        let key = (namespace.clone(), name(event));
        let known = self.shared.told.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        let seen = match known {
            Some(count) => count,
            None => match self.create(event, &key).await {
                Ok(()) => {
                    self.remember(key, 1);
                    return Ok(());
                }
                Err(error) if code(&error) == Some(409) => {
                    let api: Api<v1::Event> = Api::namespaced(self.client.clone(), &namespace);
                    let kept = api.get_opt(&key.1).await.map_err(|error| failed(about, error))?;
                    kept.and_then(|kept| kept.count).and_then(|count| u64::try_from(count).ok()).unwrap_or(0)
                }
                // The namespace is on its way out, and takes its events along.
                Err(error) if matches!(code(&error), Some(403 | 404)) => {
                    tracing::debug!(%error, "event is not kept");
                    return Ok(());
                }
                Err(error) => return Err(failed(about, error)),
            },
        };
        let patch = json!({
            "count": seen + 1,
            "lastTimestamp": api::Time(event.timestamp),
            "metadata": {"annotations": annotations(event)},
        });
        let request = requests(&namespace).patch(&key.1, &PatchParams::default(), &Patch::Merge(&patch));
        match self.unread(request).await {
            Ok(()) => self.remember(key, seen + 1),
            // The API server drops events after an hour; then it begins anew.
            Err(error) if code(&error) == Some(404) => {
                self.create(event, &key).await.map_err(|error| failed(about, error))?;
                self.remember(key, 1);
            }
            Err(error) => return Err(failed(about, error)),
        }
        Ok(())
    }

    async fn create(&self, event: &Event, key: &(String, String)) -> kube::Result<()> {
        let body = serde_json::to_vec(&to_core(event, key)).map_err(kube::Error::SerdeError)?;
        self.unread(requests(&key.0).create(&PostParams::default(), body)).await
    }

    fn remember(&self, key: (String, String), count: u64) {
        let mut told = self.shared.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= REMEMBERED {
            told.clear();
        }
        told.insert(key, count);
    }

    pub(crate) async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>> {
        let api: Api<v1::Event> = match filter.namespace.as_ref().or(self.shared.scope.namespace.as_ref()) {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let name = filter.name.as_ref().map(|name| format!("involvedObject.name={name}"));
        let mut parameters = ListParams::default().limit(PAGE).fields(&name.unwrap_or_default());
        let about = ObjectReference { kind: "Event".into(), ..ObjectReference::default() };
        let mut events = Vec::new();
        loop {
            let page = api.list(&parameters).await.map_err(|error| failed(&about, error))?;
            events.extend(page.items.iter().map(from_core));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => break,
            }
        }
        // The API server tells kinds apart by case; people do not.
        if let Some(kind) = &filter.kind {
            events.retain(|event| event.involved_object.reference.kind.eq_ignore_ascii_case(kind));
        }
        events.sort_by_key(|event| event.timestamp);
        Ok(events)
    }
}

/// The event's own name: the same for the same event, whichever process saw it.
fn name(event: &Event) -> String {
    let about = &event.involved_object;
    let identity = [&about.reference.kind, &about.uid, &event.reason, &event.message, &event.reporting_controller];
    let mut hasher = Sha256::new();
    for part in identity {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    hasher.update(event.mark());
    let digest: String = hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let object: String = about.reference.name.chars().take(NAME_LENGTH).collect();
    format!("{}.{digest}", object.trim_end_matches(['.', '-']))
}

/// The facts for machines under the object's API group, as Flux's controllers write them, and the severity where the type
/// does not tell it.
fn annotations(event: &Event) -> serde_json::Map<String, serde_json::Value> {
    let prefix = prefix(&event.involved_object.reference);
    let valid = |key: &str| {
        let letters = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !key.is_empty() && key.len() <= 63 && key.chars().all(letters)
    };
    // Annotations of the object that travel with the event have their own prefix.
    let facts = event.metadata.iter().filter_map(|(key, value)| {
        let (prefix, name) = match key.strip_prefix(EVENT_ANNOTATION_PREFIX) {
            Some(name) => (EVENT_ANNOTATION_PREFIX, name),
            None => (prefix.as_str(), key.as_str()),
        };
        valid(name).then(|| (format!("{prefix}{name}"), value.clone().into()))
    });
    let trace = (event.severity == Severity::Trace).then(|| (SEVERITY.to_owned(), "trace".into()));
    facts.chain(trace).collect()
}

/// The object's API group with a slash; nothing for kinds without one.
fn prefix(about: &ObjectReference) -> String {
    let group = about.group();
    if group.is_empty() { String::new() } else { format!("{group}/") }
}

/// Requests about the events of a namespace.
fn requests(namespace: &str) -> Request {
    Request::new(v1::Event::url_path(&(), Some(namespace)))
}

fn to_core(event: &Event, (namespace, name): &(String, String)) -> Value {
    let time = api::Time(event.timestamp);
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations(event)},
        "involvedObject": event.involved_object,
        "type": event.kind(),
        "reason": event.reason,
        "message": event.message,
        "source": {"component": event.reporting_controller},
        "reportingComponent": event.reporting_controller,
        "reportingInstance": event.reporting_instance,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    })
}

fn from_core(event: &v1::Event) -> Event {
    let about = &event.involved_object;
    let mut annotations = event.metadata.annotations.clone().unwrap_or_default();
    let severity = match (annotations.remove(SEVERITY), event.type_.as_deref()) {
        (Some(_), _) => Severity::Trace,
        (None, Some("Warning")) => Severity::Error,
        (None, _) => Severity::Info,
    };
    let time = event.last_timestamp.as_ref().map(|time| time.0).or(event.event_time.as_ref().map(|time| time.0));
    let reference = ObjectReference {
        api_version: about.api_version.clone().unwrap_or_default(),
        kind: about.kind.clone().unwrap_or_default(),
        namespace: about.namespace.clone().unwrap_or_default(),
        name: about.name.clone().unwrap_or_default(),
    };
    let prefix = prefix(&reference);
    let plain = |(key, value): (String, String)| (key.strip_prefix(&prefix).unwrap_or(&key).to_owned(), value);
    Event {
        metadata: annotations.into_iter().map(plain).collect(),
        involved_object: InvolvedObject {
            reference,
            uid: about.uid.clone().unwrap_or_default(),
            resource_version: about.resource_version.clone().unwrap_or_default(),
        },
        severity,
        timestamp: time.unwrap_or(jiff::Timestamp::UNIX_EPOCH),
        message: event.message.clone().unwrap_or_default(),
        reason: event.reason.clone().unwrap_or_default(),
        reporting_controller: event.reporting_component.clone().unwrap_or_default(),
        reporting_instance: event.reporting_instance.clone().unwrap_or_default(),
        count: event.count.and_then(|count| u64::try_from(count).ok()).unwrap_or(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_stand_under_the_objects_group() {
        for (api_version, key) in
            [("kustomize.toolkit.fluxcd.io/v1", "kustomize.toolkit.fluxcd.io/revision"), ("v1", "revision")]
        {
            let event: Event = serde_json::from_value(json!({
                "involvedObject": {"apiVersion": api_version, "kind": "Any", "namespace": "apps", "name": "a"},
                "severity": "trace", "timestamp": "2026-01-02T03:04:05Z", "message": "m", "reason": "r",
                "metadata": {"revision": "main@sha1:abc", "event.toolkit.fluxcd.io/env": "prod"}, "reportingController": "c", "reportingInstance": "i"}))
            .expect("an event");
            let core: v1::Event =
                serde_json::from_value(to_core(&event, &("apps".into(), "a.1".into()))).expect("an event");
            let annotations = core.metadata.annotations.clone().unwrap_or_default();
            for (key, value) in [(key, "main@sha1:abc"), ("event.toolkit.fluxcd.io/env", "prod")] {
                assert_eq!(annotations.get(key).map(String::as_str), Some(value), "{annotations:?}");
            }
            assert_eq!(from_core(&core), event);
        }
    }
}
