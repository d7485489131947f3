//! The store: the Kubernetes API, or one machine's manifests and database. A closed set with few verbs.

pub(crate) mod cluster;
pub(crate) mod directory;
pub(crate) mod merge;

use std::sync::Arc;

use api::meta::ObjectReference;
use futures::{StreamExt as _, future, stream::BoxStream};
use kube::{core::PartialObjectMeta, runtime::watcher};
use serde_json::Value;

pub use cluster::{Cluster, Rate, Scope};
pub use directory::{Directory, Folders};

use crate::{Database, Error, Event, Object, Record, Result, Site, effect, object};

/// Which events are asked for.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Only events of this kind of object.
    pub kind: Option<String>,
    /// Only events of objects in this namespace.
    pub namespace: Option<String>,
    /// Only events of objects of this name.
    pub name: Option<String>,
}

/// A write among others that belong together; see [`Store::perform`].
#[derive(Clone, Debug)]
pub enum Verb {
    /// [`Store::apply`]
    Apply(Value),
    /// [`Store::patch`]
    Patch(ObjectReference, Value),
    /// [`Store::write_status`]
    Status(ObjectReference, Value),
    /// [`Store::delete`]
    Delete(ObjectReference),
    /// [`Store::record`]
    Record(Event),
    /// [`Database::note`]
    Note(Record),
}

impl Verb {
    /// The event, if it records one.
    pub(crate) const fn event(&self) -> Option<&Event> {
        match self {
            Self::Record(event) => Some(event),
            _ => None,
        }
    }

    /// Where the seam has it.
    fn site(&self) -> (Site, String) {
        match self {
            Self::Apply(object) => {
                (Site::Apply, ObjectReference::of(object).map(|id| id.to_string()).unwrap_or_default())
            }
            Self::Patch(id, _) => (Site::Patch, id.to_string()),
            Self::Status(id, _) => (Site::Status, id.to_string()),
            Self::Delete(id) => (Site::Delete, id.to_string()),
            Self::Record(event) => (Site::Record, event.involved_object.reference.to_string()),
            Self::Note(record) => (Site::Put, record.key().to_owned()),
        }
    }
}

/// Where objects live. Clones share the same place.
#[derive(Clone, Debug)]
pub enum Store {
    /// The Kubernetes API.
    Cluster(Cluster),
    /// Folders of manifests and one embedded database.
    Directory(Directory),
}

impl Store {
    /// The object, if it is there.
    pub async fn get<K: Object>(&self, namespace: &str, name: &str) -> Result<Option<K>> {
        let found = self.find(&object::named::<K>(namespace, name)).await?;
        found.map(|value| object::from_value(&value)).transpose()
    }

    /// The object in JSON form, whatever its kind. The version in the reference does not matter standalone.
    pub async fn find(&self, id: &ObjectReference) -> Result<Option<Value>> {
        effect(Site::Get, id, async {
            match self {
                Self::Cluster(cluster) => cluster.find(id).await,
                Self::Directory(directory) => directory.find(id).await,
            }
        })
        .await
    }

    /// [`Store::find`] with `metadata.managedFields`, which no other verb reads; a directory keeps none in its objects.
    pub async fn find_with_owners(&self, id: &ObjectReference) -> Result<Option<Value>> {
        effect(Site::Get, id, async {
            match self {
                Self::Cluster(cluster) => cluster.find_with_owners(id).await,
                Self::Directory(directory) => directory.find(id).await,
            }
        })
        .await
    }

    /// [`Store::find`] for who looks often: on a cluster it may be a moment old, though never older than our own last
    /// write; then nobody is asked. Contents of Secrets are not kept, so they are always asked for.
    pub async fn find_cached(&self, id: &ObjectReference) -> Result<Option<Value>> {
        effect(Site::Get, id, async {
            match self {
                Self::Cluster(cluster) => cluster.find_cached(id).await,
                Self::Directory(directory) => directory.find(id).await,
            }
        })
        .await
    }

    /// Whether the object is there in this version, without reading it; on a cluster no where nobody knows without asking.
    pub async fn is_at(&self, id: &ObjectReference, version: &str) -> Result<bool> {
        effect(Site::Get, id, async {
            match self {
                Self::Cluster(cluster) => Ok(cluster.is_at(id, version)),
                Self::Directory(directory) => directory.is_at(id, version).await,
            }
        })
        .await
    }

    /// [`Store::find_cached`] for many objects, all as they are at one moment where that can be: those that are there.
    pub async fn find_all_cached(&self, ids: &[ObjectReference]) -> Result<Vec<Value>> {
        let Some(first) = ids.first() else { return Ok(Vec::new()) };
        effect(Site::Get, first, async {
            match self {
                Self::Cluster(cluster) => {
                    let found = future::try_join_all(ids.iter().map(|id| cluster.find_cached(id))).await?;
                    Ok(found.into_iter().flatten().collect())
                }
                Self::Directory(directory) => directory.find_all(ids).await,
            }
        })
        .await
    }

    /// [`Store::get`] for who looks often; see [`Store::find_cached`].
    pub async fn get_cached<K: Object>(&self, namespace: &str, name: &str) -> Result<Option<K>> {
        let found = self.find_cached(&object::named::<K>(namespace, name)).await?;
        found.map(|value| object::from_value(&value)).transpose()
    }

    /// The objects of a kind, in one namespace or in all. One that does not fit its type is left out with a warning.
    pub async fn list<K: Object>(&self, namespace: Option<&str>) -> Result<Vec<K>> {
        let values = self.list_values(&object::named::<K>("", ""), namespace).await?;
        Ok(values
            .iter()
            .filter_map(|value| {
                object::from_value(value).inspect_err(|error| tracing::warn!(%error, "object is left out")).ok()
            })
            .collect())
    }

    /// The objects of a kind in JSON form. Namespace and name of the reference do not count.
    pub async fn list_values(&self, kind: &ObjectReference, namespace: Option<&str>) -> Result<Vec<Value>> {
        effect(Site::List, &kind.kind, async {
            match self {
                Self::Cluster(cluster) => cluster.list(kind, namespace).await,
                Self::Directory(directory) => directory.list(kind, namespace).await,
            }
        })
        .await
    }

    /// The objects of a kind now, then every change. A broken watch is taken up again with a fresh list.
    /// An object that does not fit its type gets a condition saying so; it does not stop the others.
    pub fn watch<K: Object>(&self) -> BoxStream<'static, Result<watcher::Event<K>>> {
        match self {
            Self::Cluster(cluster) => cluster.watch(),
            Self::Directory(directory) => directory.watch(),
        }
    }

    /// The same with the rest of each object taken away before it is kept anywhere.
    pub fn watch_part<K: Object>(&self, trim: fn(&mut K)) -> BoxStream<'static, Result<watcher::Event<K>>> {
        let whole = match self {
            Self::Cluster(cluster) => cluster.watch_part(),
            Self::Directory(directory) => directory.watch(),
        };
        whole.map(move |event| event.map(|event| event.modify(trim))).boxed()
    }

    /// Those of them that are this process's to work on: the shard. Their changes start runs.
    pub fn watch_own<K: Object>(&self) -> BoxStream<'static, Result<watcher::Event<K>>> {
        match self {
            Self::Cluster(cluster) => cluster.watch_own(),
            Self::Directory(directory) => directory.watch(),
        }
    }

    /// Like [`Store::watch`], but only metadata without annotations is fetched and kept: for kinds whose content is
    /// large or secret, and of which only a change matters (`resourceVersion`).
    pub fn watch_metadata<K: Object>(&self) -> BoxStream<'static, Result<watcher::Event<PartialObjectMeta<K>>>> {
        match self {
            Self::Cluster(cluster) => cluster.watch_metadata(),
            Self::Directory(directory) => directory.watch(),
        }
    }

    /// The same store with the rights of a service account. One machine has no accounts: whoever may write its folders
    /// may do all.
    pub fn acting_as(&self, namespace: &str, account: &str) -> Result<Self> {
        Ok(match self {
            Self::Cluster(cluster) => Self::Cluster(cluster.acting_as(namespace, account)?),
            Self::Directory(directory) => Self::Directory(directory.clone()),
        })
    }

    /// Creates or updates: the manager's fields are set by force, fields it left out since last time go, others stay.
    /// Returns the object as stored. Nothing is written when nothing would change. Status is ignored.
    pub async fn apply(&self, manager: &str, object: &Value) -> Result<Value> {
        let id = object::require_reference(object)?;
        effect(Site::Apply, &id, async {
            match self {
                Self::Cluster(cluster) => cluster.apply(manager, &id, object, cluster::Mode::Write).await,
                Self::Directory(directory) => directory.changed(manager, Verb::Apply(object.clone())).await,
            }
        })
        .await
    }

    /// What [`Store::apply`] would lead to. Without a `metadata.resourceVersion` the object would be created.
    pub async fn dry_run(&self, manager: &str, object: &Value) -> Result<Value> {
        let id = object::require_reference(object)?;
        effect(Site::Get, &id, async {
            match self {
                Self::Cluster(cluster) => cluster.apply(manager, &id, object, cluster::Mode::DryRun).await,
                Self::Directory(directory) => directory.dry_run(manager, &id, object).await,
            }
        })
        .await
    }

    /// JSON merge patch of spec and metadata; null removes. The object must be there. With a `metadata.resourceVersion`
    /// it must not have changed since ([`crate::Error::Conflict`]).
    pub async fn patch(&self, id: &ObjectReference, manager: &str, merge: &Value) -> Result<Value> {
        effect(Site::Patch, id, async {
            match self {
                Self::Cluster(cluster) => cluster.patch(id, manager, merge).await,
                Self::Directory(directory) => directory.changed(manager, Verb::Patch(id.clone(), merge.clone())).await,
            }
        })
        .await
    }

    /// JSON merge patch of `.status`; null removes. Nothing is written when nothing would change.
    pub async fn write_status(&self, id: &ObjectReference, manager: &str, merge: &Value) -> Result<Value> {
        effect(Site::Status, id, async {
            match self {
                Self::Cluster(cluster) => cluster.write_status(id, manager, merge).await,
                Self::Directory(directory) => directory.changed(manager, Verb::Status(id.clone(), merge.clone())).await,
            }
        })
        .await
    }

    /// Writes that belong together, from first to last, and the objects as they are stored. On one machine all are stored,
    /// in one transaction, or none; on a cluster the first that fails ends it. An event that a cluster does not take is in
    /// the log, and keeps nothing else from being written.
    pub async fn perform(&self, manager: &str, verbs: Vec<Verb>) -> Result<Vec<Arc<Value>>> {
        let Some(last) = verbs.last() else { return Ok(Vec::new()) };
        if let (Self::Directory(directory), true) = (self, is_one_transaction()) {
            let (site, key) = last.site();
            return effect(site, &key, directory.perform(manager, verbs)).await;
        }
        let mut stored = Vec::new();
        let mut verbs = verbs.into_iter().peekable();
        while let Some(verb) = verbs.next() {
            match verb {
                Verb::Apply(object) => stored.push(Arc::new(self.apply(manager, &object).await?)),
                Verb::Patch(id, merge) => stored.push(Arc::new(self.patch(&id, manager, &merge).await?)),
                Verb::Status(id, merge) => stored.push(Arc::new(self.write_status(&id, manager, &merge).await?)),
                Verb::Delete(id) => drop(self.delete(&id).await?),
                Verb::Note(record) => {
                    // Those that follow each other are one transaction: they go into the same file.
                    let following = std::iter::from_fn(|| match verbs.next_if(|verb| matches!(verb, Verb::Note(_))) {
                        Some(Verb::Note(record)) => Some(record),
                        _ => None,
                    });
                    self.database().note_all(std::iter::once(record).chain(following).collect()).await?;
                }
                Verb::Record(event) => {
                    if let Err(error) = self.record(&event).await {
                        tracing::warn!(%error, reason = event.reason, "event could not be kept");
                    }
                }
            }
        }
        Ok(stored)
    }

    /// Deletes the object; false if it was not there. One with finalizers stays, marked, until they are gone; objects
    /// that it owns go with it.
    pub async fn delete(&self, id: &ObjectReference) -> Result<bool> {
        effect(Site::Delete, id, async {
            match self {
                Self::Cluster(cluster) => cluster.delete(id).await,
                Self::Directory(directory) => directory.delete(id).await,
            }
        })
        .await
    }

    /// The answer to a GET of a path of the Kubernetes API, for interfaces that hold no objects. A directory has none.
    pub async fn get_path(&self, path: &str) -> Result<Value> {
        effect(Site::Get, path, async {
            match self {
                Self::Cluster(cluster) => cluster.get_path(path).await,
                Self::Directory(_) => Err(Error::NotFound(format!("there is no cluster; {path}"))),
            }
        })
        .await
    }

    /// A token by which the cluster vouches for a ServiceAccount before whoever is the audience. A directory vouches for
    /// nobody.
    pub async fn account_token(&self, namespace: &str, name: &str, audience: &str) -> Result<String> {
        effect(Site::Get, &format!("token of {namespace}/{name}"), async {
            match self {
                Self::Cluster(cluster) => cluster.account_token(namespace, name, audience).await,
                Self::Directory(_) => Err(Error::NotFound("there is no cluster that vouches for accounts".into())),
            }
        })
        .await
    }

    /// Keeps an event. The same event about the same object is counted, not kept twice.
    pub async fn record(&self, event: &Event) -> Result<()> {
        effect(Site::Record, &event.involved_object.reference, async {
            match self {
                Self::Cluster(cluster) => cluster.record(event).await,
                Self::Directory(directory) => directory.perform("", vec![Verb::Record(event.clone())]).await.map(drop),
            }
        })
        .await
    }

    /// Kept events, oldest first.
    pub async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>> {
        match self {
            Self::Cluster(cluster) => cluster.events(filter).await,
            Self::Directory(directory) => directory.events(filter).await,
        }
    }

    /// The embedded database, for a stage's own records.
    pub fn database(&self) -> &Database {
        match self {
            Self::Cluster(cluster) => cluster.database(),
            Self::Directory(directory) => directory.database(),
        }
    }

    /// Whether objects live on this machine only.
    pub const fn is_standalone(&self) -> bool {
        matches!(self, Self::Directory(_))
    }
}

/// Whether one machine stores together what belongs together; tests may see it apart, as a cluster has it.
fn is_one_transaction() -> bool {
    #[cfg(feature = "simulation")]
    return !crate::simulation::is_apart();
    #[cfg(not(feature = "simulation"))]
    true
}
