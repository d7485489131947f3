//! Waiting until objects are healthy: looked at again and again, to a limit, or until there is newer work.

use std::time::Duration;

use api::meta::ObjectReference;
use reconcile::{Store, clock};

use crate::health::{self, Expressions, Health};

/// Wait between two looks at first. Source: Flux polls each 5 s; a rollout on one machine takes less than that.
const FIRST_POLL: Duration = Duration::from_millis(500);
/// Longest wait between two looks.
const LAST_POLL: Duration = Duration::from_secs(5);
/// So long a failure may be what is left of an earlier revision: controllers have not yet looked at the new one.
const SETTLING: Duration = Duration::from_secs(5);

/// Why a wait ended without health.
#[derive(Debug)]
pub(super) enum Unhealthy {
    /// The limit was reached, or an object failed.
    Failed(String),
    /// There is newer work: what it is.
    Cancelled(String),
    /// The store could not be read.
    Store(reconcile::Error),
}

impl From<reconcile::Error> for Unhealthy {
    fn from(error: reconcile::Error) -> Self {
        Self::Store(error)
    }
}

/// Waits until all objects are healthy, for at most `timeout`. `judged` are the kinds that have expressions of their own;
/// `newer` tells why the wait is pointless by now.
pub(super) async fn healthy<F>(
    store: &Store,
    objects: &[ObjectReference],
    judged: &Expressions,
    timeout: Duration,
    newer: impl Fn() -> F,
) -> Result<(), Unhealthy>
where
    F: Future<Output = Result<Option<String>, reconcile::Error>>,
{
    let start = clock::instant();
    let mut poll = FIRST_POLL;
    loop {
        let unhealthy = look(store, objects, judged).await?;
        if unhealthy.is_empty() {
            return Ok(());
        }
        let failed: Vec<_> = unhealthy.iter().filter(|(_, health)| *health == Health::Failed).cloned().collect();
        if !failed.is_empty() && start.elapsed() >= SETTLING.min(timeout) {
            return Err(Unhealthy::Failed(health::failed_early(&failed)));
        }
        if start.elapsed() >= timeout {
            return Err(Unhealthy::Failed(health::timed_out(&unhealthy)));
        }
        if let Some(why) = newer().await? {
            return Err(Unhealthy::Cancelled(why));
        }
        clock::sleep(poll.min(timeout.saturating_sub(start.elapsed()))).await;
        poll = (poll * 5 / 4).min(LAST_POLL);
    }
}

/// The objects that are not healthy.
async fn look(
    store: &Store,
    objects: &[ObjectReference],
    judged: &Expressions,
) -> Result<Vec<(ObjectReference, Health)>, reconcile::Error> {
    let mut unhealthy = Vec::new();
    for id in objects {
        // One machine has no API server that would accept the names of a definition.
        if store.is_standalone() && id.kind == "CustomResourceDefinition" {
            continue;
        }
        let health = judged.health(store.find(id).await?.as_ref(), clock::now());
        if health != Health::Current {
            unhealthy.push((id.clone(), health));
        }
    }
    Ok(unhealthy)
}
