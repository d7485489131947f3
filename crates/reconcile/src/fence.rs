//! Until when this process may act. Whoever leads has a lease that runs out; an effect after that never happens.
//!
//! A process that was frozen (SIGSTOP, a paused machine) wakes up in the middle of what it was doing, while another one
//! has taken over. So every effect that changes something asks here, right before it is performed.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::clock;

/// Until when each lease is ours. None that is held: nothing to lose.
static HELD: Mutex<Vec<(String, Instant)>> = Mutex::new(Vec::new());

/// The lease is ours until then.
pub(crate) fn hold(lease: &str, until: Instant) {
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    match held.iter_mut().find(|(name, _)| name == lease) {
        Some((_, known)) => *known = until,
        None => held.push((lease.to_owned(), until)),
    }
}

/// The lease was given back after the last effect.
pub(crate) fn release(lease: &str) {
    HELD.lock().unwrap_or_else(PoisonError::into_inner).retain(|(name, _)| name != lease);
}

/// Whether every lease that this process took is still its own.
pub fn is_open() -> bool {
    let now = clock::instant();
    HELD.lock().unwrap_or_else(PoisonError::into_inner).iter().all(|(_, until)| now < *until)
}

/// Goes on at once while the leases are ours, and never otherwise: the process is about to end.
pub(crate) async fn pass() {
    if !is_open() {
        tracing::warn!("lease ran out: what was about to be done is left to the next leader");
        std::future::pending::<()>().await;
    }
}
