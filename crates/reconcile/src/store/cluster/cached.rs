//! Reads that a watch makes unnecessary, and writes that would change nothing. `known.rs` keeps the books.

use std::{
    collections::hash_map::Entry,
    sync::{Arc, PoisonError},
};

use api::meta::ObjectReference;
use kube::{
    Api,
    core::{DynamicObject, PartialObjectMeta},
    discovery::Scope as Reached,
};
use serde_json::Value;

use super::{
    Cluster,
    known::{Answer, Feed, Known, Reach},
    watch,
};
use crate::{Result, store::merge::merge_patch};

/// Kinds whose content is never kept in memory.
const SECRET: &str = "Secret";

/// Ends a watch of our own with the store.
#[derive(Debug)]
pub(super) struct Following(tokio::task::AbortHandle);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is known of a kind, and the watch that was begun for it, unless a controller's own brings it.
pub(super) type Followed = (Arc<Known>, Option<Following>);

/// A write under way. Dropped before its end, nobody knows what it led to.
struct UnderWay<'a> {
    known: &'a Known,
    id: &'a ObjectReference,
    is_over: bool,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.known.ends(self.id, None);
        }
    }
}

impl Cluster {
    /// The object as a watch of its kind tells; the API server is asked where that is not enough. The first question for
    /// a kind begins a watch of its objects' versions.
    pub(crate) async fn find_cached(&self, id: &ObjectReference) -> Result<Option<Value>> {
        let Some(known) = self.follow_kind(id).await? else { return self.find(id).await };
        match known.answer(id) {
            Answer::Is(content) => Ok(Some(content)),
            Answer::Absent => Ok(None),
            Answer::Unknown => {
                let found = self.find(id).await?;
                known.read(id, found.as_ref());
                Ok(found)
            }
        }
    }

    /// Whether a watch tells that the object is there in this version, and no write of ours has changed it since.
    pub(crate) fn is_at(&self, id: &ObjectReference, version: &str) -> bool {
        !self.is_other && self.known(id).is_some_and(|known| known.is_at(id, version))
    }

    /// What is known of objects of a kind; none where no watch of ours reaches them, or they are not to be kept.
    async fn follow_kind(&self, id: &ObjectReference) -> Result<Option<Arc<Known>>> {
        let is_reached = self.shared.scope.namespace.as_ref().is_none_or(|namespace| *namespace == id.namespace);
        if !is_reached || id.namespace.is_empty() || id.kind == SECRET || self.is_other {
            return Ok(None);
        }
        if let Some(known) = self.known(id) {
            return Ok(Some(known));
        }
        let (resource, reach) = self.kind(id).await?;
        if reach == Reached::Cluster {
            return Ok(None);
        }
        let api: Api<PartialObjectMeta<DynamicObject>> = match &self.shared.scope.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let mut all = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, _) = all.entry(key(id)).or_insert_with(|| {
            let known = Arc::new(Known::new(Feed::Versions, Reach::All));
            let following = tokio::spawn(watch::feed(api, known.clone()));
            (known, Some(Following(following.abort_handle())))
        });
        Ok(Some(known.clone()))
    }

    /// What is known of a kind that is followed.
    fn known(&self, id: &ObjectReference) -> Option<Arc<Known>> {
        let all = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&key(id)).map(|(known, _)| known.clone())
    }

    /// Takes over the books of a kind for a watch that is about to begin; none if another one keeps them.
    pub(super) fn claim(&self, kind: &ObjectReference, feed: Feed, reach: Reach) -> Option<Arc<Known>> {
        if kind.kind == SECRET {
            return None;
        }
        let mut all = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Entry::Vacant(entry) = all.entry(key(kind)) else { return None };
        let known = Arc::new(Known::new(feed, reach));
        entry.insert((known.clone(), None));
        Some(known)
    }

    /// A write whose outcome does not say how the object is now.
    pub(super) fn doubts(&self, id: &ObjectReference) {
        if let Some(known) = self.known(id) {
            known.doubts(id);
        }
    }

    /// The object, if a merge patch of its status would change nothing.
    pub(super) fn unchanged_by(&self, id: &ObjectReference, merge: &Value) -> Option<Value> {
        let Answer::Is(content) = self.known(id)?.answer(id) else { return None };
        let mut status = content.get("status")?.clone();
        (!merge_patch(&mut status, merge)).then_some(content)
    }

    /// A write, with what it leads to taken into the books.
    pub(super) async fn noted(
        &self,
        id: &ObjectReference,
        write: impl Future<Output = Result<Value>>,
    ) -> Result<Value> {
        let Some(known) = self.known(id) else { return write.await };
        known.begins(id);
        let mut under_way = UnderWay { known: &known, id, is_over: false };
        let mut written = write.await?;
        watch::forget_copy(&mut written);
        under_way.is_over = true;
        known.ends(id, Some(&written));
        Ok(written)
    }
}

fn key(id: &ObjectReference) -> (String, String) {
    (id.api_version.clone(), id.kind.clone())
}
