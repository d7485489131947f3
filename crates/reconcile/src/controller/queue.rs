//! What puts objects into the queue: their own changes, and changes of other kinds.

use std::{
    collections::HashMap,
    convert::Infallible,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use api::meta::REQUESTED_AT;
use futures::{Stream, StreamExt as _, stream};
use kube::runtime::{
    reflector::{self, ObjectRef, store::Writer},
    watcher::Event,
};

use super::{Reconciler, Shutdown, Style};
use crate::{Object, Store};

/// The cache of a kind and what puts its objects into the queue.
type Fed<K, S> = (reflector::Store<K>, S);

type Triggers<K> = stream::BoxStream<'static, ObjectRef<K>>;

/// The triggers of one loop, gathered before it runs.
pub(super) struct Queue<R: Reconciler> {
    reader: reflector::Store<R::Kind>,
    triggers: Vec<Triggers<R::Kind>>,
}

impl<R: Reconciler> Queue<R> {
    /// A queue fed by the changes of the kind itself.
    pub(super) fn new(store: &Store, reconciler: Arc<R>) -> Self {
        let mut writer = Writer::<R::Kind>::new(());
        let reader = writer.as_reader();
        let mut known: HashMap<ObjectRef<R::Kind>, u64> = HashMap::new();
        let own = store.watch::<R::Kind>().filter_map(move |event| {
            let trigger = match event {
                Ok(event) => {
                    writer.apply_watcher_event(&event);
                    own_trigger(&*reconciler, &mut known, event)
                }
                Err(error) => {
                    tracing::warn!(%error, "watch broke and is taken up again");
                    None
                }
            };
            std::future::ready(trigger)
        });
        Self { reader, triggers: vec![own.boxed()] }
    }

    /// Feeds the queue from another kind.
    pub(super) fn watch<Other: Object>(
        &mut self,
        store: &Store,
        map: impl Fn(Option<&Other>, Option<&Other>, &[Arc<R::Kind>]) -> Vec<ObjectRef<R::Kind>> + Send + 'static,
    ) {
        let reader = self.reader.clone();
        let mut known: HashMap<ObjectRef<Other>, Other> = HashMap::new();
        let other = store.watch::<Other>().flat_map(move |event| {
            let triggers = match event {
                Ok(Event::Apply(object) | Event::InitApply(object)) => {
                    let id = ObjectRef::from_obj(&object);
                    let triggers = map(known.get(&id), Some(&object), &reader.state());
                    known.insert(id, object);
                    triggers
                }
                Ok(Event::Delete(object)) => {
                    known.remove(&ObjectRef::from_obj(&object));
                    map(Some(&object), None, &reader.state())
                }
                Ok(Event::Init | Event::InitDone) => Vec::new(),
                Err(error) => {
                    tracing::warn!(%error, "watch broke and is taken up again");
                    Vec::new()
                }
            };
            stream::iter(triggers)
        });
        self.triggers.push(other.boxed());
    }

    /// The cache of the kind and the merged triggers, which end with the shutdown.
    pub(super) fn into_stream(
        self,
        shutdown: Shutdown,
    ) -> Fed<R::Kind, impl Stream<Item = Result<ObjectRef<R::Kind>, Infallible>>> {
        let merged = stream::select_all(self.triggers).map(Ok);
        (self.reader, Box::pin(merged.take_until(async move { shutdown.cancelled().await })))
    }
}

/// Whether a change of the kind itself starts a run.
fn own_trigger<R: Reconciler>(
    reconciler: &R,
    known: &mut HashMap<ObjectRef<R::Kind>, u64>,
    event: Event<R::Kind>,
) -> Option<ObjectRef<R::Kind>> {
    match event {
        Event::Apply(object) | Event::InitApply(object) => {
            let id = ObjectRef::from_obj(&object);
            let fingerprint = reconciler.fingerprint(&object);
            (known.insert(id.clone(), fingerprint) != Some(fingerprint)).then_some(id)
        }
        Event::Delete(object) => {
            known.remove(&ObjectRef::from_obj(&object));
            reconciler.removed(&object);
            None
        }
        Event::Init | Event::InitDone => None,
    }
}

/// What of an object starts a run when it changes: never its status, which we write ourselves.
pub(super) fn fingerprint<K: Object>(object: &K, style: Style) -> u64 {
    let meta = object.meta();
    let mut hasher = DefaultHasher::new();
    (&meta.uid, meta.generation, meta.deletion_timestamp.is_some()).hash(&mut hasher);
    match style {
        Style::Flux => meta.annotations.as_ref().and_then(|all| all.get(REQUESTED_AT)).hash(&mut hasher),
        Style::Own => (&meta.annotations, &meta.labels).hash(&mut hasher),
    }
    hasher.finish()
}
