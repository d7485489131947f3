//! What the loop remembers of an object between its runs.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::runtime::reflector::ObjectRef;

use crate::Object;

/// What is remembered of the objects of a kind.
pub(super) struct Memory<K: Object>(Mutex<HashMap<ObjectRef<K>, Remembered>>);

#[derive(Default)]
struct Remembered {
    /// Failures in a row.
    failures: u32,
    /// Version that our last write led to; none while a run is under way, or when it did not come to its end.
    written: Option<String>,
}

impl<K: Object> Default for Memory<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Object> Memory<K> {
    /// A run begins. Says whether the cached object holds everything that we wrote: it was never worked on by this
    /// process, or it is what our last write led to. Where others wrote after us, versions alone cannot tell.
    pub(super) fn begin(&self, cached: &K) -> bool {
        match self.lock().entry(ObjectRef::from_obj(cached)) {
            Entry::Vacant(entry) => {
                entry.insert(Remembered::default());
                true
            }
            Entry::Occupied(mut entry) => {
                let written = entry.get_mut().written.take();
                written.is_some() && written == cached.meta().resource_version
            }
        }
    }

    /// The run's last write led to this version.
    pub(super) fn wrote(&self, object: &K, version: Option<&str>) {
        self.lock().entry(ObjectRef::from_obj(object)).or_default().written = version.map(str::to_owned);
    }

    /// Counts a failure; how many it are in a row.
    pub(super) fn failed(&self, object: &K) -> u32 {
        let mut all = self.lock();
        let remembered = all.entry(ObjectRef::from_obj(object)).or_default();
        remembered.failures = remembered.failures.saturating_add(1);
        remembered.failures
    }

    /// The next failure is the first one.
    pub(super) fn succeeded(&self, object: &K) {
        self.lock().entry(ObjectRef::from_obj(object)).or_default().failures = 0;
    }

    /// The object is gone.
    pub(super) fn forget(&self, object: &K) {
        self.lock().remove(&ObjectRef::from_obj(object));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectRef<K>, Remembered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Resource as _;

    use super::*;

    fn object(version: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.meta_mut().name = Some("a".into());
        object.meta_mut().resource_version = Some(version.into());
        object
    }

    #[test]
    fn a_cached_object_is_trusted_only_when_nobody_wrote_after_it() {
        let memory = Memory::default();
        assert!(memory.begin(&object("1")), "never worked on");
        assert!(!memory.begin(&object("1")), "a run that did not come to its end");
        memory.wrote(&object("1"), Some("2"));
        assert!(!memory.begin(&object("1")), "the cache is behind");
        memory.wrote(&object("1"), Some("2"));
        assert!(memory.begin(&object("2")));
        memory.wrote(&object("2"), Some("3"));
        assert!(!memory.begin(&object("4")), "somebody else wrote, before or after us");
        memory.forget(&object("4"));
        assert!(memory.begin(&object("4")));
    }

    #[test]
    fn failures_are_counted_in_a_row() {
        let memory = Memory::default();
        assert_eq!((memory.failed(&object("1")), memory.failed(&object("1"))), (1, 2));
        memory.succeeded(&object("1"));
        assert_eq!(memory.failed(&object("1")), 1);
    }
}
