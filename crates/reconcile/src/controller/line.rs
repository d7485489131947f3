//! The objects that wait for a run, as the scraper is told of them.
//!
//! What comes back by itself after its interval joins and leaves in one: it waits only where it is told to.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use kube::runtime::reflector::ObjectRef;
use tokio::time::Instant;

use crate::{
    Object, clock,
    telemetry::{Queue, Working},
};

/// Who waits since when. An object waits once, however often it is told to.
pub(super) struct Line<K: Object> {
    since: Mutex<HashMap<ObjectRef<K>, Instant>>,
    queue: Queue,
}

impl<K: Object> Line<K> {
    pub(super) fn new(queue: Queue) -> Self {
        Self { since: Mutex::default(), queue }
    }

    /// An object is to run.
    pub(super) fn joins(&self, id: &ObjectRef<K>) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.entry(id.clone()).or_insert_with(|| {
            self.queue.joined();
            clock::instant()
        });
        self.queue.is_long(since.len());
    }

    /// Its run begins; it lasts until what is returned goes.
    pub(super) fn leaves(&self, object: &K) -> Working {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let joined = since.remove(&ObjectRef::from_obj(object));
        self.queue.is_long(since.len());
        if joined.is_none() {
            self.queue.joined();
        }
        self.queue.left(joined.map_or(0.0, |joined| joined.elapsed().as_secs_f64()))
    }

    /// It went before its turn came.
    pub(super) fn gives_up(&self, id: &ObjectRef<K>) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.remove(id);
        self.queue.is_long(since.len());
    }

    /// Its run failed and is tried again.
    pub(super) fn is_retried(&self) {
        self.queue.retried();
    }
}
