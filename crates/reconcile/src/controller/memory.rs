//! What the loop remembers of an object between its runs: failures in a row.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::runtime::reflector::ObjectRef;

use crate::Object;

/// What is remembered of the objects of a kind.
pub(super) struct Memory<K: Object>(Mutex<HashMap<ObjectRef<K>, u32>>);

impl<K: Object> Default for Memory<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Object> Memory<K> {
    /// Counts a failure; how many it are in a row.
    pub(super) fn failed(&self, object: &K) -> u32 {
        let mut all = self.lock();
        let failures = all.entry(ObjectRef::from_obj(object)).or_default();
        *failures = failures.saturating_add(1);
        *failures
    }

    /// The next failure is the first one.
    pub(super) fn forget(&self, id: &ObjectRef<K>) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectRef<K>, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Resource as _;

    use super::*;

    #[test]
    fn failures_are_counted_in_a_row() {
        let (memory, mut object) = (Memory::default(), ConfigMap::default());
        object.meta_mut().name = Some("a".into());
        assert_eq!((memory.failed(&object), memory.failed(&object)), (1, 2));
        memory.forget(&ObjectRef::from_obj(&object));
        assert_eq!(memory.failed(&object), 1);
    }
}
