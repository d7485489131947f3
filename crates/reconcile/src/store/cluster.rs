//! The store of a cluster: the Kubernetes API through `kube`, with the same verbs.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use api::meta::ObjectReference;
use futures::{StreamExt as _, stream::BoxStream};
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::{DynamicObject, GroupVersionKind},
    discovery::{self, Scope},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::{Value, json};

use crate::{Database, Error, Event, Object, Result, clock, controller, object, store::EventFilter};

/// Whether an apply is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Write,
    DryRun,
}

/// Where each kind is served, by API version and kind.
type Kinds = HashMap<(String, String), (ApiResource, Scope)>;

/// The Kubernetes API. Clones share the client.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    database: Database,
    kinds: Arc<Mutex<Kinds>>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cluster")
    }
}

impl Cluster {
    /// The store of the cluster this client talks to. The database keeps what has no place in the API, such as tags.
    pub fn new(client: Client, database: Database) -> Self {
        Self { client, database, kinds: Arc::default() }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Where objects of a kind are served. Asked once; a kind that is not there yet is asked for again.
    async fn kind(&self, id: &ObjectReference) -> Result<(ApiResource, Scope)> {
        let key = (id.api_version.clone(), id.kind.clone());
        if let Some(known) = self.kinds.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(known.clone());
        }
        let gvk = GroupVersionKind::gvk(id.group(), id.version(), &id.kind);
        let (resource, capabilities) = match discovery::pinned_kind(&self.client, &gvk).await {
            Ok(found) => found,
            Err(kube::Error::Discovery(_)) => {
                return Err(Error::UnknownKind { api_version: id.api_version.clone(), kind: id.kind.clone() });
            }
            Err(error) => return Err(error.into()),
        };
        let found = (resource, capabilities.scope);
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner).insert(key, found.clone());
        Ok(found)
    }

    async fn api(&self, id: &ObjectReference) -> Result<Api<DynamicObject>> {
        let (resource, scope) = self.kind(id).await?;
        Ok(match scope {
            Scope::Cluster => Api::all_with(self.client.clone(), &resource),
            Scope::Namespaced => {
                let namespace = if id.namespace.is_empty() { "default" } else { &id.namespace };
                Api::namespaced_with(self.client.clone(), namespace, &resource)
            }
        })
    }

    pub(crate) async fn find(&self, id: &ObjectReference) -> Result<Option<Value>> {
        let found = self.api(id).await?.get_opt(&id.name).await?;
        Ok(found.map(|object| value(id, &object)))
    }

    pub(crate) async fn list(&self, kind: &ObjectReference, namespace: Option<&str>) -> Result<Vec<Value>> {
        let (resource, scope) = self.kind(kind).await?;
        let api: Api<DynamicObject> = match (namespace, scope) {
            (Some(namespace), Scope::Namespaced) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            _ => Api::all_with(self.client.clone(), &resource),
        };
        let listed = api.list(&ListParams::default()).await?;
        Ok(listed.items.iter().map(|object| value(kind, object)).collect())
    }

    pub(crate) async fn apply(&self, manager: &str, id: &ObjectReference, object: &Value, mode: Mode) -> Result<Value> {
        let mut body = object.clone();
        if let Some(fields) = body.as_object_mut() {
            fields.remove("status");
        }
        let parameters = PatchParams { dry_run: mode == Mode::DryRun, ..PatchParams::apply(manager).force() };
        let applied = self.api(id).await?.patch(&id.name, &parameters, &Patch::Apply(&body)).await?;
        Ok(value(id, &applied))
    }

    pub(crate) async fn patch(&self, id: &ObjectReference, manager: &str, merge: &Value) -> Result<Value> {
        let parameters = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        let patched = self.api(id).await?.patch(&id.name, &parameters, &Patch::Merge(merge)).await;
        patched.map(|object| value(id, &object)).map_err(|error| not_found(id, error))
    }

    pub(crate) async fn write_status(&self, id: &ObjectReference, manager: &str, merge: &Value) -> Result<Value> {
        let parameters = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        let body = json!({ "status": merge });
        let written = self.api(id).await?.patch_status(&id.name, &parameters, &Patch::Merge(&body)).await;
        written.map(|object| value(id, &object)).map_err(|error| not_found(id, error))
    }

    pub(crate) async fn delete(&self, id: &ObjectReference) -> Result<bool> {
        match self.api(id).await?.delete(&id.name, &DeleteParams::background()).await {
            Ok(_) => Ok(true),
            Err(error) if is_not_found(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) async fn get_path(&self, path: &str) -> Result<Value> {
        let request = http::Request::get(path).body(Vec::new());
        let request =
            request.map_err(|error| Error::Invalid { object: path.to_owned(), problem: error.to_string() })?;
        Ok(self.client.request(request).await?)
    }

    pub(crate) async fn record(&self, event: &Event) -> Result<()> {
        let about = &event.involved_object;
        let namespace = if about.reference.namespace.is_empty() { "default" } else { &about.reference.namespace };
        let time = api::Time(event.timestamp);
        let body: k8s_openapi::api::core::v1::Event = serde_json::from_value(json!({
            "metadata": {"generateName": format!("{}.", about.reference.name), "namespace": namespace},
            "involvedObject": about,
            "type": event.kind(),
            "reason": event.reason,
            "message": event.message,
            "source": {"component": event.reporting_controller},
            "reportingComponent": event.reporting_controller,
            "reportingInstance": event.reporting_instance,
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
        }))
        .map_err(|error| Error::Invalid { object: about.reference.to_string(), problem: error.to_string() })?;
        let api: Api<k8s_openapi::api::core::v1::Event> = Api::namespaced(self.client.clone(), namespace);
        api.create(&PostParams::default(), &body).await?;
        Ok(())
    }

    pub(crate) async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>> {
        let api: Api<k8s_openapi::api::core::v1::Event> = match &filter.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let selectors = [("kind", &filter.kind), ("name", &filter.name)];
        let selector: Vec<String> = selectors
            .iter()
            .filter_map(|(field, wanted)| wanted.as_ref().map(|wanted| format!("involvedObject.{field}={wanted}")))
            .collect();
        let listed = api.list(&ListParams::default().fields(&selector.join(","))).await?;
        let mut events: Vec<Event> = listed.items.iter().map(from_core).collect();
        events.sort_by_key(|event| event.timestamp);
        Ok(events)
    }

    pub(crate) fn watch<K: Object>(&self) -> BoxStream<'static, Result<watcher::Event<K>>> {
        let this = self.clone();
        let kind = object::named::<K>("", "");
        let resource = ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        watcher(api, watcher::Config::default())
            .default_backoff()
            .filter_map(move |event| {
                let (this, kind) = (this.clone(), kind.clone());
                async move {
                    Some(match event {
                        Err(error) => Err(Error::Watch(Box::new(error))),
                        Ok(watcher::Event::Init) => Ok(watcher::Event::Init),
                        Ok(watcher::Event::InitDone) => Ok(watcher::Event::InitDone),
                        Ok(watcher::Event::InitApply(found)) => {
                            Ok(watcher::Event::InitApply(this.decode(&kind, &found).await?))
                        }
                        Ok(watcher::Event::Apply(found)) => {
                            Ok(watcher::Event::Apply(this.decode(&kind, &found).await?))
                        }
                        Ok(watcher::Event::Delete(found)) => {
                            Ok(watcher::Event::Delete(this.decode(&kind, &found).await?))
                        }
                    })
                }
            })
            .boxed()
    }

    /// The object as its type; one that does not fit gets a condition that says which field is wrong.
    async fn decode<K: Object>(&self, kind: &ObjectReference, found: &DynamicObject) -> Option<K> {
        let value = value(kind, found);
        match object::from_value(&value) {
            Ok(object) => Some(object),
            Err(error) => {
                tracing::warn!(%error, "object does not fit its kind");
                let status = controller::invalid_status(&value, &error.to_string(), clock::now());
                if let Some(id) = ObjectReference::of(&value)
                    && let Err(error) = self.write_status(&id, "slipway", &status).await
                {
                    tracing::warn!(%error, "condition could not be written");
                }
                None
            }
        }
    }
}

/// The object as JSON; lists leave the type out of their items, so it is put back.
fn value(id: &ObjectReference, object: &DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.entry("apiVersion").or_insert_with(|| id.api_version.clone().into());
        fields.entry("kind").or_insert_with(|| id.kind.clone().into());
    }
    value
}

fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

fn not_found(id: &ObjectReference, error: kube::Error) -> Error {
    if is_not_found(&error) { Error::NotFound(id.to_string()) } else { error.into() }
}

fn from_core(event: &k8s_openapi::api::core::v1::Event) -> Event {
    let about = &event.involved_object;
    Event {
        involved_object: crate::event::InvolvedObject {
            reference: ObjectReference {
                api_version: about.api_version.clone().unwrap_or_default(),
                kind: about.kind.clone().unwrap_or_default(),
                namespace: about.namespace.clone().unwrap_or_default(),
                name: about.name.clone().unwrap_or_default(),
            },
            uid: about.uid.clone().unwrap_or_default(),
            resource_version: about.resource_version.clone().unwrap_or_default(),
        },
        severity: match event.type_.as_deref() {
            Some("Warning") => crate::Severity::Error,
            _ => crate::Severity::Info,
        },
        timestamp: event.last_timestamp.as_ref().map_or(jiff::Timestamp::UNIX_EPOCH, |time| time.0),
        message: event.message.clone().unwrap_or_default(),
        reason: event.reason.clone().unwrap_or_default(),
        metadata: event.metadata.annotations.clone().unwrap_or_default(),
        reporting_controller: event.reporting_component.clone().unwrap_or_default(),
        reporting_instance: event.reporting_instance.clone().unwrap_or_default(),
        count: event.count.and_then(|count| u64::try_from(count).ok()).unwrap_or(1),
    }
}
