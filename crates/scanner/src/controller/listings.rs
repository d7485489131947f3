//! Listings that are under way: objects that ask for the same at the same time share one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared, WeakShared},
};
use jiff::Timestamp;
use oci::Listed;
use reconcile::{Endpoint, clock};

use super::numbers::Numbers;

/// What a listing came to, for all who share it.
type Outcome = Result<Arc<Listed>, Arc<oci::Error>>;
type Work = BoxFuture<'static, Outcome>;

/// What makes two listings the same: the image, who asks in which way, and what is known already.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub image: oci::Name,
    pub endpoint: Endpoint,
    pub credential: Option<[u8; 32]>,
    pub etag: Option<String>,
}

/// A listing that began at a time. It ends when nobody waits for it any more.
#[derive(Debug)]
struct Running {
    since: Timestamp,
    work: WeakShared<Work>,
}

/// The listings under way.
#[derive(Debug)]
pub(super) struct Listings {
    numbers: Numbers,
    running: Mutex<HashMap<Key, Running>>,
}

impl Listings {
    pub fn new(numbers: Numbers) -> Self {
        Self { numbers, running: Mutex::default() }
    }

    /// Lists, or waits with others for the same list. `after` is the earliest beginning that will do: a tag that was pushed
    /// before a request must be in the answer to it.
    pub async fn list(&self, repository: oci::Repository, key: Key, after: Option<Timestamp>) -> Outcome {
        self.join(repository, key, after).await
    }

    fn join(&self, repository: oci::Repository, key: Key, after: Option<Timestamp>) -> Shared<Work> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, one| one.work.upgrade().is_some());
        let fresh = running.get(&key).filter(|one| after.is_none_or(|after| one.since >= after));
        if let Some(work) = fresh.and_then(|one| one.work.upgrade()) {
            self.numbers.shared_listings.inc();
            return work;
        }
        let etag = key.etag.clone();
        let work = async move { repository.tags_unless(etag.as_deref()).await.map(Arc::new).map_err(Arc::new) };
        let work = work.boxed().shared();
        if let Some(weak) = work.downgrade() {
            running.insert(key, Running { since: clock::now(), work: weak });
        }
        work
    }
}
