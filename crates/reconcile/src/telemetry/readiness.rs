//! What a process waits for before it calls itself ready: controllers that begin, caches that fill.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Counts what is awaited. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicUsize>);

/// One thing that is awaited. If this is dropped, it never comes, and the process is never ready.
#[derive(Debug)]
#[must_use]
pub struct Awaited(Arc<AtomicUsize>);

impl Readiness {
    /// One more thing has to come.
    pub fn wait_for(&self) -> Awaited {
        self.0.fetch_add(1, Ordering::SeqCst);
        Awaited(Arc::clone(&self.0))
    }

    /// Whether everything has come.
    pub fn is_reached(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

impl Awaited {
    /// It has come.
    pub fn came(self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
