//! Watches over the Kubernetes API: the objects now, then every change, over disconnects, expiry and restarts.

use std::{fmt::Debug, marker::PhantomData, time::Duration};

use api::meta::ObjectReference;
use async_stream::stream;
use futures::{Stream, StreamExt as _, stream::BoxStream};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{ApiResource, ObjectMeta},
    core::{DynamicObject, DynamicResourceScope, PartialObjectMeta},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;

use super::{Cluster, code, value};
use crate::{Error, Object, Result, clock, controller, object};

/// Where `kubectl apply` keeps what it applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

type Watched<K> = BoxStream<'static, Result<Event<K>>>;

impl Cluster {
    /// Objects of a kind in the namespaces we look at.
    pub(crate) fn watch<K: Object>(&self) -> Watched<K> {
        self.follow(watcher::Config::default())
    }

    /// Those of them that are ours to work on.
    pub(crate) fn watch_own<K: Object>(&self) -> Watched<K> {
        let config = watcher::Config::default();
        self.follow(match &self.shared.scope.selector {
            Some(selector) => config.labels(selector),
            None => config,
        })
    }

    /// Only the objects' metadata travel and are kept.
    pub(crate) fn watch_metadata<K: Object>(&self) -> Watched<PartialObjectMeta<K>> {
        let api: Api<PartialObjectMeta<DynamicObject>> = self.reach::<K, _>();
        let partial = |found: PartialObjectMeta<DynamicObject>| PartialObjectMeta {
            types: found.types,
            metadata: ObjectMeta { managed_fields: None, annotations: None, ..found.metadata },
            _phantom: PhantomData,
        };
        followed(api, watcher::Config::default()).map(move |event| event.map(|event| map(event, partial))).boxed()
    }

    fn follow<K: Object>(&self, config: watcher::Config) -> Watched<K> {
        let api: Api<DynamicObject> = self.reach::<K, _>();
        let (this, kind) = (self.clone(), object::named::<K>("", ""));
        followed(api, config)
            .filter_map(move |event| {
                let (this, kind) = (this.clone(), kind.clone());
                async move {
                    let event = match event {
                        Ok(event) => event,
                        Err(error) => return Some(Err(error)),
                    };
                    Some(Ok(match event {
                        Event::Init => Event::Init,
                        Event::InitDone => Event::InitDone,
                        Event::InitApply(found) => Event::InitApply(this.decode(&kind, found).await?),
                        Event::Apply(found) => Event::Apply(this.decode(&kind, found).await?),
                        Event::Delete(found) => Event::Delete(this.decode(&kind, found).await?),
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
    async fn decode<K: Object>(&self, kind: &ObjectReference, mut found: DynamicObject) -> Option<K> {
        // kubectl's copy of what it applied is as large as the object.
        found.annotations_mut().remove(LAST_APPLIED);
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
