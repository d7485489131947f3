//! Applying and pruning: the verbs of the store, in the order and with the exceptions that the pure part gives.

use api::{kustomize::ResourceRef, meta::ObjectReference};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use reconcile::Store;
use serde_json::Value;

use crate::{
    apply::{self, Action, Change, MANAGER},
    drift::IgnoreRules,
    inventory, takeover,
};

/// Dry runs under way at once against an API server. Source: Flux `--concurrent-ssa`.
const CONCURRENCY: usize = 4;

/// Tries of a takeover, which must not lose what somebody else writes meanwhile.
const TRIES: u32 = 4;

/// What a Kustomization says about how its objects are applied.
#[derive(Clone, Copy)]
pub(super) struct How<'a> {
    /// Whether objects are recreated where a field cannot be changed.
    pub(super) force: bool,
    /// Fields that are left to others.
    pub(super) ignored: &'a IgnoreRules,
    /// Managers whose fields are taken over besides `kubectl`'s.
    pub(super) managers: &'a [String],
}

/// One object, and what applying it would do.
pub(super) struct Planned {
    desired: Value,
    /// Which object it is, with the namespace that the store puts it into.
    pub(super) id: ObjectReference,
    action: Action,
    recreate: bool,
    /// Whether it has fields of others that become ours first.
    takes_over: bool,
}

impl Planned {
    /// What is going to happen to the object, if anything.
    pub(super) fn change(&self) -> Option<(&ObjectReference, Action)> {
        matches!(self.action, Action::Created | Action::Configured).then_some((&self.id, self.action))
    }
}

/// Looks at what applying the objects of a stage would do. Nothing is written; any error stops the stage.
pub(super) async fn plan(store: &Store, objects: Vec<Value>, how: How<'_>) -> Result<Vec<Planned>, String> {
    let width = if store.is_standalone() { 1 } else { CONCURRENCY };
    stream::iter(objects).map(|object| plan_one(store, object, how)).buffered(width).try_collect().await
}

async fn plan_one(store: &Store, desired: Value, how: How<'_>) -> Result<Planned, String> {
    let mut id = ObjectReference::of(&desired).ok_or("an object without kind or name")?;
    let live = store.find_with_owners(&id).await.map_err(|error| format!("{id} query failed: {error}"))?;
    if let Some(live) = &live {
        id = located(id, live, store);
    }
    if apply::is_skipped(&desired, live.as_ref()) {
        id = located(id, &desired, store);
        return Ok(Planned { desired, id, action: Action::Skipped, recreate: false, takes_over: false });
    }
    let recreate = how.force || apply::may_recreate(&desired, live.as_ref());
    match store.dry_run(MANAGER, &desired).await {
        Ok(after) => {
            let cluster = live.as_ref().filter(|_| !store.is_standalone());
            let takeover = cluster.and_then(|live| takeover::patch(&desired, live, how.managers));
            let id = located(id, &after, store);
            let (action, desired) = compare(desired, live, after, takeover.as_ref(), how.ignored);
            let (action, takes_over) = takeover.map_or((action, false), |_| (Action::Configured, true));
            Ok(Planned { id, desired, action, recreate: false, takes_over })
        }
        Err(error) if recreate && apply::is_immutable_error(&error.to_string()) => {
            Ok(Planned { desired, id, action: Action::Configured, recreate, takes_over: false })
        }
        Err(error) => Err(format!("{id} dry-run failed: {error}")),
    }
}

/// What applying an object would do, and what is applied so that no field which is left to others changes.
fn compare(
    desired: Value,
    live: Option<Value>,
    mut after: Value,
    takeover: Option<&Value>,
    ignored: &IgnoreRules,
) -> (Action, Value) {
    if ignored.is_empty() {
        return (apply::action(live.as_ref(), &after), desired);
    }
    let Some(mut live) = live else { return (Action::Created, desired) };
    let action = apply::action(Some(&ignored.without(&live, &after)), &ignored.without(&after, &after));
    // Whoever is taken over applies nothing any more, and what was theirs goes where it is not applied.
    if let Some(managers) = takeover.and_then(|merge| merge.pointer("/metadata/managedFields")) {
        live["metadata"]["managedFields"] = managers.clone();
        after = ignored.taken(&after, &desired);
    }
    (action, ignored.payload(&desired, &live, &after))
}

/// The reference with the namespace the object is kept under. One machine keeps what names none under `default`.
fn located(mut id: ObjectReference, stored: &Value, store: &Store) -> ObjectReference {
    let namespace = stored.pointer("/metadata/namespace").and_then(Value::as_str);
    id.namespace = namespace.unwrap_or_default().to_owned();
    if crate::scope::is_cluster_scoped(&id.kind) {
        id.namespace.clear();
    } else if id.namespace.is_empty() && store.is_standalone() {
        "default".clone_into(&mut id.namespace);
    }
    id
}

/// Writes what was planned, in order.
pub(super) async fn write(store: &Store, planned: Vec<Planned>, how: How<'_>) -> Result<Vec<Change>, String> {
    let mut changes = Vec::with_capacity(planned.len());
    for Planned { desired, id, action, recreate, takes_over } in planned {
        if takes_over {
            let taken = take_over(store, &id, &desired, how.managers).await;
            taken.map_err(|error| format!("{id} metadata.managedFields cleanup failed: {error}"))?;
        }
        if matches!(action, Action::Created | Action::Configured) {
            if recreate {
                store.delete(&id).await.map_err(|error| format!("{id} delete failed: {error}"))?;
            }
            store.apply(MANAGER, &desired).await.map_err(|error| format!("{id} apply failed: {error}"))?;
        }
        changes.push(Change { object: id, action });
    }
    Ok(changes)
}

/// Makes the fields of others ours, on the object as it is now.
async fn take_over(
    store: &Store,
    id: &ObjectReference,
    desired: &Value,
    managers: &[String],
) -> Result<(), reconcile::Error> {
    for tried in 1.. {
        let Some(live) = store.find_with_owners(id).await? else { return Ok(()) };
        let Some(mut merge) = takeover::patch(desired, &live, managers) else { return Ok(()) };
        merge["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
        match store.patch(id, MANAGER, &merge).await {
            Err(reconcile::Error::Conflict(_)) if tried < TRIES => {}
            outcome => return outcome.map(drop),
        }
    }
    Ok(())
}

/// What pruning came to.
#[derive(Default)]
pub(super) struct Pruned {
    /// Objects that were deleted.
    pub(super) changes: Vec<Change>,
    /// Objects that could not be deleted: they stay in the inventory.
    pub(super) left: Vec<ResourceRef>,
    /// Why, one text an object.
    pub(super) errors: Vec<String>,
}

/// What deleting an object came to.
enum Deletion {
    Done,
    /// It is gone already.
    Needless,
    /// It is not this Kustomization's to delete, or goes already.
    Barred,
}

/// Deletes the objects that are still this Kustomization's own. Of those that are gone already, the ones that an earlier run
/// deleted are among the changes.
pub(super) async fn prune(
    store: &Store,
    stale: &[ResourceRef],
    (namespace, name): (&str, &str),
    was_ours: impl Fn(&ObjectReference) -> bool,
) -> Pruned {
    let mut pruned = Pruned::default();
    for entry in stale {
        let Some(id) = inventory::object(entry) else { continue };
        match delete(store, &id, namespace, name).await {
            Ok(Deletion::Needless) if !was_ours(&id) => {}
            Ok(Deletion::Done | Deletion::Needless) => {
                pruned.changes.push(Change { object: id, action: Action::Deleted })
            }
            Ok(Deletion::Barred) => {}
            Err(error) => {
                pruned.left.push(entry.clone());
                pruned.errors.push(format!("{id} delete failed: {error}"));
            }
        }
    }
    pruned
}

async fn delete(
    store: &Store,
    id: &ObjectReference,
    namespace: &str,
    name: &str,
) -> Result<Deletion, reconcile::Error> {
    let live = match store.find(id).await {
        Ok(Some(live)) => live,
        // A kind that is gone took its objects with it.
        Ok(None) | Err(reconcile::Error::UnknownKind { .. }) => return Ok(Deletion::Needless),
        Err(error) => return Err(error),
    };
    if !apply::is_pruned(&live, namespace, name) || live.pointer("/metadata/deletionTimestamp").is_some() {
        return Ok(Deletion::Barred);
    }
    Ok(if store.delete(id).await? { Deletion::Done } else { Deletion::Needless })
}
