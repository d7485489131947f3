//! Events: what a user must know, kept in the store and handed on to notification.

use std::{collections::BTreeMap, sync::Arc};

use api::meta::{EVENT_ANNOTATION_PREFIX, ObjectReference};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::broadcast;

use crate::{Error, Object, Result, Store, clock, object, store::Verb};

/// How much an event matters. Source: reference image-automation.md section 2.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something changed.
    Info,
    /// Somebody should look.
    Error,
    /// Nothing changed; recorded, never sent on.
    Trace,
}

/// Something to be told about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub severity: Severity,
    /// One word in upper camel case.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Facts for machines: `revision`, `commit`, …
    pub metadata: BTreeMap<String, String>,
}

impl Notice {
    /// A notice that something changed.
    pub fn info(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Info, reason: reason.into(), message: message.into(), metadata: BTreeMap::new() }
    }

    /// A notice that somebody should look.
    pub fn error(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, ..Self::info(reason, message) }
    }

    /// A note that nothing changed.
    pub fn trace(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Trace, ..Self::info(reason, message) }
    }

    /// The same notice with one more fact.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }
}

/// The object an event is about, as Kubernetes' ObjectReference names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvolvedObject {
    /// Kind, namespace, name.
    #[serde(flatten)]
    pub reference: ObjectReference,
    /// `metadata.uid`.
    #[serde(default)]
    pub uid: String,
    /// `metadata.resourceVersion`.
    #[serde(default)]
    pub resource_version: String,
}

/// One event, in the JSON form that Flux's event server and generic providers speak.
/// Source: reference delivery.md section 3.1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// What it is about.
    pub involved_object: InvolvedObject,
    /// How much it matters.
    pub severity: Severity,
    /// When it last happened.
    pub timestamp: jiff::Timestamp,
    /// For people.
    pub message: String,
    /// One word in upper camel case.
    pub reason: String,
    /// Facts for machines, and the object's `event.toolkit.fluxcd.io/` annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The controller that saw it.
    pub reporting_controller: String,
    /// The process that saw it.
    pub reporting_instance: String,
    /// How often the same was seen; kept by the store.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u64,
}

const fn one() -> u64 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_one(count: &u64) -> bool {
    *count == 1
}

impl Event {
    /// `Normal` or `Warning`, as Kubernetes types events.
    pub const fn kind(&self) -> &'static str {
        match self.severity {
            Severity::Error => "Warning",
            Severity::Info | Severity::Trace => "Normal",
        }
    }

    /// Part of what makes two events the same: a trace with the words of an event that counts does not take its place.
    pub(crate) const fn mark(&self) -> &'static str {
        match self.severity {
            Severity::Trace => "trace",
            Severity::Info | Severity::Error => "",
        }
    }
}

/// Where events go: into the store, then to whoever subscribed.
#[derive(Clone, Debug)]
pub struct Events {
    store: Store,
    bus: broadcast::Sender<Event>,
    instance: String,
}

impl Events {
    /// Events that are recorded in this store. `instance` names the process, on Kubernetes the pod.
    pub fn new(store: Store, instance: impl Into<String>) -> Self {
        let (bus, _) = broadcast::channel(1024);
        Self { store, bus, instance: instance.into() }
    }

    /// Every event from now on. Who falls more than 1,024 behind reads the store's kept events in its place.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.bus.subscribe()
    }

    /// Records an event about an object and hands it on. `controller` is the source, as Flux and Flagger name themselves.
    pub async fn publish(&self, about: &Value, controller: &str, notice: &Notice) -> Result<()> {
        let event = self.event(about, controller, notice)?;
        let kept = self.store.record(&event).await;
        // Nobody listening is fine.
        let _ = self.bus.send(event);
        kept
    }

    /// [`Store::perform`] with the events among the writes handed on: also when the answer is an error, as they may have
    /// arrived and what is written with them would keep the next run silent.
    pub async fn perform(&self, controller: &str, verbs: Vec<Verb>) -> Result<Vec<Arc<Value>>> {
        let told: Vec<Event> = verbs.iter().filter_map(Verb::event).cloned().collect();
        let stored = self.store.perform(controller, verbs).await;
        if !matches!(stored, Err(Error::NotFound(_))) {
            for event in told {
                let _ = self.bus.send(event);
            }
        }
        stored
    }

    /// Keeps the status that a run leaves, if it leaves one, and what is told of it, so that neither is there without the
    /// other. On a cluster the events go first: a stop in between tells them again and loses none. The object as stored.
    pub(crate) async fn conclude(
        &self,
        about: &Value,
        controller: &str,
        status: Option<&Value>,
        notices: &[Notice],
    ) -> Result<Option<Arc<Value>>> {
        let mut verbs = Vec::new();
        for notice in notices {
            verbs.push(Verb::Record(self.event(about, controller, notice)?));
        }
        if let Some(status) = status {
            verbs.push(Verb::Status(object::require_reference(about)?, status.clone()));
        }
        self.perform(controller, verbs).await.map(|mut stored| stored.pop())
    }

    /// Records an event that another controller posted, and hands it on.
    pub async fn relay(&self, event: Event) -> Result<()> {
        self.store.record(&event).await?;
        let _ = self.bus.send(event);
        Ok(())
    }

    /// The name of this process in its events.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    fn event(&self, about: &Value, controller: &str, notice: &Notice) -> Result<Event> {
        let text = |pointer: &str| about.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let involved_object = InvolvedObject {
            reference: object::require_reference(about)?,
            uid: text("/metadata/uid"),
            resource_version: text("/metadata/resourceVersion"),
        };
        let annotations = about.pointer("/metadata/annotations").and_then(Value::as_object).into_iter().flatten();
        let annotations = annotations.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
        Ok(self.told(involved_object, annotations, controller, notice))
    }

    /// An event about an object, neither recorded nor handed on yet.
    pub fn about<K: Object>(&self, object: &K, controller: &str, notice: &Notice) -> Event {
        let meta = object.meta();
        let involved_object = InvolvedObject {
            reference: object::reference(object),
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
        };
        let annotations = meta.annotations.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
        self.told(involved_object, annotations, controller, notice)
    }

    fn told<'a>(
        &self,
        involved_object: InvolvedObject,
        annotations: impl Iterator<Item = (&'a str, &'a str)>,
        controller: &str,
        notice: &Notice,
    ) -> Event {
        let travelling =
            annotations.filter_map(|(key, value)| Some((key.strip_prefix(EVENT_ANNOTATION_PREFIX)?, value)));
        let mut metadata: BTreeMap<_, _> = travelling.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        metadata.extend(notice.metadata.clone());
        Event {
            involved_object,
            severity: notice.severity,
            timestamp: clock::now(),
            message: notice.message.clone(),
            reason: notice.reason.clone(),
            metadata,
            reporting_controller: controller.to_owned(),
            reporting_instance: self.instance.clone(),
            count: 1,
        }
    }
}
