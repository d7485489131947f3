//! Watches over the Kubernetes API: the objects now, then every change, over disconnects, expiry and restarts.

use std::{fmt::Debug, marker::PhantomData, sync::Arc, time::Duration};

use api::meta::ObjectReference;
use async_stream::stream;
use futures::{Stream, StreamExt as _, stream::BoxStream};
use kube::{
    Api, Resource,
    api::{ApiResource, ObjectMeta},
    core::{DynamicObject, DynamicResourceScope, PartialObjectMeta},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    Cluster, code,
    known::{Feed, Known, Reach},
    of_kind,
    whole::Whole,
};
use crate::{Error, Object, Result, clock, controller, object};

/// Where `kubectl apply` keeps what it applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

type Watched<K> = BoxStream<'static, Result<Event<K>>>;

impl Cluster {
    /// Objects of a kind in the namespaces we look at.
    pub(crate) fn watch<K: Object>(&self) -> Watched<K> {
        self.follow(watcher::Config::default(), Feed::Contents, Reach::All)
    }

    /// The same for a kind of which little is kept: who wants to see more of an object has to ask for it.
    pub(crate) fn watch_part<K: Object>(&self) -> Watched<K> {
        self.follow(watcher::Config::default(), Feed::Versions, Reach::All)
    }

    /// Those of them that are ours to work on.
    pub(crate) fn watch_own<K: Object>(&self) -> Watched<K> {
        let config = watcher::Config::default();
        match &self.shared.scope.selector {
            Some(selector) => self.follow(config.labels(selector), Feed::Contents, Reach::Selected),
            None => self.follow(config, Feed::Contents, Reach::All),
        }
    }

    /// Only the objects' metadata travel and are kept.
    pub(crate) fn watch_metadata<K: Object>(&self) -> Watched<PartialObjectMeta<K>> {
        let partial = |found: PartialObjectMeta<DynamicObject>| PartialObjectMeta {
            types: found.types,
            metadata: ObjectMeta { managed_fields: None, annotations: None, ..found.metadata },
            _phantom: PhantomData,
        };
        let known = self.claim(&object::named::<K>("", ""), Feed::Versions, Reach::All);
        followed(self.reach::<K, PartialObjectMeta<DynamicObject>>(), watcher::Config::default())
            .inspect(move |event| known.iter().for_each(|known| note(known, event, |one| (one.meta(), None))))
            .map(move |event| event.map(|event| map(event, partial)))
            .boxed()
    }

    fn follow<K: Object>(&self, config: watcher::Config, feed: Feed, reach: Reach) -> Watched<K> {
        let api: Api<Whole> = self.reach::<K, _>();
        let (this, kind) = (self.clone(), object::named::<K>("", ""));
        let known = self.claim(&kind, feed, reach);
        followed(api, config)
            .filter_map(move |event| {
                let (this, kind) = (this.clone(), kind.clone());
                let event = event.map(|event| map(event, |found| carried(&kind, found)));
                known.iter().for_each(|known| note(known, &event, |found| (&found.named, Some(&found.object))));
                async move {
                    let event = match event {
                        Ok(event) => event,
                        Err(error) => return Some(Err(error)),
                    };
                    Some(Ok(match event {
                        Event::Init => Event::Init,
                        Event::InitDone => Event::InitDone,
                        Event::InitApply(found) => Event::InitApply(this.decode(&found.object).await?),
                        Event::Apply(found) => Event::Apply(this.decode(&found.object).await?),
                        Event::Delete(found) => Event::Delete(this.decode(&found.object).await?),
                    }))
                }
            })
            .boxed()
    }

    /// The API of a kind, in the namespaces we look at.
    fn reach<K: Object, A>(&self) -> Api<A>
    where
        A: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
    {
        let kind = ApiResource::erase::<K>(&());
        match &self.shared.scope.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &kind),
            None => Api::all_with(self.client.clone(), &kind),
        }
    }

    /// The object as its type; one that does not fit gets a condition that says which field is wrong.
    async fn decode<K: Object>(&self, value: &Value) -> Option<K> {
        match object::from_value(value) {
            Ok(object) => Some(object),
            Err(error) => {
                tracing::warn!(%error, "object does not fit its kind");
                let status = controller::invalid_status(value, &error.to_string(), clock::now());
                if let Some(id) = ObjectReference::of(value)
                    && let Err(error) = self.write_status(&id, "slipway", &status).await
                {
                    tracing::warn!(%error, "condition could not be written");
                }
                None
            }
        }
    }
}

/// Takes kubectl's copy of what it applied out of an object: it is as large as the object.
pub(super) fn forget_copy(object: &mut Value) {
    if let Some(Value::Object(annotations)) = object.pointer_mut("/metadata/annotations") {
        annotations.remove(LAST_APPLIED);
    }
}

/// An object of a watch with its type, and without what nobody looks at.
fn carried(kind: &ObjectReference, mut found: Whole) -> Whole {
    forget_copy(&mut found.object);
    Whole { object: of_kind(kind, found.object), ..found }
}

/// Takes what a watch tells into the books of its kind.
fn note<A>(known: &Known, event: &Result<Event<A>>, facts: impl Fn(&A) -> (&ObjectMeta, Option<&Value>)) {
    let named = |meta: &ObjectMeta| (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
    match event {
        Err(_) => known.broke(),
        Ok(Event::Init) => known.lists(),
        Ok(Event::InitDone) => known.has_listed(),
        Ok(Event::InitApply(one) | Event::Apply(one)) => {
            let (meta, content) = facts(one);
            let (namespace, name) = named(meta);
            known.saw(&namespace, &name, meta.resource_version.as_deref(), content);
        }
        Ok(Event::Delete(one)) => {
            let (meta, _) = facts(one);
            let (namespace, name) = named(meta);
            known.went(&namespace, &name, meta.resource_version.as_deref());
        }
    }
}

/// Follows the versions of a kind's objects for the books alone.
pub(super) async fn feed(api: Api<PartialObjectMeta<DynamicObject>>, known: Arc<Known>) {
    let mut events = std::pin::pin!(followed(api, watcher::Config::default()));
    while let Some(event) = events.next().await {
        if let Err(error) = &event {
            tracing::debug!(%error, "watch of versions broke and is taken up again");
        }
        note(&known, &event, |one| (one.meta(), None));
    }
}

/// Time to the next list where the API server will not watch from the version it listed.
const PAUSE: Duration = Duration::from_secs(1);

/// Follows a kind with growing pauses after errors. The watcher resumes where it stopped, and lists anew when it is told
/// in the middle of a watch that its version is gone; told so at the start of one, it would try the same version for ever.
fn followed<A>(api: Api<A>, config: watcher::Config) -> impl Stream<Item = Result<Event<A>>> + Send
where
    A: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    stream! {
        loop {
            let mut events = std::pin::pin!(watcher::watcher(api.clone(), config.clone()).default_backoff());
            while let Some(event) = events.next().await {
                let is_gone = matches!(&event, Err(watcher::Error::WatchStartFailed(error)) if code(error) == Some(410));
                yield event.map_err(|error| Error::Watch(Box::new(error)));
                if is_gone {
                    break;
                }
            }
            clock::sleep(PAUSE).await;
        }
    }
}

fn map<A, B>(event: Event<A>, f: impl Fn(A) -> B) -> Event<B> {
    match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(one) => Event::InitApply(f(one)),
        Event::Apply(one) => Event::Apply(f(one)),
        Event::Delete(one) => Event::Delete(f(one)),
    }
}
