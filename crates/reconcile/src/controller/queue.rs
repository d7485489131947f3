//! What puts objects into the queue: their own changes, and changes of other kinds.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    mem,
    sync::Arc,
};

use api::meta::REQUESTED_AT;
use futures::{Stream, StreamExt as _, stream};
use kube::runtime::{
    reflector::{self, ObjectRef, store::Writer},
    watcher::Event,
};

use super::{Reconciler, Shutdown, Style};
use crate::{Error, Object, Result, Store};

/// The cache of a kind and what puts its objects into the queue.
type Fed<K, S> = (reflector::Store<K>, S);

/// Which objects of a loop the change of an object of another kind concerns: none, or those of which the function says so.
pub type Concerned<'a, K> = Option<Box<dyn Fn(&K) -> bool + 'a>>;

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
        let cache = reader.clone();
        let mut known = Known::<R::Kind, u64>::default();
        let own = store.watch_own::<R::Kind>().flat_map(move |event| {
            let Some(event) = unbroken(event) else { return stream::iter(Vec::new()) };
            let mut triggers = Vec::new();
            if matches!(event, Event::InitDone) {
                // The cache still holds what is not listed any more.
                for (id, _) in known.unlisted() {
                    cache.get(&id).iter().for_each(|object| reconciler.removed(object));
                    triggers.push(id);
                }
            }
            writer.apply_watcher_event(&event);
            triggers.extend(own_trigger(&*reconciler, &mut known, event));
            stream::iter(triggers)
        });
        Self { reader, triggers: vec![own.boxed()] }
    }

    /// Feeds the queue from another kind.
    pub(super) fn watch<Other: Object>(
        &mut self,
        events: stream::BoxStream<'static, Result<Event<Other>>>,
        map: impl for<'a> Fn(Option<&'a Other>, Option<&'a Other>) -> Concerned<'a, R::Kind> + Send + 'static,
    ) {
        let reader = self.reader.clone();
        let mut known = Known::<Other, Other>::default();
        let concerned = move |before: Option<&Other>, after: Option<&Other>| {
            let found = map(before, after).map(|is_concerned| reader.state_filter(is_concerned)).unwrap_or_default();
            found.iter().map(|object| ObjectRef::from_obj(&**object)).collect()
        };
        let other = events.flat_map(move |event| {
            let triggers = match unbroken(event) {
                Some(Event::Apply(object) | Event::InitApply(object)) => {
                    let before = known.put(ObjectRef::from_obj(&object), object.clone());
                    concerned(before.as_ref(), Some(&object))
                }
                Some(Event::Delete(object)) => {
                    known.take(&ObjectRef::from_obj(&object));
                    concerned(Some(&object), None)
                }
                Some(Event::Init) => {
                    known.list();
                    Vec::new()
                }
                Some(Event::InitDone) => {
                    let gone = known.unlisted().into_iter();
                    gone.flat_map(|(_, before)| -> Vec<_> { concerned(Some(&before), None) }).collect()
                }
                None => Vec::new(),
            };
            stream::iter(triggers)
        });
        self.triggers.push(other.boxed());
    }

    /// The cache of the kind and the merged triggers, which end with the shutdown.
    pub(super) fn into_stream(self, shutdown: Shutdown) -> Fed<R::Kind, impl Stream<Item = ObjectRef<R::Kind>>> {
        let merged = stream::select_all(self.triggers);
        (self.reader, Box::pin(merged.take_until(async move { shutdown.cancelled().await })))
    }
}

/// The event, or a word in the log where the API server does not allow the watch; it is taken up again by itself.
fn unbroken<K: Object>(event: Result<Event<K>>) -> Option<Event<K>> {
    let told = |error: &Error| match error.is_interruption() {
        true => tracing::debug!(kind = %K::kind(&()), %error, "watch broke and is taken up again"),
        false => tracing::warn!(kind = %K::kind(&()), %error, "watch broke and is taken up again"),
    };
    event.inspect_err(told).ok()
}

/// Something about each object of a watch. A list that follows a broken watch tells what went meanwhile: what was known
/// and is not listed any more.
struct Known<K: Object, T> {
    facts: HashMap<ObjectRef<K>, T>,
    listed: Option<HashSet<ObjectRef<K>>>,
}

impl<K: Object, T> Default for Known<K, T> {
    fn default() -> Self {
        Self { facts: HashMap::new(), listed: None }
    }
}

impl<K: Object, T> Known<K, T> {
    /// Keeps a fact and returns the one before.
    fn put(&mut self, id: ObjectRef<K>, fact: T) -> Option<T> {
        if let Some(listed) = &mut self.listed {
            listed.insert(id.clone());
        }
        self.facts.insert(id, fact)
    }

    fn take(&mut self, id: &ObjectRef<K>) -> Option<T> {
        self.facts.remove(id)
    }

    /// A list begins.
    fn list(&mut self) {
        self.listed = Some(HashSet::new());
    }

    /// The list is over: what it left out is forgotten and returned.
    fn unlisted(&mut self) -> HashMap<ObjectRef<K>, T> {
        let Some(listed) = self.listed.take() else { return HashMap::new() };
        let (kept, gone) = mem::take(&mut self.facts).into_iter().partition(|(id, _)| listed.contains(id));
        self.facts = kept;
        gone
    }
}

/// Whether a change of the kind itself starts a run. One that is gone has none, but is forgotten when its turn comes.
fn own_trigger<R: Reconciler>(
    reconciler: &R,
    known: &mut Known<R::Kind, u64>,
    event: Event<R::Kind>,
) -> Option<ObjectRef<R::Kind>> {
    match event {
        Event::Apply(object) | Event::InitApply(object) => {
            let id = ObjectRef::from_obj(&object);
            let fingerprint = reconciler.fingerprint(&object);
            (known.put(id.clone(), fingerprint) != Some(fingerprint)).then_some(id)
        }
        Event::Delete(object) => {
            let id = ObjectRef::from_obj(&object);
            known.take(&id);
            reconciler.removed(&object);
            Some(id)
        }
        Event::Init => {
            known.list();
            None
        }
        Event::InitDone => None,
    }
}

/// What of an object starts a run when it changes: never its status, which we write ourselves.
pub fn fingerprint<K: Object>(object: &K, style: Style) -> u64 {
    let meta = object.meta();
    let mut hasher = DefaultHasher::new();
    (&meta.uid, meta.generation, meta.deletion_timestamp.is_some()).hash(&mut hasher);
    match style {
        Style::Flux => meta.annotations.as_ref().and_then(|all| all.get(REQUESTED_AT)).hash(&mut hasher),
        Style::Own => (&meta.annotations, &meta.labels).hash(&mut hasher),
    }
    hasher.finish()
}
