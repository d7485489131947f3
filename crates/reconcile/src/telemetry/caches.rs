//! Whether the caches hold what the store holds: before that, a process is not ready.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Counts caches that are to be filled and those that are. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Caches {
    expected: Arc<AtomicUsize>,
    filled: Arc<AtomicUsize>,
}

impl Caches {
    /// One more cache will be filled.
    pub(crate) fn expect_one(&self) {
        self.expected.fetch_add(1, Ordering::SeqCst);
    }

    /// One of them is filled.
    pub(crate) fn one_is_filled(&self) {
        self.filled.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether all are filled; also where none is expected.
    pub fn are_filled(&self) -> bool {
        self.filled.load(Ordering::SeqCst) >= self.expected.load(Ordering::SeqCst)
    }
}
